-- Checksums of the lists (members, claims, projects), and the beats of some members, distinguished by the first column.
SELECT 0 AS kind, COUNT(*) AS a, CAST(COALESCE(SUM(m.node * m.incarnation), 0) AS {whole}) AS b,
  CAST(COALESCE(SUM(m.node * (m.state + 2 * m.role + 8 * m.slots)), 0) AS {whole}) AS c,
  CAST(COALESCE(SUM(m.node * m.can), 0) AS {whole}) AS d
FROM {p}_beat AS b JOIN {p}_member AS m ON m.node = b.node AND m.incarnation = b.incarnation
UNION ALL
SELECT 1, COUNT(*), CAST(COALESCE(SUM(c.epoch), 0) AS {whole}), CAST(COALESCE(SUM(c.holder_node * c.epoch), 0) AS {whole}), 0
FROM {p}_claim AS c WHERE c.epoch > 0
UNION ALL
SELECT 2, COUNT(*), CAST(COALESCE(SUM(p.id), 0) AS {whole}), CAST(COALESCE(SUM(p.id * p.job_limit), 0) AS {whole}), 0
FROM {p}_project AS p
UNION ALL
SELECT 3, b.node, b.incarnation, b.beat, 0
FROM {rows $1 q(node int, incarnation int)} CROSS JOIN {p}_beat AS b
WHERE b.node = q.node AND b.incarnation = q.incarnation
