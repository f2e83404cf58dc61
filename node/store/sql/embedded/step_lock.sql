SELECT j.id FROM {rows $1 q(job int, held int, node int, incarnation int, step int)} CROSS JOIN {p}_job AS j
WHERE j.id = q.job AND j.epoch = q.held AND j.holder_node = q.node AND j.holder_incarnation = q.incarnation AND j.state = 2 AND j.steps = q.step
{for_update}
