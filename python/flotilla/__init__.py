# SPDX-License-Identifier: MIT
"""Flotilla's recordings and live streams, for people who work in notebooks.

    import flotilla

    frame = flotilla.read("recordings/engine", "-10min")              # a pandas.DataFrame
    frame = flotilla.read("recordings/engine", fields=["speed"], into="polars")
    small = flotilla.read("recordings/engine", points=2000)           # min and max
    for datum in flotilla.live("239.12.0.2:26002", "schemas/engine.avsc", interface="eth0"):
        ...

Pure Python over numpy and fastavro; faster where polars is installed. Recordings need no package at
all: they are Avro container files, which fastavro, polars, DuckDB and Spark open by themselves.
"""
from ._container import DamageWarning, FormatError
from ._live import Live, live
from ._read import read, recordings

__all__ = ["DamageWarning", "FormatError", "Live", "live", "read", "recordings"]
__version__ = "0.1.0"
