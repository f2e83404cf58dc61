SELECT m.node, m.incarnation, m.can
FROM {rows $1 q(node int, incarnation int)} CROSS JOIN {p}_member AS m
WHERE m.node = q.node AND m.incarnation = q.incarnation AND m.state = 0 {for_share}
