SELECT m.node, m.incarnation, n.name, m.state, m.role, m.slots, m.link, m.http, m.version, m.joined_ms, m.ended_ms,
  m.ended_by_node, m.ended_by_incarnation, m.evidence, m.can, m.token, m.trouble
FROM {p}_member AS m JOIN {p}_node AS n ON n.id = m.node
WHERE m.state <= $1 ORDER BY n.name, m.incarnation
