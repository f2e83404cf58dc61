SELECT idx, epoch, node, started_ms, ended_ms, name, result FROM {p}_step WHERE job = $1 ORDER BY idx
