-- Locks the projects of these jobs. The next statement counts everything that is committed by then.
SELECT p.id FROM {p}_project AS p
WHERE p.id IN (SELECT j.project FROM {rows $1 q(job int)} JOIN {p}_job AS j ON j.id = q.job)
ORDER BY p.id FOR NO KEY UPDATE
