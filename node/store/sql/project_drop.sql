-- Waits for submits that lock the row in share mode.
DELETE FROM {p}_project WHERE id = $1
