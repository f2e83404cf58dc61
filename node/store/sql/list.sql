-- Living members, claims, projects: three lists in one reply, distinguished by the first column.
SELECT 0 AS kind, m.node AS a, m.incarnation AS b, m.state AS c, m.role AS d, m.slots AS e, b.beat AS f, '' AS t, m.can AS g
FROM {p}_beat AS b JOIN {p}_member AS m ON m.node = b.node AND m.incarnation = b.incarnation
UNION ALL
SELECT 1, c.holder_node, c.holder_incarnation, 0, 0, 0, c.epoch, c.target, 0 FROM {p}_claim AS c WHERE c.epoch > 0
UNION ALL
SELECT 2, p.id, p.job_limit, 0, 0, 0, 0, '', 0 FROM {p}_project AS p
