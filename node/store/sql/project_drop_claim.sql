DELETE FROM {p}_claim WHERE target = $1
