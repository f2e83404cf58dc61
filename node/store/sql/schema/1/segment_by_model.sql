CREATE INDEX {p}_segment_by_model ON {p}_segment (project, model, start_ms)
