-- MySQL has no partial indexes. Open jobs have no end.
CREATE INDEX {p}_job_over ON {p}_job (ended_ms, id, project, state)
