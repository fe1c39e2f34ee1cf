# SPDX-License-Identifier: MIT
"""067-world: a machine that changes under its fleets, at random, for a little while; `make soak` is
the same for an hour (tests/world)."""
import mmap
import os
import subprocess
import sys
import time

import pytest
from harness import disks
from harness.fleet import LONG, ROOT

BLOCK = 1 << 20
EVENTS = "kill,hang,command,link,address,folder,disk,clock"


@pytest.mark.parametrize("turn", range(6) if LONG else range(1))
def test_067_a_world_that_changes(rng, turn, tmp_path):
    """Here a channel has long to be back, as others keep the processors busy; no law is laxer."""
    folder = tmp_path / "world"
    done = subprocess.run(
        [sys.executable, ROOT / "tests/world/run.py", "--seconds", "20", "--pace", "0.7", "--rate",
         "400", "--back", "20", "--seed", str(rng.getrandbits(32)), "--events", EVENTS,
         "--folder", folder], capture_output=True, text=True, timeout=400)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip().removeprefix("skipped: "))
    log = folder / "world.log"
    assert done.returncode == 0, (done.stdout + done.stderr
                                  + (log.read_text() if log.exists() else ""))


def write(path, blocks):
    """Seconds until so many blocks are on the disk, past the page cache."""
    begun = time.monotonic()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    try:
        with mmap.mmap(-1, BLOCK) as memory:
            for number in range(blocks):
                os.pwrite(descriptor, memory, number * BLOCK)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return time.monotonic() - begun


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_067_a_throttled_disk_takes_its_time(kind, tmp_path):
    """The harness's own disk: so many bytes a second, no less and no more."""
    reason = disks.why_not(kind)
    if reason:
        pytest.skip(reason)
    with disks.Disk(tmp_path, 320, kind) as disk:
        write(disk.at / "file", 8)
        disk.throttle(bytes_per_s=8 * BLOCK)
        assert write(disk.at / "file", 16) > 1.5
        disk.throttle(writes_per_s=10)
        assert write(disk.at / "file", 8) > 0.6
        disk.unmount()
        disk.mount()
        disk.throttle()
        assert (disk.at / "file").stat().st_size == 16 * BLOCK
    assert not disk.image.exists() and str(disk.at) not in open("/proc/mounts").read()
