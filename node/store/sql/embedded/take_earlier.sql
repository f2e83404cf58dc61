-- An earlier waiting job without a holder that the taker can run and whose project is not full.
SELECT w.id
FROM {p}_job AS w
WHERE w.state <= 4 AND w.state IN (0, 1) AND w.holder_node IS NULL
  AND (w.needs & $3) = w.needs
  AND (w.priority < $2 OR (w.priority = $2 AND w.id < $1))
  AND EXISTS (
    SELECT 1 FROM {p}_project AS p
    WHERE p.id = w.project AND p.job_limit > (
      SELECT COUNT(*) FROM {p}_job AS r WHERE r.project = p.id AND r.holder_node IS NOT NULL AND r.state = 2))
ORDER BY w.priority, w.id LIMIT 1
