# SPDX-License-Identifier: MIT
"""019-flood: datagrams of which half are bad, as fast as they come: nothing good is lost to a bad
one, the counts are exact, the memory does not grow. Ten million in the long run."""
import os
from pathlib import Path

from harness import container, signals
from harness.fleet import LONG, Fleet

WARM = 200_000
COUNT = 10_000_000 if LONG else 400_000
TICK_NS = 1e9 / os.sysconf("SC_CLK_TCK")


def memory_of(pid):
    """KiB of the process's own: heap, stacks, data; not its text, nor the channel's memory."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines()
               if line.startswith("Anonymous:"))


def user_ns(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) * TICK_NS


def mutilate(rng, datum):
    """A bad datagram, made from a good one; the dice decide how."""
    kind = rng.randrange(6)
    if kind == 0:
        return datum[:rng.randrange(1, len(datum))]
    if kind == 1:
        return datum + rng.randbytes(rng.randrange(1, 9)) + b"\x80"
    if kind == 2:
        return b"\xff" * rng.randrange(11, 40)
    if kind == 3:
        return datum[:-1] + b"\x04"  # no such branch
    if kind == 4:
        return datum[:-1] + b"\x02\x04\xff\xfe"  # not UTF-8
    return b""


def test_019_half_of_them_bad(rng):
    good = signals.samples(1000)
    corpus = []
    for datum in good:
        corpus += [datum, mutilate(rng, datum)]
    with Fleet({"engine": {"schema": signals.SCHEMA, "buffer": "8MiB"}},
               storage={"rotate": {"size": "64MiB"}}) as fleet:
        # Everything has been touched once: full batches, blocks, a rotation.
        fleet.source("engine", corpus, rate=0, count=20_000).finish()
        fleet.settle({"engine": 20_000})
        fleet.source("engine", corpus, rate=40_000, count=WARM - 20_000).finish()
        fleet.settle({"engine": WARM})
        pid = fleet.channel("engine")["pid"]
        before, start = memory_of(pid), user_ns(pid)
        fleet.source("engine", corpus, rate=40_000, count=COUNT).finish(timeout=900)
        total = COUNT + WARM
        channel = fleet.settle({"engine": total}, seconds=60)["engine"]
        after = memory_of(pid)
        print(f"{total} datagrams, half of them bad: {channel['datagrams_dropped']} dropped by the "
              f"kernel, {(user_ns(pid) - start) / COUNT:.0f} ns of user time each; private memory "
              f"{before} KiB before, {after} KiB after")
        assert channel["datagrams_received"] + channel["datagrams_dropped"] == total
        if channel["datagrams_dropped"] == 0:
            assert channel["datagrams_accepted"] == channel["datagrams_rejected"] == total // 2
        assert channel["datums_recorded"] == channel["datagrams_accepted"]
        # The writing thread's stack may grow by a page, once: how deep it is used to the last byte
        # depends on where it lies.
        assert after <= before + 4, "memory that grows with what was received"
        fleet.stop()
        if not LONG:
            payload, count = container.payload(fleet.files("engine"))
            assert count == channel["datums_recorded"]
            if channel["datagrams_dropped"] == 0:
                assert payload == b"".join(good) * (count // 1000)
