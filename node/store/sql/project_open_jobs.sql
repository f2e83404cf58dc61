SELECT COUNT(*) FROM {p}_job WHERE project = $1 AND (state <= 4 OR holder_node IS NOT NULL)
