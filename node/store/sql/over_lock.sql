SELECT id, project, state, jobs FROM {p}_over ORDER BY id LIMIT 4000 {for_update}
