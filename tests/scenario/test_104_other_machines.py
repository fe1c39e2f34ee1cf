# SPDX-License-Identifier: MIT
"""104-other-machines: whole fleets of programs for ARM and RISC-V, run by an emulator (qemu-user),
whose relays and managers are killed while they are sent to: nothing lost, nothing recorded twice.
What the emulator lacks is told in harness/emulated.py."""
import os
import signal
import subprocess
import sys
import time

import fastavro
import pytest
from harness import emulated, signals, torture
from harness.fleet import LONG, ROOT, Fleet, wait_until

CHANNELS = 20
KILLS = 100 if LONG else 6
RATE = 50  # datagrams a second and channel

# The emulated machine with the longest way from this one's first. Its manager, its keeper and its
# commands are the other machine's as well.
WHOLE = ["armv7"] + (["armv6", "aarch64", "riscv64"] if LONG else [])
# Relays of the other machine under this one's manager, with the pages that its kernels have.
RELAYS = [("aarch64", 16384), ("aarch64", 65536)] + ([("riscv64", 4096)] if LONG else [])
# What an emulator can hold of what else there is, one of a kind.
SCENARIOS = ["test_001_minimal.py::test_001_minimal",
             "test_005_decimation.py::test_005_corners",
             "test_010_malformed.py::test_010_reasons",
             "test_016_encodings.py::test_016_confluent"]
if LONG:
    SCENARIOS += ["test_005_decimation.py", "test_010_malformed.py", "test_016_encodings.py",
                  "test_011_rotation.py::test_011_by_age",
                  "test_013_takeover.py::test_013_a_new_manager_after_a_killed_one"]


def numbers(paths):
    """The counters of all datums in these files, by a reader that is not ours."""
    found = []
    for path in paths:
        with open(path, "rb") as file:
            found += [record["counter"] for record in fastavro.reader(file)]
    return found


def kill(fleet, name):
    """A relay, or without a name the manager; returns when another is in its place."""
    if name is None:
        fleet.kill_manager()
        fleet.start()
        return
    before = fleet.relays()[name]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: fleet.relays().get(name, before) != before, what="the next relay")


def kill_under_load(fleet, names, kills, rng, label):
    """Sends to all while one after the other is killed; the sum of what they recorded."""
    seconds = max(2.0, kills * 0.5)
    count = int(RATE * seconds)
    pool = signals.samples(count, pad=40)
    begun = time.monotonic()
    sources = [fleet.source(name, pool, rate=RATE) for name in names]
    for turn in range(kills):
        at = begun + 0.3 + turn * (seconds - 0.6) / kills
        time.sleep(max(0.0, at - time.monotonic()))
        kill(fleet, None if turn % 6 == 5 else rng.choice(names))
    for source in sources:
        source.finish()
    channels = fleet.settle({name: count for name in names})
    fleet.assert_laws(channels)
    fleet.stop()
    lost = twice = 0
    for name in names:
        found = numbers(fleet.files(name))
        lost += len(set(range(count)) - set(found))
        twice += len(found) - len(set(found))
    torture.add_row(f"{label}, emulated", repetitions=kills, datagrams=count * len(names),
                    lost=lost, twice=twice, rate=RATE * len(names))
    assert (lost, twice) == (0, 0)
    return channels


@pytest.mark.parametrize("machine", WHOLE)
def test_104_a_fleet_of_twenty_is_killed(machine, rng):
    prefix = emulated.programs(machine)
    names = [f"c{number:02}" for number in range(CHANNELS)]
    with Fleet({name: {"schema": signals.SCHEMA, "full": True, "buffer": "16MiB",
                       "sequence": "counter",
                       "decimated": {"to": True, "factor": 10, "algorithm": "average"}}
                for name in names}, prefix=prefix, unicast=True) as fleet:
        channels = kill_under_load(fleet, names, KILLS, rng, f"{machine}, 20 channels")
        assert all(channels[name]["sequence_gaps"] == 0 for name in names)


@pytest.mark.parametrize("machine,page", RELAYS)
def test_104_relays_on_larger_pages_are_killed(machine, page, rng):
    """Memory goes back by whole pages of the machine, and blocks lie by the page of the file."""
    prefix = emulated.relay_alone(machine, page)
    names = ["one", "two"]
    with Fleet({name: {"schema": signals.SCHEMA, "full": True, "sequence": "counter"}
                for name in names}, prefix=prefix, unicast=True) as fleet:
        kill_under_load(fleet, names, 40 if LONG else 5, rng, f"{machine}, {page >> 10} KiB pages")


@pytest.mark.parametrize("machine", WHOLE)
def test_104_scenarios(machine):
    """A choice of the others', with that machine's programs in place of this one's."""
    emulated.programs(machine)
    environment = dict(os.environ, FLOTILLA_TEST_MACHINE=machine)
    environment = {name: value for name, value in environment.items()
                   if not name.startswith(("PYTEST_", "FLOTILLA_TEST_LONG"))}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q",
                           *(f"tests/scenario/{one}" for one in SCENARIOS)], cwd=ROOT,
                          env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " 0 skipped" in done.stdout.splitlines()[-1], done.stdout[-2000:]
