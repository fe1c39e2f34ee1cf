# SPDX-License-Identifier: MIT
"""026-poison: a datagram that crashes its relay, or sends it into a loop without end, each time it
is checked. It is set aside as a reject with the reason `poison`; all others are recorded, and other
channels do not notice. The relay is a build of its own (tests/tools/trap.c)."""
import json
import os
import shutil
import time

import fastavro
import pytest
from harness import container, signals, torture
from harness.fleet import LONG, Fleet, flotilla, new_folder, wait_until
from harness.poison import MAGIC, poison

RATE = 10_000
pytestmark = pytest.mark.usefixtures("needs_root")  # for queues beyond the system's limit


@pytest.fixture(scope="module")
def prefix():
    folder = new_folder("flotilla-prefix-")
    yield torture.install(folder, relay=torture.TRAP)
    shutil.rmtree(folder)


def rejects(fleet, name):
    found = []
    for path in sorted((fleet.folder / "recordings" / name).glob("*-rejects.avro")):
        with open(path, "rb") as file:
            found += list(fastavro.reader(file))
    return found


def test_026_the_trap_is_one(seed, prefix):
    """Whoever set no trap would find that poison does no harm."""
    for kind in MAGIC:
        with Fleet({"engine": {"schema": signals.SCHEMA}}, prefix=prefix, laws=False) as fleet:
            fleet.source("engine", signals.samples(10)).finish()
            before = fleet.settle({"engine": 10})["engine"]
            fleet.source("engine", [poison(kind, 10)]).finish()
            if kind == "crash":
                wait_until(lambda: fleet.channel("engine")["restarts"] > 0)
                assert "signal 4" in fleet.log() or "signal 5" in fleet.log()  # SIGILL, SIGTRAP
            else:
                time.sleep(0.2)
                assert fleet.channel("engine")["datums_recorded"] == before["datums_recorded"]
            fleet.kill_manager()
            fleet.manager = None


@pytest.mark.parametrize("turn", range(10 if LONG else 1))
@pytest.mark.parametrize("kind", MAGIC)
def test_026_a_poison_datagram(rng, prefix, kind, turn):
    good = signals.samples(RATE * 4)
    at = rng.randrange(RATE, RATE * 2)
    stream = good[:at] + [poison(kind, at)] + good[at:]
    keys = {"schema": signals.SCHEMA, "full": True, "receive_queue": "64MiB"}
    with Fleet({"engine": keys, "other": keys}, prefix=prefix) as fleet:
        other = fleet.relays()["other"]
        sinks = {name: fleet.sink(fleet.address(name, "full")) for name in ("engine", "other")}
        loads = [fleet.source("engine", stream, rate=RATE), fleet.source("other", good, rate=RATE)]
        for load in loads:
            load.finish()
        after = fleet.settle({"engine": len(stream), "other": len(good)})
        engine = after["engine"]
        assert 1 <= engine["restarts"] <= 2, engine
        assert engine["datagrams_rejected"] == 1
        assert engine["datums_recorded"] == len(good) and engine["datagrams_dropped"] == 0
        assert fleet.relays()["other"] == other and after["other"]["restarts"] == 0
        assert sinks["other"].stop() == good
        live = sinks["engine"].stop()
        assert set(live) == set(good) and len(live) - len(good) <= torture.BATCH * 2
        fleet.stop()
        body, count = container.payload(fleet.files("engine"))
        torture.add_row(f"poison datagram, {kind}", repetitions=1, datagrams=len(stream),
                        lost=len(good) - count, twice=0, live_twice=len(live) - len(good),
                        rate=RATE)
        assert (body, count) == (b"".join(good), len(good)), "each once, in order"
        assert container.payload(fleet.files("other")) == (b"".join(good), len(good))
        (reject,) = rejects(fleet, "engine")
        assert reject["reason"] == "poison" and reject["bytes"] == poison(kind, at)


def test_026_what_is_not_counted_is_not_zero(seed, prefix):
    """A system that does not count what it drops: that it is unknown is said in every form, and
    goes on to be when the channel has another memory."""
    keys = {"schema": signals.SCHEMA}
    with Fleet({"engine": keys}, prefix=prefix, laws=False, run=False) as fleet:
        fleet.start(env={**os.environ, "FLOTILLA_TEST_UNCOUNTED": "1"})
        fleet.source("engine", signals.samples(10)).finish()
        wait_until(lambda: fleet.channel("engine")["datums_recorded"] == 10)
        assert fleet.channel("engine")["datagrams_dropped"] is None
        table = flotilla("status", "-c", fleet.file, check=0).stdout
        heading, row = (line.split() for line in table.splitlines()[2:4])
        assert row[heading.index("DROPPED")] == "?" and "nothing lost that is counted" in table
        found = json.loads(flotilla("doctor", "--json", "-c", fleet.file).stdout)["findings"]
        assert [one["level"] for one in found if one["check"] == "drops"] == ["unknown"]
        fleet.set("engine", {**fleet.channels["engine"], "buffer": "32MiB"})
        fleet.write()
        fleet.reload()
        fleet.wait_running()
        fleet.source("engine", signals.samples(10)).finish()
        wait_until(lambda: fleet.channel("engine")["datums_recorded"] == 20)
        assert fleet.channel("engine")["datagrams_dropped"] is None
        assert "? dropped" in flotilla("stop", "-c", fleet.file, check=0).stdout
        fleet.manager.wait(60)
        fleet.manager = None
