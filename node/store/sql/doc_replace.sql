UPDATE {p}_doc SET body = $4, revision = revision + 1, changed_ms = $5
WHERE project = $1 AND kind = $2 AND name = $3 AND revision = $6
