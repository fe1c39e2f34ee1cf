# SPDX-License-Identifier: MIT
"""083-odd-recordings: overviews of recordings whose clock went back, whose schema changes, whose
time counts in anything or nothing, which are damaged, open, empty or others'; notes and levels that
are damaged or of another factor: each is right, or refused in words."""
import json
import shutil
import struct

import fastavro
import pytest
from harness import container, levels
from harness.fleet import flotilla, new_folder, wait_until
from harness.levels import SECOND, START

COUNT = 12000
PEAK = 1000.0


@pytest.fixture
def folder():
    made = new_folder()
    yield made / "c"
    shutil.rmtree(made)


def schema_of(time, name="x"):
    fields = [{"name": "time", "type": time}] if time else []
    return json.dumps({"type": "record", "name": "R", "fields": [
        *fields, {"name": name, "type": "double"}, {"name": "on", "type": "boolean"}]})


def logical(kind):
    return {"type": "long", "logicalType": kind}


def datum(pack, index, peak):
    return pack(START + index * SECOND // 100) + struct.pack("<d", peak) + bytes([peak > 1])


def write(folder, pack, schema, *, number=1, begin=0, count=COUNT, peaks=(), shift=0, since=1,
          time=b"time", part=False):
    """Datums at 100 Hz in blocks of half a second."""
    blocks = []
    for at in range(begin, begin + count, 50):
        arrival = START + at * SECOND // 100 + shift
        blocks.append((arrival, [datum(pack, index, PEAK if index in peaks else index % 7 / 7)
                                 for index in range(at, at + 50)]))
    return levels.write_recording(folder, schema, blocks, number=number, time=time, since=since,
                                  part=part)


NANOS = (lambda ns: levels.avro.long(ns), logical("timestamp-nanos"))
KINDS = {
    "ns": NANOS,
    "us": (lambda ns: levels.avro.long(ns // 1000), logical("timestamp-micros")),
    "ms": (lambda ns: levels.avro.long(ns // 1_000_000), logical("timestamp-millis")),
    "double": (lambda ns: struct.pack("<d", ns / SECOND), "double"),
    "none": (lambda ns: b"", None),
}


def points(folder, count, *words, check=0):
    done = flotilla("cat", "--points", count, folder, *words, check=check)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def level_rows(folder, factor):
    rows = []
    for path in levels.level_files(folder, factor):
        with open(path, "rb") as file:
            rows += list(fastavro.reader(file))
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_083_times(folder, kind):
    """Peaks in the levels, and in the right minute of the answer."""
    pack, type_ = KINDS[kind]
    write(folder, pack, schema_of(type_), peaks=(1234, 9000), time=b"time" if type_ else b"")
    levels.build(folder)
    for factor in (50, 2500):
        rows = level_rows(folder, factor)
        assert [row["x"] for row in rows].count(PEAK) == 2 and rows[1]["on"] in (True, False)
        assert len(rows) == 2 * -(-COUNT // factor)
    begin = START + 85 * SECOND
    for width in (10, 30):
        rows, said = points(folder, 20, "--from", begin / SECOND, "--to", begin / SECOND + width)
        assert 0 < len(rows) <= 40 and max(row["x"] for row in rows) == PEAK, said
    # Where the time of single datums is not known, a block is all that is: 20 s of these.
    for begin, end in ((20, 65), (40, 100), (89, 110)):
        rows, said = points(folder, 20, "--from", START / SECOND + begin, "--to",
                            START / SECOND + end)
        assert (max(row["x"] for row in rows) == PEAK) == (begin < 90 <= end), said


def test_083_a_clock_that_goes_back(folder):
    """An hour, between files; then the overview's blocks rise within each of its files."""
    pack, type_ = NANOS
    write(folder, pack, schema_of(type_), peaks=(77,))
    write(folder, pack, schema_of(type_), number=2, begin=COUNT, peaks=(COUNT + 5,),
          shift=-3600 * SECOND, since=2)
    write(folder, pack, schema_of(type_), number=3, begin=2 * COUNT, shift=-3600 * SECOND, since=2)
    levels.build(folder)
    flotilla("verify", folder / "overview", check=0)
    assert len(levels.level_files(folder, 50)) >= 2
    for path in levels.level_files(folder, 50):
        info = json.loads(flotilla("info", "--json", path, check=0).stdout)
        assert info["first_arrival"] <= info["last_block_arrival"]
    assert [row["x"] for row in level_rows(folder, 50)].count(PEAK) == 2
    second = (START + COUNT * SECOND // 100) / SECOND - 3600
    for begin, wanted in ((START / SECOND, PEAK), (second, PEAK), (second + 100, 6 / 7)):
        rows, said = points(folder, 50, "--from", begin, "--to", begin + 90)
        assert rows and max(row["x"] for row in rows) == wanted, (begin, said)
    rows, _ = points(folder, 40)
    assert max(row["x"] for row in rows) == PEAK


def test_083_a_schema_that_changes(folder):
    """No file of a level has two; the last window of the first schema is not lost."""
    pack, type_ = NANOS
    write(folder, pack, schema_of(type_), count=1000, peaks=(999,))
    write(folder, pack, schema_of(type_, "y"), number=2, begin=1000, count=3000, peaks=(1000,))
    levels.build(folder)
    for factor in (50, 2500):
        first, second = levels.level_files(folder, factor)
        with open(first, "rb") as one, open(second, "rb") as other:
            assert max(row["x"] for row in fastavro.reader(one)) == PEAK
            assert max(row["y"] for row in fastavro.reader(other)) == PEAK
    rows, _ = points(folder, 10)
    assert max(row.get("x", 0) for row in rows) == PEAK == max(row.get("y", 0) for row in rows)


def test_083_damaged_open_empty_and_foreign(rng, folder):
    """What cannot be read is told and passed over; an open file counts but for its last block."""
    pack, type_ = NANOS
    path = write(folder, pack, schema_of(type_), peaks=(50,))
    data = bytearray(path.read_bytes())
    blocks = container.read(path)[1]
    hit = rng.choice(blocks[5:-5])
    data[hit[2] + 200] ^= 4
    path.write_bytes(data)
    schema = fastavro.parse_schema(json.loads(schema_of(type_)))
    with open(folder / "c-20300101T000000.000000Z-000002.avro", "wb") as file:
        fastavro.writer(file, schema, [{"time": START + 200 * SECOND + n, "x": PEAK, "on": True}
                                       for n in range(100)], codec="deflate")
    (folder / "c-20300101T000000.000000Z-000003.avro").write_bytes(b"")
    write(folder, pack, schema_of(type_), number=4, begin=2 * COUNT, count=1000,
          peaks=(2 * COUNT + 20,), part=True)
    done = levels.build(folder)
    assert "left out: " in done.stderr and "checksum" in done.stderr
    rows = level_rows(folder, 50)
    assert [row["x"] for row in rows].count(PEAK) >= 3
    assert rows[-1]["time"] < START + (2 * COUNT + 1000) * SECOND // 100
    got, _ = points(folder, 10, "--from", START / SECOND, "--to", START / SECOND + 3600,
                    check=1)
    assert max(row["x"] for row in got) == PEAK


def state_of(folder):
    return folder / "overview" / f".{folder.name}.state"


@pytest.mark.parametrize("what", ["note", "note lost", "level", "level cut", "level lost",
                                  "factor"])
def test_083_damage_to_the_overview(folder, what):
    """It is made again, and is what it was."""
    pack, type_ = NANOS
    write(folder, pack, schema_of(type_), peaks=(77, 5000))
    levels.build(folder)
    wanted = [container.payload(levels.level_files(folder, factor)) for factor in (50, 2500)]
    path, flags = levels.level_files(folder, 50)[-1], []
    if what == "note":
        data = bytearray(state_of(folder).read_bytes())
        data[40] ^= 1
        state_of(folder).write_bytes(data)
    elif what == "note lost":
        state_of(folder).unlink()
    elif what == "level":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif what == "level cut":
        path.write_bytes(path.read_bytes()[:-4096])
    elif what == "level lost":
        path.unlink()
    elif what == "factor":
        flags = ["--factor=10"]
    with open(folder.parent / "log", "w+") as log:
        child = levels.serve(folder, *flags, stderr=log)
        if what != "note lost":
            wait_until(lambda: "made again" in (folder.parent / "log").read_text(),
                              what="it is made again")
        else:
            wait_until(state_of(folder).exists, what="it is begun again")
        child.terminate()
        assert child.wait(60) == 0
    levels.build(folder)
    factor = (10, 100) if what == "factor" else (50, 2500)
    made = [container.payload(levels.level_files(folder, one)) for one in factor]
    assert not levels.level_files(folder, 50) and made[0][1] == 2 * COUNT // 10 \
        if what == "factor" else made == wanted


def test_083_refused_in_words(folder):
    """No channel, no folder, no overview."""
    folder.mkdir()
    for words, code in (([folder / "none"], 78), (["--no-such"], 2), ([folder], 1),
                        (["--rebuild", "--json"], 2)):
        done = flotilla("overview", *words, cwd=folder)
        assert done.returncode == code and done.stderr, (words, done)
    bad = folder / "Not A Channel"
    bad.mkdir()
    done = flotilla("overview", bad, "--rebuild")
    assert done.returncode == 1 and "is no channel's folder" in done.stderr
