WITH q AS MATERIALIZED (
    SELECT * FROM {rows $1 q(job int, held int, node int, incarnation int, to_state int, ended int, at int, why text, outcome text)}),
  hit AS (
    UPDATE {p}_job AS j
    SET state = q.to_state, holder_node = NULL, holder_incarnation = NULL, ended_ms = q.at, changed_ms = q.at,
      failure = q.why, result = q.outcome
    FROM q WHERE j.id = q.job AND j.epoch = q.held AND j.holder_node = q.node AND j.holder_incarnation = q.incarnation AND j.state = 2
    RETURNING j.id, j.project, j.state, q.held, q.node, q.incarnation, j.from_step, j.taken_ms, q.at, q.ended),
  over AS (
    INSERT INTO {p}_over (project, state, jobs)
    SELECT project, state, count(*) FROM hit WHERE state > 4 GROUP BY project, state),
  ended AS (
    INSERT INTO {p}_attempt (job, epoch, node, incarnation, from_step, started_ms, ended_ms, outcome)
    SELECT id, held, node, incarnation, from_step, taken_ms, at, ended FROM hit)
SELECT id FROM hit
