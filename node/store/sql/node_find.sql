SELECT id, incarnation FROM {p}_node WHERE name = $1
