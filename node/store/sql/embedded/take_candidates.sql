-- READY, PENDING or RUNNING, with the epoch that was read, without a living holder, and within the capabilities of the taker.
-- `can` contains the capabilities in the locked row of the taker.
SELECT j.id, j.project, j.priority, j.state, j.steps, j.holder_node, j.holder_incarnation, j.from_step, j.taken_ms
FROM {rows $1 q(job int, seen int, can int)} CROSS JOIN {p}_job AS j
WHERE j.id = q.job AND j.epoch = q.seen AND j.state <= 2 AND (j.needs & q.can) = j.needs
  AND NOT EXISTS (
    SELECT 1 FROM {p}_beat AS b WHERE b.node = j.holder_node AND b.incarnation = j.holder_incarnation)
{for_update}
