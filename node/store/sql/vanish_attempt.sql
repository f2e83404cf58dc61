UPDATE {p}_attempt SET outcome = $3 WHERE job = $1 AND epoch = $2
