-- The token that the member wrote into the working directory, where the other members look for it.
ALTER TABLE {p}_member ADD COLUMN token {name}
