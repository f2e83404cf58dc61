UPDATE {p}_claim SET holder_node = NULL, holder_incarnation = NULL
WHERE target = $1 AND epoch = $2 AND holder_node = $3 AND holder_incarnation = $4
