-- Ended attempts, and the current one from the row of the job.
SELECT epoch, node, incarnation, from_step, started_ms, ended_ms, outcome FROM {p}_attempt WHERE job = $1
UNION ALL
SELECT epoch, holder_node, holder_incarnation, from_step, taken_ms, NULL, -1 FROM {p}_job
WHERE id = $1 AND holder_node IS NOT NULL
ORDER BY 1
