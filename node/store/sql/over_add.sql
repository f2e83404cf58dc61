INSERT INTO {p}_over (project, state, jobs)
SELECT q.project, q.state, q.jobs FROM {rows $1 q(project int, state int, jobs int)}
