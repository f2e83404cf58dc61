-- What the member is able to run: a set of bits. A program of version 1 does not say: it runs builds (1) and commands (2).
ALTER TABLE {p}_member ADD COLUMN can {long} NOT NULL DEFAULT 3
