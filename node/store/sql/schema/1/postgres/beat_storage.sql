ALTER TABLE {p}_beat SET (fillfactor = 20)
