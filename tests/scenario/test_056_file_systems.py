# SPDX-License-Identifier: MIT
"""056-file-systems: sticks, cards and shares that lack what a disk of Linux has, quotas and limits
of sizes: all is recorded, or it is refused in words before the first datum."""
import errno
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import container, disks, signals, strange_disk
from harness.doctor import doctor, mend
from harness.fleet import Fleet, wait_until

PAD = 1000  # bytes more in each datum, for what is about sizes


@pytest.fixture
def strange(tmp_path):
    """strange(*flags) -> a folder on a file system that lacks what is said."""
    with_all = strange_disk.contextlib.ExitStack()

    def mount(*flags):
        where = tmp_path / "stick"
        with_all.enter_context(strange_disk.mounted(where, tmp_path / "behind", *flags))
        return where
    with with_all:
        yield mount


def ended(folder):
    """The finished recordings below a folder, in their order."""
    return sorted(folder.glob("*/*.avro"), key=lambda path: path.name)


def limit_files(limit):
    """For Popen(preexec_fn): a limit of file sizes, as `ulimit -f` and LimitFSIZE= set it."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("flags", [(), ("--links",), ("--no-folder-sync",)], ids=str)
@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_056_without_links_or_flags_of_a_rename(strange, direct_io, flags, seed):
    """exFAT by FUSE: neither hard links nor a rename that does not replace. NFS: links alone."""
    folder = strange(*flags)
    storage = {"directory": str(folder / "rec"), "direct_io": direct_io,
               "rotate": {"age": "500ms"}}
    datums = signals.samples(1000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage=storage) as fleet:
        fleet.source("engine", datums, rate=1000).finish()
        channel = fleet.settle({"engine": 1000})["engine"]
        assert (channel["state"], channel["datums_recorded"]) == ("running", 1000)
        fleet.stop()
        assert "cannot" not in fleet.log()
        assert len(ended(folder / "rec")) > 1 and not list(folder.glob("rec/engine/*.part"))
        assert container.payload(ended(folder / "rec"))[0] == b"".join(datums)


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_056_live_does_not_wait_for_the_disk_at_the_first_start(strange, tmp_path, direct_io,
                                                                seed):
    """Whether a folder takes recordings is found out while datagrams are relayed already."""
    folder, held = strange("--held"), tmp_path / "behind.held"
    held.touch()
    datums = signals.samples(1000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True}},
               storage={"directory": str(folder / "rec"), "direct_io": direct_io}) as fleet:
        sink = fleet.sink(fleet.address("engine", "full"))
        fleet.source("engine", datums, rate=1000).finish()
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] == 1000,
                   what="the datagrams to be received")
        assert sink.stop() == datums and fleet.channel("engine")["datums_recorded"] == 0
        held.unlink()
        assert fleet.settle({"engine": 1000})["engine"]["datums_recorded"] == 1000
        fleet.stop()
        assert "hangs" not in fleet.log() and fleet.log().count(" started\n") == 1
        assert container.payload(ended(folder / "rec"))[0] == b"".join(datums)


def test_056_direct_io_that_is_refused_when_it_is_written(seed):
    """Taken at open, refused with the first write: the rest goes through the page cache."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        fleet._inside = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwritev",
                         "-e", "inject=pwritev:error=EINVAL:when=1"]
        fleet.start()
        fleet.source("engine", signals.samples(200), rate=1000).finish()
        channel = fleet.settle({"engine": 200})["engine"]
        assert (channel["direct_io"], channel["datums_recorded"]) == (False, 200)
        fleet.stop()
        assert fleet.log().count("recording through the page cache") == 1
        assert "cannot" not in fleet.log()
        assert container.payload(fleet.files("engine"))[1] == 200


def test_056_a_name_that_is_taken_is_not_replaced(strange, seed):
    """Whatever stands under the name that a left-over recording would get stays as it is."""
    folder = strange()
    storage = {"directory": str(folder / "rec")}
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage=storage) as fleet:
        fleet.source("engine", signals.samples(100), rate=1000).finish()
        fleet.settle({"engine": 100})
        fleet.stop()
        (first,) = ended(folder / "rec")
        whole = first.read_bytes()
        shutil.copy(first, f"{first}.part")
        fleet.start()
        wait_until(lambda: not list(folder.glob("rec/engine/*.part")), what="the end of the copy")
        fleet.stop()
        kept = ended(folder / "rec")
        assert first.read_bytes() == whole and len(kept) == 2
        assert kept[1].read_bytes() == whole


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_056_files_end_where_the_file_system_has_enough(strange, direct_io, seed):
    """FAT takes 4 GiB in a file: the recording goes on in the next one at once, without a loss."""
    folder = strange("--file-max", 2 << 20)
    storage = {"directory": str(folder / "rec"), "direct_io": direct_io}
    datums = signals.samples(6000, pad=PAD)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage=storage) as fleet:
        fleet.source("engine", datums, rate=4000).finish()
        channel = fleet.settle({"engine": 6000})["engine"]
        assert (channel["state"], channel["datums_recorded"]) == ("running", 6000)
        fleet.stop()
        files = ended(folder / "rec")
        assert len(files) >= 3 and all(file.stat().st_size <= 2 << 20 for file in files)
        assert container.payload(files)[0] == b"".join(datums)


def test_056_a_quota_is_a_full_disk(strange, seed):
    """EDQUOT: said so, live goes on; and where old recordings may go, they make room."""
    folder = strange("--room", 4 << 20)
    storage = {"directory": str(folder / "rec"), "rotate": {"size": "1MiB"}}
    keys = {"schema": signals.SCHEMA, "full": True, "buffer": "16MiB"}
    with Fleet({"engine": keys}, storage=storage) as fleet:
        sink = fleet.sink(fleet.address("engine", "full"))
        datums = signals.samples(6000, pad=PAD)
        fleet.source("engine", datums, rate=4000).finish()
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the quota")
        assert "uota" in fleet.channel("engine")["reason"]
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] == 6000,
                   what="the datagrams to be received")
        assert sink.stop() == datums
        fleet.storage["retain"] = {"size": "2MiB"}
        fleet.write()
        fleet.reload()
        channel = fleet.settle({"engine": 6000})["engine"]
        assert channel["datums_recorded"] == 6000
        assert channel["state"] in ("running", "silent")  # as long as it took


@pytest.fixture
def btrfs(tmp_path):
    reason = disks.why_not("btrfs", throttled=False)
    if reason is None and "btrfs" not in Path("/proc/filesystems").read_text():
        reason = "needs a kernel with btrfs"
    if reason:
        pytest.skip(reason)
    with disks.Disk(tmp_path, mebibytes=300, kind="btrfs") as disk:
        yield disk.at


@pytest.fixture
def overlay(tmp_path, needs_root):
    """As a container has it: what is written goes to a folder of another file system."""
    lower, upper, work, at = (tmp_path / name for name in ("lower", "upper", "work", "at"))
    for folder in lower, upper, work, at:
        folder.mkdir()
    (lower / "rec/engine").mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                           f"lowerdir={lower},upperdir={upper},workdir={work}", at],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs overlayfs: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.parametrize("kind", ["btrfs", "overlay"])
@pytest.mark.parametrize("direct_io", ["required", "off"])
def test_056_file_systems_of_linux(request, kind, direct_io, flotilla, seed):
    """Rotated, killed and ended on others than ext4 and xfs."""
    folder = request.getfixturevalue(kind)
    storage = {"directory": str(folder / "rec"), "direct_io": direct_io,
               "rotate": {"size": "1MiB"}}
    datums = signals.samples(3000, pad=PAD)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage=storage) as fleet:
        fleet.source("engine", datums[:2000], rate=4000).finish()
        os.kill(fleet.channel("engine")["pid"], signal.SIGKILL)
        fleet.source("engine", datums[2000:], rate=4000).finish()
        channel = fleet.settle({"engine": 3000})["engine"]
        assert channel["datums_recorded"] == 3000
        assert channel["direct_io"] is (direct_io == "required")
        fleet.stop()
        assert "cannot" not in fleet.log()
        files = ended(folder / "rec")
        assert len(files) >= 3 and not list(folder.glob("rec/engine/*.part"))
        assert container.payload(files)[0] == b"".join(datums)
        flotilla("verify", folder / "rec", check=0)


def test_056_a_quota_of_btrfs(btrfs, flotilla, seed):
    """Over it nothing can be written, nor cut off: what a file has no room for stands in the next
    one, and the file is ended by the next relay."""
    def quota(*words):
        subprocess.run(["btrfs", *words], check=True, capture_output=True)
    quota("quota", "enable", btrfs)
    quota("subvolume", "create", btrfs / "of a user")
    quota("qgroup", "limit", "4M", btrfs / "of a user")
    folder = btrfs / "of a user" / "rec"
    storage = {"directory": str(folder), "rotate": {"size": "1MiB"}}
    datums = signals.samples(6000, pad=PAD)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True, "buffer": "16MiB"}},
               storage=storage) as fleet:
        sink = fleet.sink(fleet.address("engine", "full"))
        fleet.source("engine", datums, rate=4000).finish()
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the quota")
        assert "uota exceeded" in fleet.channel("engine")["reason"]
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] == 6000,
                   what="the datagrams to be received")
        assert sink.stop() == datums
        found = wait_until(  # a relay that has given up a file leaves a little room for a moment
            lambda: (now := doctor(fleet)[(str(folder), "folder")])["level"] != "ok" and now,
            what="the doctor to meet the quota")
        assert "quota exceeded" in found["text"] and "4.00MiB" in mend(fleet, found["fix"]), found
        fleet.storage["retain"] = {"size": "2MiB"}
        fleet.write()
        fleet.reload()
        assert fleet.settle({"engine": 6000})["engine"]["datums_recorded"] == 6000
        assert doctor(fleet)[(str(folder), "folder")]["level"] == "ok"
        fleet.stop()
        fleet.start()
        wait_until(lambda: not [part for part in folder.glob("engine/*.part")
                                if part.stat().st_size], what="the end of what was left")
        fleet.stop()
        flotilla("verify", folder, check=0)
        whole, left = b"".join(datums), ended(folder)
        assert left and all(container.payload([path])[0] in whole for path in left)
        assert whole.endswith(container.payload(left[-1:])[0])


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_056_a_file_size_limit_ends_files_sooner(direct_io, seed):
    """`ulimit -f` below rotate.size, and no multiple of a page: every file keeps to it."""
    limit = (16 << 20) + 1024
    datums = signals.samples(24_000, pad=PAD)
    with Fleet({"engine": {"schema": signals.SCHEMA, "buffer": "8MiB"}},
               storage={"direct_io": direct_io}, run=False) as fleet:
        fleet.start(preexec_fn=limit_files(limit))
        fleet.source("engine", datums, rate=4000).finish()
        channel = fleet.settle({"engine": 24_000})["engine"]
        assert channel["state"] == "running" and channel["datums_unrecorded"] == 0
        assert channel["datums_recorded"] == 24_000
        fleet.stop()
        assert "before rotate.size: the file size limit of this process (ulimit -f" in fleet.log()
        files = fleet.files("engine")
        assert len(files) >= 2 and all(file.stat().st_size <= limit for file in files)
        assert container.payload(files)[0] == b"".join(datums)


def test_056_a_file_size_limit_below_the_buffer_is_said(seed):
    """The manager lives, and says what is too small and how to mend it; the others go on."""
    with Fleet({"engine": {"schema": signals.SCHEMA},
                "slow": {"schema": signals.SCHEMA, "buffer": "1MiB"}}, run=False) as fleet:
        fleet.start(wait=False, preexec_fn=limit_files(16 << 20))
        fleet.wait_running(["slow"])
        channel = fleet.channel("engine")
        assert channel["state"] == "failed"
        assert "ulimit -f, LimitFSIZE=" in channel["reason"] and "buffer" in channel["reason"]
        fleet.source("slow", signals.samples(100), rate=1000).finish()
        assert fleet.settle({"slow": 100})["slow"]["datums_recorded"] == 100


def test_056_a_file_size_limit_below_anything_is_refused(tmp_path, seed, flotilla):
    """A relay by hand whose limit is below a few blocks says so before the first datum."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        schema, layout = fleet.folder / "schemas/engine.avsc", tmp_path / "layout"
        flotilla("schema", schema, "-o", layout, check=0)
        relay = subprocess.Popen(
            [strange_disk.Path(fleet.program).parent / "flotilla-relay", "--name=engine",
             f"--layout={layout}", f"--listen={fleet.address('engine')}", "--interface=lo",
             f"--directory={tmp_path}/engine", "--buffer=1MiB"],
            stderr=subprocess.PIPE, text=True, preexec_fn=limit_files(1 << 10))
        fleet._children.append(relay)
        assert relay.wait(60) == 1
        assert os.strerror(errno.EFBIG) in relay.stderr.read()
