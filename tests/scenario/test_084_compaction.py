# SPDX-License-Identifier: MIT
"""084-compaction: finished recordings are rewritten smaller and hold the same: datums, header,
arrival times, order, name and time; read by other readers, found by time, verified, recovered, an
overview's source. What is doubtful is left alone. Killed at any moment, each file is there once,
whole."""
import json
import os
import random
import shutil
import subprocess
import threading
import time

import fastavro
import pytest
import recording_file
from harness import avro, container, levels, readers
from harness.fleet import LONG, ROOT, Fleet, flotilla, new_folder, wait_until
from harness.levels import SECOND, START

MAKE = ROOT / "build/units/bench_history"
TIME = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}}


@pytest.fixture
def folder():
    made = new_folder()
    yield made / "c"
    shutil.rmtree(made)


def make_old(folder):
    for path in folder.glob("*.avro"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 3600 * SECOND))


def format_of(path):
    with open(path, "rb") as file:
        return fastavro.reader(file).metadata.get("flotilla.format")


FORMATS = {"deflate": "2", "zstandard": "3"}
both = pytest.mark.parametrize("codec", FORMATS)


def compact(folder, codec="deflate", *flags, wanted=None):
    """The service until all files that can be are rewritten; what it said."""
    child = levels.serve(folder, "--overview=false", "--compact=1min", f"--compact-codec={codec}",
                         *flags)
    files = sorted(folder.glob("*.avro")) if wanted is None else wanted
    wait_until(lambda: child.poll() is not None or
               all(format_of(path) == FORMATS[codec] for path in files),
               seconds=300, what="all is compacted", pause=0.05)  # it works when nobody else does
    child.terminate()
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 0, said
    return said


def whole(folder, *words):
    return flotilla("cat", folder, *words, check=0).stdout


def metadata(path):
    found, _ = container.read(path)
    return {key: value for key, value in found.items()
            if key not in ("header_bytes", "avro.codec", "flotilla.format", "flotilla.padding",
                           "flotilla.crc32c")}


READERS = {"deflate": readers.COMMANDS, "zstandard": readers.OF_ZSTANDARD}


@both
def test_084_random_schemas(rng, folder, codec):
    """Each file has a schema of its own; every reader that is there reads what it read before."""
    for number in range(1, 12 if LONG else 5):
        schema = avro.random_schema(rng, first_fields=(TIME, {"name": "pad", "type": "string"}))
        values = [avro.random_value(rng, schema) for _ in range(400)]
        blocks, at = [], 0
        for index, value in enumerate(values):
            value["time"] = START + (number * 1000 + index) * SECOND // 10
            value["pad"] = "telemetry " * 12
        while at < len(values):
            some = rng.randint(1, 20)
            blocks.append((values[at]["time"], [avro.encode(schema, value, rng=rng)
                                                for value in values[at:at + some]]))
            at += some
        levels.write_recording(folder, json.dumps(schema.json), blocks, number=number,
                               time=b"time" if number % 3 else b"")
    make_old(folder)
    files = sorted(folder.glob("*.avro"))
    middle = START + 1500 * SECOND // 10
    begins = [(middle + offset) / SECOND for offset in range(0, 100 * SECOND, 9 * SECOND)]
    spans = [["--from", f"{begin:.1f}", "--to", f"{begin + 3:.1f}"] for begin in begins]
    before = {path: (container.payload([path]), metadata(path), path.stat()) for path in files}
    text, parts = whole(folder), [whole(folder, *span) for span in spans]
    known = READERS[codec]
    heard = {reader: readers.run(reader, files, commands=known) for reader in known}
    packed = [path for number, path in enumerate(files, 1) if number % 3]
    assert compact(folder, codec, wanted=packed) == ""
    assert sorted(folder.glob("*.avro")) == files and not list(folder.glob(".*compacting"))
    for path in files:
        assert (container.payload([path]), metadata(path)) == before[path][:2]
        now, then = path.stat(), before[path][2]
        assert now.st_mtime_ns == then.st_mtime_ns
        # Where no field tells the time, each block keeps its own arrival, and a page at least.
        assert now.st_size < then.st_size if path in packed else now.st_size <= then.st_size
        assert now.st_size % 4096 == 0
    assert whole(folder) == text and [whole(folder, *span) for span in spans] == parts
    assert any(parts)
    assert {reader: readers.run(reader, files, commands=known) for reader in known} == heard
    for path in packed:  # by the documents alone
        assert b"".join(block["data"] for block in recording_file.read(path.read_bytes())[2]) == \
            before[path][0][0]
    done = flotilla("verify", "--json", *files, check=0)
    assert all(json.loads(line)["sound"] for line in done.stdout.splitlines())
    assert all(len(container.read(path)[1]) <= 2 for path in packed)


@both
def test_084_found_by_time_and_recovered(rng, folder, codec, monkeypatch):
    subprocess.run([str(MAKE), str(folder), "c", "12000000", "1000", "6000000"], check=True,
                   capture_output=True)
    make_old(folder)
    files = sorted(folder.glob("*.avro"))
    text = whole(folder)
    fresh = folder.parent / "fresh/c"
    shutil.copytree(folder, fresh)
    levels.build(fresh)
    compact(folder, codec)
    levels.build(folder)
    for factor in (50, 2500):
        assert container.payload(levels.level_files(folder, factor)) == \
            container.payload(levels.level_files(fresh, factor))
    assert whole(folder) == text
    count = int(flotilla("cat", folder, "--from", "1767225650", "--to", "1767225653.5",
                         check=0).stdout.count("\n"))
    assert count == 3500
    monkeypatch.syspath_prepend(str(ROOT / "python"))
    import flotilla as package
    frame = package.read(folder, 1767225650, 1767225653.5)
    assert len(frame) == 3500
    path = files[0]
    blocks = container.read(path)[1]
    data = bytearray(path.read_bytes())
    hit = rng.choice(blocks[1:-1])
    data[rng.randrange(hit[2] + 140, hit[3] - 200)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    flotilla("verify", path, check=3)
    out = folder.parent / "mended.avro"
    flotilla("recover", path, "-o", out, check=3)
    flotilla("verify", out, check=0)
    assert container.payload([out])[1] == sum(block[0] for block in blocks) - hit[0]
    # The header is lost, another file beside it has the schema: blocks are written unpacked.
    kept = container.payload([files[1]])
    data = bytearray(files[1].read_bytes())
    data[:200] = bytes(200)
    files[1].write_bytes(data)
    lost = folder.parent / "lost.avro"
    flotilla("recover", files[1], "-o", lost, check=3)
    flotilla("verify", lost, check=0)
    assert container.payload([lost]) == kept and format_of(lost) == "1"


def test_084_left_alone(rng, folder):
    """Damage, what others wrote, what does not become smaller, what is young, open, or unlike its
    header."""
    text = json.dumps({"type": "record", "name": "R", "fields": [
        {"name": "x", "type": {"type": "fixed", "name": "F", "size": 1000}}]})
    noise = random.Random(1)
    for number in range(1, 7):
        datums = [noise.randbytes(1000) if number == 1 else bytes(1000) for _ in range(9000)]
        blocks = [(START + at, datums[at:at + 200]) for at in range(0, len(datums), 200)]
        levels.write_recording(folder, text, blocks[:3] if number > 1 else blocks, number=number,
                               part=number == 6)
    made = {path.name[-11:-5]: path for path in folder.glob("*.avro")}
    data = bytearray(made["000002"].read_bytes())
    data[8000] ^= 1
    made["000002"].write_bytes(data)
    made["000003"].write_bytes(made["000003"].read_bytes() + b"trailing")
    with open(made["000004"], "wb") as file:
        fastavro.writer(file, fastavro.parse_schema({"type": "string"}), ["a", "b"])
    make_old(folder)
    young = made["000005"]
    os.utime(young)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    child = levels.serve(folder, "--overview=false", "--compact=1min")
    end = threading.Timer(120, child.kill)
    end.start()
    said = child.stderr.readline() + child.stderr.readline()
    time.sleep(1)
    end.cancel()
    child.terminate()
    said += child.communicate(timeout=60)[1]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    for number in ("000002", "000003"):
        assert f"{number}.avro is not compacted: " in said, said
    assert said.count("\n") == 2


def test_084_dated_in_the_future(rng, folder):
    """A clock that was set back: what was finished before that neither waits for it nor has others
    wait."""
    text = json.dumps({"type": "record", "name": "R", "fields": [
        {"name": "x", "type": {"type": "fixed", "name": "F", "size": 1000}}]})
    for number in range(1, 4):
        blocks = [(START + at, [bytes(1000)] * 200) for at in range(20)]
        levels.write_recording(folder, text, blocks, number=number)
    make_old(folder)
    files = sorted(folder.glob("*.avro"))
    ahead = time.time() + 10 * 86400
    os.utime(files[1], (ahead, ahead))
    assert compact(folder) == "" and files[1].stat().st_mtime == pytest.approx(ahead)


@both
def test_084_killed(rng, folder, codec):
    """At any moment the one file or the other, and in the end nothing else."""
    subprocess.run([str(MAKE), str(folder), "c", str(80_000_000 if LONG else 16_000_000), "1000",
                    "4000000"], check=True, capture_output=True)
    make_old(folder)
    files = sorted(folder.glob("*.avro"))
    before = {path: container.payload([path]) for path in files}
    for _ in range(100 if LONG else 6):
        child = levels.serve(folder, "--compact=1min", f"--compact-codec={codec}")
        time.sleep(rng.uniform(0.01, 0.4))
        child.kill()
        child.communicate()
        assert sorted(folder.glob("*.avro*")) == files
        path = rng.choice(files)
        assert container.payload([path]) == before[path]
    compact(folder, codec)
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    assert {path: container.payload([path]) for path in files} == before
    flotilla("verify", *files, check=0)


def test_084_under_a_fleet(rng):
    """What a relay has finished becomes smaller while it goes on; nothing is lost or twice."""
    schema = {"type": "record", "name": "R", "fields": [
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "counter", "type": "long"}, {"name": "text", "type": "string"}]}
    datums = [avro.long(1_700_000_000_000_000 + number) + avro.long(number) + avro.long(200)
              + b"telemetry " * 20 for number in range(30000)]
    with Fleet({"c": {"schema": schema, "time": "time", "sequence": "counter"}},
               top={"overview": {"levels": 2}},
               storage={"rotate": {"size": "1MiB"}, "compact": "1s",
                        "compact_codec": "zstandard"}) as fleet:
        fleet.source("c", datums, rate=10000).finish()
        fleet.settle({"c": len(datums)})
        folder = fleet.folder / "recordings/c"
        wait_until(lambda: sum(format_of(path) == "3" for path in folder.glob("*.avro")) >= 3,
                   what="files are compacted", seconds=120)
        got = [json.loads(line)["counter"] for line in whole(folder).splitlines()]
        assert got == list(range(len(datums)))
        assert "storage:\n" in flotilla("check", "-c", fleet.file, "--print", check=0).stdout
        assert "  compact: 1s\n  compact_codec: zstandard\n" in flotilla(
            "check", "-c", fleet.file, "--print").stdout
