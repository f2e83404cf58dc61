UPDATE {p}_job SET progress = $5, changed_ms = $6
WHERE id = $1 AND epoch = $2 AND holder_node = $3 AND holder_incarnation = $4 AND state = 2
