-- The number of jobs that each node runs and has in its queue, without finished jobs.
SELECT COALESCE(holder_node, placed),
  COUNT(CASE WHEN holder_node IS NOT NULL AND state = 2 THEN 1 END),
  COUNT(CASE WHEN holder_node IS NULL AND state IN (0, 1) THEN 1 END)
FROM {p}_job
WHERE state <= 4 AND COALESCE(holder_node, placed) IS NOT NULL
GROUP BY COALESCE(holder_node, placed)
