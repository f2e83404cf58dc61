-- What the member finds wrong with its working directory, as a sentence.
ALTER TABLE {p}_member ADD COLUMN trouble {body}
