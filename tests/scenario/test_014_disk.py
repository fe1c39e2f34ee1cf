# SPDX-License-Identifier: MIT
"""014-disk: a full, failing or missing disk stops recording only; the counts say exactly what is
in the files; recording goes on alone when the disk does."""
import os
import re
import shutil
import signal
import subprocess

import pytest
from harness import container, signals
from harness.fleet import RELAY, Fleet, wait_until


@pytest.fixture
def small_disk(needs_root, tmp_path):
    image, mount = tmp_path / "disk", tmp_path / "mount"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, mount], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs loop mounts: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", mount], check=True)


def recorded(fleet, name="engine"):
    return container.payload(fleet.files(name))


def test_014_full_disk(small_disk, seed):
    datums = signals.samples(30_000, pad=1000)
    folder = small_disk / "recordings"
    keys = {"schema": signals.SCHEMA, "full": True, "buffer": "2MiB"}
    with Fleet({"engine": keys}, storage={"directory": str(folder)}) as fleet:
        sink = fleet.sink(fleet.address("engine", "full"))
        fleet.source("engine", datums, rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="a full disk")
        channel = fleet.channel("engine")
        assert "No space left" in channel["reason"]
        assert channel["datagrams_sent_full"] == 30_000 and channel["datums_unrecorded"] > 0
        assert sink.stop() == datums, "live is live, disk or no disk"
        lost_so_far = channel["datums_unrecorded"]

        first = min(folder.glob("engine/*.avro"))
        freed = container.count(first)
        first.unlink()
        wait_until(lambda: fleet.channel("engine")["state"] != "not_recording", what="resuming")
        fleet.source("engine", signals.samples(100, start=30_000), rate=1000).finish()
        channel = fleet.settle({"engine": 30_100})["engine"]
        assert channel["datums_unrecorded"] == lost_so_far, "what waited in the buffer was kept"
        fleet.stop()
        payload, count = recorded(fleet)
        assert count + freed == channel["datums_recorded"]
        assert payload.endswith(b"".join(signals.samples(100, start=30_000)))


def test_014_folder_not_there_at_the_start(seed):
    """Relaying begins at once; recording begins when the folder can be made."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True}}, run=False) as fleet:
        (fleet.folder / "recordings").write_text("a file where the folder belongs")
        fleet.start(wait=False)
        wait_until(lambda: fleet.status(missing={}).get("channels"), what="the manager")
        fleet.source("engine", signals.samples(100), rate=1000).finish()
        wait_until(lambda: fleet.channel("engine")["datagrams_sent_full"] == 100, what="relaying")
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the state")
        (fleet.folder / "recordings").unlink()
        channel = fleet.settle({"engine": 100})["engine"]
        assert channel["datums_recorded"] == 100 and channel["state"] == "running"
        fleet.stop()
        assert recorded(fleet)[0] == b"".join(signals.samples(100))


def needs_tracing():
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"]).returncode:
        pytest.skip("needs permission to trace (ptrace)")


FAULTS = ["pwritev:error=EIO:when=4", "pwritev:error=EIO:when=3+2", "pwritev:error=ENOSPC:when=2+3",
          "pwritev:error=EINTR:when=2+2", "pwritev:delay_enter=300000:when=5",
          "fdatasync:error=EIO:when=3", "fdatasync:error=EIO:when=2+3", "fallocate:error=ENOSPC",
          "renameat2:error=EIO:when=1", "openat:error=EMFILE:when=4+2",
          "sendmmsg:error=ENOBUFS:when=5+7", "recvmmsg:error=ENOMEM:when=3+5"]


@pytest.mark.parametrize("fault", FAULTS)
def test_014_failing_system_calls(fault, tmp_path, seed, flotilla):
    """One relay by hand under strace --inject: it lives on, and what it says it recorded is what an
    independent reader counts."""
    needs_tracing()
    schema, layout = tmp_path / "s.avsc", tmp_path / "s.layout"
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        schema.write_text((fleet.folder / "schemas/engine.avsc").read_text())
        flotilla("schema", schema, "-o", layout, check=0)
        log = tmp_path / "log"
        with open(log, "wb") as errors:
            tracer = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-e", "trace=" +
                 fault.split(":")[0], "-e", f"inject={fault}", RELAY, "--name=engine",
                 f"--layout={layout}", f"--listen={fleet.address('engine')}", "--interface=lo",
                 f"--full={fleet.addresses.group()}", "--sync=50ms", "--rotate-size=1280KiB",
                 f"--directory={tmp_path}/engine"], stderr=errors)
        fleet._children.append(tracer)
        wait_until(lambda: (tmp_path / "engine/.lock").exists(), what="the relay to start")

        def relay():
            with open(f"/proc/{tracer.pid}/task/{tracer.pid}/children") as file:
                return [int(pid) for pid in file.read().split()]
        fleet.source("engine", signals.samples(3000, pad=1000), rate=1500).finish()
        wait_until(lambda: relay(), what="the relay")
        for pid in relay():
            os.kill(pid, signal.SIGTERM)
        assert tracer.wait(60) == 0, log.read_text()
        said = log.read_text().splitlines()[-1]
        assert "stopped: 3000 datagrams received, 0 rejected" in said, log.read_text()
        kept, not_kept = (int(part.split(" ")[0]) for part in
                          (said.rpartition("; ")[2], said.rpartition(", ")[2]))
        assert kept + not_kept == 3000
        if not re.search("INJECTED|DELAYED", (tmp_path / "trace").read_text()):
            pytest.fail(f"nothing was injected: {fault}")
        files = sorted((tmp_path / "engine").glob("*.avro*"), key=lambda path: path.name)
        found = container.payload(files)[1]
        # What could not be synced is not called recorded, and may be there.
        assert found == kept or "fdatasync" in fault and kept < found <= 3000, log.read_text()


def test_014_open_recording_removed(seed):
    """Nothing is called recorded that nobody can read: seen at the next sync, a new file made."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(100), rate=1000).finish()
        kept = fleet.settle({"engine": 100})["engine"]["datums_recorded"]
        assert kept == 100
        (part,) = fleet.files("engine")
        part.unlink()
        source = fleet.source("engine", signals.samples(2000, start=100), rate=1000)
        source.finish()
        channel = fleet.settle({"engine": 2100})["engine"]
        assert "was removed while it was written" in fleet.log()
        fleet.stop()
        _, count = recorded(fleet)
        assert count == channel["datums_recorded"] - kept and channel["datums_unrecorded"] < 1000
        assert count + channel["datums_unrecorded"] == 2000


def test_014_open_recording_cut(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(1000), rate=2000).finish()
        fleet.settle({"engine": 1000})
        (part,) = fleet.files("engine")
        with open(part, "r+b") as file:
            file.truncate(4096)  # the header alone
        fleet.source("engine", signals.samples(1000, start=1000), rate=1000).finish()
        channel = fleet.settle({"engine": 2000})["engine"]
        fleet.stop()
        _, count = recorded(fleet)
        assert count == channel["datums_recorded"] - 1000
        assert count + channel["datums_unrecorded"] == 1000


def test_014_folder_removed_and_made_again(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}},
               storage={"rotate": {"age": "300ms"}}) as fleet:
        fleet.source("engine", signals.samples(100), rate=1000).finish()
        fleet.settle({"engine": 100})
        shutil.rmtree(fleet.folder / "recordings/engine")
        fleet.source("engine", signals.samples(3000, start=100), rate=1000).finish()
        channel = fleet.settle({"engine": 3100})["engine"]
        assert channel["state"] == "running"
        fleet.stop()
        _, count = recorded(fleet)
        assert count > 0 and count == channel["datums_recorded"] - 100


def shared_memory_bytes(pid):
    """What a channel's memory takes, by the pages that it has."""
    for entry in os.listdir(f"/proc/{pid}/fd"):
        if "memfd:" in os.readlink(f"/proc/{pid}/fd/{entry}"):
            return os.stat(f"/proc/{pid}/fd/{entry}").st_blocks * 512
    raise AssertionError(f"process {pid} has no shared memory")


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_014_a_stall_borrows_memory_and_gives_it_back(direct_io, seed):
    """The buffer bridges a stall, also in blocks of a page each; what it took goes back once it is
    not needed, though the load goes on."""
    needs_tracing()
    pool = signals.samples(10_000, pad=1000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "buffer": "256MiB"}},
               storage={"sync": "50ms", "direct_io": direct_io}) as fleet:
        source = fleet.source("engine", pool, rate=8_000, count=10_000_000)
        pid = fleet.channel("engine")["pid"]
        wait_until(lambda: fleet.channel("engine")["datums_recorded"] > 8_000)
        before = shared_memory_bytes(pid)
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e",
                                   "trace=fdatasync", "-e",
                                   "inject=fdatasync:delay_enter=4000000:when=1"])
        fleet._children.append(tracer)
        wait_until(lambda: shared_memory_bytes(pid) > before + (20 << 20), what="the stall")
        wait_until(lambda: shared_memory_bytes(pid) < before + (8 << 20),
                   what="its memory to go back")
        tracer.terminate()
        tracer.wait()
        assert source.child.poll() is None, "the load goes on"
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datums_recorded"] + channel["datagrams_dropped"] == sent
        assert channel["datums_unrecorded"] == 0


def test_014_nothing_of_a_stall_stays(seed):
    """Nothing comes any more once the disk works again: slots and queue go back all the same."""
    needs_tracing()
    with Fleet({"engine": {"schema": signals.SCHEMA}},
               storage={"sync": "50ms", "direct_io": "off"}) as fleet:
        pid = fleet.channel("engine")["pid"]
        before = shared_memory_bytes(pid)
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e",
                                   "trace=fdatasync", "-e",
                                   "inject=fdatasync:delay_enter=1400000:when=1"])
        fleet._children.append(tracer)
        wait_until(lambda: "TracerPid:\t0\n" not in open(f"/proc/{pid}/status").read())
        count = 30_000  # 10,000 pages: their places in the queue are 560 KB
        fleet.source("engine", signals.samples(1000, pad=1000), rate=25_000, count=count).finish()
        channel = fleet.settle({"engine": count})["engine"]
        assert channel["datums_recorded"] == count
        tracer.terminate()
        tracer.wait()
        wait_until(lambda: shared_memory_bytes(pid) < before + (320 << 10),
                   what=f"{before} bytes again")


def under_faults(tmp_path, flotilla, fault, flags, datums, rate):
    """One relay by hand under a fault of one system call, with so many datums; what it said it
    recorded, what not, and what an independent reader counts."""
    needs_tracing()
    schema, layout = tmp_path / "s.avsc", tmp_path / "s.layout"
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        schema.write_text((fleet.folder / "schemas/engine.avsc").read_text())
        flotilla("schema", schema, "-o", layout, check=0)
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + fault.split(":")[0], "-e",
             f"inject={fault}", RELAY, "--name=engine", f"--layout={layout}",
             f"--listen={fleet.address('engine')}", "--interface=lo",
             f"--directory={tmp_path}/engine", *flags], stderr=subprocess.PIPE, text=True)
        fleet._children.append(tracer)
        wait_until(lambda: (tmp_path / "engine/.lock").exists(), what="the relay to start")
        fleet.source("engine", signals.samples(datums), rate=rate).finish()
        with open(f"/proc/{tracer.pid}/task/{tracer.pid}/children") as file:
            os.kill(int(file.read().split()[0]), signal.SIGTERM)
        said = tracer.communicate(timeout=30)[1].splitlines()[-1]
        kept, not_kept = (int(part.split(" ")[0]) for part in
                          (said.rpartition("; ")[2], said.rpartition(", ")[2]))
        files = sorted((tmp_path / "engine").glob("*.avro*"), key=lambda path: path.name)
        return kept, not_kept, container.payload(files)[1]


def test_014_a_page_that_was_counted_is_never_cut_off(tmp_path, seed, flotilla):
    """A few datums, synced as the open page; then every rewrite of it fails."""
    kept, not_kept, found = under_faults(tmp_path, flotilla, "pwritev:error=EIO:when=5+",
                                         ["--sync=50ms"], 15, 50)
    assert found == kept > 0 and kept + not_kept == 15


def test_014_a_failed_sync_is_never_taken_for_a_good_one(tmp_path, seed, flotilla):
    """The kernel tells of a failed writeback once; asked again it says all is well."""
    kept, not_kept, found = under_faults(tmp_path, flotilla, "fdatasync:error=EIO:when=3",
                                         ["--sync=100ms", "--direct-io=off"], 40, 40)
    assert found == kept and kept + not_kept == 40 and not_kept > 0


def test_014_names_are_synced_with_the_datums(tmp_path, seed, flotilla):
    """What is called recorded can be found after a power cut: the first sync of datums behind a new
    name goes with a sync of the folder; and none is left to be done at the end."""
    needs_tracing()
    schema, layout = tmp_path / "s.avsc", tmp_path / "s.layout"
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        schema.write_text((fleet.folder / "schemas/engine.avsc").read_text())
        flotilla("schema", schema, "-o", layout, check=0)
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-e",
             "trace=renameat2,fdatasync,fsync", RELAY, "--name=engine", f"--layout={layout}",
             f"--listen={fleet.address('engine')}", "--interface=lo", "--sync=40ms",
             "--rotate-size=256KiB", f"--directory={tmp_path}/engine"], stderr=subprocess.DEVNULL)
        fleet._children.append(tracer)
        wait_until(lambda: (tmp_path / "engine/.lock").exists(), what="the relay to start")
        fleet.source("engine", signals.samples(2000, pad=1000), rate=1500).finish()
        with open(f"/proc/{tracer.pid}/task/{tracer.pid}/children") as file:
            os.kill(int(file.read().split()[0]), signal.SIGTERM)
        assert tracer.wait(60) == 0
    trace = (tmp_path / "trace").read_text()
    calls = "".join({"renameat2": "R", "fdatasync": "D", "fsync": "F"}[call] for call in
                    re.findall(r"^\d+ +(renameat2|fdatasync|fsync)\(", trace, re.M))
    assert calls.count("R") >= 12 and calls.endswith("F"), calls
    assert not re.search("RD(?!F)", calls), calls
