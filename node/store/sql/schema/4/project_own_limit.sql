-- Whether the limit is the project's own: 0 it is the default of the configuration, 1 it is its own, 2 unknown. Version 3 did
-- not write it, so the first node of version 4 decides.
ALTER TABLE {p}_project ADD COLUMN own_limit {long} NOT NULL DEFAULT 2
