-- Finished jobs in the order of their end, with the columns that counts filter by.
CREATE INDEX {p}_job_over ON {p}_job (ended_ms, id, project, state) WHERE state > 4
