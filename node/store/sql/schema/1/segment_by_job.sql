CREATE INDEX {p}_segment_by_job ON {p}_segment (job)
