-- Silence is evidence only if the beat is still the one that was seen.
DELETE FROM {p}_beat WHERE node = $1 AND incarnation = $2 AND beat = $3
