-- A hint: whose member row to lock before the job's row. The update checks that it still is the same holding.
SELECT holder_node, holder_incarnation, from_step, taken_ms, {text uuid}, project FROM {p}_job WHERE id = $1
