INSERT INTO {p}_history (at_ms, kind, node, incarnation, job, by_node, by_incarnation, evidence, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
