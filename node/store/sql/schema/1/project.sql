CREATE TABLE IF NOT EXISTS {p}_project (
  id {serial},
  name {name} NOT NULL UNIQUE,
  job_limit {long} NOT NULL,
  description {body} NOT NULL,
  settings {body} NOT NULL,
  created_ms {long} NOT NULL
) {end}
