-- The place is set first, because MySQL assigns from left to right and the place depends on the state.
UPDATE {join job $1 q(job int, queue int, at int)}
SET placed = CASE WHEN state = 2 THEN q.queue ELSE placed END,
  state = CASE WHEN state <> 2 THEN state WHEN q.queue IS NULL THEN 0 ELSE 1 END,
  holder_node = NULL, holder_incarnation = NULL, changed_ms = q.at
{from} WHERE j.id = q.job
