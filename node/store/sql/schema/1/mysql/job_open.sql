-- MySQL has no partial indexes. With what lists of them, and what runs, is counted by.
CREATE INDEX {p}_job_open ON {p}_job (state, priority, id, project, holder_node)
