INSERT INTO {p}_member (node, incarnation, state, role, slots, link, http, version, joined_ms, can)
VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8, $9)
