# SPDX-License-Identifier: MIT
"""076-mdf4: `flotilla export` to ASAM MDF, read by asammdf: names, units, comments, times and
every value are the rows', compressed or not, and also where arrays grow on the way. What a reader
need not look at (the lengths of blocks, what is linked to) is looked at by one of our own."""
import json
import struct

import asammdf
import fastavro
import numpy
import pytest
from harness import avro, exports
from harness.columns import tops
from harness.exports import same, same_json

ROUNDS = 20


class Channels:
    """A table's channels, of all the groups it is in, one behind the other."""

    def __init__(self, file, name):
        self.file = file
        self.groups = [index for index, group in enumerate(file.groups)
                       if group.channel_group.acq_name.split(" (")[0] == name]

    def rows(self, group):
        return self.file.groups[group].channel_group.cycles_nr

    def has(self, name, group):
        return any(index == group for index, _ in self.file.channels_db.get(name, ()))

    def signal(self, name, group, raw=True):
        """(values, whether each is there)."""
        signal = self.file.get(name, group=group, raw=raw, ignore_invalidation_bits=True)
        invalid = signal.invalidation_bits
        there = numpy.ones(len(signal.samples), bool) if invalid is None else ~numpy.array(invalid)
        return signal.samples, there

    def column(self, column, group):
        """[value], with None for what is not there."""
        samples, there = self.signal(column, group)
        counts = self.signal(f"{column}.count", group)[0] if column.kind == "bytes" else None
        return [self.value(column, samples[row], counts if counts is None else counts[row])
                if there[row] else None for row in range(len(samples))]

    @staticmethod
    def value(column, sample, count=None):
        kind = column.kind
        if kind == "bytes":
            return bytes(numpy.atleast_1d(sample))[:count]
        if kind == "fixed":
            return bytes(numpy.atleast_1d(sample))
        if kind == "string":
            return bytes(sample).decode()
        if kind == "enum":
            return column.part["symbols"][int(sample)]
        if kind == "boolean":
            return {0: False, 1: True}[int(sample)]
        return float(sample) if kind in ("float", "double") else int(sample)

    def array(self, column, group):
        """[items], each {path: value}, of an array with a channel an item; or [text]."""
        if self.has(column, group):
            samples, there = self.signal(column, group)
            return [bytes(sample).decode() if is_there else None
                    for sample, is_there in zip(samples, there)]
        inner = tops(column.items)
        length = 0
        while self.has(f"{column}[{length}]{inner[0][len(column) + 2:]}", group):
            length += 1
        counts = [length] * self.rows(group)
        if self.has(f"{column}.count", group):
            samples, there = self.signal(f"{column}.count", group)
            counts = [int(count) if is_there else None for count, is_there in zip(samples, there)]
        parts = {}
        for index in range(length):
            for item in inner:
                name = f"{column}[{index}]{item[len(column) + 2:]}"
                samples, there = self.signal(name, group)
                parts[index, item] = [self.value(item, sample) if is_there else None
                                      for sample, is_there in zip(samples, there)]
        return [None if count is None else
                [{item: parts[index, item][row] for item in inner} for index in range(count)]
                for row, count in enumerate(counts)]


def column_is(channels, column, group, wanted):
    if column.kind not in ("array", "map"):
        found = channels.column(column, group)
        assert len(found) == len(wanted)
        return all(same(column.kind, mine, value) for mine, value in zip(found, wanted))
    found = channels.array(column, group)
    assert len(found) == len(wanted)
    for mine, value in zip(found, wanted):
        if isinstance(mine, str):
            good = value is not None and same_json(column, json.loads(mine), value)
        elif mine is None or value is None:
            good = mine is None and value is None
        else:
            good = len(mine) == len(value) and all(
                same(item.kind, ours[item], theirs[item])
                for ours, theirs in zip(mine, value) for item in theirs)
        if not good:
            return False
    return True


def check(path, name, schema, values):
    columns, rows = exports.expected(schema, values)
    time, unit = exports.time_of(schema)
    first = values[0][time] * unit
    with asammdf.MDF(path, use_display_names=False) as file:
        assert file.version == "4.10"
        assert round(file.header.start_time.timestamp() * 1e6) == first // 1000
        channels, done = Channels(file, name), 0
        for group in channels.groups:
            count = channels.rows(group)
            part = slice(done, done + count)
            ns, there = channels.signal(time, group)
            assert there.all() and [int(n) for n in ns] == [
                value[time] * unit - first for value in values[part]]
            for column in columns:
                if column == time or column.kind == "null":
                    continue
                wanted = [row[column] for row in rows[part]]
                assert column_is(channels, column, group, wanted), (column, group)
            done += count
        assert done == len(values)
        return len(channels.groups)


def blocks(data):
    """Every block that can be come to from the front: {offset: (id, links, bytes)}."""
    assert data[:28] == b"MDF     4.10    flotilla" + bytes(4)
    assert struct.unpack_from("<H", data, 28) == (410,) and data[60:64] == bytes(4)
    found, to_do = {}, [64]
    while to_do:
        at = to_do.pop()
        if at == 0 or at in found:
            continue
        assert at % 8 == 0 and data[at:at + 2] == b"##", at
        size, links = struct.unpack_from("<QQ", data, at + 8)
        assert at + size <= len(data) and size >= 24 + 8 * links
        links = struct.unpack_from(f"<{links}Q", data, at + 24)
        found[at] = (data[at + 2:at + 4].decode(), links, data[at + 24 + 8 * len(links):at + size])
        to_do.extend(links)
    return found


def check_blocks(path):
    """They do not overlap, and fill the file; texts end."""
    data = path.read_bytes()
    found, end = blocks(data), 64
    for at in sorted(found):
        assert end <= at < end + 8, f"nothing leads to {end}"
        end = at + struct.unpack_from("<Q", data, at + 8)[0]
        if found[at][0] in ("TX", "MD"):
            assert found[at][2].endswith(b"\0") and found[at][2].count(b"\0") == 1
    assert end == len(data)
    return [kind for kind, _, _ in found.values()]


@pytest.mark.parametrize("options", [(), ("--gzip",)], ids=["plain", "gzip"])
def test_076_random_schemas(flotilla, seed, tmp_path, options):
    for rng in exports.rounds("mdf4", ROUNDS, seed):
        schema, values = exports.drawn(rng)
        exports.write(tmp_path / "r.avro", schema, values, rng)
        flotilla("export", "r.avro", "-o", "r.mf4", *options, cwd=tmp_path, check=0)
        assert check(tmp_path / "r.mf4", "r", schema, values) == 1
        check_blocks(tmp_path / "r.mf4")


GROWING = avro.Schema({"type": "record", "name": "G", "fields": [
    exports.TIME,
    {"name": "same", "type": {"type": "array", "items": "float"}},
    {"name": "same_once", "type": {"type": "array", "items": "int"}},
    {"name": "tracks", "type": {"type": "array", "items": {
        "type": "record", "name": "T", "fields": [
            {"name": "x", "type": "int"}, {"name": "y", "type": ["null", "double"]}]}}},
    {"name": "long", "type": {"type": "array", "items": "long"}},
    {"name": "wide", "type": {"type": "fixed", "name": "F", "size": 4000}},
    {"name": "text", "type": "string"}]})


def test_076_arrays_that_grow(flotilla, tmp_path):
    """Over several batches of a few hundred rows and many blocks: longer tracks from row 1,500 on,
    one row at 3,500 that fits no more."""
    def row(index):
        tracks = [{"x": index + at, "y": at / 4 if index % 3 else None}
                  for at in range(index % (2 if index < 1500 else 5))]
        return {"time": 10**15 + index * 1000, "same": [0.5, float(index), -1.0], "tracks": tracks,
                "same_once": [index] * (1 if index == 3500 else 2),
                "long": [1] * (300 if index == 3500 else index % 2), "text": "x" * (index % 900),
                "wide": struct.pack("<I", index) * 1000}
    rows = [row(index) for index in range(4000)]
    with open(tmp_path / "g.avro", "wb") as file:
        fastavro.writer(file, GROWING.json, rows)
    for value in rows:
        for track in value["tracks"]:
            track["y"] = avro.Branch(int(track["y"] is not None), track["y"])
    for options in ((), ("--gzip",)):
        flotilla("export", "g.avro", "-o", "g.mf4", *options, cwd=tmp_path, check=0)
        assert 2 <= check(tmp_path / "g.mf4", "g", GROWING, rows) <= 3
        kinds = check_blocks(tmp_path / "g.mf4")
        assert kinds.count("DL") >= 3 and ("DZ" in kinds) == bool(options)
        with asammdf.MDF(tmp_path / "g.mf4") as file:
            assert [channel.name for channel in file.groups[0].channels][:6] == \
                ["time", "same[0]", "same[1]", "same[2]", "same_once[0]", "same_once[1]"]


def test_076_what_people_see(flotilla, tmp_path):
    """Units, comments, symbols, the time as a date; the table's origin."""
    schema = avro.Schema({"type": "record", "name": "S", "fields": [
        exports.TIME,
        {"name": "rpm", "type": "float", "unit": "1/min", "doc": "of the shaft"},
        {"name": "state", "type": {"type": "enum", "name": "E", "symbols": ["OFF", "ON"]}}]})
    values = [{"time": 1700000000000000 + index, "rpm": 0.5, "state": "OFF" if index % 2 else "ON"}
              for index in range(10)]
    exports.write(tmp_path / "engine.avro", schema, values)
    flotilla("export", "engine.avro", "-o", "engine.mf4", cwd=tmp_path, check=0)
    with asammdf.MDF(tmp_path / "engine.mf4") as file:
        rpm, state = file.get("rpm"), file.get("state")
        assert (rpm.unit, rpm.comment) == ("1/min", "of the shaft")
        assert state.samples.tolist()[:2] == [b"ON", b"OFF"]
        assert file.get_master(0).tolist() == pytest.approx([index * 1e-6 for index in range(10)])
        frame = file.to_dataframe(time_as_date=True)
        assert str(frame.index[0]).startswith("2023-11-14 22:13:20")
        assert "engine.avro" in file.groups[0].data_group.comment
        assert "flotilla export" in file.header.comment


def test_076_several_channels(flotilla, tmp_path):
    """A group each; more of them than files can be cached; the first time begins the file."""
    tables = {}
    for index in range(12):
        schema = avro.Schema({"type": "record", "name": "S", "fields": [
            exports.TIME, {"name": f"v{index}", "type": "double"}]})
        tables[f"c{index}"] = (schema, [
            {"time": 10**15 + (row - index % 2) * 500, f"v{index}": row / 8}
            for row in range(100)])
        folder = tmp_path / f"c{index}"
        folder.mkdir()
        exports.write(folder / f"c{index}-20260101T000000.000000Z-000001.avro",
                      *tables[f"c{index}"])
    flotilla("export", *tables, "-o", "all.mf4", cwd=tmp_path, check=0)
    check_blocks(tmp_path / "all.mf4")
    with asammdf.MDF(tmp_path / "all.mf4") as file:
        assert len(file.groups) == 12
        start = round(file.header.start_time.timestamp() * 1e6)
        for name, (_, values) in tables.items():
            channels = Channels(file, name)
            (group,) = channels.groups
            ns, _ = channels.signal("time", group)
            assert [start + int(n) // 1000 for n in ns] == [value["time"] for value in values]
            assert channels.signal(f"v{name[1:]}", group)[0].tolist() == \
                [value[f"v{name[1:]}"] for value in values]


def test_076_no_pipe(flotilla, tmp_path):
    schema = avro.Schema({"type": "record", "name": "S", "fields": [exports.TIME]})
    exports.write(tmp_path / "s.avro", schema, [{"time": 1}])
    done = flotilla("export", "s.avro", "-o", "-", "--format", "mdf4", cwd=tmp_path, check=2)
    assert done.stdout == "" and "mdf4" in done.stderr
