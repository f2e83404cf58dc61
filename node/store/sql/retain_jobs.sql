-- Few at a time, so that nobody waits for housekeeping. Hardly any has a holder: an index of holders is of no use.
SELECT id FROM {p}_job
WHERE state > 4 AND CASE WHEN holder_node IS NULL THEN 1 END = 1 AND ended_ms < $1 ORDER BY ended_ms, id LIMIT 500
