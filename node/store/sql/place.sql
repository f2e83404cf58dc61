UPDATE {p}_job SET state = 1, placed = $3, changed_ms = $4
WHERE id = $1 AND epoch = $2 AND state IN (0, 1) AND holder_node IS NULL
