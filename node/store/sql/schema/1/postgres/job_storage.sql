-- Room on the page for the versions that a job goes through; long texts out of the way of its many updates.
ALTER TABLE {p}_job SET (fillfactor = 70, toast_tuple_target = 256, autovacuum_vacuum_scale_factor = 0.05)
