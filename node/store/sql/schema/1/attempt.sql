-- An ended attempt. The current attempt is in the row of the job.
-- outcome: 0 succeeded, 1 failed, 2 vanished, 3 released, 4 taken over, 5 ended with its holder.
CREATE TABLE IF NOT EXISTS {p}_attempt (
  job {long} NOT NULL,
  epoch {long} NOT NULL,
  node {long} NOT NULL,
  incarnation {long} NOT NULL,
  from_step {long} NOT NULL,
  started_ms {long},
  ended_ms {long},
  outcome {small} NOT NULL,
  PRIMARY KEY (job, epoch)
) {end}
