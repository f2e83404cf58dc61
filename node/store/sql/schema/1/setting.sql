CREATE TABLE IF NOT EXISTS {p}_setting (
  name {name} NOT NULL PRIMARY KEY,
  value {body} NOT NULL
) {end}
