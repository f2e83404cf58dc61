-- The applied migrations.
CREATE TABLE IF NOT EXISTS {p}_schema (
  version {int} NOT NULL PRIMARY KEY,
  at_ms {long} NOT NULL
) {end}
