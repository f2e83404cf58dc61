-- The capabilities of the member, as bits. Version 1 did not write it: it runs builds (1) and commands (2).
ALTER TABLE {p}_member ADD COLUMN can {long} NOT NULL DEFAULT 3
