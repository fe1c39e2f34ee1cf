# SPDX-License-Identifier: MIT
"""095-crowd: a hundred clients of the live socket, half of them hung (their process is stopped):
memory has its bound, the others get all there is as it comes, and the relay notices nothing."""
import time

import pytest
from harness import signals
from harness.crowd import Crowd
from harness.fleet import wait_until
from harness.gateway import GATEWAY, GatewayFleet

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd, wslay")
COUNT = 80_000  # at 10 kHz; a multiple of a window, so that the last datum is in the decimated one
QUEUE = 1 << 20
CHANNELS = {"engine": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter",
                       "full": True, "decimated": {"to": True, "factor": 50,
                                                   "algorithm": "min-max"}}}


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


def test_095_crowd():
    with GatewayFleet(CHANNELS) as fleet:
        pid, relay = fleet.service()["pid"], fleet.channel("engine")["pid"]
        sink = fleet.sink(fleet.address("engine", "full"))
        # The live ones see bins, the hung ones each datum of the full stream, which is more than
        # they are given room for.
        with Crowd(fleet.port, 50, "engine", ["x", "y", "counter"]) as live, \
                Crowd(fleet.port, 50, "engine", ["x", "y", "counter"], width=0) as hung:
            before = resident(pid)
            hung.hang()
            source = fleet.source("engine", signals.samples(COUNT), rate=10_000)
            most = before
            while source.child.poll() is None:
                most = max(most, resident(pid))
                time.sleep(0.2)
            source.finish()
            fleet.settle({"engine": COUNT})
            most = max(most, resident(pid))
            channel = fleet.channel("engine")
            assert channel["pid"] == relay and channel["restarts"] == 0
            assert channel["datagrams_sent_full"] == channel["datums_recorded"] == COUNT
            assert channel["datagrams_dropped"] == 0 and channel["send_errors"] == 0
            assert fleet.service()["pid"] == pid and fleet.service()["restarts"] == 0
            told = live.finish()
            hung.go_on()
            late = hung.finish()
        assert len(sink.stop()) == COUNT
    assert len(told) == 50 and not [one for one in told if one["ended"] or one["skipped"]]
    # All got the last datum there was, and heard of it as it came: no hung one held them up.
    assert {one["maximum"] for one in told} == {COUNT - 1}
    assert min(one["messages"] for one in told) >= 20
    assert max(one["longest_s"] for one in told) < 5, told
    print(f"resident: {before >> 10} KiB, at most {most >> 10} with 50 hung; the longest wait of a "
          f"live one {max(one['longest_s'] for one in told):.3f} s; messages "
          f"{min(one['messages'] for one in told)} to {max(one['messages'] for one in told)}")
    assert most - before < 50 * (QUEUE + (128 << 10)) + (16 << 20), (before, most)
    assert [one for one in late if one["bytes"] > 1 << 18], "they were to be hung"
