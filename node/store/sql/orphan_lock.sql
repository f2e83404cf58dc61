-- The jobs that an ending member holds in a state other than RUNNING.
SELECT id, epoch, from_step, taken_ms FROM {p}_job
WHERE holder_node = $1 AND holder_incarnation = $2 AND state <> 2
ORDER BY id {for_update}
