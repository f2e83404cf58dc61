-- How many jobs are over: the sum of `jobs`, without reading as many rows. Whatever ends or deletes jobs adds a row in the
-- same transaction, so that nobody waits for another to count; housekeeping puts them together.
CREATE TABLE IF NOT EXISTS {p}_over (
  id {serial},
  project {long} NOT NULL,
  state {small} NOT NULL,
  jobs {long} NOT NULL
) {end}
