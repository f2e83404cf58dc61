SELECT {text s.id}, s.project, s.model, s.start_ms, s.end_ms, s.state, {text s.job}, s.epoch, s.created_ms, s.changed_ms, s.manifest
FROM {p}_segment AS s WHERE s.id = {uuid $1}
