INSERT IGNORE INTO {p}_setting (name, value) VALUES ($1, $2)
