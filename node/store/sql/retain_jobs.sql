-- Small batches, so that no request waits for housekeeping. Few finished jobs have a holder, so an index of holders does not help.
SELECT id FROM {p}_job
WHERE state > 4 AND CASE WHEN holder_node IS NULL THEN 1 END = 1 AND ended_ms < $1 ORDER BY ended_ms, id LIMIT 500
