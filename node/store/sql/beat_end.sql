DELETE FROM {p}_beat WHERE node = $1 AND incarnation = $2
