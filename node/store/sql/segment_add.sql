INSERT INTO {p}_segment (id, project, model, start_ms, end_ms, state, job, epoch, created_ms, changed_ms)
SELECT {uuid q.id}, q.project, q.model, q.start_at, q.end_at, 0, {uuid q.job}, 0, q.at, q.at
FROM {rows $1 q(id text, project int, model text, start_at int, end_at int, job text, at int)}
