# SPDX-License-Identifier: MIT
"""008-reload: a hundred reloads under load that add, change and remove channels. Unchanged ones
keep their process and miss nothing, a changed one misses nothing either, and a broken file changes
nothing and names line and column."""
import signal
import time

from harness import container, signals
from harness.fleet import Fleet, wait_until

RATE = 2000


def test_008_a_hundred_reloads(rng):
    steady = ("steady-a", "steady-b")
    keys = {"schema": signals.SCHEMA, "full": True, "sequence": "counter"}
    with Fleet({name: keys for name in (*steady, "changing")}) as fleet:
        pids = {name: fleet.channel(name)["pid"] for name in steady}
        sent = signals.samples(RATE * 120)
        sinks = {name: fleet.sink(fleet.address(name, "full")) for name in steady}
        loads = {name: fleet.source(name, sent, rate=RATE) for name in (*steady, "changing")}
        extra, spare, broken = [], 0, 0
        for number in range(100):
            choice = rng.choice(["add", "change", "remove", "broken", "same"])
            was = fleet.file.read_text()
            time.sleep(rng.uniform(0, 0.06))  # at any moment of the load
            if choice == "add" or (choice == "remove" and not extra):
                spare += 1
                extra.append(f"extra-{spare}")
                fleet.set(extra[-1], {"schema": signals.SCHEMA})
            elif choice == "remove":
                del fleet.channels[extra.pop(rng.randrange(len(extra)))]
            elif choice == "change":
                fleet.channels["changing"]["ttl"] = number % 200 + 2
            fleet.write()
            if choice == "broken":
                broken += 1
                fleet.file.write_text(fleet.file.read_text().replace("ttl:", "tlt:")
                                      + "  oops: {listen: nowhere}\n")
                states = fleet.by_name()
                done = fleet.reload(check=78)
                line = fleet.file.read_text().count("\n")
                assert f"{fleet.file}:{line}:" in done.stderr, done.stderr
                assert "oops" in done.stderr
                assert {n: c["pid"] for n, c in fleet.by_name().items()} == \
                    {n: c["pid"] for n, c in states.items()}, "a broken file changed something"
                fleet.file.write_text(was)
                continue
            fleet.reload()
            now = fleet.by_name()
            assert set(now) == set(fleet.channels)
            for name in steady:
                assert now[name]["pid"] == pids[name], f"reload {number} ({choice}) of {name}"
        assert broken > 5
        counts = {name: load.stop()["sent"] for name, load in loads.items()}
        fleet.wait_running()
        after = fleet.settle(counts)
        for name in (*steady, "changing"):
            assert after[name]["datagrams_received"] == counts[name], after[name]
            assert after[name]["datums_recorded"] == counts[name], after[name]
            assert after[name]["sequence_gaps"] == 0
        for name in steady:
            assert after[name]["pid"] == pids[name] and after[name]["restarts"] == 0
            assert sinks[name].stop() == sent[:counts[name]]
        fleet.stop()
        for name in (*steady, "changing"):
            assert container.payload(fleet.files(name))[0] == b"".join(sent[:counts[name]])


def test_008_signal_reloads_too(seed):
    with Fleet({"one": {"schema": signals.SCHEMA}}) as fleet:
        pid = fleet.channel("one")["pid"]
        fleet.set("two", {"schema": signals.SCHEMA})
        fleet.write()
        fleet.manager.send_signal(signal.SIGHUP)
        wait_until(lambda: set(fleet.by_name()) == {"one", "two"})
        fleet.wait_running()
        assert fleet.channel("one")["pid"] == pid
        log = fleet.log()
        fleet.file.write_text(fleet.file.read_text() + "nonsense: 1\n")
        fleet.manager.send_signal(signal.SIGHUP)
        line = fleet.file.read_text().count("\n")
        wait_until(lambda: f"{fleet.file}:{line}:1:" in fleet.log()[len(log):],
                   what="the manager's log to name the place")
        assert set(fleet.by_name()) == {"one", "two"}
        assert fleet.channel("one")["pid"] == pid


def test_008_a_changed_schema_starts_a_new_file(seed):
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("c", signals.samples(30)).finish()
        fleet.settle({"c": 30})
        second = {**signals.SCHEMA, "doc": "another text, another file"}
        fleet.set("c", {**fleet.channels["c"], "schema": second})
        fleet.write()
        fleet.reload()
        fleet.wait_running()
        fleet.source("c", signals.samples(20, start=30)).finish()
        assert fleet.settle({"c": 50})["c"]["datums_recorded"] == 50, "counters go on"
        fleet.stop()
        first, last = fleet.files("c")
        assert [container.count(path) for path in (first, last)] == [30, 20]
        assert b"another text" in container.read(last)[0]["avro.schema"]
        assert b"another text" not in container.read(first)[0]["avro.schema"]


def test_008_a_removed_channel_is_finished(seed):
    with Fleet({"keep": {"schema": signals.SCHEMA}, "drop": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("drop", signals.samples(100)).finish()
        fleet.settle({"drop": 100})
        del fleet.channels["drop"]
        fleet.write()
        begun = time.monotonic()
        fleet.reload()
        assert time.monotonic() - begun < 10
        wait_until(lambda: [path.suffix for path in fleet.files("drop")] == [".avro"])
        assert container.payload(fleet.files("drop"))[1] == 100
        assert set(fleet.by_name()) == {"keep"}
        assert len(fleet.relay_processes()) == 1
