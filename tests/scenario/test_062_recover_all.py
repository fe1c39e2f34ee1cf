# SPDX-License-Identifier: MIT
"""062-recover-all: what is there is found. Files joined end to end, of one schema and of several;
one broken block of a file of another program; a file that ends inside a block. What is called lost
is lost, what is saved is read by fastavro, and the numbers are those of what was written."""
import json
import os
import struct

import fastavro
import pytest
from harness import container
from harness.avro import long
from harness.fleet import ROOT, Fleet, new_folder
from harness.fleet import flotilla as command
from harness.foreign import block, counted, header

FILES_OF_OTHERS = (ROOT / "../shared/trials/files").resolve()
POINT = {"type": "record", "name": "P", "fields": [
    {"name": "t", "type": "long"}, {"name": "x", "type": "double"},
    {"name": "s", "type": ["null", "string"]}]}
PAIR = {"type": "record", "name": "Q", "fields": [{"name": "t", "type": "int"},
                                                  {"name": "k", "type": "int"}]}
WIDE = {"type": "record", "name": "W", "fields": [{"name": f"x{i}", "type": "double"}
                                                  for i in range(4)]}


def point(i):
    return long(i) + struct.pack("<d", i / 3 + 1) + (
        long(0) if i % 3 else long(1) + counted(f"note {i}"))


def points(first, count):
    return b"".join(point(i) for i in range(first, first + count))


def times(path):
    with open(path, "rb") as file:
        return [row["t"] for row in fastavro.reader(file)]


def recover(flotilla, path, code):
    """Recovers it, as JSON and to a new folder; what came of it."""
    folder = path.parent / f"saved{len(os.listdir(path.parent))}"
    folder.mkdir()
    done = flotilla("recover", "--json", path, "-o", folder / "out.avro", check=code)
    said = json.loads(done.stdout)
    made = sorted(str(folder / name) for name in os.listdir(folder))
    assert made == sorted(one["output"] for one in said["outputs"]), "no other file is left"
    for one in said["outputs"]:
        assert container.count(one["output"]) == one["datums"]
        flotilla("verify", one["output"], check=0)
    assert said["datums"] == sum(one["datums"] for one in said["outputs"])
    return said, done.stderr


@pytest.fixture(scope="module")
def recordings():
    """{channel: [paths]}: files of two channels, of which `b` has another schema."""
    keep = new_folder("flotilla-joined-")
    channels = {"a": {"schema": POINT}, "b": {"schema": WIDE}, "c": {"schema": POINT}}
    with Fleet(channels, storage={"rotate": {"size": "600KiB"}, "direct_io": "off"}) as fleet:
        for name in channels:
            command("send", name, "--rate", "0", "--count", "60000", "--batch", "10", "-c",
                    fleet.file, check=0)
        fleet.settle(dict.fromkeys(channels, 6000))
        fleet.stop()
        files = {}
        for name in channels:
            files[name] = []
            for path in fleet.files(name):
                (keep / path.name).write_bytes(path.read_bytes())
                files[name].append(keep / path.name)
    yield files
    for path in keep.iterdir():
        path.unlink()
    keep.rmdir()


def join(path, parts):
    path.write_bytes(b"".join(part if isinstance(part, bytes) else part.read_bytes()
                              for part in parts))
    return path


# ---- joined files ----

def test_062_recordings_joined(flotilla, recordings, tmp_path):
    """cat a*.avro > both.avro: all of it, in one file, and nothing is called lost."""
    files = recordings["a"][:2]
    both = join(tmp_path / "both.avro", files)
    payload, count = container.payload(files)
    done = flotilla("verify", both, check=3)
    size = files[0].stat().st_size
    assert f"offset {size}: another Avro file begins here" in done.stderr
    assert "joined from 2 files" in done.stdout and "damaged" not in done.stdout
    done = flotilla("cat", both, check=0)
    assert len(done.stdout.splitlines()) == count
    assert f"another Avro file begins at offset {size}" in done.stderr
    done = flotilla("info", "--json", both, check=0)
    said = json.loads(done.stdout)
    assert (said["datums"], said["joined"]) == (count, 1)
    assert f"another Avro file begins at offset {size}" in done.stderr
    first = json.loads(flotilla("info", "--json", files[0], check=0).stdout)
    assert said["sync"] == first["sync"] and said["started"] == first["started"]
    said, _ = recover(flotilla, both, 0)
    assert (said["lost_datums_estimated"], said["lost_bytes"], said["joined"]) == (0, 0, 1)
    assert container.payload([one["output"] for one in said["outputs"]]) == (payload, count)
    assert len(said["outputs"]) == 1


def test_062_two_recordings_in_one(flotilla, tmp_path):
    source = FILES_OF_OTHERS / "two-recordings-in-one.avro"
    if not source.is_file():
        pytest.skip("needs two-recordings-in-one.avro of the files of others")
    path = join(tmp_path / "both.avro", [source])
    said, _ = recover(flotilla, path, 0)
    assert said["datums"] == 100 and said["lost_datums_estimated"] == 0


def test_062_recordings_of_several_channels_joined(flotilla, recordings, tmp_path):
    """One file for each schema and channel, each in the order of the file."""
    order = [("a", 0), ("b", 0), ("a", 1), ("c", 0), ("b", 1)]
    parts = [recordings[name][i] for name, i in order]
    said, told = recover(flotilla, join(tmp_path / "all.avro", parts), 0)
    assert said["joined"] == 4 and said["lost_bytes"] == 0 and len(said["outputs"]) == 3
    for one, name in zip(said["outputs"], ["a", "b", "c"]):
        wanted = recordings[name][:1 if name == "c" else 2]
        assert container.payload([one["output"]]) == container.payload(wanted)
        assert container.read(one["output"])[0]["flotilla.channel"] == name.encode()
    assert [os.path.basename(one["output"]) for one in said["outputs"]] == \
        ["out.avro", "out-2.avro", "out-3.avro"]


def test_062_joined_out_of_order(flotilla, recordings, tmp_path):
    """What is saved is searched right: its blocks do not say an order that they have not."""
    first, second = recordings["a"][:2]
    said, _ = recover(flotilla, join(tmp_path / "x.avro", [second, first]), 0)
    (one,) = said["outputs"]
    count = container.count(first) + container.count(second)
    assert one["datums"] == count
    done = flotilla("cat", one["output"], "--from", "2000-01-01T00:00:00Z", "--to",
                    json.loads(flotilla("info", "--json", second, check=0).stdout)["first_arrival"],
                    check=0)
    assert len(done.stdout.splitlines()) >= container.count(first) - 10


@pytest.mark.parametrize("where", ["block", "end", "header"])
def test_062_damage_in_joined_files(flotilla, recordings, tmp_path, where):
    """Also where a later part has the marker of the first: its header ends no block."""
    first, other = recordings["a"][0], recordings["b"][0]
    metadata, blocks = container.read(first)
    last = blocks[-1]
    data = first.read_bytes()
    if where == "block":
        data = data[:last[2] + 300] + bytes(40) + data[last[2] + 340:]
    elif where == "end":
        data = data[:last[2] + 400]
    path = join(tmp_path / "x.avro", [data, other, first])
    said, _ = recover(flotilla, path, 3 if where != "header" else 0)
    assert [one["datums"] for one in said["outputs"]] == [
        2 * container.count(first) - (last[0] if where != "header" else 0), container.count(other)]
    if where != "header":
        assert said["lost_datums_estimated"] == pytest.approx(last[0], rel=0.05)


@pytest.mark.parametrize("codecs", [("null", "null"), ("deflate", "null"), ("snappy", "zstandard"),
                                    ("lz4", "null")])
def test_062_files_of_others_joined(flotilla, tmp_path, codecs):
    """Of another schema or codec: two files; the same: one."""
    other = bytes(range(0x50, 0x60))
    one = header(POINT, codecs[0]) + block(40, points(0, 40), codecs[0])
    two = header(POINT, codecs[1], sync=other) + block(60, points(40, 60), codecs[1], sync=other)
    path = join(tmp_path / "joined.avro", [one, two])
    folder = tmp_path / "out"
    folder.mkdir()
    said = json.loads(flotilla("recover", "--json", path, "-o", folder / "o.avro", check=0).stdout)
    assert said["datums"] == 100 and said["lost_datums_estimated"] == 0
    if codecs[0] == codecs[1]:
        assert times(folder / "o.avro") == list(range(100))
    else:
        assert (folder / "o.avro").read_bytes() == one
        assert (folder / "o-2.avro").read_bytes() == two
    assert flotilla("verify", path).returncode == 3
    rows = flotilla("cat", path).stdout.splitlines()
    assert len(rows) == (60 if codecs[0] == "lz4" else 100)


def test_062_no_output_is_replaced(flotilla, tmp_path):
    """An output that is there already: nothing is made at all."""
    path = join(tmp_path / "x.avro", [header(POINT) + block(1, point(0)),
                                      header(PAIR) + block(1, long(1) + long(2))])
    (tmp_path / "x.recovered-2.avro").write_text("mine")
    done = flotilla("recover", path, check=1)
    assert "x.recovered-2.avro: File exists" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["x.avro", "x.recovered-2.avro"]
    assert (tmp_path / "x.recovered-2.avro").read_text() == "mine"


# ---- one broken block ----

def test_062_a_hole_in_one_block(flotilla, tmp_path):
    """The datums in front of it are saved, none that the hole makes."""
    data = header(POINT) + block(6000, points(0, 6000))
    at = data.index(point(3000))
    path = join(tmp_path / "hole.avro", [data[:at] + bytes(4096) + data[at + 4096:]])
    said, told = recover(flotilla, path, 3)
    (one,) = said["outputs"]
    kept = times(one["output"])
    assert kept == list(range(len(kept))) and 2999 <= len(kept) <= 3000
    assert said["partial_datums"] == len(kept) == said["datums"]
    assert said["lost_datums_estimated"] == 6000 - len(kept)
    assert f"the first {len(kept)}" in told
    code = flotilla("verify", "--json", path)
    verified = json.loads(code.stdout)
    assert (verified["datums"], verified["partial_datums"]) == (0, len(kept))
    printed = flotilla("cat", path).stdout.splitlines()
    assert len(printed) >= len(kept), "what decodes is shown, for people to look at"


def test_062_a_flip_in_one_block_of_two(flotilla, tmp_path):
    data = header(POINT) + block(1000, points(0, 1000)) + block(500, points(1000, 500))
    at = data.index(point(600)) + len(point(600)) - 1
    assert data[at + 1:at + 3] == point(601)[:2]
    wrong = bytearray(data)
    at = data.index(point(601)) + len(long(601)) + 8  # the branch
    wrong[at] = 0x0c
    said, _ = recover(flotilla, join(tmp_path / "flip.avro", [bytes(wrong)]), 3)
    (one,) = said["outputs"]
    assert times(one["output"]) == [*range(601), *range(1000, 1500)]
    assert said["lost_datums_estimated"] == 399 and said["partial_datums"] == 601


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_062_a_file_that_ends_inside_a_block(flotilla, tmp_path, codec, blocks):
    count = 4000
    data = header(POINT, codec) + b"".join(
        block(count, points(i * count, count), codec) for i in range(blocks))
    last = block(count, points((blocks - 1) * count, count), codec)
    cut = len(data) - len(last) // 3
    path = join(tmp_path / "cut.avro", [data[:cut]])
    said, told = recover(flotilla, path, 3)
    (one,) = said["outputs"]
    kept = times(one["output"])
    assert kept == list(range(len(kept)))
    assert len(kept) > (blocks - 1) * count + count // 2
    assert said["lost_datums_estimated"] == blocks * count - len(kept)
    rows = [json.loads(line)["t"] for line in flotilla("cat", path, check=1).stdout.splitlines()]
    assert rows == kept, "cat prints what is whole"
    if codec == "null":
        first = (blocks - 1) * count
        there = cut - (len(data) - 16 - len(points(first, count)))
        assert len(kept) - first == whole_datums(first, there)


def whole_datums(first, there):
    """How many datums from `first` on fit so many bytes."""
    count = 0
    while (there := there - len(point(first + count))) >= 0:
        count += 1
    return count


def test_062_only_the_last_marker_is_missing(flotilla, tmp_path):
    data = header(POINT) + block(300, points(0, 300))
    for cut in 1, 7, 16:
        said, _ = recover(flotilla, join(tmp_path / f"cut{cut}.avro", [data[:-cut]]), 3)
        assert times(said["outputs"][0]["output"]) == list(range(300))
        assert said["lost_datums_estimated"] == 0 and said["partial_datums"] == 300


def test_062_garbage_is_no_datum(flotilla, tmp_path, rng):
    """Behind a marker, of a schema that any bytes fit: none of it is saved."""
    data = header(PAIR) + block(100, (long(1) + long(2)) * 100)
    for _ in range(20):
        path = join(tmp_path / "garbage.avro", [data + rng.randbytes(rng.randrange(1, 3000))])
        done = flotilla("recover", "--json", path, "-o", tmp_path / "o.avro")
        said = json.loads(done.stdout)
        assert said["datums"] == 100 + said["partial_datums"]
        assert said["partial_datums"] <= 1 and said["lost_datums_estimated"] < 3000
        (tmp_path / "o.avro").unlink()


def test_062_broken_blocks_of_our_own_are_not_taken_apart(flotilla, recordings, tmp_path):
    """They are small and have checksums: a block is what it was, or lost."""
    data = bytearray(recordings["a"][0].read_bytes())
    _, blocks = container.read(recordings["a"][0])
    data[blocks[1][2] + 2000] ^= 1
    said, _ = recover(flotilla, join(tmp_path / "x.avro", [bytes(data)]), 3)
    assert said["partial_datums"] == 0 and said["lost_datums_estimated"] == blocks[1][0]
