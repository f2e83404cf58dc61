-- MySQL has no partial indexes; what is not over has no end.
CREATE INDEX {p}_job_over ON {p}_job (ended_ms, id, project, state)
