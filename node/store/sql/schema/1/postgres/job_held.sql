-- The jobs that somebody holds: to count what runs, and to find what a dead member held.
CREATE INDEX {p}_job_held ON {p}_job (project) WHERE holder_node IS NOT NULL
