INSERT INTO {p}_node (name, incarnation) VALUES ($1, 0) {or_skip name}
