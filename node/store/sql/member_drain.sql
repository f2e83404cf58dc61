UPDATE {p}_member SET state = 1 WHERE node = $1 AND incarnation = $2 AND state <= 1
