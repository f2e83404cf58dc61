-- $4 the new state, $5 whether to delete the steps, $7 whether the holder is dead.
UPDATE {p}_job
SET state = $4,
  placed = CASE WHEN $4 = 0 THEN NULL ELSE placed END,
  steps = CASE WHEN $5 = 1 THEN 0 ELSE steps END,
  progress = CASE WHEN $5 = 1 THEN NULL ELSE progress END,
  failure = CASE WHEN $4 = 0 THEN NULL ELSE failure END,
  result = CASE WHEN $4 = 0 THEN NULL ELSE result END,
  ended_ms = CASE WHEN $4 = 5 THEN $6 ELSE NULL END,
  changed_ms = $6,
  holder_node = CASE WHEN $7 = 1 THEN NULL ELSE holder_node END,
  holder_incarnation = CASE WHEN $7 = 1 THEN NULL ELSE holder_incarnation END
WHERE id = $1 AND epoch = $2 AND state = $3
