-- The job has just ended in the same transaction.
UPDATE {p}_job SET state = $2, failure = $3, result = NULL WHERE id = $1
