"""Compares what `cargo run -p kirin-tests --bin edge-values` answered with DuckDB, value by value.

usage: edge_values.py < OUTPUT
Reads one JSON object a line from standard input. Prints the seed, the number and the text of each query whose answer
differs, and exits with 1 if there is any.
"""
import collections
import datetime
import decimal
import json
import math
import re
import sys

import duckdb

# Where Kirin differs on purpose, or DuckDB from PostgreSQL: (name, which side refuses, pattern of its message, reason).
# docs/src/verification/faults.md has the same table.
DELIBERATE = [
    ("refused by Kirin: a sum above BIGINT", "Kirin", r"out of range Int64",
     "SUM of BIGINT is a BIGINT or an error; DuckDB's is a HUGEINT"),
    ("refused by Kirin: an overflow that DuckDB does not compute", "Kirin", r"Overflow happened on|BIGINT overflow|overflow on abs\(",
     "DuckDB compares with another constant instead (i + 1 > 0), or skips the operand; PostgreSQL fails, as Kirin does"),
    ("refused by Kirin: a decimal of more than 38 digits", "Kirin", r"too large to store in a Decimal128|Cannot cast to Decimal128",
     "AVG of DECIMAL(38,0) has four digits after the point, and so 34 before it"),
    ("refused by Kirin: a timestamp and its date as groups beside COUNT(DISTINCT)", "Kirin",
     r"have the same name\. Consider aliasing", "a fault of the engine that is not mended"),
    ("refused by DuckDB: INTEGER overflows", "DuckDB", r"of INT32|type INT32|INT32",
     "Kirin computes with INTEGER as BIGINT"),
    ("refused by DuckDB: an overflow that Kirin does not compute", "DuckDB", r"INT64|on abs\(|negation of numeric",
     "Kirin filters before it computes"),
    ("refused by DuckDB: sums of decimals", "DuckDB", r"HUGEINT|SUM of DECIMAL",
     "Kirin adds up decimals with 76 digits"),
]

decimal.getcontext().prec = 100
db = duckdb.connect()
# As PostgreSQL: NULL is the largest value, and integers divide to integers.
db.execute("set threads = 1; set default_null_order = 'postgres'; set integer_division = true")


def number(text):
    """The number that a cell of Kirin shows; None if it shows none."""
    special = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "infinity": math.inf, "-infinity": -math.inf}
    if text.lower() in special:
        return special[text.lower()]
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:
        return None


def same_number(found, right):
    if isinstance(found, float) or isinstance(right, float) and not math.isfinite(right):
        found, right = float(found), float(right)
        return found == right or math.isnan(found) and math.isnan(right)
    exact = decimal.Decimal(right)
    if found == exact:
        return True
    # Floats are added up in another order. The mean of decimals is a float of DuckDB and a decimal of Kirin, with four
    # digits more than its argument.
    last_digit = decimal.Decimal(1).scaleb(found.as_tuple().exponent)
    tolerance = max(decimal.Decimal("1e-9") * max(abs(found), abs(exact)), last_digit if last_digit < 1 else 0)
    return isinstance(right, float) and abs(found - exact) <= tolerance


def same(found, right):
    if found is None or right is None:
        return found is None and right is None
    if isinstance(right, bool):
        return found == ("true" if right else "false")
    if isinstance(right, (int, float, decimal.Decimal)):
        shown = number(found)
        return shown is not None and same_number(shown, right)
    if isinstance(right, datetime.datetime):
        date, _, time = found.partition(" ")
        clock, _, fraction = time.partition(".")
        return (date, clock or "00:00:00", fraction.ljust(6, "0")) == (
            right.date().isoformat(), right.strftime("%H:%M:%S"), f"{right.microsecond:06}")
    if isinstance(right, datetime.date):
        return found == right.isoformat()
    return found == right


def equal(found, right):
    return len(found) == len(right) and all(
        len(a) == len(b) and all(same(x, y) for x, y in zip(a, b)) for a, b in zip(found, right))


def deliberate(side, message):
    for name, whose, pattern, _ in DELIBERATE:
        if whose == side and re.search(pattern, message):
            return name
    return None


def duckdb_says(sql):
    try:
        return db.execute(sql).fetchall(), None
    except duckdb.Error as error:
        return None, str(error)


rights = {}
seen = collections.Counter()
differing = 0
for line in sys.stdin:
    if not line.startswith("{"):
        continue
    line = json.loads(line)
    if "table" in line:
        db.execute(f"create table {line['table']} as select * from '{line['path']}'")
        continue
    sql = line["query"]
    if sql not in rights:
        rights[sql] = duckdb_says(sql)
    right, refused = rights[sql]
    where = f"seed {line['seed']}, query {line['number']}, {'indexes' if line['index'] else 'raw tables'}: {sql}"
    if "error" in line and refused:
        seen["refused by both"] += 1
    elif "error" in line:
        name = deliberate("Kirin", line["error"])
        seen[name or "refused by Kirin alone"] += 1
        if name is None:
            differing += 1
            print(f"{where}\n  Kirin refuses: {line['error']}\n  DuckDB: {str(right[:3])[:300]}")
    elif refused:
        name = deliberate("DuckDB", refused)
        seen[name or "refused by DuckDB alone"] += 1
        if name is None:
            differing += 1
            print(f"{where}\n  DuckDB refuses: {refused}\n  Kirin: {str(line['rows'][:3])[:300]}")
    elif equal(line["rows"], right):
        seen["equal, from an index" if line["indexes"] else "equal, from raw tables"] += 1
    else:
        differing += 1
        seen["differ"] += 1
        wrong = [(a, b) for a, b in zip(line["rows"], right) if not equal([a], [b])]
        print(f"{where}\n  {len(line['rows'])} and {len(right)} rows; found and right: {str(wrong[:3])[:400]}")

for name, count in sorted(seen.items()):
    print(f"{count:6} {name}")
from_index = seen["equal, from an index"]
print(f"{len(rights)} queries compared with DuckDB {duckdb.__version__}, {differing} answers differ")
# The generator must reach what it is for.
sys.exit(differing > 0 or from_index < len(rights) // 10 or len(rights) == 0)
