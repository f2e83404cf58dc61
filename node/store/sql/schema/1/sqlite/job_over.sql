-- The jobs that are over, in the order in which they ended, with what lists of them are counted by.
CREATE INDEX {p}_job_over ON {p}_job (ended_ms, id, project, state) WHERE state > 4
