-- MySQL has no partial indexes. With what lists of them and what nodes have to do is found by, so that the rows need not be.
CREATE INDEX {p}_job_open ON {p}_job (state, priority, id, project, holder_node, placed, changed_ms)
