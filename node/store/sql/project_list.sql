SELECT id, name, job_limit, own_limit, description, settings, created_ms FROM {p}_project ORDER BY name
