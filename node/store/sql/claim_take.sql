-- Epoch and holder are checked under the row lock.
UPDATE {p}_claim SET holder_node = $2, holder_incarnation = $3, epoch = epoch + 1
WHERE target = $1 AND epoch = $4
  AND ($5 = 1 OR holder_node IS NULL OR NOT EXISTS (
    SELECT 1 FROM {p}_beat AS b
    WHERE b.node = {p}_claim.holder_node AND b.incarnation = {p}_claim.holder_incarnation))
