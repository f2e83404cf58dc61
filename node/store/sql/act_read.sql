-- A hint: whose member row to lock before the job's row. The epoch is checked by the update.
SELECT holder_node, holder_incarnation, from_step, taken_ms, {text uuid} FROM {p}_job WHERE id = $1 AND epoch = $2
