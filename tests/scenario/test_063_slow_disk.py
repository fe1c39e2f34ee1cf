# SPDX-License-Identifier: MIT
"""063-slow-disk: on a disk of 20 to 200 MB/s whose syncs take 50 ms, relays that are killed every
0.1 to 1 s record at least half of what one that lives does, and lose nothing of a stream that is
slower than that. Whatever a relay has done counts for the next: what it wrote, and what it wrote
again because a sync's end was not seen.

The short ones hold on a busy machine too: killed relays get ahead, and lose nothing of a stream
that leaves the disk time. How fast they are is the table's, with FLOTILLA_TEST_LONG, in
build/slow_disk.json."""
import json
import os
import signal
import time

import numpy
import pytest
from harness import container
from harness.fleet import LONG, ROOT, Fleet
from harness.slow_disk import Unavailable, slow_disk

pytestmark = [pytest.mark.usefixtures("needs_root", "in_front"), pytest.mark.xdist_group("storm")]
SYNC_S = 0.05
NUMBER_BYTES = 5  # of a long from FIRST on
FIRST = 1 << 27
POOL = 20_000
AHEAD_BYTES = 16 << 20
TABLE = ROOT / "build/slow_disk.json"


@pytest.fixture
def in_front():
    """In front of whatever else the machine does: this is about the disk's time."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    yield
    os.setpriority(os.PRIO_PROCESS, 0, before)


def schema(datum_bytes):
    return {"type": "record", "name": "Sample", "fields": [
        {"name": "counter", "type": "long"},
        {"name": "body", "type": {"type": "fixed", "name": "Body",
                                  "size": datum_bytes - NUMBER_BYTES}}]}


def write_pool(path, datum_bytes):
    """POOL datagrams, numbered, that are sent over and over."""
    number = numpy.arange(POOL, dtype=numpy.uint64) + numpy.uint64(FIRST)
    rows = numpy.zeros((POOL, 4 + datum_bytes), dtype=numpy.uint8)
    rows[:, :4] = numpy.frombuffer(numpy.uint32(datum_bytes).tobytes(), dtype=numpy.uint8)
    for at in range(NUMBER_BYTES):
        more = 0x80 if at < NUMBER_BYTES - 1 else 0
        rows[:, 4 + at] = (number << numpy.uint64(1) >> numpy.uint64(7 * at)
                           & numpy.uint64(0x7F)) | numpy.uint64(more)
    rows.tofile(path)
    return path


def kill_every(fleet, period, seconds):
    """Kills the relay that is there at each of these moments. How many were."""
    begin, kills = time.monotonic(), 0
    for turn in range(1, int(seconds / period) + 1 if period else 0):
        time.sleep(max(0.0, begin + turn * period - time.monotonic()))
        pid = fleet.relays().get("engine")
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
    time.sleep(max(0.0, begin + seconds - time.monotonic()))
    return kills


def kill_until(fleet, period, recorded_bytes):
    """Kills the relay this often until so much is recorded, which never gets less."""
    kills, seen, end = 0, 0, time.monotonic() + 120
    while seen < recorded_bytes:
        assert time.monotonic() < end, f"{seen} bytes recorded by {kills} relays"
        kills += kill_every(fleet, period, 10 * period)
        before, seen = seen, fleet.channel("engine")["bytes_recorded"]
        assert seen >= before
    return kills


def storm(disk, period, seconds, *, rate, datum_bytes, buffer, ahead_bytes=0):
    """A stream of `rate` bytes a second to this disk while relays are killed, for so many seconds
    and until `ahead_bytes` more are recorded. Returns the bytes recorded a second, and what was
    lost of the stream."""
    folder = disk / "recordings"
    channel = {"schema": schema(datum_bytes), "receive_queue": "512MiB", "buffer": buffer}
    storage = {"directory": str(folder), "sync": "1s"}
    with Fleet({"engine": channel}, storage=storage) as fleet:
        pool = write_pool(fleet.folder / "pool", datum_bytes)
        load = fleet.source("engine", pool, rate=int(rate / datum_bytes), count=1 << 40,
                            segment=64)
        time.sleep(1.5)
        before, begin = fleet.channel("engine"), time.monotonic()
        kills = kill_every(fleet, period, seconds)
        if ahead_bytes > 0:
            kills += kill_until(fleet, period, before["bytes_recorded"] + ahead_bytes)
        after, lasted = fleet.channel("engine"), time.monotonic() - begin
        sent = load.stop()["sent"]
        fleet.settle({"engine": sent})
        channel = fleet.stop()["engine"]
        lost = channel["datums_unrecorded"] + channel["datagrams_dropped"]
        files = fleet.files("engine")
        assert sum(container.count(path) for path in files) == channel["datums_recorded"]
        assert channel["datums_recorded"] + lost == sent
    for path in files:
        path.unlink()
    return {"kills": kills, "lost": lost, "sent": sent, "recorded_bytes_per_second":
            (after["bytes_recorded"] - before["bytes_recorded"]) / lasted}


def measure(megabytes, periods, seconds):
    rows = []
    # As much as the disk takes, and more; a fast one as much as a relay gets here.
    stream, datum_bytes = (20e6, 200) if megabytes == 200 else (megabytes * 1.15e6, 1000)
    try:
        with slow_disk(megabytes * 1e6, SYNC_S) as disk:
            for period in periods:
                # One behind the other, as the machine may be busier later.
                alone, killed = (storm(disk, each, seconds, rate=stream, datum_bytes=datum_bytes,
                                       buffer="256MiB") for each in (0, period))
                ratio = (killed["recorded_bytes_per_second"]
                         / alone["recorded_bytes_per_second"])
                # What waits for the disk must not be what hides that nothing gets there.
                slower = storm(disk, period, seconds, datum_bytes=datum_bytes, buffer="24MiB",
                               rate=0.45 * alone["recorded_bytes_per_second"])
                rows.append({"disk": megabytes, "period": period, "kills": killed["kills"],
                             "alone": alone["recorded_bytes_per_second"],
                             "killed": killed["recorded_bytes_per_second"], "ratio": ratio,
                             "lost_of_slower": slower["lost"], "sent_of_slower": slower["sent"],
                             "load": os.getloadavg()[0]})
                print(json.dumps(rows[-1]), flush=True)
    except Unavailable as error:
        pytest.skip(str(error))
    return rows


@pytest.mark.parametrize("megabytes,period,rate", [(20, 0.1, 1e6), (50, 0.3, 10e6)])
def test_063_killed_relays_make_progress(seed, megabytes, period, rate):
    """As much comes as the disk takes, and more; then so little that many seconds are kept."""
    try:
        with slow_disk(megabytes * 1e6, SYNC_S) as disk:
            full = storm(disk, period, 3, rate=megabytes * 1.15e6, datum_bytes=1000,
                         buffer="64MiB", ahead_bytes=AHEAD_BYTES)
            slower = storm(disk, period, 3, rate=rate, datum_bytes=1000, buffer="64MiB")
    except Unavailable as error:
        pytest.skip(str(error))
    assert full["kills"] > 5 and slower["kills"] > 5
    assert slower["lost"] == 0, slower


@pytest.mark.skipif(not LONG, reason="FLOTILLA_TEST_LONG")
@pytest.mark.parametrize("megabytes", [20, 50, 200])
def test_063_the_table(seed, megabytes):
    rows = measure(megabytes, [0.1, 0.3, 1], 20)
    known = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    TABLE.write_text(json.dumps({**known, str(megabytes): rows}, indent=1) + "\n")
    for row in rows:
        assert row["ratio"] >= 0.5 and row["lost_of_slower"] == 0, row
