-- Job and epoch identify one publication. A manifest that was published later is unchanged.
UPDATE {p}_segment SET manifest = $4 WHERE id = {uuid $1} AND state = 1 AND job = {uuid $2} AND epoch = $3
