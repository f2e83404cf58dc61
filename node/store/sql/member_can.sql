UPDATE {p}_member SET can = $3 WHERE node = $1 AND incarnation = $2 AND state <= 1
