-- Issues the next incarnation. The row stays locked until the join commits.
UPDATE {p}_node SET incarnation = incarnation + 1 WHERE name = $1
