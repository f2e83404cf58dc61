INSERT INTO {p}_claim (target, epoch) VALUES ($1, $2) {or_skip target}
