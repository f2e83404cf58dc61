-- The capabilities that a node needs to take the job. Version 1 neither wrote nor read it.
ALTER TABLE {p}_job ADD COLUMN needs {long} NOT NULL DEFAULT 0
