SELECT j.id, j.project, j.priority, j.state, j.epoch, j.holder_node, j.holder_incarnation, j.placed, j.steps, j.external, j.needs
FROM {rows $1 q(job int)} CROSS JOIN {p}_job AS j WHERE j.id = q.job
