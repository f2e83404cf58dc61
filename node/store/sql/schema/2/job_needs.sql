-- What a node must be able to run to take the job. A program of version 1 does not say, and never looked.
ALTER TABLE {p}_job ADD COLUMN needs {long} NOT NULL DEFAULT 0
