UPDATE {p}_project SET job_limit = $2, own_limit = 1 WHERE id = $1
