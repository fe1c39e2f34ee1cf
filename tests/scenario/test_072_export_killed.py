# SPDX-License-Identifier: MIT
"""072-export-killed: an export that is killed at any moment, or finds no room, leaves what stood
there before, or the whole, and nothing else; memory does not grow with the recording."""
import os
import random
import signal
import subprocess
import time

import h5py
import pytest
from harness import avro
from harness.disks import Disk, why_not
from harness.fleet import FLOTILLA, LONG
from harness.hdf5 import write

KILLS = 200 if LONG else 50
ROWS = 60_000
SCHEMA = avro.Schema({"type": "record", "name": "Sample", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
    *({"name": f"d{index}", "type": "double"} for index in range(10))]})


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "engine.avro"
    rows = [{"time": index, **{f"d{at}": index / (at + 1) for at in range(10)}}
            for index in range(ROWS)]
    write(path, SCHEMA, rows, time="time", datums_a_block=2000)
    return path


def rows_of(path):
    with h5py.File(path) as file:
        assert file["time"][-1] == ROWS - 1 and file["d9"][-1] == (ROWS - 1) / 10
        return file["time"].shape[0]


def test_072_killed_at_any_moment(flotilla, recording, tmp_path):
    seed = random.SystemRandom().getrandbits(32) if LONG else 72
    print(f"seed {seed}")
    rng = random.Random(seed)
    out, folder = tmp_path / "there/e.h5", tmp_path / "there"
    folder.mkdir()
    begun = time.monotonic()
    flotilla("export", recording, "-o", out, "--gzip=9", check=0)
    took = time.monotonic() - begun
    whole = killed = 0
    for number in range(KILLS):
        before = number % 2 == 0
        out.unlink(missing_ok=True)
        if before:
            out.write_text("what stood there")
        child = subprocess.Popen([FLOTILLA, "export", recording, "-o", out, "--gzip=9"],
                                 stderr=subprocess.PIPE)
        try:
            child.wait(rng.uniform(0, 1.2 * took))
        except subprocess.TimeoutExpired:
            child.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        said = child.communicate(timeout=60)[1]
        names = os.listdir(folder)
        if out.exists() and out.read_bytes()[:4] == b"\x89HDF":
            assert rows_of(out) == ROWS
            whole += 1
        else:
            killed += 1
            assert out.exists() == before and child.returncode != 0, said
            assert not before or out.read_text() == "what stood there"
            if child.returncode == 1:
                assert b"interrupted; nothing is written" in said
        # All but a kill between the whole file's second name and its last leaves no other name.
        others = [name for name in names if name != "e.h5"]
        assert all(name.startswith(".e.h5.unfinished-") for name in others), names
        assert len(others) <= 1
    print(f"{whole} whole, {killed} killed before")
    assert killed >= KILLS // 4
    flotilla("export", recording, "-o", out, check=0)
    assert os.listdir(folder) == ["e.h5"] and rows_of(out) == ROWS


def test_072_what_was_left_goes(flotilla, recording, tmp_path):
    left = tmp_path / ".e.h5.unfinished-1"
    left.write_text("of a killed one")
    (tmp_path / ".other.h5.unfinished-1").write_text("of another name")
    flotilla("export", recording, "-o", tmp_path / "e.h5", check=0)
    assert sorted(os.listdir(tmp_path)) == [".other.h5.unfinished-1", "e.h5"]


def test_072_a_disk_without_room(flotilla, recording, needs_root, tmp_path):
    if why_not(throttled=False):
        pytest.skip(why_not(throttled=False))
    with Disk(tmp_path, mebibytes=4) as disk:
        out = disk.at / "e.h5"
        out.write_text("what stood there")
        done = flotilla("export", recording, "-o", out, check=1)
        assert "No space left on device" in done.stderr, done
        assert out.read_text() == "what stood there"
        assert [name for name in os.listdir(disk.at) if name != "lost+found"] == ["e.h5"]


def test_072_memory_is_flat(recording, tmp_path):
    """The same recording, thirty times over: /proc/PID/status has the most it was."""
    most = {}
    for count in (1, 30):
        command = [FLOTILLA.parent / "flotilla-export", *[recording] * count, "-o",
                   tmp_path / "e.h5"]
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        peak = 0
        while child.poll() is None:
            with open(f"/proc/{child.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("VmHWM"):
                        peak = max(peak, int(line.split()[1]))
            time.sleep(0.005)
        assert child.returncode == 0
        most[count] = peak
    assert most[30] < 64 << 10, most
