DELETE FROM {p}_step WHERE job = $1
