"""Compares what `cargo run -p kirin-tests --bin at-size` built and answered with DuckDB, group by group.

usage: at_size.py < OUTPUT
Reads one JSON object a line from standard input. Exits with 1 if anything differs.
"""
import json
import sys

import duckdb

db = duckdb.connect()
db.execute("set threads = 2; set memory_limit = '6GB'")
lines = [json.loads(line) for line in sys.stdin if line.startswith("{")]
for line in lines:
    if "table" in line:
        db.execute(f"create view {line['table']} as select * from '{line['path']}'")
star = "f left join places on f.k4 = places.name"
# What DuckDB finds, by the columns of an index; made once.
truths = {}
indexes = differing = 0


def truth(columns):
    """A table with the groups of these columns, each `alias.column` or `function(alias.column)`."""
    key = tuple(columns)
    if key not in truths:
        dimensions = [c for c in columns if "(" not in c]
        name = f"truth_{len(truths)}"
        select = ", ".join(f'{c} as "{c}"' for c in columns)
        db.execute(f"create table {name} as select {select} from {star} group by {', '.join(dimensions)}")
        truths[key] = name
    return truths[key]


for line in lines:
    if "build" not in line:
        continue
    for layout, index in line["layouts"].items():
        columns = [c["name"] for c in index["columns"]]
        names = ", ".join(f'"{c}"' for c in columns)
        found = f"select {names} from read_parquet({index['files']})"
        right = f"select {names} from {truth(columns)}"
        query = f"select (select count(*) from ({found} except all {right})), (select count(*) from ({right} except all {found}))"
        wrong, missing = db.execute(query).fetchone()
        indexes += 1
        if wrong or missing:
            differing += 1
            print(f"build {line['build']} with {line['threads']} threads, index {layout}: {wrong} wrong groups, {missing} missing")


def plain(cell):
    return None if cell is None else str(cell)


rights = {}
answers = refused = 0
for line in lines:
    if "query" not in line:
        continue
    where = f"{'indexes' if line['index'] else 'raw tables'}, {line['threads']} threads, {line['memory']} MiB: {line['query']}"
    if "error" in line:
        # A query that does not fit in memory must say so.
        refused += 1
        if "memory" not in line["error"] and "Resources" not in line["error"]:
            differing += 1
            print(f"{where}\n  failed: {line['error']}")
        continue
    answers += 1
    sql = line["query"]
    if sql not in rights:
        rights[sql] = [[plain(c) for c in row] for row in db.execute(sql).fetchall()]
    right = rights[sql]
    if right != line["rows"]:
        differing += 1
        print(f"{where}\n  found {line['rows'][:3]}\n  right {right[:3]}")

print(f"{indexes} indexes and {answers} answers compared with DuckDB {duckdb.__version__}, {refused} queries refused for memory, {differing} differ")
sys.exit(differing > 0 or indexes == 0 or answers == 0)
