UPDATE {p}_member SET token = $3, trouble = $4 WHERE node = $1 AND incarnation = $2 AND state <= 1
