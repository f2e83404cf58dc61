-- What is not over and was accepted by version 1 requires what its kind says.
UPDATE {p}_job SET needs = CASE kind WHEN 'build' THEN 1 WHEN 'command' THEN 2 ELSE 0 END WHERE state <= 4
