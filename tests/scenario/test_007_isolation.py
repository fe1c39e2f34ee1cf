# SPDX-License-Identifier: MIT
"""007-isolation: one channel's relay is killed, stopped and made to crash in a loop while others
run at 10,000 datagrams a second each: nothing changes for them, and status tells the story. The
victim itself loses nothing that the kernel could hold, and records nothing twice."""
import os
import signal
import time

from harness import container, signals
from harness.fleet import LONG, Fleet, wait_until

RATE = 10000
SECONDS = 60 if LONG else 12


def test_007_isolation(seed, rng):
    others = ("left", "right")
    keys = {"schema": signals.SCHEMA, "full": True, "sequence": "counter"}
    with Fleet({name: keys for name in (*others, "victim")}) as fleet:
        before = fleet.by_name()
        sent = signals.samples(RATE * SECONDS)
        sinks = {name: fleet.sink(fleet.address(name, "full")) for name in others}
        loads = [fleet.source(name, sent, rate=RATE) for name in others]
        few = signals.samples(1000 * SECONDS)
        victim = fleet.source("victim", few, rate=1000)
        end = time.monotonic() + SECONDS

        # Killed under load, over and over: each time another relay takes over.
        kills = 0
        while time.monotonic() < end - SECONDS * 0.6:
            time.sleep(rng.uniform(0.05, 0.4))
            pid = fleet.channel("victim")["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
                kills += 1
        assert kills > 5
        wait_until(lambda: fleet.channel("victim")["state"] == "running")
        # Counted by the end of the process, so the number is exact.
        wait_until(lambda: fleet.channel("victim")["restarts"] == kills)

        # Stopped: its queue fills, nobody else notices; then another takes its place.
        pid = fleet.channel("victim")["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: fleet.channel("victim")["pid"] not in (pid, None))
        kills += 1
        for name in others:
            assert fleet.channel(name)["state"] == "running"

        for load in loads:
            assert load.finish()["sent"] == len(sent)
        victim.finish()
        after = fleet.settle({"left": len(sent), "right": len(sent), "victim": len(few)})
        fleet.assert_laws(after)
        for name in others:
            assert after[name]["pid"] == before[name]["pid"], "the same process all the time"
            assert after[name]["restarts"] == 0
            assert after[name]["datagrams_dropped"] == after[name]["sequence_gaps"] == 0
            assert after[name]["datums_recorded"] == len(sent)
            assert sinks[name].stop() == sent, f"{name}: relayed bytes differ"
        assert after["victim"]["restarts"] == kills
        assert after["victim"]["datagrams_received"] == len(few), after["victim"]
        assert after["victim"]["datums_recorded"] == len(few), after["victim"]
        fleet.stop()
        assert container.payload(fleet.files("left"))[0] == b"".join(sent)
        assert container.payload(fleet.files("victim"))[0] == b"".join(few), \
            "lost, doubled or out of order"


def test_007_crash_loop_backs_off(seed):
    """A relay that never gets to work waits longer each time, and comes back when it can."""
    with Fleet({"victim": {"schema": signals.SCHEMA}, "other": {"schema": signals.SCHEMA}},
               ) as fleet:
        sent = signals.samples(RATE * 6)
        load = fleet.source("other", sent, rate=RATE)
        other = fleet.channel("other")["pid"]
        killed, states, end = set(), [], time.monotonic() + 5
        while time.monotonic() < end:
            channel = fleet.channel("victim")
            states.append(channel["state"])
            if channel["pid"] and channel["pid"] not in killed:
                os.kill(channel["pid"], signal.SIGKILL)
                killed.add(channel["pid"])
        # 1, 2 and 4 seconds of waiting leave room for three or four lives in five seconds.
        assert 3 <= len(killed) <= 5, (len(killed), fleet.log())
        assert states.count("backoff") > len(states) / 2
        waiting = wait_until(lambda: (fleet.channel("victim")["state"] == "backoff"
                                      and fleet.channel("victim")))
        assert "signal 9" in str(waiting) or "SIGKILL" in str(waiting) or \
            "kill" in str(waiting.get("reason", "")).lower(), waiting
        load.finish()
        after = wait_until(lambda: (fleet.by_name()["victim"]["state"] in ("running", "silent")
                                    and fleet.by_name()), seconds=60)
        assert after["victim"]["restarts"] >= len(killed) - 1
        assert fleet.settle({"other": len(sent)})["other"]["pid"] == other
        fleet.source("victim", signals.samples(50)).finish()
        assert fleet.settle({"victim": 50})["victim"]["datums_recorded"] == 50
