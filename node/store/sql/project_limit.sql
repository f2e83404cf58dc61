UPDATE {p}_project SET job_limit = $2 WHERE id = $1
