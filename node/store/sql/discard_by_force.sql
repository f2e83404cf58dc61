-- For any content of the row: the epoch increases, so that every fence is stale, and columns that do not parse are repaired.
UPDATE {p}_job
SET state = 5,
  epoch = CASE WHEN epoch < 0 THEN 1 ELSE epoch + 1 END,
  holder_node = NULL,
  holder_incarnation = NULL,
  placed = NULL,
  steps = CASE WHEN steps < 0 OR steps > 1000000 THEN 0 ELSE steps END,
  priority = CASE WHEN priority < 0 OR priority > 4 THEN 4 ELSE priority END,
  external = CASE WHEN external < 0 OR external > 1 THEN 1 ELSE external END,
  needs = CASE WHEN needs < 0 OR needs > 4294967295 THEN 0 ELSE needs END,
  project = CASE WHEN project < 0 OR project > 4294967295 THEN 0 ELSE project END,
  ended_ms = $2,
  changed_ms = $2
WHERE id = $1
