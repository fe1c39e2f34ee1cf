# SPDX-License-Identifier: MIT
"""064-hung-or-starved: a relay that hangs over a datagram while it drains, or crashes over several,
is found as soon as at work, each datagram is set aside, and all others are recorded. One that is
only short of a processor is not taken for one that hangs."""
import os
import shutil
import time
from pathlib import Path

import fastavro
import pytest
from harness import container, signals, torture
from harness.fleet import Fleet, new_folder, wait_until
from harness.poison import poison

pytestmark = pytest.mark.usefixtures("needs_root")
GROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.fixture(scope="module")
def prefix():
    folder = new_folder("flotilla-prefix-")
    yield torture.install(folder, relay=torture.TRAP)
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind,count", [("hang", 1), ("hang", 3), ("crash", 5)])
def test_064_poison_while_it_drains(seed, prefix, kind, count):
    good = signals.samples(2000)
    stream = list(good)
    bad = [poison(kind, 100 + i) for i in range(count)]
    for i, one in enumerate(bad):  # near one another, and far
        stream.insert(150 * i, one)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, prefix=prefix, laws=False) as fleet:
        fleet.source("engine", stream).finish()
        begin = time.monotonic()
        fleet.stop()  # within the 0.3 s that it takes to tell that a relay hangs
        assert time.monotonic() - begin < 9, "sooner than by the deadline"
        assert "did not end in time" not in fleet.log()
        assert container.payload(fleet.files("engine")) == (b"".join(good), len(good))
        rejects = []
        for path in sorted((fleet.folder / "recordings/engine").glob("*-rejects.avro")):
            with open(path, "rb") as file:
                rejects += list(fastavro.reader(file))
        assert [(one["reason"], one["bytes"]) for one in rejects] == [
            ("poison", one) for one in bad]
        assert f"{len(stream)} datagrams received, {count} rejected, 0 dropped" in fleet.log()


@pytest.fixture
def little_of_a_processor():
    """A control group with 5 ms of a processor a second."""
    group = GROUPS / f"flotilla-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("1000000")
        (group / "cpu.cfs_quota_us").write_text("5000")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"needs the processor controller of version 1: {error}")
    yield group
    for pid in (group / "cgroup.procs").read_text().split():
        (GROUPS / "cgroup.procs").write_text(pid)
    wait_until(lambda: not (group / "cgroup.procs").read_text(), what="the group to empty")
    group.rmdir()


def test_064_a_starved_relay_is_not_hung(seed, little_of_a_processor):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        relay = fleet.relays()["engine"]
        (little_of_a_processor / "cgroup.procs").write_text(str(relay))
        pool = signals.samples(6000)
        fleet.source("engine", pool, rate=2000).finish()
        time.sleep(1)
        assert fleet.relays()["engine"] == relay, fleet.log()
        (GROUPS / "cgroup.procs").write_text(str(relay))
        channel = fleet.settle({"engine": len(pool)})["engine"]
        assert channel["restarts"] == channel["datagrams_dropped"] == 0
        assert channel["datums_recorded"] == len(pool)
        assert "hangs" not in fleet.log()
