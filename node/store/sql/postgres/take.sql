-- One statement for many takes. $2: whether the rows of the projects are already locked; $3: the wall-clock time;
-- $4: whether an earlier waiting job that the member can run prevents the take.
-- Verdicts: 0 granted if the row is unchanged when its lock is granted; 1 the project is full;
-- 2 the project may become full through takes that are not visible: lock it and repeat; 3 the job was running when it was read
-- and changed before its lock was granted, possibly to waiting: repeat. Refused takes return no row.
-- `from_step` is set from the locked row. The ended attempt is recorded from what was read.
WITH q AS MATERIALIZED (SELECT * FROM {rows $1 q(job int, seen int, node int, incarnation int)}),
  me AS MATERIALIZED (
    SELECT m.node, m.incarnation, m.can
    FROM (SELECT DISTINCT node, incarnation FROM q) AS d
    JOIN {p}_member AS m ON m.node = d.node AND m.incarnation = d.incarnation
    WHERE m.state = 0
    FOR SHARE OF m),
  old AS MATERIALIZED (
    SELECT j.id, j.project, j.priority, j.state = 2 AS running, j.holder_node, j.holder_incarnation, j.from_step,
      j.taken_ms, v.seen, v.node, v.incarnation
    FROM q AS v
    JOIN me ON me.node = v.node AND me.incarnation = v.incarnation
    JOIN {p}_job AS j ON j.id = v.job
    WHERE j.epoch = v.seen AND j.state <= 2 AND (j.needs & me.can) = j.needs
      AND NOT EXISTS (
        SELECT FROM {p}_beat AS b WHERE b.node = j.holder_node AND b.incarnation = j.holder_incarnation)
      AND ($4 = 0 OR j.state = 2 OR NOT EXISTS (
        SELECT FROM {p}_job AS w
        WHERE w.state <= 4 AND w.state IN (0, 1) AND w.holder_node IS NULL AND (w.needs & me.can) = w.needs
          AND (w.priority, w.id) < (j.priority, j.id)
          AND EXISTS (
            SELECT FROM {p}_project AS p
            WHERE p.id = w.project AND p.job_limit > (
              SELECT count(*) FROM {p}_job AS r
              WHERE r.project = p.id AND r.holder_node IS NOT NULL AND r.state = 2))))),
  room AS MATERIALIZED (
    SELECT p.id, p.job_limit,
      (SELECT count(*) FROM {p}_job AS r
       WHERE r.project = p.id AND r.holder_node IS NOT NULL AND r.state = 2) AS running
    FROM {p}_project AS p WHERE p.id IN (SELECT project FROM old WHERE NOT running)),
  ranked AS (
    SELECT old.*, room.job_limit, room.running AS count,
      row_number() OVER (PARTITION BY old.project, old.running ORDER BY old.priority, old.id) AS nth
    FROM old LEFT JOIN room ON room.id = old.project),
  verdicts AS MATERIALIZED (
    SELECT ranked.*,
      CASE
        WHEN running THEN 0
        WHEN count + nth > job_limit AND ($2 = 1 OR count >= job_limit) THEN 1
        WHEN $2 = 1 THEN 0
        WHEN count + nth + 64 + 2 * (SELECT COALESCE(sum(m.slots), 0) FROM {p}_member AS m WHERE m.state <= 1)
          > job_limit THEN 2
        ELSE 0
      END AS verdict
    FROM ranked),
  hit AS (
    UPDATE {p}_job AS j
    SET state = 2, holder_node = v.node, holder_incarnation = v.incarnation, placed = v.node, epoch = j.epoch + 1,
      from_step = j.steps, taken_ms = $3, started_ms = COALESCE(j.started_ms, $3), ended_ms = NULL, changed_ms = $3
    FROM verdicts AS v
    WHERE v.verdict = 0 AND j.id = v.id AND j.epoch = v.seen AND j.state <= 2 AND (j.state = 2) = v.running
    RETURNING j.id, j.epoch, j.steps, v.seen, v.holder_node, v.holder_incarnation, v.from_step, v.taken_ms),
  ended AS (
    INSERT INTO {p}_attempt (job, epoch, node, incarnation, from_step, started_ms, ended_ms, outcome)
    SELECT id, seen, holder_node, holder_incarnation, from_step, taken_ms, $3, 4
    FROM hit WHERE holder_node IS NOT NULL
    ON CONFLICT DO NOTHING)
SELECT id, 0, epoch, steps FROM hit
UNION ALL
SELECT id, verdict, NULL, NULL FROM verdicts WHERE verdict <> 0
UNION ALL
SELECT id, 3, NULL, NULL FROM verdicts AS v WHERE verdict = 0 AND running AND NOT EXISTS (SELECT FROM hit WHERE hit.id = v.id)
