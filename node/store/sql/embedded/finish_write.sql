UPDATE {join job $1 q(job int, to_state int, at int, why text, outcome text)}
SET state = q.to_state, holder_node = NULL, holder_incarnation = NULL, ended_ms = q.at, changed_ms = q.at,
  failure = q.why, result = q.outcome
{from} WHERE j.id = q.job
