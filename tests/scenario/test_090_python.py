# SPDX-License-Identifier: MIT
"""090-python: the package `flotilla` as its users get it: a wheel, built and installed, typed; what
it reads equals what fastavro reads row by row, on random schemas and spans; damage, open files and
changes of schema; and a live stream."""
import asyncio
import json
import math
import os
import re
import struct
import subprocess
import sys
import threading
import warnings

import fastavro
import numpy as np
import pandas as pd
import pytest
from harness import avro, foreign, levels, signals
from harness.fleet import ROOT, Fleet
from recording_file import long, write_block, write_header

START = 1_767_225_600_000_000_000  # 2026-01-01
SECOND = 1_000_000_000
NO_TIME = -2**63


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package out of its wheel, and nothing of the tree."""
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels,
                    ROOT / "python"], check=True)
    (wheel,) = wheels.glob("*.whl")
    version = re.search(r"version: '(.*?)'", (ROOT / "meson.build").read_text())[1]
    assert wheel.name == f"flotilla-{version}-py3-none-any.whl"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", wheels / "site", wheel],
                   check=True)
    sys.path.insert(0, str(wheels / "site"))
    try:
        import flotilla
        assert flotilla.__version__ == version
        assert (wheels / "site/flotilla/py.typed").exists()
        yield flotilla
    finally:
        sys.path.remove(str(wheels / "site"))


def test_090_it_is_typed():
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull,
                           "flotilla"], cwd=ROOT / "python", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def by_path(value, steps):
    for step in steps:
        value = None if value is None else value[step]
    return value


def same(ours, theirs):
    if isinstance(theirs, float):
        return ours is not None and (math.isnan(theirs) and math.isnan(ours) or
                                     struct.pack("<d", ours) == struct.pack("<d", theirs))
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(map(same, ours.values(), theirs.values()))
    return type(ours) is type(theirs) and ours == theirs


def compare(column, expected, array, series, polars):
    """A column of each kind of table with what was encoded."""
    if column.instant_ns and column.kind == "long":
        limit = (2**63 - 1) // column.instant_ns
        fits = [value is not None and abs(value) <= limit for value in expected]
        wanted = [value * column.instant_ns if fit else NO_TIME
                  for value, fit in zip(expected, fits)]
        assert array.view(np.int64).tolist() == wanted
        assert series.dt.tz_localize(None).to_numpy().view(np.int64).tolist() == wanted
        assert polars.dt.timestamp("ns").to_list() == [
            value if fit else None for value, fit in zip(wanted, fits)]
        return
    real = column.kind in ("float", "double")
    pandas = [None if value is pd.NA or column.symbols and value is np.nan else value
              for value in series.tolist()]
    plain = [math.nan if value is None and real else value for value in expected]
    assert all(map(same, array.tolist(), plain)), column
    assert all(map(same, pandas, plain)), column
    assert all(map(same, polars.to_list(), expected)), column


def test_090_values_equal_the_rows(package, rng, tmp_path):
    """Random schemas of every type, in every codec: into numpy, pandas and polars."""
    from flotilla import _schema
    compared, kinds = 0, set()
    for number in range(40):
        schema = avro.random_schema(rng, depth=3)
        text = schema.json
        values = [avro.random_value(rng, schema, nonfinite=True)
                  for _ in range(rng.randint(1, 30))]
        codec = rng.choice(list(foreign.PACK))
        path = tmp_path / f"{number}.avro"
        path.write_bytes(foreign.header(text, codec) + b"".join(
            foreign.block(1, avro.encode(schema, value, rng=rng), codec) for value in values))
        rows = [avro.plain(value) for value in values]
        columns = _schema.table(text).columns
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "times lie outside")
            arrays = package.read(path, into="numpy")
            frame = package.read(path).reset_index()
            polars = package.read(path, into="polars")
        assert list(arrays) == polars.columns == [column.path for column in columns]
        for column in columns:
            compare(column, [by_path(row, column.steps) for row in rows], arrays[column.path],
                    frame[column.path], polars[column.path])
            compared += len(rows)
            kinds.add(column.kind)
    assert compared > 1000 and len(kinds) >= 12, kinds


SAMPLE = {"type": "record", "name": "Sample", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "counter", "type": "long"},
    {"name": "level", "type": "float", "unit": "m", "doc": "of the tank"}]}
OTHER = {"type": "record", "name": "Sample", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "counter", "type": "int"},
    {"name": "note", "type": ["null", "string"]}]}


def write_recording(rng, folder, number, schema, first, now, *, part=False, timed=True):
    """A recording in Flotilla's own form: [(arrival, counter)], and when the next one begins."""
    sync, rows = rng.randbytes(16), []
    metadata = {"avro.schema": json.dumps(schema).encode(), "avro.codec": b"deflate"}
    if timed:
        metadata["flotilla.time"] = b"time"
    data = write_header(metadata, sync)
    for _ in range(rng.randint(1, 5)):
        begin, datums, late = now, [], []
        for _ in range(rng.randint(1, 40)):
            datums.append(long((now + 3600 * SECOND) // 1000) + long(first)
                          + (struct.pack("<f", first / 4) if schema is SAMPLE else
                             long(1) + long(2) + b"hi" if first % 2 else long(0)))
            late.append((now // 1000 - begin // 1000) * 1000)
            rows.append((begin + late[-1] if timed else begin, first))
            first += 1
            now += rng.choice([0, 1_000_000, 50_000_000])
        data += write_block(datums, begin, sync, len(data))
        now += rng.choice([0, SECOND])
    path = folder / (f"c-20260101T000000.000000Z-{number:06}.avro" + (".part" if part else ""))
    path.write_bytes(data)
    return path, rows, first, now


def test_090_spans_open_files_and_other_schemas(package, rng, tmp_path):
    """A span gives the rows whose arrival it holds, over files whose schema changes and one that is
    being written; columns are those of all files."""
    folder = tmp_path / "rig" / "c"
    folder.mkdir(parents=True)
    first, now, rows = 0, START, []
    for number in range(1, 7):
        _, more, first, now = write_recording(rng, folder, number, OTHER if number > 4 else SAMPLE,
                                              first, now, part=number == 6)
        rows += more
        now += SECOND
    whole = package.read("c", directory=folder.parent)
    assert list(whole["counter"]) == list(range(first))
    assert whole.index.name == "time" and str(whole.index.tz) == "UTC"
    assert whole.index[0].value == START // 1000 * 1000 + 3600 * SECOND
    assert list(whole.columns) == ["counter", "level", "note"]
    assert whole.attrs == {"units": {"level": "m"}, "docs": {"level": "of the tank"}}
    of_others = [number for number, note in zip(whole["counter"], whole["note"]) if note == "hi"]
    assert of_others and all(number % 2 for number in of_others)
    for _ in range(100):
        ends = sorted([rng.choice(rows)[0] + rng.choice([0, 0, 1, -1]),
                       rng.choice(rows)[0] + rng.randint(0, SECOND)])
        got = package.read(folder, np.datetime64(ends[0], "ns"), np.datetime64(ends[1], "ns"),
                           fields=["counter"], into="numpy")
        assert got["counter"].tolist() == [number for at, number in rows
                                           if ends[0] <= at < ends[1]]
    with pytest.raises(KeyError, match="no field 'levle'.*level"):
        package.read(folder, fields=["levle"])
    with pytest.raises(ValueError, match="ends before"):
        package.read(folder, "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        package.read(tmp_path / "nowhere")


def test_090_times_as_people_write_them(package):
    from flotilla._read import to_ns
    want = START + 250_000_000
    for when in ("2026-01-01T00:00:00.25Z", "2026-01-01 01:00:00.25+01:00",
                 "2026-01-01T00:00:00.250000000Z", 1767225600.25, np.datetime64(want, "ns"),
                 pd.Timestamp("2026-01-01T00:00:00.25Z"), "2026-01-01T00:00:00.25",
                 pd.Timestamp("2026-01-01T00:00:00.25Z").to_pydatetime()):
        assert to_ns(when, 0) == want, when
    with pytest.raises(ValueError):
        to_ns("yesterday", 0)


def test_090_damage_is_told_and_left_out(package, rng, tmp_path):
    path, rows, _, _ = write_recording(rng, tmp_path, 1, SAMPLE, 0, START)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])  # as of a file that is being written: no fault
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(package.read(path)) < len(rows)
    path.write_bytes(whole[:-16] + bytes(16))
    with pytest.warns(package.DamageWarning, match=f"{path.name}: offset [0-9]+: [0-9]+ bytes "):
        assert len(package.read(path)) < len(rows)
    first = whole.find(whole[-16:]) + 16  # the first block, behind the header's marker
    for begin, end, says in ((first, first + 8, "are no block"),
                             (first + 129, first + 133, "cannot be decoded")):
        broken = bytearray(whole)
        broken[begin:end] = b"\xff" * (end - begin)
        path.write_bytes(broken)
        with pytest.warns(package.DamageWarning, match=says):
            left = package.read(path)["counter"].tolist()
        assert left == [number for at, number in rows][len(rows) - len(left):]
    path.write_bytes(whole[:200])
    with pytest.raises(package.FormatError, match="no whole Avro header"):
        package.read(path)
    path.write_bytes(b"hello")
    with pytest.raises(package.FormatError, match="no Avro container"):
        package.read(path)


def test_090_points_keep_the_peaks(package, rng, tmp_path):
    """At most so many rows, and the peak of a single datum among them."""
    first, now = 0, START
    for number in range(1, 9):
        _, _, first, now = write_recording(rng, tmp_path, number, SAMPLE, first, now)
    small = package.read(tmp_path, points=10)
    assert len(small) <= 10 and small["level"].max() == (first - 1) / 4
    assert small["level"].min() == 0
    assert small.index.is_monotonic_increasing
    assert len(package.read(tmp_path, points=10 * first)) == first


def write_plain(path, fields, values):
    """A file by fastavro."""
    schema = {"type": "record", "name": "S", "fields": fields}
    with open(path, "wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), values)
    return path


def test_090_points_of_numbers_that_may_be_null(package, tmp_path):
    fields = [{"name": "v", "type": ["null", "double"]}, {"name": "k", "type": ["null", "long"]}]
    rows = [{"v": None, "k": None} if index % 3 else {"v": 0.0, "k": 0} for index in range(1000)]
    rows[777] = {"v": -9.5, "k": 2**53 + 1}
    rows[300:400] = [{"v": None, "k": None}] * 100
    small = package.read(write_plain(tmp_path / "a.avro", fields, rows), points=20, into="numpy")
    assert len(small["v"]) == len(small["k"]) == 20
    assert np.nanmin(small["v"]) == -9.5 and np.ma.max(small["k"]) == 2**53 + 1
    assert np.isnan(small["v"]).tolist() == np.ma.getmaskarray(small["k"]).tolist() == \
        [6 <= index < 8 for index in range(20)]


def test_090_whole_numbers_keep_their_digits_beside_floats(package, tmp_path):
    paths = [write_plain(tmp_path / f"{kind}.avro", [{"name": "v", "type": kind}], [{"v": value}])
             for kind, value in (("long", 123456789), ("float", 1.5), ("int", 7))]
    assert package.read(paths)["v"].tolist() == [123456789, 1.5, 7]


def test_090_a_file_that_is_none_costs_only_itself(package, rng, tmp_path):
    """In a folder of recordings; what was asked for by its name is refused."""
    _, rows, _, _ = write_recording(rng, tmp_path, 1, SAMPLE, 0, START)
    (tmp_path / "c-20260101T000100.000000Z-000002.avro.part").write_bytes(b"")
    with pytest.warns(package.DamageWarning, match="000002.avro.part: is no Avro container"):
        assert len(package.read(tmp_path)) == len(rows)


def test_090_points_come_from_the_overview(package, rng, tmp_path):
    """From the coarsest level that has as many; what no level has yet, and peaks, are there; also
    where the recordings themselves have gone."""
    folder = tmp_path / "c"
    count, peak = 60_000, 31_234
    text = json.dumps(SAMPLE)
    datums = [long((START + number * 1_000_000) // 1000) + long(number)
              + struct.pack("<f", 1e6 if number == peak else number % 100)
              for number in range(count)]
    paths = [levels.write_recording(folder, text, [
        (START + first * 1_000_000, datums[first:first + 500])
        for first in range(begin, begin + 10_000, 500)], number=begin // 10_000 + 1, time=b"time")
        for begin in range(0, count, 10_000)]
    levels.build(folder)
    levels.write_recording(folder, text, [(START + count * 1_000_000, [
        long((START + count * 1_000_000) // 1000) + long(count) + struct.pack("<f", 2e6)])],
        number=7, time=b"time")
    small = package.read(folder, points=200)
    assert len(small) <= 200 and small["level"].max() == 2e6
    assert small["level"][:-1].max() == 1e6 and small["level"].min() == 0
    for path in paths:
        path.unlink()
    again = package.read("c", directory=tmp_path, points=200)
    assert again.equals(small)
    few = package.read(folder, np.datetime64(START + (peak - 20) * 1_000_000, "ns"),
                       np.datetime64(START + (peak + 20) * 1_000_000, "ns"), points=1000)
    assert 1 <= len(few) <= 4 and few["level"].max() == 1e6  # by the finest level


def test_090_live(package, seed):
    """From a running fleet: every datum as it was sent; also asynchronously."""
    with Fleet({"c": {"schema": signals.SCHEMA, "full": True}}) as fleet:
        sent = signals.samples(200)
        taken, also = [], []

        async def listen(live):
            async for datum in live:
                also.append(datum)
                if len(also) == len(sent):
                    return

        def join():
            return package.live(fleet.address("c", "full"), fleet.folder / "schemas/c.avsc",
                                interface="lo", timeout=30)

        with join() as one, join() as other:
            helper = threading.Thread(target=lambda: asyncio.run(listen(other)))
            helper.start()
            source = fleet.source("c", sent, rate=2000)
            for datum in one:
                taken.append(datum)
                if len(taken) == len(sent):
                    break
            source.finish()
            helper.join(60)
            assert one.dropped == other.dropped == 0
            assert one.datagrams == other.datagrams == len(sent)
        assert len(taken) == len(also) == len(sent) and taken == also
        fleet.settle({"c": len(sent)})
        fleet.stop()
        frame = package.read(fleet.files("c"), into="numpy")
        for datum in taken:
            datum["time"] = pd.Timestamp(datum["time"]).value
        for name in taken[0]:
            assert [datum[name] for datum in taken] == frame[name].tolist()
