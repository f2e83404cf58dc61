-- The number of finished jobs: the sum of `jobs`. Transactions that finish or delete jobs add a row, so that they
-- do not wait for each other. Housekeeping replaces rows by their sums.
CREATE TABLE IF NOT EXISTS {p}_over (
  id {serial},
  project {long} NOT NULL,
  state {small} NOT NULL,
  jobs {long} NOT NULL
) {end}
