# SPDX-License-Identifier: MIT
"""061-files-of-others: headers that other readers read, codecs of others, what is over a limit of
this program or in a codec that it does not know, and files of other kinds. What is told of them is
checked against fastavro, and against what the test has written."""
import gzip
import io
import json
import os
import random
import struct
import subprocess

import fastavro
import pytest
from harness import container, foreign
from harness.avro import long
from harness.fleet import FLOTILLA, ROOT
from harness.foreign import block, counted, header

POINT = {"type": "record", "name": "P", "fields": [
    {"name": "t", "type": "long"}, {"name": "x", "type": "double"},
    {"name": "s", "type": ["null", "string"]}]}
EMPTY = {"type": "record", "name": "E", "fields": []}
LIST = {"type": "record", "name": "L", "fields": [
    {"name": "v", "type": "int"}, {"name": "next", "type": ["null", "L"]}]}
SMALL = ["sh", "-c", 'ulimit -v 400000; exec "$@"', "sh"]  # 400 MB of addresses
FILES_OF_OTHERS = (ROOT / "../shared/trials/files").resolve()


def point(i):
    return long(i) + struct.pack("<d", i / 3) + (
        long(0) if i % 3 else long(1) + counted(f"note {i}"))


def points(first, count):
    return b"".join(point(i) for i in range(first, first + count))


def chain(levels):
    return b"".join(long(i) + long(int(i < levels - 1)) for i in range(levels))


def of_others(name):
    path = FILES_OF_OTHERS / name
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the files of others")
    return path


def verified(flotilla, path):
    done = flotilla("verify", "--json", path)
    return done.returncode, json.loads(done.stdout)


def fastavro_reads(path):
    with open(path, "rb") as file:
        return list(fastavro.reader(file))


def all_read(flotilla, path, count):
    """Every tool reads the file whole, to the last datum."""
    code, said = verified(flotilla, path)
    assert (code, said["sound"], said["datums"], said["unread"]) == (0, True, count, None)
    for words in [], ["--count"]:
        info = json.loads(flotilla("info", "--json", *words, path, check=0).stdout)
        assert info["datums"] == count and info["fault"] is None
    lines = flotilla("cat", path, check=0).stdout.splitlines()
    assert len(lines) == count
    saved = path.with_name("saved.avro")
    done = flotilla("recover", path, "-o", saved, check=0)
    assert "nothing was lost" in done.stdout
    assert saved.read_bytes() == path.read_bytes()
    saved.unlink()
    return [json.loads(line) for line in lines]


# ---- headers ----

@pytest.mark.parametrize("more", [
    [("avro.codec", "null")],
    [("user.a", "1"), ("user.a", "2")],
    [("k" * 5000, "v")],
    [(b"user.\xff\xfe", b"\x80\x81\xff")],
    [("user.blob", bytes(range(256)) * (8 << 12))],
    [(f"k{i}", "v") for i in range(12000)],
    [("", "")],
], ids=["codec twice", "key twice", "long key", "not UTF-8", "8 MiB", "12,000 entries", "no key"])
def test_061_one_header_reader(flotilla, tmp_path, more):
    path = tmp_path / "header.avro"
    path.write_bytes(header(POINT, "null", more) + block(7, points(0, 7)))
    rows = all_read(flotilla, path, 7)
    if all(key.isascii() and key != "user.blob" for key, _ in more):
        assert [row["x"] for row in rows] == [row["x"] for row in fastavro_reads(path)]


def test_061_metadata_in_blocks_with_their_size(flotilla, tmp_path):
    path = tmp_path / "header.avro"
    entries = [("avro.codec", "null"), ("avro.schema", json.dumps(POINT))]
    data = b"Obj\x01"
    for key, value in entries:
        entry = counted(key) + counted(value)
        data += long(-1) + long(len(entry)) + entry
    path.write_bytes(data + long(0) + foreign.SYNC + block(3, points(0, 3)))
    all_read(flotilla, path, 3)


@pytest.mark.parametrize("name", ["meta_dup_codec.avro", "own-70000-empty-datums.avro"])
def test_061_files_that_others_wrote(flotilla, name):
    path = of_others(name)
    code, said = verified(flotilla, path)
    assert code == 0 and said["sound"] is True
    assert said["datums"] == len(fastavro_reads(path))
    assert len(flotilla("cat", path, check=0).stdout.splitlines()) == said["datums"]


@pytest.mark.parametrize("claims", [
    long(1 << 40), long(3) + long(1 << 50), long(-(1 << 40)) + long(9)],
    ids=["entries", "a key", "a block of entries"])
def test_061_a_header_that_claims_more_than_there_is(flotilla, tmp_path, claims):
    """Told at once: nothing is allocated for what cannot be there."""
    path = tmp_path / "header.avro"
    path.write_bytes(b"Obj\x01" + claims + bytes(100000))
    done = subprocess.run([*SMALL, FLOTILLA, "verify", path], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 3 and "the file ends inside it" in done.stderr


# ---- codecs ----

@pytest.mark.parametrize("codec", list(foreign.PACK))
def test_061_codecs_of_others(flotilla, tmp_path, codec):
    path = tmp_path / f"{codec}.avro"
    path.write_bytes(header(POINT, codec) + block(500, points(0, 500), codec) +
                     block(0, b"", codec) + block(1500, points(500, 1500), codec))
    rows = json.loads("[" + ",".join(flotilla("cat", path, check=0).stdout.splitlines()) + "]")
    wanted = fastavro_reads(path)
    assert [(row["t"], row["x"]) for row in rows] == [(row["t"], row["x"]) for row in wanted]
    assert len(rows) == 2000
    code, said = verified(flotilla, path)
    assert (code, said["sound"], said["datums"]) == (0, True, 2000)
    info = json.loads(flotilla("info", "--json", path, check=0).stdout)
    assert (info["codec"], info["datums"], info["blocks"]) == (codec, 2000, 3)


@pytest.mark.parametrize("codec", list(foreign.PACK))
def test_061_codecs_as_fastavro_writes_them(flotilla, tmp_path, codec):
    path = tmp_path / f"{codec}.avro"
    records = [{"t": i, "x": i / 7, "s": None if i % 2 else "x" * (i % 50)} for i in range(9000)]
    with open(path, "wb") as file:
        fastavro.writer(file, POINT, records, codec=codec, sync_interval=16000)
    rows = all_read(flotilla, path, 9000)
    assert [(row["t"], row["x"]) for row in rows] == [(r["t"], r["x"]) for r in records]


@pytest.mark.parametrize("codec", ["deflate", "snappy", "zstandard", "bzip2", "xz"])
def test_061_a_packed_block_that_is_damaged(flotilla, tmp_path, codec, rng):
    """Only that block is lost, and it is said how many datums that is."""
    head = header(POINT, codec)
    blocks = [block(400, points(400 * i, 400), codec) for i in range(5)]
    hit = bytearray(blocks[2])
    at = rng.randrange(len(hit) // 3, len(hit) - 40)
    for i in range(at, at + 8):
        hit[i] ^= 0xff
    path = tmp_path / "damaged.avro"
    path.write_bytes(head + b"".join(blocks[:2]) + hit + b"".join(blocks[3:]))
    code, said = verified(flotilla, path)
    assert code == 3 and said["sound"] is False and said["datums"] == 1600
    done = flotilla("recover", "--json", path, "-o", tmp_path / "saved.avro", check=3)
    assert json.loads(done.stdout)["lost_datums_estimated"] == 400
    assert [row["t"] for row in fastavro_reads(tmp_path / "saved.avro")] == \
        [*range(800), *range(1200, 2000)]
    # One byte less than there was: nothing is invented.
    path.write_bytes(head + blocks[0][:-17] + blocks[0][-16:] + b"".join(blocks[1:]))
    assert verified(flotilla, path)[1]["datums"] == 1600


def test_061_a_codec_that_is_not_known(flotilla, tmp_path):
    """Named by all; blocks and datums are counted from the fronts; kept byte for byte."""
    path = tmp_path / "other.avro"
    data = header(POINT, "lz4") + block(500, b"\x04whatever" * 9) + block(1500, b"else" * 100)
    path.write_bytes(data)
    code, said = verified(flotilla, path)
    assert (code, said["sound"], said["blocks"], said["datums"]) == (4, None, 0, 0)
    assert (said["unread_blocks"], said["unread_datums"]) == (2, 2000)
    assert '"lz4" is not known here' in said["unread"] and said["faults"] == []
    done = flotilla("verify", path, check=4)
    assert "2 blocks of 2000 datums cannot be read here" in done.stdout
    assert done.stderr.count("lz4") == 1
    info = json.loads(flotilla("info", "--json", path, check=0).stdout)
    assert (info["codec"], info["blocks"], info["datums"]) == ("lz4", 2, 2000)
    assert "lz4 (not known here" in flotilla("info", path, check=0).stdout
    assert flotilla("info", "--count", path, check=4).stderr.count("lz4") == 1
    assert json.loads(flotilla("cat", "--schema", path, check=0).stdout) == POINT
    done = flotilla("cat", path, check=4)
    assert done.stdout == "" and done.stderr.count("lz4") == 1
    done = flotilla("recover", path, check=0)
    assert "nothing was lost" in done.stdout and "lz4" in done.stderr
    assert (tmp_path / "other.recovered.avro").read_bytes() == data
    path.write_bytes(data[:-3])
    assert verified(flotilla, path)[1]["sound"] is False
    done = flotilla("verify", tmp_path / "other.recovered.avro", path, check=3)


def test_061_send_reads_codecs_of_others(flotilla, tmp_path):
    path = tmp_path / "snappy.avro"
    path.write_bytes(header(POINT, "snappy") + block(30, points(0, 30), "snappy"))
    done = flotilla("send", "--to", "127.0.0.1:9", "--interface", "lo", "--from", path, "--rate",
                    "0", "--json")
    assert json.loads(done.stdout)["errors"] + json.loads(done.stdout)["datums_sent"] == 30


# ---- limits ----

def test_061_datums_without_bytes_have_no_limit(flotilla, tmp_path):
    path = tmp_path / "empty.avro"
    path.write_bytes(header(EMPTY) + block(65537, b"") + block(3_000_000, b""))
    code, said = verified(flotilla, path)
    assert (code, said["datums"]) == (0, 3065537)
    done = subprocess.run([FLOTILLA, "cat", path], capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout == b"{}\n" * 3065537
    path.write_bytes(header(EMPTY) + block(1 << 60, b""))
    assert verified(flotilla, path)[1]["datums"] == 1 << 60
    done = flotilla("cat", path, "--count", "3", check=0)
    assert done.stdout == "{}\n" * 3


def test_061_items_without_bytes(flotilla, tmp_path):
    path = tmp_path / "items.avro"
    path.write_bytes(header({"type": "array", "items": "null"}) +
                     block(1, long(100000) + long(0)))
    (row,) = all_read(flotilla, path, 1)
    assert row == [None] * 100000
    beyond(flotilla, path, long(1 << 40) + long(0), {"type": "array", "items": "null"},
           "more items without bytes than this program's limit of 1048576")


def beyond(flotilla, path, datum, schema, words):
    """The datum stands in the second of three blocks: no damage, and nothing is lost of it."""
    good = long(0) if schema["type"] == "array" else chain(2)
    data = header(schema) + block(2, good * 2) + block(3, good + datum + good) + block(1, good)
    path.write_bytes(data)
    code, said = verified(flotilla, path)
    assert (code, said["sound"], said["datums"], said["lost_bytes"]) == (4, None, 3, 0)
    assert (said["unread_blocks"], said["unread_datums"]) == (1, 3)
    assert words in said["unread"] and said["faults"] == []
    assert "damaged" not in flotilla("verify", path, check=4).stdout
    info = json.loads(flotilla("info", "--json", path, check=0).stdout)
    assert info["datums"] == 6
    done = flotilla("cat", path, check=4)
    assert words in done.stderr and len(done.stdout.splitlines()) == 4, "what can be is printed"
    saved = path.with_name("saved.avro")
    done = flotilla("recover", path, "-o", saved, check=0)
    assert saved.read_bytes() == data and "nothing was lost" in done.stdout
    saved.unlink()
    # In a folder with a sound one: not all can be judged, none is damaged.
    sound = path.with_name("sound.avro")
    sound.write_bytes(header(POINT) + block(1, point(0)))
    assert flotilla("verify", path, sound).returncode == 4


def test_061_depth(flotilla, tmp_path):
    path = tmp_path / "deep.avro"
    path.write_bytes(header(LIST) + block(1, chain(2)) + block(1, chain(128)) + block(1, chain(3)))
    all_read(flotilla, path, 3)
    beyond(flotilla, path, chain(5000), LIST, "nests deeper than this program's limit of")


def deep_json():
    inside = '{"type":"record","name":"R","fields":[{"name":"a","type":"long"}],"x":%s}'
    return inside % ("[" * 3000 + "]" * 3000)


@pytest.mark.parametrize(("schema", "words"), [
    ({"type": "fixed", "name": "F", "size": 3_000_000_000}, "0 to 2147483647"),
    ({"type": "fixed", "name": "F", "size": 1 << 31}, "0 to 2147483647"),
    (deep_json(), "the JSON nests deeper than 2048 levels"),
    ({"type": "record", "name": "N" * 1500, "fields": []}, "may be 1000 characters long"),
    ([{"type": "fixed", "name": f"F{i}", "size": 1} for i in range(70_000)],
     "a schema may hold at most 65536 types")])
def test_061_a_header_over_a_limit(flotilla, tmp_path, schema, words):
    """What others read and this program does not is no damage."""
    path = tmp_path / "limit.avro"
    path.write_bytes(header(schema) + block(1, long(1)))
    code, said = verified(flotilla, path)
    assert (code, said["sound"]) == (4, None), said
    done = flotilla("cat", path, check=4)
    assert "over a limit of this program" in done.stderr and words in done.stderr, done.stderr
    # What nobody reads is damage, and stays so.
    path.write_bytes(header({"type": "fixed", "name": "F", "size": -1}) + block(1, long(1)))
    code, said = verified(flotilla, path)
    assert said["sound"] is False and code == 3, said


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_061_large_blocks(flotilla, tmp_path, codec):
    """70 MiB in one datum, and in many."""
    schema = {"type": "record", "name": "B", "fields": [
        {"name": "i", "type": "long"}, {"name": "b", "type": "bytes"}]}
    large = bytes(70 << 20) if codec == "deflate" else random.Random(61).randbytes(70 << 20)
    data = header(schema, codec) + block(1, long(0) + counted(b"q"), codec) + \
        block(1, long(1) + counted(large), codec) + block(1, long(2) + counted(b"z"), codec)
    path = tmp_path / "large.avro"
    path.write_bytes(data)
    code, said = verified(flotilla, path)
    assert (code, said["sound"], said["datums"]) == (0, True, 3)
    info = json.loads(flotilla("info", "--json", path, check=0).stdout)
    assert info["datums"] == 3
    many = b"".join(long(i) + counted(large[:1000]) for i in range(70000))
    path.write_bytes(header(schema, codec) + block(70000, many, codec))
    assert verified(flotilla, path)[1]["datums"] == 70000
    # The one datum cut or broken is one datum lost.
    path.write_bytes(data[:len(data) // 2])
    said = verified(flotilla, path)[1]
    assert said["sound"] is False and said["lost_datums_estimated"] == 1
    at = len(data) // 2
    path.write_bytes(data[:at] + bytes(~byte & 0xff for byte in data[at:at + 8]) + data[at + 8:])
    said = verified(flotilla, path)[1]
    assert said["lost_datums_estimated"] == (1 if codec == "deflate" else 0)


def test_061_a_bomb_is_over_a_limit(flotilla, tmp_path):
    path = tmp_path / "bomb.avro"
    packed = foreign.PACK["zstandard"](bytes((1 << 30) + 1))
    path.write_bytes(header('"bytes"', "zstandard") + long(1) + long(len(packed)) + packed +
                     foreign.SYNC)
    code, said = verified(flotilla, path)
    assert (code, said["sound"]) == (4, None)
    assert "unpacks to more than this program's limit of 1073741824 bytes" in said["unread"]


# ---- files of other kinds ----

@pytest.mark.parametrize("what, data", [
    ("gzip", None), ("text in UTF-16", '{"a": 1}'.encode("utf-16")),
    ("CSV", b"time,x,y\n" * 20), ("JSON", b'{"type": "record", "name": "x"}'),
    ("Parquet", b"PAR1" + bytes(200)), ("zip", b"PK\x03\x04" + bytes(200))])
def test_061_files_of_other_kinds(flotilla, tmp_path, what, data):
    """Told in a word, by every verb; recover does not ask for a schema."""
    if data is None:
        data = gzip.compress(header(POINT) + block(4, points(0, 4)))
    path = tmp_path / "other.avro"
    path.write_bytes(data)
    for verb, code in ("cat", 1), ("info", 1), ("verify", 3), ("recover", 1):
        done = flotilla(verb, path, check=code)
        assert what in done.stderr and "--schema" not in done.stderr
    assert os.listdir(tmp_path) == ["other.avro"]


def test_061_standard_input(flotilla, tmp_path):
    """What is said of gzip works: through a pipe, and of a file as standard input."""
    path = tmp_path / "p.avro"
    path.write_bytes(header(POINT, "snappy") + block(400, points(0, 400), "snappy") * 300)
    packed = tmp_path / "p.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for command in f"zcat {packed} | {FLOTILLA} cat -", f"{FLOTILLA} cat - < {path}":
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == 120000
    for words in "", "--count":
        for command in (f"zcat {packed} | {FLOTILLA} info --json {words} -",
                        f"{FLOTILLA} info --json {words} - < {path}"):
            done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
            said = json.loads(done.stdout)
            assert (done.returncode, done.stderr) == (0, "")
            assert (said["datums"], said["blocks"], said["fault"]) == (120000, 300, None)
            assert said["bytes"] == path.stat().st_size


def test_061_a_block_larger_than_a_pipe_is_read_as_it_comes(flotilla, tmp_path):
    """Memory follows what has come, not what a block claims."""
    data = header('"bytes"') + long(1) + long(900 << 20) + bytes(300000)
    done = subprocess.run([*SMALL, FLOTILLA, "cat", "-"], input=data, capture_output=True,
                          timeout=60)
    assert done.returncode == 1 and b"the file ends inside a block" in done.stderr


def test_061_container_reader_of_the_tests_agrees(tmp_path):
    """The files of this scenario are what the specification says, by a second reader."""
    data = header(POINT, "deflate") + block(40, points(0, 40), "deflate")
    path = tmp_path / "x.avro"
    path.write_bytes(data)
    assert container.payload([path]) == (points(0, 40), 40)
    assert len(list(fastavro.reader(io.BytesIO(data)))) == 40
