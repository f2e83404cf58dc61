WITH q AS MATERIALIZED (SELECT * FROM {rows $1 q(job int, held int, node int, incarnation int, queue int, at int)}),
  hit AS (
    UPDATE {p}_job AS j
    SET placed = CASE WHEN j.state = 2 THEN q.queue ELSE j.placed END,
      state = CASE WHEN j.state <> 2 THEN j.state WHEN q.queue IS NULL THEN 0 ELSE 1 END,
      holder_node = NULL, holder_incarnation = NULL, changed_ms = q.at
    FROM q WHERE j.id = q.job AND j.epoch = q.held AND j.holder_node = q.node AND j.holder_incarnation = q.incarnation
    RETURNING j.id, q.held, q.node, q.incarnation, j.from_step, j.taken_ms, q.at),
  ended AS (
    INSERT INTO {p}_attempt (job, epoch, node, incarnation, from_step, started_ms, ended_ms, outcome)
    SELECT id, held, node, incarnation, from_step, taken_ms, at, 3 FROM hit)
SELECT id FROM hit
