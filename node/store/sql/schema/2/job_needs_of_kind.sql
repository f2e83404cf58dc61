-- Open jobs of version 1 get the requirements of their kind.
UPDATE {p}_job SET needs = CASE kind WHEN 'build' THEN 1 WHEN 'command' THEN 2 ELSE 0 END WHERE state <= 4
