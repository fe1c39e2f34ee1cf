# SPDX-License-Identifier: MIT
"""Reads container files with python3-avro (the Apache project's own); see canonical.py."""
import json
import sys

import avro.datafile
import avro.io
import avro.schema

import canonical


def values(path):
    with open(path, "rb") as file:
        reader = avro.datafile.DataFileReader(file, avro.io.DatumReader())
        plain = canonical.without_logical_types(json.loads(reader.meta["avro.schema"]))
        reader.datum_reader.writers_schema = avro.schema.parse(json.dumps(plain))
        yield from reader


for name in sys.argv[1:]:
    try:
        print(name, *canonical.of_values(values(name)), sep="\t")
    except Exception as error:  # whatever it is, it is the answer for this file
        print(name, "error", f"{type(error).__name__}: {error}".replace("\n", " "), sep="\t")
