INSERT INTO {p}_beat (node, incarnation, beat) VALUES ($1, $2, 0)
