-- The project of a job never changes.
SELECT DISTINCT j.project FROM {rows $1 q(job int)} CROSS JOIN {p}_job AS j WHERE j.id = q.job
