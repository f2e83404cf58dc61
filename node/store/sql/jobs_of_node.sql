SELECT j.id, j.project, j.priority, j.state, j.epoch, j.holder_node, j.holder_incarnation, j.placed, j.steps, j.external, j.needs
FROM {p}_job AS j WHERE j.holder_node = $1
UNION ALL
SELECT j.id, j.project, j.priority, j.state, j.epoch, j.holder_node, j.holder_incarnation, j.placed, j.steps, j.external, j.needs
FROM {p}_job AS j
WHERE j.state <= 4 AND j.state IN (0, 1) AND j.placed = $1 AND (j.holder_node IS NULL OR j.holder_node <> $1)
