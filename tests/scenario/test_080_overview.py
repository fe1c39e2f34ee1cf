# SPDX-License-Identifier: MIT
"""080-overview: the levels of an overview are the minima and maxima of the recordings' windows, on
random schemas against a reference written another way, and read by fastavro and polars; the peak
of a single datum is on every level; schema changes, clocks that go back, times of every kind."""
import json

import fastavro
import pytest
from harness import avro, levels, signals
from harness.avro import Branch
from harness.decimation import Reference, dumped, extreme
from harness.fleet import LONG, Fleet, flotilla, new_folder, wait_until
from harness.levels import SECOND, START

TIME = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}}
COUNTER = {"name": "counter", "type": "long"}


class Mixed(Exception):
    """Not of one shape."""


class Levels(Reference):
    """Minima and maxima as avro/decimator has them, and arrays, enums and booleans as well."""

    def __init__(self, schema, time=None, sequence=None):
        super().__init__(schema, "min-max", time, sequence)

    def merge(self, part, space, present, last, path, enclosing, high):
        kind, part, space = self.schema.resolve(self.schema.json if part is None else part, space)
        if kind == "array":
            try:
                return self.items(part, space, present, high)
            except Mixed:
                return last
        if kind in ("enum", "boolean"):
            return self.highest(kind, part, present) if high else last
        if kind == "union" and high and len(part) == 2 and part[last.index] == "null":
            other = self.schema.resolve(part[1 - last.index], space)
            there = [value.value for value in present if value.index != last.index]
            if other[0] in ("enum", "boolean") and there:
                return Branch(1 - last.index, self.highest(other[0], other[1], there))
        return super().merge(part, space, present, last, path, enclosing, high)

    @staticmethod
    def highest(kind, part, present):
        return any(present) if kind == "boolean" else max(present, key=part["symbols"].index)

    def items(self, part, space, present, high):
        """What stands in an array: by its place, if all have the same places."""
        kind, part, space = self.schema.resolve(part, space)
        last = present[-1]
        if kind == "array":
            if len({len(value) for value in present}) > 1:
                raise Mixed
            return [self.items(part["items"], space, [value[place] for value in present], high)
                    for place in range(len(last))]
        if kind == "union":
            if len({value.index for value in present}) > 1:
                raise Mixed
            return Branch(last.index, self.items(part[last.index], space,
                                                 [value.value for value in present], high))
        if kind == "record":
            return {field["name"]: self.items(field["type"], space,
                                              [value[field["name"]] for value in present], high)
                    for field in part["fields"]}
        if kind in ("int", "long", "float", "double"):
            return extreme(present, high)
        if kind in ("enum", "boolean") and high:
            return self.highest(kind, part, present)
        return last


@pytest.fixture
def folder(request):
    import shutil
    made = new_folder()
    yield made / "c"
    shutil.rmtree(made)


def in_blocks(rng, datums, times):
    """[(arrival, datums)] of some datums each."""
    blocks, at = [], 0
    while at < len(datums):
        some = rng.randint(1, 40)
        blocks.append((times[at], datums[at:at + some]))
        at += some
    return blocks


def windows(values, size):
    return [values[at:at + size] for at in range(0, len(values), size)]


@pytest.mark.parametrize("number", range(60 if LONG else 12))
def test_080_windows_of_random_schemas(rng, folder, number):
    """Level 1 to the last value; level 2 is what min-max makes of level 1."""
    schema = avro.random_schema(rng, first_fields=(TIME, COUNTER))
    values = [avro.random_value(rng, schema, nonfinite=number % 3 == 0)
              for _ in range(rng.randint(100, 400))]
    steady = rng.random() < 0.5  # arrays of equal length
    for index, value in enumerate(values):
        if steady:
            value.update({name: values[0][name] for name in value
                          if isinstance(value[name], list)})
        value["time"], value["counter"] = START + index * 1_000_000, index
    encoded = [avro.encode(schema, value, rng=rng) for value in values]
    times = [value["time"] for value in values]
    half = rng.randint(1, len(values) - 1)
    for part, (begin, end) in enumerate([(0, half), (half, len(values))]):
        levels.write_recording(folder, json.dumps(schema.json),
                               in_blocks(rng, encoded[begin:end], times[begin:end]),
                               number=part + 1, time=b"time", sequence=b"counter")
    levels.build(folder)
    reference, below = Levels(schema, "time", "counter"), values
    for level, size in ((50, 50), (2500, 100)):
        wanted = []
        for window in windows(below, size):
            for high in (False, True):
                one = reference.merge(None, "", window, window[-1], (), (), high)
                one["time"] = window[-1 if high else 0]["time"]
                wanted.append(one)
        got = levels.level_values(folder, level, schema)
        assert len(got) == len(wanted)
        for mine, theirs in zip(got, wanted):
            assert dumped(mine) == dumped(theirs), (level, mine, theirs)
        below = got
    for path in (folder / "overview").glob("*.avro*"):
        with open(path, "rb") as file:
            reader = fastavro.reader(file)
            assert reader.metadata["flotilla.factor"] in path.name
            assert reader.metadata["flotilla.source"].startswith("c-")
            sum(1 for _ in reader)
    flotilla("verify", folder / "overview", check=0)
