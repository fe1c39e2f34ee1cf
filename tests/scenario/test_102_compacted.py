# SPDX-License-Identifier: MIT
"""102-compacted: what is made of recordings is the same of compacted ones: every format of export,
and what the gateway gives, whose tag of a file changes with its bytes. On a full disk compaction
leaves all as it was, says so, and goes on once there is room."""
import os
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy
import pytest
from harness import container, disks, levels, signals
from harness.fleet import flotilla, new_folder, wait_until
from harness.gateway import GatewayFleet
from mcap.reader import make_reader
from test_084_compaction import MAKE, both, compact, format_of, make_old

FLAGS = "--overview=false", "--compact=1min"


def make(folder, total=3_000_000, each=1_000_000):
    subprocess.run([str(MAKE), str(folder), "c", str(total), "1000", str(each)], check=True,
                   capture_output=True)
    make_old(folder)
    return sorted(folder.glob("*.avro"))


@pytest.fixture
def folder():
    made = new_folder()
    yield made / "c"
    shutil.rmtree(made)


def mcap(path):
    """Its messages, and when they were logged: that is the arrival, which a joined block keeps as
    its time field tells it."""
    with open(path, "rb") as file:
        found = [(message.publish_time, message.data, message.log_time) for _, _, message in
                 make_reader(file).iter_messages(log_time_order=False)]
    return [row[:2] for row in found], [row[2] for row in found]


def hdf5(path):
    """All that is in it, by path: values, and what is said of them."""
    found = {}

    def note(name, item):
        found[name] = {key: numpy.asarray(value).tolist() for key, value in item.attrs.items()
                       if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "history")}
        if isinstance(item, h5py.Dataset):
            found[name]["values"] = item[()].tobytes()
    with h5py.File(path) as file:
        note("", file["/"])
        file.visititems(note)
    return found


@both
def test_102_every_format_is_the_same(folder, codec):
    """Byte for byte; HDF5 and MCAP by what is in them."""
    make(folder)
    out = folder.parent / "out"
    out.mkdir()

    def exported(when):
        found = {}
        for format in "csv", "mcap", "mf4", "h5":
            path = out / f"{when}.{format}"
            flotilla("export", folder, "-o", path, check=0)
            found[format] = {"h5": hdf5, "mcap": mcap}.get(format, Path.read_bytes)(path)
        for name, words in (("every", ["--every", "10ms"]), ("decimated", ["--decimate",
                                                                           "min-max:50"])):
            found[name] = flotilla("export", folder, "-o", "-", "--format", "csv", *words,
                                   check=0).stdout
        return found
    before = exported("before")
    compact(folder, codec)
    after = exported("after")
    assert len(before["csv"]) > 1_000_000 and before["h5"]
    logged = before.pop("mcap"), after.pop("mcap")
    assert logged[0][0] == logged[1][0] and len(logged[0][0]) > 10_000
    apart = [abs(one - other) for one, other in zip(logged[0][1], logged[1][1])]
    assert max(apart) < 1_000_000, max(apart)
    for found in before, after:  # a file of MDF says at its end when it was made
        found["mf4"] = found["mf4"][:-512]
    for name in before:
        assert after[name] == before[name], name


@both
def test_102_the_gateway_across_compaction(codec, seed):
    """A tag stands for the bytes: what was begun with the old file is not gone on with by the new
    one; what is in it is the same."""
    with GatewayFleet({"c": {"schema": signals.SCHEMA, "time": "time"}},
                      storage={"rotate": {"size": "256KiB"}}) as fleet:
        fleet.source("c", signals.samples(12_000, pad=60), rate=20000).finish()
        fleet.settle({"c": 12_000})
        wait_until(lambda: len(fleet.files("c", part=False)) >= 2, what="finished files")
        path = fleet.files("c", part=False)[0]
        url = f"/api/v1/files/{path.name}"
        samples = "/api/v1/channels/c/samples?points=20000"
        old = fleet.ask(url)
        rows = [row["value"] for row in fleet.ask(samples).json["rows"]]
        assert old.status == 200 and old.body == path.read_bytes()
        tag = old.headers["ETag"]
        assert fleet.ask(url, If_None_Match=tag).status == 304
        with open(path, "rb") as held:
            compact_one(path.parent, path, codec)
            assert held.read() == old.body  # who has it open has it whole
        new = fleet.ask(url)
        assert new.status == 200 and new.body == path.read_bytes() != old.body
        assert new.headers["ETag"] != tag
        assert fleet.ask(url, If_None_Match=tag).status == 200
        assert fleet.ask(url, Range="bytes=100-199", If_Range=tag).body == new.body
        part = fleet.ask(url, Range="bytes=100-199", If_Range=new.headers["ETag"])
        assert part.status == 206 and part.body == new.body[100:200]
        assert [row["value"] for row in fleet.ask(samples).json["rows"]] == rows
        assert len(rows) == 12_000


def compact_one(folder, path, codec):
    child = levels.serve(folder, "--overview=false", "--compact=1s", f"--compact-codec={codec}")
    wait_until(lambda: child.poll() is not None or format_of(path) != "1", what="it is compacted")
    child.terminate()
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 0 and said == "", said


def test_102_a_full_disk(tmp_path):
    """Nothing is lost, nothing half stays, it is said once; with room it is done."""
    reason = disks.why_not("ext4", throttled=False)
    if reason:
        pytest.skip(reason)
    with disks.Disk(tmp_path, mebibytes=32) as disk:
        folder = disk.at / "c"
        files = make(folder, 9_000_000, 9_000_000)
        before = container.payload(files)
        room = os.statvfs(disk.at)
        hog = disk.at / "hog"
        hog.write_bytes(bytes(room.f_bfree * room.f_frsize - (1 << 20)))
        child = levels.serve(folder, *FLAGS)
        said = child.stderr.readline()
        assert "No space left on device" in said, said
        assert sorted(disk.at.glob("c/*.avro*")) == files
        assert not [name for name in os.listdir(folder) if "compacting" in name]
        child.terminate()
        assert child.communicate(timeout=60)[1] == "" and child.returncode == 0
        assert {format_of(path) for path in files} == {"1"}
        hog.unlink()
        compact(folder)
        assert container.payload(files) == before
        flotilla("verify", *files, check=0)


def test_102_killed_on_a_full_disk(tmp_path, rng):
    """Killed while it fills the disk: the next one removes what was half written, by its name."""
    reason = disks.why_not("ext4", throttled=False)
    if reason:
        pytest.skip(reason)
    with disks.Disk(tmp_path, mebibytes=32) as disk:
        folder = disk.at / "c"
        files = make(folder, 9_000_000, 9_000_000)
        before = container.payload(files)
        room = os.statvfs(disk.at)
        hog = disk.at / "hog"
        hog.write_bytes(bytes(room.f_bfree * room.f_frsize - (4 << 20)))
        left = None
        for _ in range(5):
            child = levels.serve(folder, *FLAGS)
            left = wait_until(lambda: child.poll() is not None or
                              [name for name in os.listdir(folder) if "compacting" in name],
                              what="it begins to write", pause=0.001)
            child.kill()
            child.communicate()
            assert sorted(folder.glob("*.avro*")) == files
            assert container.payload(files) == before
        assert left
        hog.unlink()
        compact(folder)
        assert not [name for name in os.listdir(folder) if "compacting" in name]
        assert container.payload(files) == before
