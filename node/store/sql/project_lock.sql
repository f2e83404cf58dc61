SELECT id FROM {p}_project WHERE id IN (SELECT q.project FROM {rows $1 q(project int)}) ORDER BY id {for_update}
