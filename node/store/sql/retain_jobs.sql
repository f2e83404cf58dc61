-- Few at a time, so that nobody waits for housekeeping.
SELECT id FROM {p}_job
WHERE state > 4 AND holder_node IS NULL AND ended_ms < $1 ORDER BY ended_ms, id LIMIT 500
