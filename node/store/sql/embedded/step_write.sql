UPDATE {join job $1 q(job int, at int)} SET steps = steps + 1, changed_ms = q.at {from} WHERE j.id = q.job
