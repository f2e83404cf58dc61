INSERT INTO {p}_catalog (project, revision) VALUES ($1, 1) ON DUPLICATE KEY UPDATE revision = revision + 1
