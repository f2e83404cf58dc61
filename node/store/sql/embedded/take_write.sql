UPDATE {join job $1 q(job int, node_by int, incarnation_by int, at int)}
SET state = 2, holder_node = q.node_by, holder_incarnation = q.incarnation_by, placed = q.node_by,
  epoch = epoch + 1, from_step = steps, taken_ms = q.at, started_ms = COALESCE(started_ms, q.at), ended_ms = NULL,
  changed_ms = q.at
{from} WHERE j.id = q.job
