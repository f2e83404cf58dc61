-- A hint: the member row to lock before the row of the job. The update checks that the holding is unchanged.
SELECT holder_node, holder_incarnation, from_step, taken_ms, {text uuid}, project FROM {p}_job WHERE id = $1
