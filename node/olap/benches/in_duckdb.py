#!/usr/bin/env python3
"""The demo model's indexes as GROUP BYs written by hand in DuckDB, for comparison with `cargo bench -p kirin-olap`.

    python3 -m venv /tmp/duckdb && /tmp/duckdb/bin/pip install 'duckdb<2'
    /tmp/duckdb/bin/python node/olap/benches/in_duckdb.py [threads]

Three ways, best of five each, every index written to Parquet as Kirin writes it: "direct" joins and groups the source
files once per index, as one would by hand; "flat" joins once into a table in memory and groups that;
"cascade" groups each index from the smallest one before it that covers it.
"""

import itertools
import os
import shutil
import sys
import tempfile
import time

import duckdb

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "nycflights13")
DIMENSIONS = {
    "month": "f.month", "hour": "f.hour", "origin": "f.origin", "dest": "f.dest", "dest_faa": "ap.faa",
    "dest_name": "ap.name", "carrier": "f.carrier", "airline_carrier": "al.carrier", "airline": "al.name",
    "manufacturer": "p.manufacturer", "engine": "p.engine",
}
# name, function, merged by, source
MEASURES = [
    ("n", "count(*)", "sum", None),
    ("distance_sum", "sum", "sum", "f.distance"), ("distance_max", "max", "max", "f.distance"),
    ("air_time_sum", "sum", "sum", "f.air_time"),
    ("dep_delay_sum", "sum", "sum", "f.dep_delay"), ("dep_delay_count", "count", "sum", "f.dep_delay"),
    ("dep_delay_max", "max", "max", "f.dep_delay"),
    ("arr_delay_sum", "sum", "sum", "f.arr_delay"), ("arr_delay_count", "count", "sum", "f.arr_delay"),
    ("arr_delay_min", "min", "min", "f.arr_delay"), ("arr_delay_max", "max", "max", "f.arr_delay"),
    ("wind_sum", "sum", "sum", "w.wind_speed"), ("wind_count", "count", "sum", "w.wind_speed"),
    ("precip_max", "max", "max", "w.precip"),
]
AIRLINE = ["carrier", "airline_carrier", "airline"]
DEST = ["dest", "dest_faa", "dest_name"]
INDEXES = [list(DIMENSIONS)]
for extra in itertools.chain.from_iterable(itertools.combinations(["month", "origin"], n) for n in range(3)):
    INDEXES.append(list(extra) + AIRLINE)
INDEXES += [
    ["month", "hour"], ["month", "origin"], ["hour", "origin"], ["month"], ["origin"],
    ["origin"] + DEST, DEST, ["month", "origin"] + DEST + AIRLINE,
    ["manufacturer", "engine"], AIRLINE + ["manufacturer", "engine"],
]
INDEXES.sort(key=lambda index: -len(index))
STAR = f"""'{DATA}/flights.parquet' f
    LEFT JOIN '{DATA}/airlines.parquet' al ON f.carrier = al.carrier
    LEFT JOIN '{DATA}/airports.parquet' ap ON f.dest = ap.faa
    LEFT JOIN '{DATA}/planes.parquet' p ON f.tailnum = p.tailnum
    LEFT JOIN '{DATA}/weather.parquet' w ON f.origin = w.origin AND f.time_hour = w.time_hour"""


def copy(con, sql, path):
    con.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, COMPRESSION snappy)")
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def grouped(index, columns, measures, source):
    select = [f"{columns[d]} AS {d}" for d in index] + measures
    return f"SELECT {', '.join(select)} FROM {source} GROUP BY {', '.join(columns[d] for d in index)}"


def from_source():
    return [f"{fn} AS {name}" if src is None else f"{fn}({src}) AS {name}" for name, fn, _, src in MEASURES]


def from_flat():
    return [f"{fn} AS {name}" if src is None else f"{fn}({src.replace('.', '_')}) AS {name}" for name, fn, _, src in MEASURES]


def direct(con, out):
    for i, index in enumerate(INDEXES):
        copy(con, grouped(index, DIMENSIONS, from_source(), STAR), f"{out}/{i}.parquet")


def flat(con, out):
    sources = sorted({src for *_, src in MEASURES if src})
    columns = [f"{c} AS {d}" for d, c in DIMENSIONS.items()] + [f"{s} AS {s.replace('.', '_')}" for s in sources]
    con.execute(f"CREATE OR REPLACE TABLE flat AS SELECT {', '.join(columns)} FROM {STAR}")
    for i, index in enumerate(INDEXES):
        copy(con, grouped(index, {d: d for d in index}, from_flat(), "flat"), f"{out}/{i}.parquet")


def cascade(con, out):
    built = []
    merged = [f"{merge}({name}) AS {name}" for name, _, merge, _ in MEASURES]
    for i, index in enumerate(INDEXES):
        path = f"{out}/{i}.parquet"
        parents = [(rows, p) for rows, p, dims in built if set(index) <= set(dims)]
        if parents:
            copy(con, grouped(index, {d: d for d in index}, merged, f"'{min(parents)[1]}'"), path)
        else:
            copy(con, grouped(index, DIMENSIONS, from_source(), STAR), path)
        built.append((con.execute(f"SELECT count(*) FROM '{path}'").fetchone()[0], path, index))


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count()
    print(f"DuckDB {duckdb.__version__}, {threads} threads, {len(INDEXES)} indexes")
    for way in (direct, flat, cascade):
        times = []
        for _ in range(5):
            out = tempfile.mkdtemp()
            con = duckdb.connect()
            con.execute(f"SET threads = {threads}")
            began = time.monotonic()
            way(con, out)
            times.append((time.monotonic() - began) * 1000)
            con.close()
            shutil.rmtree(out)
        times.sort()
        print(f"{way.__name__:8} median {times[2]:.0f} ms, best {times[0]:.0f} ms")


if __name__ == "__main__":
    main()
