UPDATE {join job $1 q(job int, at int)}
SET holder_node = NULL, holder_incarnation = NULL, changed_ms = q.at
{from} WHERE j.id = q.job
