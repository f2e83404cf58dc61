-- A job that will never publish gives its ranges back.
DELETE FROM {p}_segment WHERE job = {uuid $1} AND state = 0
