# SPDX-License-Identifier: MIT
"""A relay beside a gateway that nobody looks at and beside one with a hundred clients, half of them
hung, in turn (A B A B ...): for bench/bench. The clients are processes of this machine, so their
own work is in what the relay feels. Jitter is what a receiver of the full stream sees: how far each
time between two datagrams is from what was sent."""
import contextlib
import statistics
import struct
import time

from harness import signals
from harness.crowd import Crowd
from harness.gateway import GATEWAY, GatewayFleet
from measure import cpu_seconds

RATE, SECONDS = 5000, 8
COUNT = RATE * SECONDS
FIELDS = ["x", "y", "counter"]
CHANNELS = {"c": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter", "full": True,
                  "latency": "on", "decimated": {"to": True, "factor": 50,
                                                 "algorithm": "min-max"}}}


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS:"))


def jitter_us(path):
    """(p50, p99, largest) of the deviations, of a file of arrivals: 64 bits of ns each."""
    data = path.read_bytes()
    times = struct.unpack(f"={len(data) // 8}Q", data[:len(data) // 8 * 8])
    off = sorted(abs(b - a - 1e9 / RATE) / 1e3 for a, b in zip(times, times[1:]))
    return off[len(off) // 2], off[int(len(off) * 0.99)], off[-1]


def turn(crowded):
    """One run's figures by name."""
    with contextlib.ExitStack() as stack:
        fleet = stack.enter_context(GatewayFleet(CHANNELS))
        gateway, relay = fleet.service()["pid"], fleet.channel("c")["pid"]
        sink = fleet.sink(fleet.address("c", "full"), arrivals=True)
        if crowded:
            live = stack.enter_context(Crowd(fleet.port, 50, "c", FIELDS))
            hung = stack.enter_context(Crowd(fleet.port, 50, "c", FIELDS, width=0))
            hung.hang()
        before = cpu_seconds(relay), cpu_seconds(gateway)
        begun = time.monotonic()
        report = fleet.source("c", signals.samples(COUNT), rate=RATE).finish()
        took = time.monotonic() - begun
        fleet.settle({"c": COUNT})
        after = cpu_seconds(relay), cpu_seconds(gateway)
        channel = fleet.channel("c")
        assert channel["datagrams_dropped"] == 0, channel
        assert channel["datagrams_sent_full"] == COUNT, channel
        sink.end()
        figures = {"datagrams a second, sent on": COUNT / took,
                   "relay's CPU a datagram": (after[0] - before[0]) / COUNT * 1e9,
                   "arrival to sending, p50": channel["latency"]["p50_us"],
                   "arrival to sending, p99": channel["latency"]["p99_us"]}
        for name, value in zip(("p50", "p99", "largest"),
                               jitter_us(sink.path.with_name(sink.path.name + ".arrivals"))):
            figures[f"jitter of the full stream, {name}"] = value
        figures["gateway's CPU, of a core"] = 100 * (after[1] - before[1]) / took
        figures["gateway's memory"] = resident_mib(gateway)
        if crowded:
            told = live.finish()
            assert not [one for one in told if one["ended"] or one["skipped"]], told
            assert {one["maximum"] for one in told} == {COUNT - 1}, told
            figures["a live client's longest wait between messages"] = \
                1e3 * max(one["longest_s"] for one in told)
        assert report["sent"] == COUNT
        return figures


UNITS = {"datagrams a second, sent on": "1/s", "relay's CPU a datagram": "ns",
         "gateway's CPU, of a core": "%", "gateway's memory": "MiB",
         "a live client's longest wait between messages": "ms"}


def measure(session):
    table = session.table
    if not GATEWAY.exists():
        table.head("a relay beside the gateway: not measured, built without libmicrohttpd or wslay")
        return
    table.head(f"a relay at {RATE:,}/s beside the gateway: nobody looks, and 100 clients of which "
               f"50 hang; {session.options.pairs} pairs in turn")
    runs = [(turn(False), turn(True)) for _ in range(session.options.pairs)]
    for name in runs[0][1]:
        alone = [one[name] for one, _ in runs if name in one]
        crowded = [other[name] for _, other in runs]
        spread = f"{min(crowded):,.1f} to {max(crowded):,.1f}"
        if alone:
            spread += f"; nobody looks: {statistics.median(alone):,.1f}, {min(alone):,.1f} to " \
                      f"{max(alone):,.1f}"
        table.row("gateway", name, statistics.median(crowded), UNITS.get(name, "us"), note=spread,
                  more={"pairs": [[one.get(name), other[name]] for one, other in runs]})
