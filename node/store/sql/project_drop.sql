-- Waits for the submits that hold the row in share mode.
DELETE FROM {p}_project WHERE id = $1
