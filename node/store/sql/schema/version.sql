-- Which migrations were applied.
CREATE TABLE IF NOT EXISTS {p}_schema (
  version {int} NOT NULL PRIMARY KEY,
  at_ms {long} NOT NULL
) {end}
