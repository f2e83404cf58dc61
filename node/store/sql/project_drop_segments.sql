DELETE FROM {p}_segment WHERE project = $1
