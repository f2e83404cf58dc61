WITH q AS MATERIALIZED (
    SELECT * FROM {rows $1 q(job int, held int, node int, incarnation int, step int, started int, ended int, at int, name text, result text)}),
  hit AS (
    UPDATE {p}_job AS j SET steps = j.steps + 1, changed_ms = q.at FROM q
    WHERE j.id = q.job AND j.epoch = q.held AND j.holder_node = q.node AND j.holder_incarnation = q.incarnation AND j.state = 2 AND j.steps = q.step
    RETURNING j.id, q.step, q.held, q.node, q.started, q.ended, q.name, q.result),
  done AS (
    INSERT INTO {p}_step (job, idx, epoch, node, started_ms, ended_ms, name, result)
    SELECT id, step, held, node, started, ended, name, result FROM hit)
SELECT id FROM hit
