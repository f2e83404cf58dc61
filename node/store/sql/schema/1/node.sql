-- A configured node. `incarnation` is the last one issued.
CREATE TABLE IF NOT EXISTS {p}_node (
  id {serial},
  name {name} NOT NULL UNIQUE,
  incarnation {long} NOT NULL
) {end}
