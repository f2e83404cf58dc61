UPDATE {p}_member SET slots = $3 WHERE node = $1 AND incarnation = $2 AND state <= 1
