SELECT incarnation FROM {p}_member WHERE node = $1 AND state <= 1 ORDER BY incarnation {for_update}
