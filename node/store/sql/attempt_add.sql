INSERT INTO {p}_attempt (job, epoch, node, incarnation, from_step, started_ms, ended_ms, outcome)
SELECT q.job, q.epoch, q.node, q.incarnation, q.from_step, q.started, q.ended, q.outcome
FROM {rows $1 q(job int, epoch int, node int, incarnation int, from_step int, started int, ended int, outcome int)}
