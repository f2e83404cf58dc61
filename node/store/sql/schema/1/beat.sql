-- The heartbeat counter of a member. The row exists exactly while the member is alive.
CREATE TABLE IF NOT EXISTS {p}_beat (
  node {long} NOT NULL,
  incarnation {long} NOT NULL,
  beat {long} NOT NULL,
  PRIMARY KEY (node, incarnation)
) {end}
