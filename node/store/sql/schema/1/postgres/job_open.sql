-- The jobs that are not over or still have a holder, in the order of the queue.
CREATE INDEX {p}_job_open ON {p}_job (priority, id) WHERE state <= 4 OR holder_node IS NOT NULL
