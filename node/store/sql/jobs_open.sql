-- Two parts, so that each can use its index.
SELECT j.id, j.project, j.priority, j.state, j.epoch, j.holder_node, j.holder_incarnation, j.placed, j.steps, j.external, j.needs
FROM {p}_job AS j WHERE j.state <= 4
UNION ALL
SELECT j.id, j.project, j.priority, j.state, j.epoch, j.holder_node, j.holder_incarnation, j.placed, j.steps, j.external, j.needs
FROM {p}_job AS j WHERE j.state > 4 AND j.holder_node IS NOT NULL
