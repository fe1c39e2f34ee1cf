# SPDX-License-Identifier: MIT
"""081-overview-killed: the service that keeps overviews up is killed at random, alone and under a
fleet that records: what it goes on to make is what it would have made, datum for datum; no relay
notices. A manager that dies leaves no second one behind."""
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from harness import levels, signals
from harness.container import payload
from harness.fleet import LONG, ROOT, Fleet, flotilla, new_folder, wait_until

MAKE = ROOT / "build/units/bench_history"


@pytest.fixture
def folder():
    made = new_folder()
    yield made / "engine"
    shutil.rmtree(made)


def state_of(folder):
    path = folder / "overview" / f".{folder.name}.state"
    return path.read_bytes() if path.exists() else b""


def wait_done(folder, behind=2_000_000, seconds=120):
    """Until next to nothing is missing, and nothing has been noted for two seconds."""
    seen = [b"", 0.0]

    def done():
        state = state_of(folder)
        if state != seen[0]:
            seen[:] = state, time.monotonic()
        if not state or time.monotonic() - seen[1] < 2:
            return False
        shown = json.loads(flotilla("overview", folder, "--json").stdout)[0]
        return shown["bytes_behind"] <= behind
    wait_until(done, seconds=seconds, what="the overview is done", pause=0.1)


def assert_begins_as(folder, fresh, least):
    """Each level of `folder` is that of `fresh` from the first datum on, as far as both go; the
    last window of `fresh` was not full."""
    for factor, part in ((50, least), (2500, least - 0.7)):
        got, count = payload(levels.level_files(folder, factor))
        wanted, all_of_it = payload(levels.level_files(fresh, factor))
        both = min(len(got), len(wanted) - 2 * -(-len(wanted) // all_of_it) - 20)
        assert got[:both] == wanted[:both], factor
        assert count >= part * all_of_it, (factor, count, all_of_it)


def test_081_killed_alone(rng, folder):
    """Between any two writes; the files of one level end and others begin meanwhile."""
    subprocess.run([str(MAKE), str(folder), "engine", str(400_000_000 if LONG else 60_000_000),
                    "1000", "20000000"], check=True, capture_output=True)
    for _ in range(200 if LONG else 12):
        child = levels.serve(folder)
        time.sleep(rng.uniform(0.005, 0.3))
        child.kill()
        child.communicate()
    child = levels.serve(folder)
    wait_done(folder)
    child.terminate()
    assert child.communicate(timeout=60)[1] == "" and child.returncode == 0
    flotilla("verify", folder / "overview", check=0)
    fresh = folder.parent / "fresh/engine"
    fresh.parent.mkdir()
    fresh.mkdir()
    for path in folder.glob("*.avro"):
        os.link(path, fresh / path.name)
    levels.build(fresh)
    assert_begins_as(folder, fresh, 0.9)


def service_of(fleet):
    services = {one["name"]: one for one in fleet.status()["services"]}
    return services.get("overview")


def pid_of(fleet):
    return wait_until(lambda: (service_of(fleet) or {}).get("pid"), what="the service runs")


def test_081_under_a_fleet(rng):
    """Killed while relays record and rotate; then the manager; then asked to make all anew."""
    count = 400_000 if LONG else 60_000
    with Fleet({"c": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter"}},
               top={"overview": {"age": "2y"}}, run=True,
               storage={"sync": "20ms", "rotate": {"size": "1MiB"}}) as fleet:
        folder = fleet.folder / "recordings/c"
        source = fleet.source("c", [signals.sample(number, 60) for number in range(count)],
                              rate=6000)
        for _ in range(30 if LONG else 4):
            os.kill(pid_of(fleet), signal.SIGKILL)
            time.sleep(rng.uniform(0.1, 1.5))
        fleet.kill_manager()
        fleet.start()
        source.finish()
        fleet.settle({"c": count})
        assert fleet.channel("c")["restarts"] == 0
        pid_of(fleet)
        assert len(fleet.processes("flotilla-overview")) == 1
        wait_done(folder)
        fresh = fleet.folder / "fresh/c"
        fresh.mkdir(parents=True)
        for path in folder.glob("*.avro"):
            os.link(path, fresh / path.name)
        levels.build(fresh)
        assert_begins_as(folder, fresh, 0.5)
        shown = json.loads(flotilla("overview", "-c", fleet.file, "--json", check=0).stdout)
        assert shown[0]["channel"] == "c" and shown[0]["overview"]
        before = [path.name for path in levels.level_files(folder, 50)]
        flotilla("overview", "c", "-c", fleet.file, "--rebuild", check=0)
        wait_until(lambda: "made again, as asked" in fleet.log(), what="the service hears of it")
        wait_done(folder)
        assert [path.name for path in levels.level_files(folder, 50)] == before
        assert_begins_as(folder, fresh, 0.5)
        fleet.stop()
        assert not fleet.processes("flotilla-overview")


def test_081_reload(rng):
    """The service comes with `overview`, goes on with other words, and goes with it."""
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        assert fleet.status()["services"] == []
        fleet.top["overview"] = {"factor": 10, "levels": 2}
        fleet.write()
        fleet.reload()
        first = pid_of(fleet)
        words = open(f"/proc/{first}/cmdline").read().split("\0")
        assert "--factor=10" in words and "--levels=2" in words and "--channel=c" in words
        fleet.top["overview"] = {"factor": 20}
        fleet.write()
        fleet.reload()
        wait_until(lambda: (service_of(fleet) or {}).get("pid") not in (None, first),
                   what="it runs with other words")
        del fleet.top["overview"]
        fleet.write()
        fleet.reload()
        wait_until(lambda: fleet.status()["services"] == [], what="it has ended")
