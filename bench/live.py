# SPDX-License-Identifier: MIT
"""What the gateway costs while charts are looked at, and how soon history is there.

One Python client looks at as many charts as there are channels, as the page would: bins of a
pixel, 60 s back, the latest values. Its time, and the relays', is not the gateway's, which is
taken from /proc. The sources' datums are made once and sent again and again; their time field is
not an instant, so that the axis is the arrival."""
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from layouts import BUILD

from harness import avro
from harness.gateway import GatewayFleet
from harness.live import Live

SIGNALS, CHANNELS, SECONDS = 10, 20, 20
FIELDS = [f"signal{index}" for index in range(SIGNALS)]
SCHEMA = {"type": "record", "name": "Signals", "fields": [
    {"name": "counter", "type": "long"},
    *({"name": name, "type": "double"} for name in FIELDS)]}
TICKS = os.sysconf("SC_CLK_TCK")
START_NS = 1767225600 * 10**9  # of bench_history
POINTS, SPANS = 1000, 200


def datagrams(count):
    draw = random.Random(1)
    return [avro.long(number) + struct.pack(f"<{SIGNALS}d", *(draw.gauss(0, 1) for _ in FIELDS))
            for number in range(count)]


def cpu_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


def look_live(session, rate):
    """`CHANNELS` of `SIGNALS` at a rate each, all of them looked at."""
    channels = {f"c{index:02}": {"schema": SCHEMA, "sequence": "counter", "full": True,
                                 "decimated": {"to": True, "factor": 50, "algorithm": "min-max"}}
                for index in range(CHANNELS)}
    width = 100_000_000  # 60 s on 600 pixels
    pool = datagrams(5000)
    with GatewayFleet(channels, storage={"sync": "1s"}) as fleet, Live(fleet.port) as live:
        sources = [fleet.source(name, pool, rate=rate, count=rate * (SECONDS + 40))
                   for name in channels]
        for id, name in enumerate(channels, 1):
            live.subscribe(id, name, FIELDS, width, back=60_000_000_000, latest=True)
        live.until(lambda: all(live.by_id[id].of("past") for id in range(1, CHANNELS + 1)),
                   "the past of all")
        settle = time.monotonic() + 5
        while time.monotonic() < settle:
            live.take(0.1)
        pid = fleet.service()["pid"]
        messages = sum(len(live.by_id[id].messages) for id in range(1, CHANNELS + 1))
        received = sum(one["datagrams_received"] for one in fleet.status()["channels"])
        begun, before = time.monotonic(), cpu_of(pid)
        while time.monotonic() < begun + SECONDS:
            live.take(0.1)
        took, cpu = time.monotonic() - begun, cpu_of(pid) - before
        came = sum(len(live.by_id[id].messages) for id in range(1, CHANNELS + 1)) - messages
        lost = sum(gap["count"] or 0 for id in range(1, CHANNELS + 1)
                   for gap in live.by_id[id].of("gap") if "missing" in gap["reason"])
        streams = {live.by_id[id].of("subscribed")[-1]["source"] for id in range(1, CHANNELS + 1)}
        memory = memory_of(pid)
        received = sum(one["datagrams_received"] for one in fleet.status()["channels"]) - received
        for source in sources:
            source.stop()
    what = f"{CHANNELS} charts of {SIGNALS} signals at {rate:,} Hz"
    note = (f"{'+'.join(sorted(streams))} streams, {received / took:,.0f} datums/s came, "
            f"{came / took:.0f} messages/s went, {lost} missing")
    session.table.row("live", f"gateway's processor, {what}", 100 * cpu / took, "% of one",
                      aim=5 if rate == 100 else None, note=note, digits=2)
    session.table.row("live", "its memory then", memory, "MiB")


def forget(folder):
    """Has the page cache drop the recordings, so that what is asked for comes from the disk."""
    for path in folder.rglob("*.avro*"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def look_back(session, total):
    """Spans at random, of any length, out of so many bytes: until the last message is there."""
    rate = 1000
    with GatewayFleet({"idle": {"schema": SCHEMA}}) as fleet:
        folder = fleet.folder / "recordings/engine"
        words = [BUILD / "units/bench_history", folder, "engine", total, rate, 1 << 30]
        made = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
        datums = int(made.stderr.split()[0])
        subprocess.run([BUILD / "flotilla", "overview", folder, "--rebuild"], check=True,
                       capture_output=True)
        length = datums * 10**9 // rate
        draw, figures, read, bins = random.Random(1), [], [], 0
        with Live(fleet.port) as live:
            for id in range(1, SPANS + 1):
                span = int(length * draw.random() ** 4) + 1
                begin = START_NS + draw.randrange(max(1, length - span))
                forget(folder)
                begun = time.monotonic()
                answer = live.ask(id, "engine", ["signal3", "signal7"], begin, begin + span,
                                  points=POINTS)
                figures.append(1000 * (time.monotonic() - begun))
                told = answer.of("history_end")[0]
                read.append(told["bytes_read"] / 1e6)
                bins += sum(message.rows for message in answer.messages)
        figures.sort()
        read.sort()
        shutil.rmtree(folder)
    what = f"any span of {total / 1e9:.0f} GB at {POINTS:,} points"
    session.table.row("live", f"{what}, p50", figures[len(figures) // 2], "ms")
    session.table.row("live", f"{what}, p99", figures[int(0.99 * len(figures))], "ms", aim=100,
                      note=f"{SPANS} spans, {bins / SPANS:.0f} bins each")
    session.table.row("live", "read from the disk, p50", read[len(read) // 2], "MB")
    session.table.row("live", "read from the disk, p99", read[int(0.99 * len(read))], "MB")


def measure(session):
    session.table.head(f"the gateway: {SECONDS} s of live charts, then history")
    for rate in (100, 1000):
        look_live(session, rate)
    total = int(os.environ.get("FLOTILLA_BENCH_BYTES", 20_000_000_000))
    if shutil.disk_usage(tempfile.gettempdir()).free < 1.5 * total:
        session.table.row("live", "history", None, "", note="needs 30 GB of free disk")
        return
    look_back(session, total)
