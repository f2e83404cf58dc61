INSERT INTO {p}_setting (name, value) VALUES ($1, $2) ON DUPLICATE KEY UPDATE value = VALUES(value)
