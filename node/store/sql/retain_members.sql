-- Dead members without a job or claim that refers to them.
SELECT m.node, m.incarnation FROM {p}_member AS m
WHERE m.state > 1 AND m.ended_ms < $1
  AND NOT EXISTS (SELECT 1 FROM {p}_job AS j WHERE j.holder_node = m.node AND j.holder_incarnation = m.incarnation)
  AND NOT EXISTS (SELECT 1 FROM {p}_claim AS c WHERE c.holder_node = m.node AND c.holder_incarnation = m.incarnation)
LIMIT 500
