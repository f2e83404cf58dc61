SELECT state FROM {p}_member WHERE node = $1 AND incarnation = $2 {for_share}
