-- $1 the default. Projects that have no limit of their own get it. A limit of version 3 that equals the default is not the
-- project's own. MySQL assigns from left to right, so the limit comes last.
UPDATE {p}_project
SET own_limit = CASE WHEN own_limit = 2 AND job_limit <> $1 THEN 1 ELSE 0 END,
  job_limit = CASE WHEN own_limit = 0 THEN $1 ELSE job_limit END
WHERE own_limit = 2 OR (own_limit = 0 AND job_limit <> $1)
