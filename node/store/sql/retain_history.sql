SELECT id FROM {p}_history WHERE at_ms < $1 ORDER BY id LIMIT 500
