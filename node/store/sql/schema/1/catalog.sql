-- Increases whenever documents or built segments of the project change.
CREATE TABLE IF NOT EXISTS {p}_catalog (
  project {long} NOT NULL PRIMARY KEY,
  revision {long} NOT NULL
) {end}
