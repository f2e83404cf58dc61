INSERT IGNORE INTO {p}_project (name, job_limit, own_limit, description, settings, created_ms) VALUES ($1, $2, $3, $4, $5, $6)
