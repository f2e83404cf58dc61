SELECT value FROM {p}_setting WHERE name = $1
