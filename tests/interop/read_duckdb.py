# SPDX-License-Identifier: MIT
"""Reads container files with DuckDB and its Avro extension; see columns.py."""
from pathlib import Path

import columns
import duckdb
import duckdb_extension_avro

connection = duckdb.connect()
(extension,) = (Path(duckdb_extension_avro.__file__).parent / "extensions").glob(
    f"v{duckdb.__version__}/avro.duckdb_extension")
connection.execute(f"LOAD '{extension}'")


def rows(path):
    # Python's datetime has no nanoseconds; DuckDB's timestamp has.
    about = connection.execute("DESCRIBE SELECT * FROM read_avro(?)", [path]).fetchall()
    columns = [f'epoch_ns("{name}")' if kind == "TIMESTAMP_NS" else f'"{name}"'
               for name, kind, *_ in about]
    names = [name for name, *_ in about]
    found = connection.execute(f"SELECT {', '.join(columns)} FROM read_avro(?)", [path])
    while batch := found.fetchmany(1000):
        yield from (dict(zip(names, row)) for row in batch)


columns.main(rows)
