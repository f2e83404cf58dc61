-- MySQL has no partial indexes.
CREATE INDEX {p}_job_open ON {p}_job (state, priority, id)
