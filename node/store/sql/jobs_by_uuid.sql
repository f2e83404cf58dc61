SELECT j.id, j.project, j.priority, j.state, j.epoch, j.holder_node, j.holder_incarnation, j.placed, j.steps, j.external, j.needs,
  {text j.uuid}
FROM {rows $1 q(name text)} CROSS JOIN {p}_job AS j WHERE j.uuid = {uuid q.name}
