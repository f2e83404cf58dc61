-- One run of one node. state: 0 up, 1 draining, 2 left, 3 fenced. role: 0 all, 1 job, 2 query.
CREATE TABLE IF NOT EXISTS {p}_member (
  node {long} NOT NULL,
  incarnation {long} NOT NULL,
  state {small} NOT NULL,
  role {small} NOT NULL,
  slots {long} NOT NULL,
  link {name} NOT NULL,
  http {name} NOT NULL,
  version {name} NOT NULL,
  joined_ms {long} NOT NULL,
  ended_ms {long},
  ended_by_node {long},
  ended_by_incarnation {long},
  evidence {name},
  PRIMARY KEY (node, incarnation)
) {end}
