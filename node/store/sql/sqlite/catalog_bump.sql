INSERT INTO {p}_catalog (project, revision) VALUES ($1, 1)
ON CONFLICT (project) DO UPDATE SET revision = {p}_catalog.revision + 1
