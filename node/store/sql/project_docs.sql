SELECT COUNT(*) FROM {p}_doc WHERE project = $1
