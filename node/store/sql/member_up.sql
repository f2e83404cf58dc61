-- Locked in share mode: whoever ends or drains this member waits for us, or we see what it did.
SELECT incarnation FROM {p}_member WHERE node = $1 AND incarnation = $2 AND state = 0 {for_share}
