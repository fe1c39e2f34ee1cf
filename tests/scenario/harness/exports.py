# SPDX-License-Identifier: MIT
"""Recordings for the scenarios of `flotilla export`, and what is to be found in the files that it
writes: a value of a column against what a reader that is not ours gives."""
import json
import math
import random
import struct

import recording_file as files

from . import avro, columns
from .seeds import LONG

TIME = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}}


def rounds(name, count, seed):
    """A source of randomness for each round; more of them in long runs."""
    return [random.Random(f"{name} {seed} {index}") for index in range(count * (10 if LONG else 1))]


def write(path, schema, values, rng=None, block=7):
    """A recording, with arrival times that rise by a millisecond a block from 1 s on."""
    sync = bytes(range(16))
    metadata = {"avro.schema": json.dumps(schema.json).encode(), "avro.codec": b"deflate"}
    out = files.write_header(metadata, sync)
    datums = [avro.encode(schema, value, rng=rng) for value in values]
    for at in range(0, len(datums), block):
        arrival = 10**9 + at // block * 10**6
        out += files.write_block(datums[at:at + block], arrival, sync, len(out))
    path.write_bytes(out)
    return path


def drawn(rng, rows=40):
    """(schema, values): `time` and fields of random types."""
    schema = avro.random_schema(rng, first_fields=[TIME])
    return schema, [avro.random_value(rng, schema, nonfinite=True) for _ in range(rows)]


def time_of(schema):
    """(name, nanoseconds a unit) of the time field, which is the first."""
    field = schema.json["fields"][0]
    return field["name"], {"timestamp-micros": 1000,
                           "timestamp-nanos": 1}[field["type"]["logicalType"]]


def expected(schema, values):
    """(the columns, [what each row has in them])."""
    tree = columns.shape(schema)
    return columns.tops(tree), [columns.cells(tree, value) for value in values]


def narrow(value):
    """As the double that a float is."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def same(kind, found, wanted):
    """Whether a number, text or bytes is what was recorded, to the bit but for a NaN's."""
    if wanted is None or found is None:
        return found is None and wanted is None
    if kind in ("float", "double"):
        found = narrow(found) if kind == "float" else float(found)
        return found == wanted and math.copysign(1, found) == math.copysign(1, wanted) \
            or math.isnan(found) and math.isnan(wanted)
    return type(found) is type(wanted) and found == wanted


REALS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def same_json(column, found, wanted):
    """The same of a column in JSON: an array or map with all that is in it."""
    if wanted is None or found is None:
        return found is None and wanted is None
    if column.kind == "map":
        items = list(found.items())
        return len(items) == len(wanted) and all(
            mine == key and same_item(column, mine_item, item)
            for (mine, mine_item), (key, item) in zip(items, wanted))
    if column.kind == "array":
        return len(found) == len(wanted) and all(
            same_item(column, mine, item) for mine, item in zip(found, wanted))
    if column.kind in ("float", "double"):
        return same(column.kind, REALS.get(found, found), wanted)
    if column.kind in ("bytes", "fixed"):
        found = bytes.fromhex(found)
    return same(column.kind, found, wanted)


def same_item(array, found, wanted):
    below = {item[len(array) + 2:].removeprefix("."): item for item in columns.tops(array.items)}
    if list(below) == [""]:
        return same_json(below[""], found, wanted[below[""]])
    there = [key for key, item in below.items() if wanted[item] is not None]
    return list(found) == there and all(
        same_json(below[key], found[key], wanted[below[key]]) for key in there)
