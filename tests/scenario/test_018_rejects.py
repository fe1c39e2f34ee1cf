# SPDX-License-Identifier: MIT
"""018-rejects: what is turned away is set aside with its time, source, reason, the fault's place
and its bytes; bounded, so that a flood of bad datagrams costs nothing but counting."""
import os
import signal
import time

import fastavro
from harness import signals
from harness.fleet import Addresses, Fleet, wait_until

GOOD = signals.samples(2000)


def rejects(fleet, name="engine"):
    folder = fleet.folder / "recordings" / name
    records = []
    for path in sorted(folder.glob(f"{name}-*-rejects.avro*")):
        with open(path, "rb") as file:
            records += list(fastavro.reader(file))
    return records


def test_018_rejects_are_kept_aside(seed):
    bad = [GOOD[0][:-1], GOOD[1] + b"\xff", b"", b"\xff" * 11, b"".join(GOOD[2:4]) + b"\x01"]
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True}}) as fleet:
        full = fleet.sink(fleet.address("engine", "full"))
        fleet.source("engine", GOOD[:10] + bad + GOOD[10:20], rate=500).finish()
        channel = fleet.settle({"engine": 25})["engine"]
        assert channel["datagrams_rejected"] == 5 == sum(channel["rejected"].values())
        wait_until(lambda: len(rejects(fleet)) == 5, what="rejects in the open file")
        assert full.stop() == GOOD[:20], "no bad datagram is sent on"
        fleet.stop()
        records = rejects(fleet)
        assert [record["bytes"] for record in records] == bad
        assert [record["reason"] for record in records] == [
            "truncated", "truncated", "empty", "varint", "truncated"]
        offsets = [record["offset"] for record in records]
        assert offsets[1] == len(GOOD[1]) and offsets[3] == 0
        assert offsets[4] == len(bad[4])
        assert all(abs(record["time"] / 1e9 - time.time()) < 60 for record in records)
        assert all(record["source"].count(":") == 1 for record in records)
        assert len(fleet.files("engine")) == 1 and channel["datums_recorded"] == 20


def test_018_a_flood_is_counted_and_bounded(seed):
    bad = [b"\xff" * 12] * 1000
    with Fleet({"engine": {"schema": signals.SCHEMA},
                "drop": {"schema": signals.SCHEMA, "on_invalid": "drop"}}) as fleet:
        mixed = [one for pair in zip(GOOD[:1000], bad) for one in pair]
        sources = [fleet.source(name, mixed, rate=4000, count=20000) for name in ("engine", "drop")]
        assert [source.finish()["sent"] for source in sources] == [20000, 20000]
        channels = fleet.settle({"engine": 20000, "drop": 20000})
        for channel in channels.values():
            assert channel["datagrams_dropped"] == 0
            assert channel["datagrams_accepted"] == channel["datums_recorded"] == 10000
            assert channel["rejected"] == {"varint": 10000}
        fleet.stop()
        assert 100 <= len(rejects(fleet)) <= 700, "at most 100 a second"
        assert rejects(fleet, "drop") == []


def test_018_rejects_survive_kills(rng):
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20ms"}) as fleet:
        bad = [b"\xff" * 12 + bytes([number]) for number in range(60)]
        stream = [one for number in range(60) for one in (*GOOD[number * 30:number * 30 + 30],
                                                          bad[number])]
        source = fleet.source("engine", stream, rate=1000)
        while source.child.poll() is None:
            time.sleep(rng.uniform(0.01, 0.05))
            pid = fleet.channel("engine")["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
        source.finish()
        fleet.settle({"engine": len(stream)})
        fleet.stop()
        assert [record["bytes"] for record in rejects(fleet)] == bad, "each once, in order"


def test_018_strangers_are_counted_not_kept(seed):
    """They say nothing about the schema, and must not use up the room for what does."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "sources": "192.0.2.77/32",
                           "listen": Addresses().unicast()}}) as fleet:
        fleet.source("engine", GOOD[:50], rate=500).finish()
        channel = fleet.settle({"engine": 50})["engine"]
        assert channel["rejected"] == {"source": 50} and channel["rejects_kept"] == 0
        fleet.stop()
        assert rejects(fleet) == []
