-- Jobs with a holder: for counting running jobs, and for finding the jobs of a dead member.
CREATE INDEX {p}_job_held ON {p}_job (project) WHERE holder_node IS NOT NULL
