-- Both members of a fence, always in the same order, so that two members that fence each other do not deadlock.
SELECT node, incarnation, state FROM {p}_member
WHERE (node = $1 AND incarnation = $2) OR (node = $3 AND incarnation = $4)
ORDER BY node, incarnation {for_update}
