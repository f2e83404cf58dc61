-- Locked in share mode: a transaction that ends or drains this member waits for this one, or this one sees its effect.
SELECT incarnation FROM {p}_member WHERE node = $1 AND incarnation = $2 AND state = 0 {for_share}
