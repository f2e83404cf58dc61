-- Free space on the page for updated versions of a job. Long texts are stored elsewhere.
ALTER TABLE {p}_job SET (fillfactor = 70, toast_tuple_target = 256, autovacuum_vacuum_scale_factor = 0.05)
