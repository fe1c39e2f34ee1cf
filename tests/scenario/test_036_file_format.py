# SPDX-License-Identifier: MIT
"""036-file-format: docs/internals/file-format.md is true and complete. A reader and writer made
from it alone (tests/readers/recording_file.py) reads what relays write and agrees with `flotilla
info` and `verify`, makes the same bytes again, and writes recordings of its own; the document's
example is what it says."""
import json
import re
from datetime import datetime, timezone

import fastavro
import pytest
import recording_file as files
from harness.fleet import ROOT, Fleet

BYTES = {"type": "record", "name": "Bytes", "fields": [{"name": "b", "type": "bytes"}]}
SAMPLE = {"type": "record", "name": "Sample", "fields": [
    {"name": "n", "type": "long"}, {"name": "note", "type": "string"}]}
DOCUMENT = (ROOT / "docs/internals/file-format.md").read_text()


def datum(size, rng):
    return files.sized(rng.randbytes(size))


def instant(text):
    """Nanoseconds of what `info` says."""
    seconds, fraction = re.fullmatch(r"(.*)\.(\d{9})Z", text).groups()
    at = datetime.fromisoformat(seconds).replace(tzinfo=timezone.utc)
    return int(at.timestamp()) * 10**9 + int(fraction)


def check_with(flotilla, path, data):
    """Reads the recording, and holds it against what flotilla and fastavro say of it."""
    metadata, sync, blocks = files.read(data)
    info = json.loads(flotilla("info", "--json", path, check=0).stdout)
    sound = json.loads(flotilla("verify", "--json", path, check=0).stdout)
    assert sound["sound"] and sound["bytes"] == info["bytes"] == len(data)
    assert sound["blocks"] == info["blocks"] == len(blocks) > 0
    assert sound["datums"] == info["datums"] == sum(block["count"] for block in blocks)
    assert info["sync"] == sync.hex()
    assert instant(info["first_arrival"]) == blocks[0]["arrival"]
    assert instant(info["last_block_arrival"]) == blocks[-1]["arrival"]
    for key in ("channel", "host", "started", "version"):
        assert info[key] == metadata[f"flotilla.{key}"].decode()
    for block in blocks:
        end = block["offset"] + block["bytes"]
        assert files.inflate(data[block["offset"]:end]) == block["data"]
        assert end % files.PAGE == 0 and data[end - files.SYNC:end] == sync
    return metadata, sync, blocks


def write_again(metadata, sync, blocks, datums_of):
    kept = {key: value for key, value in metadata.items()
            if key not in ("flotilla.padding", "flotilla.crc32c")}
    out = files.write_header(kept, sync)
    for block in blocks:
        out += files.write_block(datums_of(block), block["arrival"], sync, len(out))
    return out


def datums_of_bytes(block):
    out, at = [], 0
    while at < len(block["data"]):
        size, behind = files.take_long(block["data"], at)
        out.append(block["data"][at:behind + size])
        at = behind + size
    assert len(out) == block["count"]
    return out


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_036_what_relays_write(flotilla, rng, direct_io):
    channels = {"small": {"schema": BYTES}, "large": {"schema": BYTES},
                "opaque": {"schema": None, "encoding": "opaque"}}
    with Fleet(channels, storage={"direct_io": direct_io, "sync": "200ms"}) as fleet:
        fleet.source("small", [datum(rng.randint(0, 900), rng) for _ in range(300)], rate=1000)
        # Datums of which two fill a stored block, in blocks of several.
        fleet.source("large", [datum(rng.choice([300, 40000, 60000]), rng) for _ in range(100)],
                     rate=200)
        fleet.source("opaque", [rng.randbytes(rng.randint(1, 1400)) for _ in range(100)])
        fleet.settle({"small": 300, "large": 100, "opaque": 100})
        fleet.source("small", [b"\xff"])  # one that is turned away
        fleet.settle({"small": 301})
        (part,) = fleet.files("small")
        assert part.name.endswith(".avro.part")
        check_with(flotilla, part, part.read_bytes())
        fleet.stop()
        seen = {}
        for name in ("small", "large", "opaque"):
            for path in fleet.folder.glob(f"recordings/{name}/*.avro"):
                data = path.read_bytes()
                metadata, sync, blocks = check_with(flotilla, path, data)
                seen[path.name.split("-")[0] + path.stem[-8:]] = blocks
                assert json.loads(metadata["avro.schema"])["name"]
                if name != "opaque" and "rejects" not in path.name:
                    assert write_again(metadata, sync, blocks, datums_of_bytes) == data
                check_search(data, blocks)
        assert len(seen) == 4
        sizes = {len(block["data"]) > files.STORED for blocks in seen.values() for block in blocks}
        assert sizes == ({True, False} if direct_io == "auto" else {False})


def check_search(data, blocks):
    """The bisection finds what going through all blocks finds."""
    for block in blocks:
        for at in (block["arrival"] - 1, block["arrival"]):
            before = [one["offset"] for one in blocks if one["arrival"] <= at]
            assert files.find(data, at) == (before[-1] if before else blocks[0]["offset"])


def test_036_a_writer_of_ones_own(flotilla, rng, tmp_path):
    sync, start = rng.randbytes(16), 1_767_225_600_000_000_000
    metadata = {"avro.schema": json.dumps(BYTES).encode(), "avro.codec": b"deflate",
                "flotilla.channel": b"own", "flotilla.host": b"here",
                "flotilla.started": b"2026-01-01T00:00:00Z", "flotilla.version": b"0"}
    out, sent = files.write_header(metadata, sync), []
    # Every length of filler behind the datums, and the edges of stored blocks.
    sizes = [[size] for size in range(3900, 4000)] + [[65530], [65531], [65532], [65533], [65534]]
    sizes += [[rng.randint(0, 3000) for _ in range(rng.randint(1, 90))] for _ in range(30)]
    sizes += [[60000, 60000, 11060 + more] for more in range(8)]
    for number, lengths in enumerate(sizes):
        datums = [datum(length, rng) for length in lengths]
        out += files.write_block(datums, start + number, sync, len(out))
        sent += datums
    path = tmp_path / "own.avro"
    path.write_bytes(out)
    _, _, blocks = check_with(flotilla, path, out)
    assert len(blocks) == len(sizes)
    assert b"".join(block["data"] for block in blocks) == b"".join(sent)
    with open(path, "rb") as file:
        assert [files.sized(one["b"]) for one in fastavro.reader(file)] == sent
    assert len(flotilla("cat", path, check=0).stdout.splitlines()) == len(sent)
    check_search(out, blocks)


def test_036_damage_is_seen(rng):
    """Any bit, and a block in another place: by the reader of the document."""
    sync = rng.randbytes(16)
    block = files.write_block([datum(20, rng)], 1 << 60, sync, 4096)
    image = bytes(4096) + block
    assert files.read_block(image, 4096, sync)["count"] == 1
    for bit in rng.sample(range(8 * len(block)), 2000) + list(range(8 * 160)):
        flipped = bytearray(image)
        flipped[4096 + bit // 8] ^= 1 << bit % 8
        with pytest.raises((files.Bad, IndexError, files.struct.error)):
            files.read_block(bytes(flipped), 4096, sync)
    with pytest.raises(files.Bad, match="somewhere else"):
        files.read_block(bytes(8192) + block, 8192, sync)


def test_036_the_example():
    dump = re.search(r"```\n(00000000 .*?)```", DOCUMENT, re.S)[1].splitlines()
    arrival = int(re.search(r"arrival (\d+)", DOCUMENT)[1])
    crc = int(re.search(r"CRC ([0-9a-f]{8}),", DOCUMENT)[1], 16)
    sync = bytes.fromhex("1173c539fe60d0f05aa5c34f44734664")
    header = files.write_header({
        "avro.schema": json.dumps(SAMPLE).encode(), "avro.codec": b"deflate",
        "flotilla.channel": b"demo", "flotilla.host": b"vm",
        "flotilla.started": b"2026-11-30T12:21:07Z", "flotilla.version": b"0.1.0"}, sync)
    datums = [files.long(n) + files.sized(note) for n, note in
              ((1, b"one"), (2, b"two"), (3, b"three"))]
    image = header + files.write_block(datums, arrival, sync, 4096)
    shown = 0
    for line in dump:
        if line == "...":
            continue
        at, bytes_, text = re.fullmatch(r"(\w{8})  ([0-9a-f ]{48})  \|(.{16})\|", line).groups()
        part = image[int(at, 16):int(at, 16) + 16]
        assert bytes.fromhex(bytes_) == part, line
        assert text == "".join(chr(b) if 32 <= b < 127 else "." for b in part), line
        shown += 1
    assert shown > 12
    block = files.read_block(image, 4096, sync)
    assert (block["count"], block["arrival"], block["crc"], block["place"]) == (3, arrival, crc, 2)
    firsts = re.search(r"Their first bytes `([0-9a-f ]+)`", DOCUMENT)[1].split()
    values = re.search(r"five bits each, ([\d,\s]+?)\s+\.\.\.", DOCUMENT)[1].split(",")
    assert [int(one, 16) >> 3 for one in firsts] == [int(one) for one in values]
