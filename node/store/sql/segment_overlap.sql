-- The row of the project is locked, so no other transaction reserves a range in it.
SELECT {text s.id} FROM {rows $1 q(model text, start_at int, end_at int)} CROSS JOIN {p}_segment AS s
WHERE s.project = $2 AND s.model = q.model AND s.start_ms < q.end_at AND q.start_at < s.end_ms
