SELECT revision FROM {p}_catalog WHERE project = $1
