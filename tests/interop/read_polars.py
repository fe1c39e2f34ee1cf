# SPDX-License-Identifier: MIT
"""Reads container files with polars; see columns.py."""
import columns
import polars


def rows(path):
    yield from polars.read_avro(path).iter_rows(named=True)


columns.main(rows)
