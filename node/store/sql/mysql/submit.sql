-- IGNORE skips existing keys.
INSERT IGNORE INTO {p}_job (epoch, placed, steps, from_step, project, created_ms, changed_ms, state, priority, external, needs, uuid, kind, subject, submitter, spec)
SELECT 0, q.placed, 0, 0, q.project, q.at, q.at, q.state, q.priority, q.external, q.needs, q.uuid, q.kind, q.subject, q.submitter, q.spec
FROM {rows $1 q(uuid text, project int, priority int, placed int, external int, needs int, state int, at int, kind text, subject text, submitter text, spec text)} JOIN {p}_project AS p ON p.id = q.project
