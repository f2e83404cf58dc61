-- The problem with the member's working directory, as a sentence.
ALTER TABLE {p}_member ADD COLUMN trouble {body}
