-- A committed step of a job.
CREATE TABLE IF NOT EXISTS {p}_step (
  job {long} NOT NULL,
  idx {long} NOT NULL,
  epoch {long} NOT NULL,
  node {long} NOT NULL,
  started_ms {long},
  ended_ms {long},
  name {name} NOT NULL,
  result {body},
  PRIMARY KEY (job, idx)
) {end}
