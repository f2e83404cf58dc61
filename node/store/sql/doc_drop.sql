DELETE FROM {p}_doc WHERE project = $1 AND kind = $2 AND name = $3 AND revision = $4
