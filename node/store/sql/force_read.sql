SELECT j.id, j.state, j.project, j.ended_ms, j.epoch FROM {p}_job AS j WHERE j.uuid = {uuid $1} {for_update}
