# SPDX-License-Identifier: MIT
"""085-cat: what `flotilla cat` prints, as JSON lines and as CSV, however many threads print it, is
what was recorded, in order; and when its output is not taken it says so or ends."""
import csv
import io
import json
import math
import os
import struct
import subprocess
import threading

import fastavro
import pytest
import recording_file as files
from harness import avro
from harness.fleet import FLOTILLA
from test_037_fields import put, recording, shape, shown

ROUNDS = 25
MANY = 40_000  # datums: some sixty batches


def cell(value):
    """What a cell says of a value that is there; a float of 32 bits may have fewer digits."""
    if isinstance(value, avro.Branch):
        return cell(value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, (float, str)) else str(value)


def row(tree, value, there=True):
    """The cells of a datum, as `cell` has them; arrays and maps as what JSON has."""
    kind, below = tree
    if kind == "leaf":
        return [cell(value) if there and value is not None else None]
    if kind == "record":
        return [one for name, part in below.items()
                for one in row(part, value[name] if there else None, there)]
    if kind == "union":
        return [one for index, part in enumerate(below) if part for one in
                row(part, value.value if there else None, there and value.index == index)]
    return [{"json": shown(tree, value)[0]} if there else None]


def is_same(found, wanted):
    if wanted is None:
        return found == ""
    if isinstance(wanted, dict):
        return json.loads(found) == wanted["json"]
    if isinstance(wanted, float):
        single = struct.unpack("f", struct.pack("f", wanted))[0] if abs(wanted) < 3e38 else None
        return float(found) == wanted or single == struct.unpack("f", struct.pack(
            "f", float(found)))[0] == wanted
    return found == wanted


def test_085_csv_of_random_schemas(flotilla, rng, tmp_path):
    path, cells_seen = tmp_path / "random.avro", 0
    for _ in range(ROUNDS):
        schema = avro.random_schema(rng)
        tree = shape(schema)
        if tree is None:
            continue
        values = [avro.random_value(rng, schema) for _ in range(20)]
        recording(path, schema, [avro.encode(schema, value, rng=rng) for value in values], rng)
        done = flotilla("cat", "--csv", path, check=0)
        lines = list(csv.reader(io.StringIO(done.stdout, newline=""), strict=True))
        listed = json.loads(flotilla("schema", "--json", put(tmp_path, schema), check=0).stdout)
        columns = []
        for one in listed["columns"]:  # of an array the items follow
            if not any(one["column"].startswith(before + "[]") for before, kind in columns
                       if kind in ("array", "map")):
                columns.append((one["column"], one["type"]))
        units = {one["column"]: one.get("unit") for one in listed["columns"]}
        assert lines[0] == [(name or "value") + (f" [{units[name]}]" if units[name] else "")
                            for name, _ in columns]
        assert len(lines) == len(values) + 1
        for found, value in zip(lines[1:], values):
            wanted = row(tree, value)
            assert len(found) == len(wanted)
            assert all(map(is_same, found, wanted)), (schema.json, found, wanted)
            cells_seen += len(found)
    assert cells_seen > 20 * ROUNDS


ALL = {"type": "record", "name": "All", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
    {"name": "oil", "type": ["null", "double"], "unit": "degC"},
    {"name": "f", "type": "float", "unit": "1/min, \"n\""},
    {"name": "note", "type": ["null", "string"]},
    {"name": "state", "type": {"type": "enum", "name": "E", "symbols": ["IDLE", "RUN"]}},
    {"name": "on", "type": "boolean"},
    {"name": "raw", "type": {"type": "fixed", "name": "F", "size": 2}},
    {"name": "list", "type": {"type": "array", "items": "double"}}]}
ROW = {"time": 1, "oil": 0.1, "f": 0.1, "note": "", "state": "RUN", "on": True, "raw": b"\0\xff",
       "list": [1.5, math.nan]}


def container(path, schema, datums, codec="null"):
    with open(path, "wb") as file:
        fastavro.writer(file, schema, datums, codec=codec)
    return path


def test_085_csv_to_the_letter(flotilla, tmp_path):
    path = container(tmp_path / "a.avro", ALL, [
        ROW, {**ROW, "oil": None, "f": math.nan, "note": None, "on": False, "list": []},
        {**ROW, "oil": math.inf, "f": 1e10, "note": 'a "b", c\r\nd', "list": [2]}])
    # As bytes: what a line ends in is part of it.
    done = subprocess.run([FLOTILLA, "cat", "--csv", path], capture_output=True, check=True)
    assert done.stdout.decode() == (
        'time,oil [degC],"f [1/min, ""n""]",note,state,on,raw,list\r\n'
        '1,0.1,0.1,"",RUN,true,00ff,"[1.5, ""NaN""]"\r\n'
        '1,,NaN,,RUN,false,00ff,[]\r\n'
        '1,inf,10000000000.0,"a ""b"", c\r\nd",RUN,true,00ff,[2.0]\r\n')
    done = flotilla("cat", "--csv", "--fields", "state,oil", path, check=0)
    assert done.stdout.splitlines()[:2] == ["oil [degC],state", "0.1,RUN"]


def test_085_csv_has_one_heading(flotilla, tmp_path):
    """Files of the same columns are one table; one of others is told and passed over."""
    first = container(tmp_path / "a.avro", ALL, [ROW])
    wider = {**ALL, "fields": ALL["fields"][:1] + [{"name": "oil", "type": "double",
                                                    "unit": "degC"}] + ALL["fields"][2:]}
    second = container(tmp_path / "b.avro", wider, [ROW])
    other = container(tmp_path / "c.avro", {**ALL, "fields": ALL["fields"][:2]}, [ROW])
    done = flotilla("cat", "--csv", first, other, second)
    assert done.returncode == 1 and done.stdout.count("time,oil") == 1
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == f"{other}: its columns are others than those of the files before: it " \
                          "is left out\n"
    done = flotilla("cat", "--csv", "--fields", "time", first, other, second, check=0)
    assert done.stdout.splitlines() == ["time", "1", "1", "1"]
    empty = container(tmp_path / "d.avro", {"type": "record", "name": "N", "fields": []}, [{}])
    done = flotilla("cat", "--csv", empty)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{empty}: has no columns\n")
    done = flotilla("cat", "--csv", "--schema", first)
    assert done.returncode == 2 and "--schema prints no datums" in done.stderr


def test_085_csv_names_what_has_no_column(flotilla, tmp_path):
    schema = {"type": "record", "name": "A", "fields": [
        {"name": "time", "type": "long"}, {"name": "next", "type": ["null", "A"]}]}
    path = container(tmp_path / "a.avro", schema, [{"time": 1, "next": {"time": 2, "next": None}}])
    done = flotilla("cat", "--csv", path, path, check=0)
    assert done.stdout.splitlines() == ["time", "1", "1"]
    assert done.stderr == \
        'flotilla cat: note: CSV has no column for "next", which leads back\n'


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Two files, one of them damaged near its end, and what was written."""
    folder = tmp_path_factory.mktemp("many")
    schema = {"type": "record", "name": "R", "fields": [
        {"name": "n", "type": "long"}, {"name": "x", "type": "double"},
        {"name": "s", "type": "string"}]}
    datums = [{"n": n, "x": n / 7, "s": "\t" * (n % 13) + "é" * (n % 50)} for n in range(MANY)]
    whole = container(folder / "a.avro", schema, datums, codec="deflate")
    parsed = avro.Schema(schema)
    sync, cut = b"0123456789abcdef", folder / "b.avro"
    out = files.write_header({"avro.schema": json.dumps(schema).encode(),
                              "avro.codec": b"deflate"}, sync)
    for at in range(0, 20_000, 2000):
        block = files.write_block([avro.encode(parsed, one) for one in datums[at:at + 2000]], 1,
                                  sync, len(out))
        out += block
    cut.write_bytes(out[:-len(block) + 5000] + b"\xff" + out[-len(block) + 5001:])
    return whole, cut, datums


def test_085_all_in_order_by_one_thread_or_many(flotilla, many):
    whole, cut, datums = many
    done = flotilla("cat", whole, check=0)
    assert [json.loads(line) for line in done.stdout.splitlines()] == datums
    single = subprocess.run(["taskset", "-c", str(min(os.sched_getaffinity(0))), FLOTILLA, "cat",
                             whole], capture_output=True, check=True, text=True)
    assert single.stdout == done.stdout
    for count in (1, 700, 4096, 4097, MANY, MANY + 1):
        some = flotilla("cat", "--count", str(count), whole, check=0).stdout
        assert some == "".join(done.stdout.splitlines(keepends=True)[:count])


def test_085_a_fault_stands_where_it_is(many):
    """Told behind what is in front of it, before what follows, in one stream of both."""
    whole, cut, datums = many
    done = subprocess.run([FLOTILLA, "cat", cut, whole], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (at,) = [index for index, line in enumerate(lines) if "offset" in line]
    assert 18_000 <= at <= 20_000 and "checksum is wrong" in lines[at]
    assert [json.loads(line) for line in lines[:18_000]] == datums[:18_000]
    assert [json.loads(line) for line in lines[at + 1:]] == datums


def test_085_output_that_is_not_taken(many):
    whole = many[0]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([FLOTILLA, "cat", whole], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"could not write all" in done.stderr
    for words in ([], ["--csv"]):
        run = subprocess.Popen([FLOTILLA, "cat", *words, whole], stdout=subprocess.PIPE)
        assert run.stdout.readline()
        run.stdout.close()
        assert run.wait(timeout=30) != 0


def test_085_a_pipe_is_printed_as_it_comes(many):
    """What has come whole is printed, though nothing more comes for now."""
    cut = many[1].read_bytes()
    run = subprocess.Popen([FLOTILLA, "cat", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    half = len(cut) // 2
    seen = threading.Event()

    def feed():
        run.stdin.write(cut[:half])
        run.stdin.flush()
        seen.wait(60)
        run.stdin.write(cut[half:])
        run.stdin.close()
    feeder = threading.Thread(target=feed)
    feeder.start()
    for one in many[2][:2000]:
        assert json.loads(run.stdout.readline()) == one
    assert not seen.is_set() and feeder.is_alive()
    seen.set()
    rest = run.stdout.read()
    feeder.join()
    assert len(rest.splitlines()) > 16_000 and run.wait(30) == 1  # it is damaged near its end
