# SPDX-License-Identifier: MIT
"""002-readers: recordings of random schemas of every type, full, rotated and still open, read
datum for datum by five independent readers. Prints the table readers x files."""
import json
import math

import canonical
import pytest
from harness import avro, closing, readers
from harness.fleet import LONG, Fleet, wait_until

SCHEMAS = {False: 120 if LONG else 30, True: 120 if LONG else 12}  # also: in rotated files
KINDS = set(avro.PRIMITIVES) | {"record", "enum", "fixed", "array", "map", "union"}


def every_type():
    """A schema by hand in which nothing is left to chance."""
    return avro.Schema({"type": "record", "name": "All", "namespace": "flotilla.test", "fields": [
        *({"name": f"a_{kind}", "type": kind} for kind in avro.PRIMITIVES),
        {"name": "b_enum", "type": {"type": "enum", "name": "Mode", "symbols": ["OFF", "ON"]}},
        {"name": "b_fixed", "type": {"type": "fixed", "name": "Id", "size": 16}},
        {"name": "b_array", "type": {"type": "array", "items": {"type": "map", "values": "int"}}},
        {"name": "b_union", "type": ["null", "int", "long", "float", "double", "string", "Mode",
                                     {"type": "array", "items": "Id"}]},
        {"name": "b_tree", "type": {"type": "record", "name": "Tree", "fields": [
            {"name": "value", "type": "double"},
            {"name": "left", "type": ["null", "Tree"]},
            {"name": "more", "type": {"type": "array", "items": "Tree"}}]}},
        *({"name": f"c_{logical.replace('-', '_')}",
           "type": {"type": kind, "logicalType": logical}} for kind, logical in avro.LOGICAL),
        {"name": "d_nothing", "type": {"type": "array", "items": "null"}},
    ]})


def kinds_of(schema, part=None, found=None):
    part, found = schema.json if part is None else part, set() if found is None else found
    if isinstance(part, list):
        found.add("union")
        for branch in part:
            kinds_of(schema, branch, found)
    elif isinstance(part, dict):
        kinds_of(schema, part["type"], found)
        for key in ("items", "values"):
            if key in part:
                kinds_of(schema, part[key], found)
        for field in part.get("fields", ()):
            kinds_of(schema, field["type"], found)
    else:
        found.add(part)
    return found


def has_nan(value):
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and any(map(has_nan, value))


@pytest.fixture(scope="module")
def table():
    return []


def record(rng, folder_sink, rotate):
    """Fleets of random schemas; calls folder_sink(fleet, {name: values}) when all is synced."""
    schemas = [every_type()] + [avro.random_schema(rng) for _ in range(SCHEMAS[rotate] - 1)]
    assert set().union(*map(kinds_of, schemas)) >= KINDS
    names = [f"c{number:03}" for number in range(len(schemas))]
    storage = {"rotate": {"size": "32KiB"}} if rotate else {}
    with Fleet({name: {"schema": schema, "buffer": "4MiB"}
                for name, schema in zip(names, schemas)}, storage=storage) as fleet:
        sent, loads = {}, []
        for number, (name, schema) in enumerate(zip(names, schemas)):
            nonfinite = number % 5 == 4
            count = 300
            values = [avro.random_value(rng, schema, nonfinite=nonfinite) for _ in range(count)]
            datums = [avro.encode(schema, value, rng=rng) for value in values]
            kept = [i for i, datum in enumerate(datums) if datum]  # no datagram without bytes
            values, datums = [values[i] for i in kept], [datums[i] for i in kept]
            if rotate:  # enough bytes for several files
                times = max(1, 100000 // max(1, sum(map(len, datums))))
                times = min(times, 20)
                values, datums = values * times, datums * times
            sent[name] = [avro.plain(value) for value in values]
            loads.append(fleet.source(name, datums, rate=5000))
            if len(loads) == 4:
                for load in loads:
                    load.finish()
                loads = []
        for load in loads:
            load.finish()
        channels = fleet.settle({name: len(values) for name, values in sent.items()}, seconds=60)
        for name, values in sent.items():
            assert channels[name]["datums_recorded"] == len(values), channels[name]
        folder_sink(fleet, sent)
        fleet.stop()
        folder_sink(fleet, sent)


def compare(fleet, sent, label, table):
    """Runs every reader over every file of every channel and adds a row a reader to the table."""
    expected, order = {}, {}
    for name, values in sent.items():
        order[name] = fleet.files(name)
        assert order[name]
    # What each file must hold: the values in order, cut where fastavro counts say; then every
    # reader must agree with what was sent, file by file.
    paths = [path for files in order.values() for path in files]
    counts = {path: int(result.split("\t")[0])
              for path, result in readers.run("fastavro", paths).items()
              if not result.startswith("error")}
    for name, files in order.items():
        at = 0
        for path in files:
            count = counts.get(str(path), 0)
            expected[str(path)] = "{}\t{}".format(
                *canonical.of_values(sent[name][at:at + count]))
            at += count
        assert at == len(sent[name]), f"{name}: fastavro read {at} of {len(sent[name])} datums"
    failures = []
    for reader in readers.COMMANDS:
        results = readers.run(reader, paths)
        wrong = [(path, results[path], expected[path]) for path in results
                 if results[path] != expected[path]]
        failures += [(reader, *each) for each in wrong]
        table.append((reader, label, len(results) - len(wrong), len(results),
                      sum(int(want.split("\t")[0]) for want in expected.values())))
    finite = [name for name, values in sent.items() if not has_nan(values)]
    lines = sum(readers.avrocat_count(path) or 0 for name in finite for path in order[name])
    want = sum(len(sent[name]) for name in finite)
    table.append(("avrocat", label, sum(len(order[n]) for n in finite) if lines == want else 0,
                  sum(len(order[n]) for n in finite), lines))
    assert not failures, failures[:5]
    assert lines == want, f"avrocat printed {lines} datums of {want}"


def show(table):
    lines = [f"{'reader':14} {'files':>22} {'read in full':>14} {'datums':>9}"]
    lines += [f"{reader:14} {label:>22} {good:>6} of {total:<4} {datums:>9}"
              for reader, label, good, total, datums in table]
    closing.keep({"text": "\n".join(lines)})


@pytest.mark.parametrize("rotate", [False, True], ids=["single", "rotated"])
def test_002_five_readers(rng, rotate, table):
    states = []

    def look(fleet, sent):
        state = "finished" if states else "open"
        states.append(state)
        if rotate:
            several = [name for name in sent if len(fleet.files(name)) > 1]
            assert len(several) >= SCHEMAS[rotate] // 3, "too few channels rotated to show anything"
        rows = []
        try:
            compare(fleet, sent, f"{'rotated' if rotate else 'single'}, {state}", rows)
        finally:
            table.extend(rows)
            show(rows)
    record(rng, look, rotate)
    assert states == ["open", "finished"]


def test_002_cat_agrees(rng, flotilla):
    """`flotilla cat` prints the same datums as JSON that a JSON parser reads back equal."""
    schema = avro.Schema({"type": "record", "name": "R", "fields": [
        {"name": "i", "type": "long"}, {"name": "s", "type": "string"},
        {"name": "d", "type": ["null", "double"]}, {"name": "b", "type": "boolean"},
        {"name": "a", "type": {"type": "array", "items": "int"}},
        {"name": "m", "type": {"type": "map", "values": "string"}}]})
    values = [avro.random_value(rng, schema) for _ in range(200)]
    with Fleet({"c": {"schema": schema}}) as fleet:
        fleet.source("c", [avro.encode(schema, value) for value in values], rate=5000).finish()
        fleet.settle({"c": 200})
        done = flotilla("cat", *fleet.files("c"), check=0)
        assert [json.loads(line) for line in done.stdout.splitlines()] == \
            [avro.plain(value) for value in values]


def test_002_a_wrong_file_is_noticed(rng, tmp_path):
    """The table can fail: a file with one byte of one datum changed differs in every reader."""
    schema = avro.Schema({"type": "record", "name": "R", "fields": [
        {"name": "x", "type": "double"}]})
    values = [{"x": float(number)} for number in range(50)]
    body = bytearray(b"".join(avro.encode(schema, value) for value in values))
    text, sync = json.dumps(schema.json).encode(), rng.randbytes(16)
    header = b"Obj\x01" + avro.long(1) + avro.long(11) + b"avro.schema" + avro.long(len(text)) \
        + text + b"\0" + sync
    path = tmp_path / "file.avro"
    good = "{}\t{}".format(*canonical.of_values(values))
    for flip in (False, True):
        if flip:
            body[100] ^= 1
        path.write_bytes(header + avro.long(50) + avro.long(len(body)) + body + sync)
        for reader in readers.COMMANDS:
            assert (readers.run(reader, [path])[str(path)] == good) == (not flip), reader
