SELECT name, body, revision, changed_ms FROM {p}_doc WHERE project = $1 AND kind = $2 ORDER BY name
