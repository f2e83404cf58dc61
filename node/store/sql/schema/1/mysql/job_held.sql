CREATE INDEX {p}_job_held ON {p}_job (holder_node, project)
