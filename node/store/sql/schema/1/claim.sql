-- Holdings other than jobs: `leader`, `project/<id>`.
CREATE TABLE IF NOT EXISTS {p}_claim (
  target {name} NOT NULL PRIMARY KEY,
  holder_node {long},
  holder_incarnation {long},
  epoch {long} NOT NULL
) {end}
