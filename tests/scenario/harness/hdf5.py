# SPDX-License-Identifier: MIT
"""What columns a table of datums is to have, worked out from schemas and values that never were
bytes (harness/avro.py), and an HDF5 file of `flotilla export` held against them.

columns(schema, values) -> [Column]: one for each leaf, in the order of the schema, ABSENT where a
row has none. An array or a map is one column of lists, whose items are columns again."""
import json
import math
from collections import namedtuple

import h5py
import numpy
import recording_file as files

from . import avro

ABSENT = object()
# `names`: from the outermost field to the column. `values`: by row. Of a list: `items`, columns of
# all items of all rows, one row after the other, and `values` how many each row has.
Column = namedtuple("Column", "names kind part values nullable items")


def columns(schema, values, part=None, space="", names=(), nullable=False, open_types=()):
    kind, part, space = schema.resolve(schema.json if part is None else part, space)
    again = dict(space=space, open_types=open_types)
    if kind == "record":
        if id(part) in open_types:
            return []
        again["open_types"] += (id(part),)
        found = []
        for field in part["fields"]:
            below = [ABSENT if value is ABSENT else value[field["name"]] for value in values]
            found += columns(schema, below, field["type"], names=(*names, field["name"]),
                             nullable=nullable, **again)
        return found
    if kind == "union":
        return union(schema, values, part, names, nullable, again)
    if kind not in ("array", "map"):
        return [Column(names, kind, part, values, nullable, None)]
    counts = [0 if value is ABSENT else len(value) for value in values]
    there = [value for value in values if value is not ABSENT]
    if kind == "array":
        flat = [item for value in there for item in value]
    else:
        flat = [item for value in there for item in value.values()]
    items = columns(schema, flat, part["items" if kind == "array" else "values"], **again)
    if not items:
        return []
    if kind == "map":
        keys = [key for value in there for key in value]
        items.insert(0, Column(("key",), "string", None, keys, False, None))
    known = [ABSENT if value is ABSENT else count for value, count in zip(values, counts)]
    return [Column(names, kind, part, known, nullable, items)]


def union(schema, values, branches, names, nullable, again):
    kinds = [schema.resolve(branch, again["space"]) for branch in branches]
    several = sum(kind != "null" for kind, _, _ in kinds) > 1
    found = []
    for index, (kind, part, space) in enumerate(kinds):
        if kind == "null" and len(branches) > 1:
            continue
        name = schema.full_name(part, space)[0] if isinstance(part, dict) and "name" in part \
            else kind
        below = [value.value if value is not ABSENT and value.index == index else ABSENT
                 for value in values]
        found += columns(schema, below, branches[index],
                         names=(*names, name) if several else names,
                         nullable=nullable or len(branches) > 1, **again)
    return found


# Recordings --------------------------------------------------------------------------------------

def write(path, schema, values, *, datums_a_block=100, time=None, start=1_769_860_800_000_000_000,
          more=()):
    """A recording, as the format's document has it: one block each `datums_a_block`."""
    metadata = [("avro.schema", json.dumps(schema.json).encode()), ("avro.codec", b"deflate"),
                ("flotilla.channel", b"engine")]
    metadata += [("flotilla.time", time.encode())] if time else []
    out = files.write_header(dict(metadata + list(more)), bytes(range(16)))
    for begin in range(0, len(values), datums_a_block):
        datums = [avro.encode(schema, value) for value in values[begin:begin + datums_a_block]]
        out += files.write_block(datums, start + begin * 1000, bytes(range(16)), len(out))
    path.write_bytes(out)


# HDF5 --------------------------------------------------------------------------------------------

def check_hdf5(group, wanted, rows, left_out=()):
    """Holds every dataset below `group` against the columns; `left_out`: names of those that need
    not be there (the time's field, which is `time`)."""
    seen.clear()
    for column in wanted:
        if column.kind == "null" or column.names in left_out:
            continue
        place = group
        for name in column.names[:-1]:
            place = place[name]
        name = column.names[-1] if column.names else "value"
        check_column(place, name, name, column, rows)
    there = {thing.name for thing in datasets(group).values()}
    assert there - {f"{group.name}/time".replace("//", "/")} == seen, there ^ seen


seen = set()  # the datasets that were looked at


def flat(dataset, rows):
    data = dataset[()]
    seen.add(dataset.name)
    assert data.shape[0] == rows, (dataset.name, data.shape, rows)
    return data


def check_column(place, name, stem, column, rows, per_row=None):
    """Values are `name`, what is beside them begins with `stem`; with `per_row` they stand along
    the rows and so many more."""
    total = rows * (per_row or 1)
    where = f"{place.name}/{name}"
    assert len(column.values) == total, where
    absent = [value is ABSENT for value in column.values]
    real = column.kind in ("float", "double")
    if column.nullable and not real:
        valid = flat(place[stem + "_valid"], rows).reshape(total)
        assert [not value for value in valid] == absent, where
    if column.kind == "bytes":
        counts = flat(place[stem + "_count"], rows).reshape(total)
        lengths = [0 if value is ABSENT else len(value) for value in column.values]
        assert list(counts) == lengths, where
        whole = b"".join(value for value in column.values if value is not ABSENT)
        assert flat(place[name], len(whole)).tobytes() == whole, where
    elif column.items is not None:
        check_list(place, name, stem, column, rows, total, absent)
    else:
        check_values(place[name], column, rows, total, absent)


def check_values(dataset, column, rows, total, absent):
    data = flat(dataset, rows)
    size = column.part["size"] if column.kind == "fixed" else None
    data = data.reshape((total, size) if size else total)
    dtype = {"int": "<i4", "long": "<i8", "float": "<f4", "double": "<f8", "boolean": "|i1",
             "enum": "|i1", "fixed": "|u1", "string": "|O"}[column.kind]
    assert data.dtype.str == dtype, (dataset.name, data.dtype)
    for got, value, missing in zip(data, column.values, absent):
        if missing:
            assert column.kind not in ("float", "double") or math.isnan(got), dataset.name
        elif column.kind == "string":
            assert got.decode() == value, (dataset.name, got, value)
        elif column.kind == "fixed":
            assert got.tobytes() == value, (dataset.name, got, value)
        elif column.kind == "enum":
            assert column.part["symbols"][got] == value, (dataset.name, got, value)
        else:
            assert got == value or (got != got and value != value), (dataset.name, got, value)
    if column.kind == "enum":
        said = dataset.attrs["flag_meanings"].decode().split()
        assert said == column.part["symbols"], dataset.name
        assert list(dataset.attrs["flag_values"]) == list(range(len(said))), dataset.name


def check_list(place, name, stem, column, rows, total, absent):
    counts = [0 if missing else count for count, missing in zip(column.values, absent)]
    if stem + "_count" in place:
        found = flat(place[stem + "_count"], rows).reshape(total)
        assert list(found) == counts, (place.name, name)
        below, per_row = sum(counts), None
    else:  # all of one length
        assert len(set(counts)) == 1 and total == rows, (place.name, name)
        below, per_row = rows, counts[0]
    plain = len(column.items) == 1 and not column.items[0].names
    group = place if plain else place[name]
    for item in column.items:
        if item.kind == "null":
            continue
        inside = group
        for part in item.names[:-1]:
            inside = inside[part]
        own = item.names[-1] if item.names else None
        check_column(inside, own or (name if plain else "value"),
                     own or (stem + "_item" if plain else "value"), item, below, per_row)


def datasets(group):
    """{path: dataset} of all that netCDF calls a variable."""
    found = {}

    def see(name, thing):
        if isinstance(thing, h5py.Dataset):
            mark = thing.attrs.get("NAME", b"")
            if not bytes(mark).startswith(b"This is a netCDF dimension but not"):
                found[name] = thing
    group.visititems(see)
    return found


def same(a, b):
    a, b = numpy.asarray(a), numpy.asarray(b)
    if a.dtype.kind == "O":
        a = [x.decode() if isinstance(x, bytes) else str(x) for x in a.ravel()]
        return a == [x.decode() if isinstance(x, bytes) else str(x) for x in b.ravel()]
    return numpy.array_equal(a.ravel(), b.ravel(), equal_nan=a.dtype.kind == "f")
