-- The lock prevents a concurrent drop of the project.
INSERT INTO {p}_doc (project, kind, name, body, revision, changed_ms)
SELECT p.id, $2, $3, $4, 1, $5 FROM {p}_project AS p WHERE p.id = $1 FOR KEY SHARE
ON CONFLICT DO NOTHING
