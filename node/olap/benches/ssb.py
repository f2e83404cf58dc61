"""The Star Schema Benchmark at any scale: builds four models by year, checks every index and all 13 queries against DuckDB.

usage: ssb.py KIRIN SCALE [DIR]        e.g. ssb.py target/release/kirin 10 /data/ssb
needs: pip install duckdb tpchgen-cli

The data is derived from TPC-H as the benchmark's specification says (O'Neil, O'Neil, Chen: "Star Schema Benchmark", 2009,
revision 3): one fact table LINEORDER, with CUSTOMER, SUPPLIER, PART and DATE. DIR (default: a temporary directory) keeps
the data and the node's home between runs. Exits with 1 if anything differs from DuckDB.
"""
import base64
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import duckdb

kirin, scale = os.path.abspath(sys.argv[1]), int(sys.argv[2])
root = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else tempfile.mkdtemp(prefix="kirin-ssb-")
data, home = f"{root}/scale-{scale}", f"{root}/home-{scale}"
db = duckdb.connect()
db.execute("set threads = 2; set memory_limit = '8GB'; set preserve_insertion_order = false")

LOOKUPS = {"date": ("lo_orderdate", "d_datekey"), "customer": ("lo_custkey", "c_custkey"),
           "supplier": ("lo_suppkey", "s_suppkey"), "part": ("lo_partkey", "p_partkey")}
ALIAS = {"d": "date_dim", "c": "customer", "s": "supplier", "p": "part"}


def generate():
    os.makedirs(f"{data}/tpch", exist_ok=True)
    if not os.path.exists(f"{data}/tpch/lineitem.parquet"):
        tool = os.path.join(os.path.dirname(sys.executable), "tpchgen-cli")
        subprocess.run([tool, "parquet", "-s", str(scale), "--output-dir", f"{data}/tpch"], check=True)
    for t in ("lineitem", "orders", "customer", "part", "supplier", "nation", "region"):
        db.execute(f"create or replace view tpch_{t} as select * from '{data}/tpch/{t}.parquet'")
    customers, suppliers = 30_000 * scale, 2_000 * scale

    def place(prefix, key):
        return (f"rpad(left(n_name, 9), 9, ' ') || cast(hash({key}) % 10 as varchar) as {prefix}_city, "
                f"n_name as {prefix}_nation, r_name as {prefix}_region")

    def of(table, prefix):
        return f"tpch_{table} join tpch_nation on {prefix}_nationkey = n_nationkey join tpch_region on n_regionkey = r_regionkey"

    tables = {
        "customer": f"select c_custkey::int as c_custkey, {place('c', 'c_custkey')} from {of('customer', 'c')} where c_custkey <= {customers}",
        "supplier": f"select s_suppkey::int as s_suppkey, {place('s', 's_suppkey')} from {of('supplier', 's')} where s_suppkey <= {suppliers}",
        "part": """select p_partkey::int as p_partkey, 'MFGR#' || m as p_mfgr, 'MFGR#' || m || c as p_category,
            'MFGR#' || m || c || (1 + hash(p_partkey) % 40) as p_brand1 from (select p_partkey, right(p_mfgr, 1) m, right(p_brand, 1) c from tpch_part)""",
        "date_dim": """select cast(strftime(d, '%Y%m%d') as int) as d_datekey, year(d)::int as d_year, (year(d) * 100 + month(d))::int as d_yearmonthnum,
            strftime(d, '%b%Y') as d_yearmonth, ((dayofyear(d) - 1) // 7 + 1)::int as d_weeknuminyear
            from range(date '1992-01-01', date '1999-01-01', interval 1 day) t(d)""",
        "lineorder": f"""select (o_custkey % {customers} + 1)::int as lo_custkey, l_partkey::int as lo_partkey, (l_suppkey % {suppliers} + 1)::int as lo_suppkey,
            cast(strftime(o_orderdate, '%Y%m%d') as int) as lo_orderdate, l_quantity::int as lo_quantity, (l_extendedprice * 100)::bigint as lo_extendedprice,
            (l_discount * 100)::int as lo_discount, ((l_extendedprice * 100)::bigint * (100 - (l_discount * 100)::bigint) // 100)::bigint as lo_revenue,
            ((l_extendedprice * 100)::bigint * 6 // (10 * l_quantity::bigint))::bigint as lo_supplycost,
            (l_extendedprice * 100)::bigint * (l_discount * 100)::bigint as lo_discounted from tpch_lineitem join tpch_orders on l_orderkey = o_orderkey""",
    }
    for name, query in tables.items():
        if not os.path.exists(f"{data}/{name}.parquet"):
            db.execute(f"copy ({query}) to '{data}/{name}.parquet.part' (format parquet, compression snappy)")
            os.rename(f"{data}/{name}.parquet.part", f"{data}/{name}.parquet")
        db.execute(f"create or replace view {name} as select * from '{data}/{name}.parquet'")
    return list(tables)


def model(name, lookups, dimensions, sums, indexes):
    def joined(lookup):
        fact, key = LOOKUPS[lookup]
        return {"table": "date_dim" if lookup == "date" else lookup, "join": "inner", "fact_key": [fact], "lookup_key": [key]}

    def dimension(d):
        return {"name": d, "column": f"{'lineorder' if d.startswith('lo_') else ALIAS[d[0]]}.{d}"}

    measures = [{"name": "n", "function": "COUNT"}] + [{"name": s, "function": "SUM", "column": f"lineorder.{s}"} for s in sums.split()]
    return {"name": name, "fact": "lineorder", "lookups": [joined(l) for l in lookups.split()], "measures": measures,
            "dimensions": [dimension(d) for d in dimensions.split()], "indexes": [i.split() for i in indexes],
            "partition": {"column": "lo_orderdate", "format": "yyyyMMdd"}}


MODELS = [
    model("flight1", "date", "d_year d_yearmonthnum d_weeknuminyear lo_discount lo_quantity", "lo_discounted",
          ["d_year lo_discount lo_quantity", "d_yearmonthnum lo_discount lo_quantity", "d_year d_weeknuminyear lo_discount lo_quantity"]),
    model("flight2", "date part supplier", "d_year p_category p_brand1 s_region", "lo_revenue", ["d_year p_category s_region", "d_year p_brand1 s_region"]),
    model("flight3", "customer supplier date", "d_year d_yearmonth c_region c_nation c_city s_region s_nation s_city", "lo_revenue",
          ["d_year c_region c_nation s_region s_nation", "d_year c_nation c_city s_nation s_city", "d_yearmonth c_city s_city d_year"]),
    model("flight4", "date customer supplier part", "d_year c_region c_nation s_region s_nation s_city p_mfgr p_category p_brand1", "lo_revenue lo_supplycost",
          ["d_year c_region c_nation s_region p_mfgr", "d_year c_region s_region s_nation p_mfgr p_category", "d_year c_region s_nation s_city p_category p_brand1"]),
]


def query(select, lookups, where, tail=""):
    joins = " ".join(f"join {'date_dim' if l == 'date' else l} on {LOOKUPS[l][0]} = {LOOKUPS[l][1]}" for l in lookups.split())
    return f"select {select} from lineorder {joins} where {where} {tail}"


ONE, PROFIT = "sum(lo_discounted) as revenue", "sum(lo_revenue) - sum(lo_supplycost) as profit"
CITIES = "(c_city = 'UNITED KI1' or c_city = 'UNITED KI5') and (s_city = 'UNITED KI1' or s_city = 'UNITED KI5')"
YEARS = "d_year between 1992 and 1997"
QUERIES = {
    "1.1": query(ONE, "date", "d_year = 1993 and lo_discount between 1 and 3 and lo_quantity < 25"),
    "1.2": query(ONE, "date", "d_yearmonthnum = 199401 and lo_discount between 4 and 6 and lo_quantity between 26 and 35"),
    "1.3": query(ONE, "date", "d_weeknuminyear = 6 and d_year = 1994 and lo_discount between 5 and 7 and lo_quantity between 26 and 35"),
    "2.1": query("sum(lo_revenue), d_year, p_brand1", "date part supplier", "p_category = 'MFGR#12' and s_region = 'AMERICA'", "group by d_year, p_brand1"),
    "2.2": query("sum(lo_revenue), d_year, p_brand1", "date part supplier", "p_brand1 between 'MFGR#2221' and 'MFGR#2228' and s_region = 'ASIA'", "group by d_year, p_brand1"),
    "2.3": query("sum(lo_revenue), d_year, p_brand1", "date part supplier", "p_brand1 = 'MFGR#2239' and s_region = 'EUROPE'", "group by d_year, p_brand1"),
    "3.1": query("c_nation, s_nation, d_year, sum(lo_revenue)", "customer supplier date", f"c_region = 'ASIA' and s_region = 'ASIA' and {YEARS}", "group by c_nation, s_nation, d_year"),
    "3.2": query("c_city, s_city, d_year, sum(lo_revenue)", "customer supplier date", f"c_nation = 'UNITED STATES' and s_nation = 'UNITED STATES' and {YEARS}", "group by c_city, s_city, d_year"),
    "3.3": query("c_city, s_city, d_year, sum(lo_revenue)", "customer supplier date", f"{CITIES} and {YEARS}", "group by c_city, s_city, d_year"),
    "3.4": query("c_city, s_city, d_year, sum(lo_revenue)", "customer supplier date", f"{CITIES} and d_yearmonth = 'Dec1997'", "group by c_city, s_city, d_year"),
    "4.1": query(f"d_year, c_nation, {PROFIT}", "date customer supplier part", "c_region = 'AMERICA' and s_region = 'AMERICA' and p_mfgr in ('MFGR#1', 'MFGR#2')", "group by d_year, c_nation"),
    "4.2": query(f"d_year, s_nation, p_category, {PROFIT}", "date customer supplier part", "c_region = 'AMERICA' and s_region = 'AMERICA' and d_year in (1997, 1998) and p_mfgr in ('MFGR#1', 'MFGR#2')", "group by d_year, s_nation, p_category"),
    "4.3": query(f"d_year, s_city, p_brand1, {PROFIT}", "date customer supplier part", "c_region = 'AMERICA' and s_nation = 'UNITED STATES' and d_year in (1997, 1998) and p_category = 'MFGR#14'", "group by d_year, s_city, p_brand1"),
}


class Node:
    """A node of its own, with the embedded metastore."""

    def __init__(self):
        subprocess.run(["rm", "-rf", home], check=True)
        os.makedirs(home)
        self.log = open(f"{home}/out.log", "wb")
        self.process = subprocess.Popen([kirin, "start", "--home", home, "--set", "server.port=0"], stdout=self.log, stderr=subprocess.STDOUT, cwd=home)
        deadline = time.monotonic() + 60
        while True:
            text = open(f"{home}/out.log").read()
            password = re.search(r"password[^\n]*?[:= ]+([A-Za-z0-9_-]{8,})", text, re.I)
            address = re.search(r"127\.0\.0\.1:(\d+)", text)
            if password and address:
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the node did not start:\n{text[-2000:]}")
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{address[1]}/kylin/api"
        self.auth = "Basic " + base64.b64encode(f"ADMIN:{password[1]}".encode()).decode()

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method, data=json.dumps(body).encode() if body is not None else None)
        request.add_header("Authorization", self.auth)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=3600) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode()[:2000]}")

    def build(self, name, year):
        start, end = (int(datetime.datetime(y, 1, 1, tzinfo=datetime.timezone.utc).timestamp() * 1000) for y in (year, year + 1))
        job = self.call("POST", f"/models/{name}/segments", {"project": "default", "start": str(start), "end": str(end)})["jobs"][0]["job_id"]
        while (state := self.call("GET", f"/jobs/{job}?project=default"))["job_status"] in ("PENDING", "RUNNING"):
            time.sleep(0.05)
        if state["job_status"] != "FINISHED":
            sys.exit(f"model {name}, year {year}: {json.dumps(state)[:2000]}")


def rows(cells):
    return sorted(tuple(None if c is None else str(c) for c in row) for row in cells)


def main():
    tables = generate()
    node, wrong = Node(), 0
    try:
        for table in tables:
            node.call("POST", "/tables", {"project": "default", "name": table, "source": f"{data}/{table}.parquet"})
        for definition in MODELS:
            name = definition["name"]
            node.call("POST", "/models", definition | {"project": "default"})
            began = time.monotonic()
            for year in range(1992, 1999):
                node.build(name, year)
            took = time.monotonic() - began
            verified = node.call("POST", f"/models/{name}/segments/verification", {"project": "default", "deep": True})["segments"]
            bad = [s for s in verified if s["problems"] or s["unreadable"] or s["unchecked"]]
            wrong += len(bad)
            print(f"{name}: {len(verified)} segments in {took:.1f} s, {sum(s['groups'] for s in verified)} groups, {len(bad)} differ from the source", flush=True)
        for name, sql in QUERIES.items():
            answer = node.call("POST", "/query", {"project": "default", "sql": sql, "limit": 1_000_000})
            times = []
            for _ in range(10):
                began = time.monotonic()
                node.call("POST", "/query", {"project": "default", "sql": sql, "limit": 1_000_000})
                times.append(time.monotonic() - began)
            began = time.monotonic()
            right = db.execute(sql).fetchall()
            duck = time.monotonic() - began
            equal = rows(answer["results"]) == rows(right)
            wrong += not equal
            print(f"{name}: {len(right)} rows {'equal' if equal else 'DIFFERENT'}, index {sorted(times)[5] * 1000:.1f} ms, DuckDB {duck * 1000:.1f} ms")
    finally:
        node.process.terminate()
        node.process.wait(60)
    print(f"scale {scale}: {wrong} differ")
    sys.exit(wrong > 0)


main()
