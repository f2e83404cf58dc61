-- The lock prevents a concurrent drop of the projects. Submits share it.
WITH q AS MATERIALIZED (SELECT * FROM {rows $1 q(uuid text, project int, priority int, placed int, external int, needs int, state int, at int, kind text, subject text, submitter text, spec text)}),
  p AS MATERIALIZED (SELECT id FROM {p}_project WHERE id IN (SELECT project FROM q) FOR KEY SHARE)
INSERT INTO {p}_job (epoch, placed, steps, from_step, project, created_ms, changed_ms, state, priority, external, needs, uuid, kind, subject, submitter, spec)
SELECT 0, q.placed, 0, 0, q.project, q.at, q.at, q.state, q.priority, q.external, q.needs, q.uuid::uuid, q.kind, q.subject, q.submitter, q.spec
FROM q WHERE q.project IN (SELECT id FROM p)
ON CONFLICT (uuid) DO NOTHING
RETURNING id, uuid::text
