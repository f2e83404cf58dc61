-- No row means no project.
SELECT COALESCE(c.revision, 0) FROM {p}_project AS p LEFT JOIN {p}_catalog AS c ON c.project = p.id WHERE p.id = $1
