-- The history of the cluster, for users.
CREATE TABLE IF NOT EXISTS {p}_history (
  id {serial},
  at_ms {long} NOT NULL,
  kind {name} NOT NULL,
  node {long},
  incarnation {long},
  job {long},
  by_node {long},
  by_incarnation {long},
  evidence {name},
  detail {body}
) {end}
