-- The limit, the number of running jobs, and the most that living members could add.
SELECT p.id, p.job_limit,
  (SELECT COUNT(*) FROM {p}_job AS r WHERE r.project = p.id AND r.holder_node IS NOT NULL AND r.state = 2),
  (SELECT COALESCE(CAST(SUM(m.slots) AS SIGNED), 0) FROM {p}_member AS m WHERE m.state <= 1)
FROM {rows $1 q(project int)} CROSS JOIN {p}_project AS p WHERE p.id = q.project
