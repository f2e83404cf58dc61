UPDATE {p}_member
SET state = $3, ended_ms = $4, ended_by_node = $5, ended_by_incarnation = $6, evidence = $7
WHERE node = $1 AND incarnation = $2 AND state <= 1
