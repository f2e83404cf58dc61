INSERT INTO {p}_step (job, idx, epoch, node, started_ms, ended_ms, name, result)
SELECT q.job, q.step, q.held, q.node, q.started, q.ended, q.name, q.result
FROM {rows $1 q(job int, step int, held int, node int, started int, ended int, name text, result text)}
