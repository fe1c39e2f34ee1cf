# SPDX-License-Identifier: MIT
"""004-direct: the descriptor carries O_DIRECT and the recording's pages are not in the page cache,
on ext4 and xfs; a file system that has no page cache to pass (tmpfs) is recorded buffered and said
so once, or refused with the reason where direct I/O is required."""
import ctypes
import mmap
import os
import subprocess
from pathlib import Path

import pytest
from harness import container, signals
from harness.fleet import Fleet, new_folder, wait_until

O_DIRECT = os.O_DIRECT


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


@pytest.fixture
def mounted(request, needs_root):
    """A fresh file system of the wanted kind on a loop device, or a tmpfs."""
    kind = request.param
    folder = new_folder("flotilla-mount-")
    image, target = folder / "image", folder / "on"
    target.mkdir()
    try:
        if kind == "tmpfs":
            command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", target]
        else:
            with open(image, "wb") as file:
                file.truncate(400 << 20)
            run(f"mkfs.{kind}", "-q", image)
            command = ["mount", "-o", "loop", image, target]
        try:
            run(*command)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            pytest.skip(f"needs to mount {kind}: {getattr(error, 'stderr', error)}")
        try:
            yield target
        finally:
            run("umount", target)
    finally:
        image.unlink(missing_ok=True)
        target.rmdir()
        folder.rmdir()


def pages_in_cache(path):
    """How many of a file's pages are in the page cache, without bringing any there."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        assert at not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
        resident = (ctypes.c_ubyte * pages)()
        assert libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), resident) == 0
        libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size))
    finally:
        os.close(descriptor)
    return sum(byte & 1 for byte in resident)


def open_flags(pid, path):
    """The flags the process has the file open with."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(link) == str(path):
                text = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
                return int(dict(line.split(":\t", 1) for line in text.splitlines()
                                if ":\t" in line)["flags"], 8)
        except FileNotFoundError:
            continue
    raise AssertionError(f"process {pid} has {path} not open")


def check_direct(folder):
    """Direct mode seen from outside, at a slow and a fast pace, before and after the file ends."""
    with Fleet({"slow": {"schema": signals.SCHEMA}, "fast": {"schema": signals.SCHEMA}},
               storage={"directory": str(folder / "recordings"), "direct_io": "required"}) as fleet:
        loads = [fleet.source("slow", signals.samples(40), rate=20),
                 fleet.source("fast", signals.samples(20000, pad=100), rate=10000)]
        for load in loads:
            load.finish()
        channels = fleet.settle({"slow": 40, "fast": 20000})
        for name, channel in channels.items():
            assert channel["direct_io"] is True
            (path,) = fleet.files(name)
            assert open_flags(channel["pid"], path) & O_DIRECT
            assert pages_in_cache(path) == 0
        fleet.stop()
        for name, count in (("slow", 40), ("fast", 20000)):
            (path,) = fleet.files(name)
            assert pages_in_cache(path) == 0
            assert path.stat().st_size % 4096 == 0
            assert container.count(path) == count
            assert pages_in_cache(path) > 0, "the probe sees what a reader brought in"


@pytest.mark.parametrize("mounted", ["ext4", "xfs"], indirect=True)
def test_004_direct_on(mounted, seed):
    check_direct(mounted)


def test_004_tmpfs_auto_is_buffered_and_says_so_once(tmpfs, seed):
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"directory": str(tmpfs / "recordings"), "direct_io": "auto",
                        "rotate": {"size": "64KiB"}}) as fleet:
        fleet.source("c", signals.samples(20000), rate=10000).finish()
        channel = fleet.settle({"c": 20000})["c"]
        assert channel["direct_io"] is False and channel["datums_recorded"] == 20000
        assert not open_flags(channel["pid"], channel["file"]) & O_DIRECT
        assert len(fleet.files("c")) > 2, "no rotation: 'once' was not shown"
        said = [line for line in fleet.log().splitlines() if "O_DIRECT" in line
                or "direct" in line.lower()]
        assert len(said) == 1, fleet.log()
        fleet.stop()
        assert container.payload(fleet.files("c"))[0] == b"".join(signals.samples(20000))


def test_004_off_is_buffered_and_silent(seed):
    with Fleet({"c": {"schema": signals.SCHEMA}}, storage={"direct_io": "off"}) as fleet:
        fleet.source("c", signals.samples(100), rate=1000).finish()
        channel = fleet.settle({"c": 100})["c"]
        assert channel["direct_io"] is False
        assert not open_flags(channel["pid"], channel["file"]) & O_DIRECT
        assert "direct" not in fleet.log().lower()


def test_004_tmpfs_required_refuses_with_the_reason(tmpfs, seed, flotilla):
    with Fleet({"c": {"schema": signals.SCHEMA, "full": True}}, laws=False, run=False,
               storage={"directory": str(tmpfs / "recordings"),
                        "direct_io": "required"}) as fleet:
        fleet.start(wait=False)
        fleet_up = wait_until(lambda: fleet.status(missing={}).get("channels"), what="a status")
        assert fleet_up
        load = fleet.source("c", signals.samples(200), rate=200)
        state = wait_until(lambda: (fleet.channel("c")["state"] in ("not_recording", "failed")
                                    and fleet.channel("c")), what=f"a refusal: {fleet.log()}")
        load.finish()
        said = fleet.log() + str(state.get("reason", ""))
        assert "direct" in said.lower() and str(tmpfs) in said, said
        if state["state"] == "not_recording":  # live first: what comes in still goes out
            channel = fleet.settle({"c": 200})["c"]
            assert channel["datagrams_sent_full"] == channel["datums_unrecorded"] == 200
            fleet.assert_laws()
        assert not list(fleet.files("c")), "nothing may be recorded"
