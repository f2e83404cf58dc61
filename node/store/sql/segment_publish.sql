-- A range that another job reserved is not published. A READY segment gets the manifest of a refresh.
UPDATE {join segment $1 q(segment text, body text, held int, owner text, at int)}
SET state = 1, manifest = q.body, epoch = q.held, job = {uuid q.owner}, changed_ms = q.at
{from} WHERE j.id = {uuid q.segment} AND (j.state = 1 OR j.job = {uuid q.owner})
