-- Jobs that are open or still have a holder, in queue order.
CREATE INDEX {p}_job_open ON {p}_job (priority, id) WHERE state <= 4 OR holder_node IS NOT NULL
