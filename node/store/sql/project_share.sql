SELECT p.id FROM {rows $1 q(project int)} CROSS JOIN {p}_project AS p WHERE p.id = q.project {for_share}
