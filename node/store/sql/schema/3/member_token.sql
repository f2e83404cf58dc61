-- What the member wrote into the working directory; its peers look for it there.
ALTER TABLE {p}_member ADD COLUMN token {name}
