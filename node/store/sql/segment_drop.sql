DELETE FROM {p}_segment WHERE id = {uuid $1} AND state = 1
