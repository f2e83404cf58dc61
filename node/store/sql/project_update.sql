UPDATE {p}_project SET description = $2, settings = $3 WHERE id = $1
