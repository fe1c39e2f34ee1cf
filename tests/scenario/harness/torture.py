# SPDX-License-Identifier: MIT
"""What the 026 scenarios share: datums that are known by number and checked by the million, a storm
of faults under load, what a fleet holds of the machine, and the one table at the end of a run.

A row of the table counts against the promise: `lost` is sent - in the files as an independent
reader finds them, `recorded twice` is numbers found again there, `live twice` is datagrams that
came again at the full-rate group, `rate` is the least that was reached. `recover` is from the fault
to the next datagram that comes there; of what ends in order, the longest silence there; of a
manager alone, until another has its channels."""
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy

from . import closing, container, readers
from .fleet import FLOTILLA, RELAY, ROOT

KEEPER = ROOT / "build/flotilla-keeper"
TRAP = ROOT / "build/trap/flotilla-relay"
BATCH = 32  # what may be sent twice on a live group after a relay's crash


# The table ---------------------------------------------------------------------------------------

COLUMNS = ("fault", "repetitions", "datagrams", "rate", "lost", "recorded twice", "live twice",
           "recover p50 ms", "recover p99 ms")


def add_row(fault, *, repetitions, datagrams, lost, twice, live_twice=None, recover_ns=(),
            rate=None):
    """One row; rows of the same fault (the rounds of a long run) become one."""
    closing.keep({"fault": fault, "repetitions": int(repetitions), "datagrams": int(datagrams),
                  "lost": int(lost), "recorded twice": int(twice), "live twice": live_twice,
                  "rate": rate, "recover_ns": [int(one) for one in recover_ns]})


def add_calls(calls):
    """Rows of (system call, error, n reached, refusals at the start, what was said)."""
    for row in calls:
        closing.keep(row)


def _percentile_ms(values, part):
    if not values:
        return None
    values = sorted(values)
    return round(values[min(len(values) - 1, int(len(values) * part))] / 1e6, 2)


def _merge(rows):
    merged = {}
    for row in rows:
        into = merged.setdefault(row["fault"], {"fault": row["fault"], "recover_ns": []})
        for key in ("repetitions", "datagrams", "lost", "recorded twice", "live twice"):
            if row[key] is not None:
                into[key] = into.get(key, 0) + row[key]
        if row["rate"] is not None:
            into["rate"] = min(into.get("rate", row["rate"]), row["rate"])
        into["recover_ns"] += row["recover_ns"]
    for row in merged.values():
        times = row.pop("recover_ns")
        row["recover p50 ms"] = _percentile_ms(times, 0.50)
        row["recover p99 ms"] = _percentile_ms(times, 0.99)
    return list(merged.values())


def report(rows):
    """The lines of the table, and build/torture.json."""
    calls = [row for row in rows if "call" in row]
    rows = _merge(row for row in rows if "fault" in row)
    (ROOT / "build/torture.json").write_text(
        json.dumps({"faults": rows, "calls": calls}, indent=1) + "\n")

    def text(row, column):
        value = row.get(column)
        return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    table = [list(COLUMNS)] + [[text(row, column) for column in COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                       for i, (cell, width) in enumerate(zip(line, widths))) for line in table]
    if calls:
        lines += ["", "system call, error: the calls it was given to one by one, refused at start"]
        lines += [f"{one['call']:<18} {one['error']:<8} {one['reached']:>5} {one['refused']:>5}  "
                  f"{one['note']}".rstrip() for one in calls]
    return lines


# Datums by the million ---------------------------------------------------------------------------

TICK = {"type": "record", "name": "Tick", "fields": [
    {"name": "counter", "type": "long"},
    {"name": "body", "type": {"type": "fixed", "name": "Body", "size": 59}},
]}
TICK_BYTES = 64
FIRST = 1 << 27  # from here to 2^34 a counter takes five bytes, so that all datums have one length


def ticks(start, count):
    """The datums `start` to `start + count` as an array of (count, 64) bytes."""
    number = numpy.arange(start, start + count, dtype=numpy.uint64) + numpy.uint64(FIRST)
    rows = numpy.empty((count, TICK_BYTES), dtype=numpy.uint8)
    zigzag = number << numpy.uint64(1)
    for at in range(5):
        more = 0x80 if at < 4 else 0
        rows[:, at] = (zigzag >> numpy.uint64(7 * at) & numpy.uint64(0x7F)) | numpy.uint64(more)
    mixed = number * numpy.uint64(0x9E3779B97F4A7C15)  # so that a wrong byte shows
    rows[:, 5:13] = number.view(numpy.uint8).reshape(count, 8)
    for at in range(13, 61, 8):
        rows[:, at:at + 8] = mixed.view(numpy.uint8).reshape(count, 8)
    rows[:, 61:] = rows[:, 5:8]
    return rows


def write_ticks(path, count):
    """The datagrams of ticks(0, count), as udp_source reads them."""
    framed = numpy.empty((count, 4 + TICK_BYTES), dtype=numpy.uint8)
    framed[:, :4] = numpy.array([TICK_BYTES, 0, 0, 0], dtype=numpy.uint8)
    framed[:, 4:] = ticks(0, count)
    framed.tofile(path)
    return path


def tick_numbers(rows):
    """The numbers of datums, each of which must be right in every byte."""
    numbers = rows[:, 5:13].copy().view("<u8").reshape(-1).astype(numpy.int64) - FIRST
    if len(numbers):
        known = ticks(int(numbers.min()), int(numbers.max() - numbers.min()) + 1)
        assert (known[numbers - numbers.min()] == rows).all(), "a datum's bytes were changed"
    return numbers


def recorded_numbers(paths):
    """The numbers in a channel's files, in their order, as written in the files' blocks."""
    body, count = container.payload(paths)
    rows = numpy.frombuffer(body, dtype=numpy.uint8).reshape(-1, TICK_BYTES)
    assert len(rows) == count
    return tick_numbers(rows)


def sink_numbers(sink):
    """(numbers, arrival times) at a sink that has ended."""
    framed = numpy.fromfile(sink.path, dtype=numpy.uint8).reshape(-1, 4 + TICK_BYTES)
    assert (framed[:, :4] == [TICK_BYTES, 0, 0, 0]).all()
    return tick_numbers(framed[:, 4:]), numpy.fromfile(f"{sink.path}.arrivals", dtype="<u8")


def lost_and_twice(numbers, sent):
    """How many of 0 ... sent-1 are not among the numbers, and how many are there again."""
    times = numpy.bincount(numbers, minlength=sent)
    assert len(times) == sent, "more numbers than were sent"
    return int((times == 0).sum()), int((times[times > 0] - 1).sum())


def assert_files_valid(paths, count):
    """libavro reads every file to its end, and finds the count in them."""
    found = readers.run("libavro", paths) if paths else {}
    assert not [text for text in found.values() if text.startswith("error")], found
    assert sum(int(text.split("\t")[0]) for text in found.values()) == count


# A storm -----------------------------------------------------------------------------------------

def tick_channel(**keys):
    """A channel of ticks whose socket's queue holds seconds of them."""
    return {"schema": TICK, "full": True, "sequence": "counter", "receive_queue": "512MiB",
            "buffer": "256MiB", **keys}


def recovery_times(arrivals, instants, within_ns=10_000_000):
    """For each fault's time, how long until the stream went on: the end of the longest silence that
    began within 10 ms of it, without what was on its way already."""
    return [max(end - instant, 0)
            for instant, (_, end) in _silences(arrivals, instants, within_ns)]


def longest_silences(arrivals, instants, within_ns=1_000_000_000):
    """The same for what ends in order, and so a while after it was asked to: how long each longest
    silence was."""
    return [end - begin for _, (begin, end) in _silences(arrivals, instants, within_ns)]


def _silences(arrivals, instants, within_ns):
    arrivals = numpy.sort(arrivals.astype(numpy.int64))
    for instant in instants:
        first = max(int(numpy.searchsorted(arrivals, instant)) - 1, 0)
        last = min(int(numpy.searchsorted(arrivals, instant + within_ns)) + 1, len(arrivals))
        if last - first >= 2:
            at = first + int(numpy.diff(arrivals[first:last]).argmax())
            yield instant, (int(arrivals[at]), int(arrivals[at + 1]))


def gap_p99_ms(arrivals, begin, end):
    """The p99 of the gaps between arrivals (outside of begin ... end, within it)."""
    arrivals = numpy.sort(arrivals.astype(numpy.int64))
    gaps, at = numpy.diff(arrivals), arrivals[1:]
    within = (at >= begin) & (at < end)
    return tuple(float(numpy.percentile(gaps[part], 99)) / 1e6 for part in (~within, within))


class Storm:
    """Load on a channel of ticks while faults are done to it: storm.each(fault, N, pause) calls
    `fault` N times at random instants, end() stops it all and judges it.

    `fault` returns the time of its deed (time.time_ns()) or None where there was nothing to do."""

    def __init__(self, fleet, rng, path, rate, name="engine"):
        self.fleet, self.rng, self.name, self.rate = fleet, rng, name, rate
        self.instants = []
        self.sink = fleet.sink(fleet.address(name, "full"), arrivals=True)
        self.load = fleet.source(name, path, rate=rate)

    def each(self, fault, repetitions, pause):
        done = 0
        while done < repetitions:
            time.sleep(self.rng.uniform(*pause))
            assert self.load.child.poll() is None, "the load ended before the faults did"
            instant = fault()
            if instant is not None:
                self.instants.append(instant)
                done += 1

    def kill_relay(self):
        """The process that is there, whatever it is about: starting, too."""
        pid = self.fleet.relays().get(self.name)
        if pid is None:
            return None
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        return time.time_ns()

    def end(self, fault, *, live_bound, recover=recovery_times):
        """`live_bound`: datagrams that may come twice a fault. Adds the row and asserts that
        nothing was lost or recorded twice; returns the times to recover, which
        recover(arrivals, instants) gives, in nanoseconds."""
        load = self.load.stop()
        sent = load["sent"]
        channel = self.fleet.settle({self.name: sent}, seconds=90)[self.name]
        self.sink.end()
        self.fleet.assert_laws({self.name: channel})
        live, arrivals = sink_numbers(self.sink)
        files = self.fleet.files(self.name)
        recorded = recorded_numbers(files)
        lost, twice = lost_and_twice(recorded, sent)
        live_lost, live_twice = lost_and_twice(live, sent)
        times = recover(arrivals, self.instants)
        add_row(fault, repetitions=len(self.instants), datagrams=sent, lost=lost, twice=twice,
                live_twice=live_twice, recover_ns=times, rate=int(sent / load["seconds"]))
        said = (fault, {key: channel[key] for key in (
            "restarts", "datagrams_received", "datagrams_dropped", "datums_recorded",
            "sequence_gaps")})
        assert (lost, twice, live_lost) == (0, 0, 0), (lost, twice, live_lost, said)
        assert (recorded[1:] > recorded[:-1]).all(), "out of order"
        assert channel["datagrams_dropped"] == channel["sequence_gaps"] == 0, said
        assert channel["datagrams_received"] == channel["datums_recorded"] == sent, said
        assert live_twice <= live_bound * len(self.instants), (live_twice, said)
        assert_files_valid(files, sent)
        return times


# What a fleet holds ------------------------------------------------------------------------------

def footprint(fleet):
    """Descriptors, processes, memory and files of a fleet, to be compared."""
    managers = [fleet.manager.pid]
    keepers = fleet.processes("flotilla-keeper")
    relays = fleet.relays()

    def descriptors(pid):
        kinds = {}
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{entry}")
            except FileNotFoundError:
                continue
            kind = target.split(":")[0] if not target.startswith("/") else "file"
            if kind == "file" and "memfd" in target:
                kind = "memfd"
            if kind != "file" or "/recordings/" not in target or target.endswith(".lock"):
                kinds[kind] = kinds.get(kind, 0) + 1  # but for the open recordings themselves
        return kinds

    def pss_kib(pid):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        return 0
    return {
        "descriptors": {"manager": [descriptors(pid) for pid in managers],
                        "keeper": [descriptors(pid) for pid in keepers],
                        **{name: descriptors(pid) for name, pid in sorted(relays.items())}},
        "processes": {"relays": len(relays), "keepers": len(keepers)},
        "pss_kib": {"manager": sum(map(pss_kib, managers)), "keeper": sum(map(pss_kib, keepers)),
                    "relays": sum(pss_kib(pid) for pid in relays.values())},
        "runtime": sorted(path.name for path in (fleet.folder / "run").iterdir()),
    }


# Other builds ------------------------------------------------------------------------------------

def install(prefix, relay=RELAY):
    """Copies of the programs in a folder of their own, each put in place by a rename, so that what
    runs goes on with the file it has."""
    for path in (FLOTILLA, relay, KEEPER):
        if path.exists():
            beside = prefix / f"{path.name}.new"
            shutil.copy2(path, beside)
            beside.rename(prefix / path.name)
    return prefix


