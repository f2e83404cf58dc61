-- A job. `id` is the order of acceptance. `uuid` is the public name and the idempotency key of the submit.
-- state: 0 READY, 1 PENDING, 2 RUNNING, 3 ERROR, 4 PAUSED, 5 DISCARDED, 6 SUCCEED, 7 SUICIDAL.
-- `taken_ms` and `from_step`: when the current attempt started, and how many steps were committed before it.
CREATE TABLE IF NOT EXISTS {p}_job (
  id {serial},
  epoch {long} NOT NULL,
  holder_node {long},
  holder_incarnation {long},
  placed {long},
  steps {long} NOT NULL,
  from_step {long} NOT NULL,
  project {long} NOT NULL,
  taken_ms {long},
  created_ms {long} NOT NULL,
  started_ms {long},
  ended_ms {long},
  changed_ms {long} NOT NULL,
  state {small} NOT NULL,
  priority {small} NOT NULL,
  external {small} NOT NULL,
  uuid {guid} NOT NULL UNIQUE,
  kind {name} NOT NULL,
  subject {name} NOT NULL,
  submitter {name} NOT NULL,
  spec {body} NOT NULL,
  progress {body},
  failure {body},
  result {body}
) {end}
