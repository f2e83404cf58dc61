SELECT project, {text uuid} FROM {p}_job WHERE id = $1
