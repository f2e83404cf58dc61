-- A range of a model: reserved (state 0, NEW) or built (1, READY). Half-open: start_ms <= t < end_ms.
CREATE TABLE IF NOT EXISTS {p}_segment (
  id {guid} NOT NULL PRIMARY KEY,
  project {long} NOT NULL,
  model {name} NOT NULL,
  start_ms {long} NOT NULL,
  end_ms {long} NOT NULL,
  state {small} NOT NULL,
  job {guid} NOT NULL,
  epoch {long} NOT NULL,
  created_ms {long} NOT NULL,
  changed_ms {long} NOT NULL,
  manifest {body}
) {end}
