-- A configured machine. `incarnation` is the last one that was issued.
CREATE TABLE IF NOT EXISTS {p}_node (
  id {serial},
  name {name} NOT NULL UNIQUE,
  incarnation {long} NOT NULL
) {end}
