INSERT INTO {p}_claim (target, epoch) VALUES ($1, 0) {or_skip target}
