SELECT id FROM {p}_project WHERE name = $1
