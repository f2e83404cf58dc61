-- The row exists exactly while the member is alive, so a dead member cannot beat.
UPDATE {p}_beat SET beat = beat + 1 WHERE node = $1 AND incarnation = $2
