SELECT j.id, j.from_step, j.taken_ms, j.project FROM {rows $1 q(job int, held int, node int, incarnation int)} CROSS JOIN {p}_job AS j
WHERE j.id = q.job AND j.epoch = q.held AND j.holder_node = q.node AND j.holder_incarnation = q.incarnation AND j.state = 2
{for_update}
