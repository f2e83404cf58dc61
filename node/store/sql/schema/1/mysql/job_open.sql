-- MySQL has no partial indexes. The index contains the columns that lists and loads use, so that rows are not read.
CREATE INDEX {p}_job_open ON {p}_job (state, priority, id, project, holder_node, placed, changed_ms)
