-- Job and epoch name one publication: a manifest that was published since is another one, and stays as it is.
UPDATE {p}_segment SET manifest = $4 WHERE id = {uuid $1} AND state = 1 AND job = {uuid $2} AND epoch = $3
