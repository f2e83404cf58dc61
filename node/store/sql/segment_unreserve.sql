-- A job that will not publish releases its ranges.
DELETE FROM {p}_segment WHERE job = {uuid $1} AND state = 0
