-- A table or model definition.
CREATE TABLE IF NOT EXISTS {p}_doc (
  project {long} NOT NULL,
  kind {name} NOT NULL,
  name {name} NOT NULL,
  body {body} NOT NULL,
  revision {long} NOT NULL,
  changed_ms {long} NOT NULL,
  PRIMARY KEY (project, kind, name)
) {end}
