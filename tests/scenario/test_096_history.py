# SPDX-License-Identifier: MIT
"""096-history: what was recorded, by the live socket: bins of any span against fastavro and numpy,
raw and from levels, by own time and by arrival, with clocks that are hours apart or step; coarse
first where the fine answer takes long; the newest question counts."""
import json
import shutil
import subprocess

import fastavro
import numpy
import pytest
from harness import avro, levels, signals
from harness.fleet import ROOT, new_folder
from harness.gateway import GATEWAY, GatewayFleet
from harness.levels import SECOND
from harness.live import COARSE, FIRST, FRONT, LAST, Answer, Live, Message

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
MAKE = ROOT / "build/units/bench_history"
RATE, PEAK, MS = 1000, 1e6, 1_000_000
FIELDS = ["signal0", "signal3"]


def make(folder, bytes, rate=RATE, file_bytes=10_000_000):
    done = subprocess.run([str(MAKE), str(folder), folder.name, str(bytes), str(rate),
                           str(file_bytes)], check=True, capture_output=True, text=True)
    return [int(line) for line in done.stdout.split()]


def read(folder, *fields):
    """The columns of all datums, by fastavro."""
    rows = []
    for path in sorted(folder.glob("*.avro*")):
        with open(path, "rb") as file:
            for row in fastavro.reader(file):
                time = row["time"]
                at = time if isinstance(time, int) else round(time.timestamp() * 1e6) * 1000
                rows.append((at, *(row[field] for field in fields)))
    times = numpy.array([row[0] for row in rows])
    return times, numpy.array([row[1:] for row in rows], float).T


def stamp(ns):
    return f"{ns // SECOND}.{ns % SECOND:09}"


@pytest.fixture(scope="module")
def fleet():
    """A gateway, with recordings of channels that are in no configuration."""
    with GatewayFleet({"engine": {"schema": signals.SCHEMA}}) as made:
        made.recordings = made.folder / "recordings"
        yield made


@pytest.fixture(scope="module")
def long(fleet):
    folder = fleet.recordings / "long"
    peaks = make(folder, 20_000_000)
    times, values = read(folder, *FIELDS)
    assert len(times) > 190_000
    return folder, peaks, times, values


def reference(times, values, width, start, end):
    """{bin: (minima, maxima)} of whole bins that the span touches."""
    first, last = start // width * width, -(-end // width) * width
    chosen = (times >= first) & (times < last)
    bins, columns = times[chosen] // width, values[:, chosen]
    numbers, begins = numpy.unique(bins, return_index=True)  # times rise
    lows = numpy.fmin.reduceat(columns, begins, axis=1) if len(numbers) else columns
    highs = numpy.fmax.reduceat(columns, begins, axis=1) if len(numbers) else columns
    return {int(number): (lows[:, i], highs[:, i]) for i, number in enumerate(numbers)}


def assert_bins(answer, times, values, start, end, factor=1, rate=RATE):
    """Exactly those; of windows of `factor` datums each value is at most a window off."""
    told = answer.of("history_end")[0]
    width = int(told["bin_ns"])
    got, wanted = answer.bins(width), reference(times, values, width, start, end)
    if told["level"] == 1:
        assert told["exact"] and got.keys() == wanted.keys()
        for number, (low, high) in wanted.items():
            numpy.testing.assert_array_equal(got[number], (low, high))
        return
    slack = told["level"] * SECOND // rate + width
    assert not told["exact"] and width >= told["level"] * SECOND // rate
    for number, (low, high) in got.items():
        begin = number * width
        near = (times >= begin - slack) & (times < begin + width + slack)
        assert (low >= values[:, near].min(axis=1)).all()
        assert (high <= values[:, near].max(axis=1)).all()
    inner = [number for number in wanted if start <= number * width < end - width]
    assert set(inner) <= got.keys()
    for number in inner:  # every peak is there, or in the bin beside
        near = numpy.array([got[n][1] for n in (number - 1, number, number + 1) if n in got])
        assert (near.max(axis=0) >= wanted[number][1]).all()
        near = numpy.array([got[n][0] for n in (number - 1, number, number + 1) if n in got])
        assert (near.min(axis=0) <= wanted[number][0]).all()


def test_096_history_raw_and_of_levels(fleet, long, rng):
    folder, peaks, times, values = long
    begin, end = int(times[0]), int(times[-1])
    with Live(fleet.port) as live:
        for levels_too in (False, True):
            if levels_too:
                levels.build(folder)
            seen = set()
            for id in range(1, 41):
                length = int((end - begin) * rng.random() ** 4) + 1
                start = rng.randint(begin - length // 2, end)
                points = rng.choice([1, 10, 100, 1000, 2000])
                answer = live.ask(id, "long", FIELDS, start, start + length, points=points)
                assert not answer.of("error"), answer.texts
                told = answer.of("history_end")[0]
                seen.add(told["level"])
                there = int(((times >= start) & (times < start + length)).sum())
                kinds = {message.kind for message in answer.messages
                         if not message.flags & COARSE}
                assert kinds <= ({2} if there <= points else {3}), (kinds, there, points)
                if there <= points:
                    chosen = (times >= start) & (times < start + length)
                    assert [at for at, _ in answer.datums()] == times[chosen].tolist()
                    got = numpy.array([row for _, row in answer.datums()]).reshape(-1, 2)
                    numpy.testing.assert_array_equal(got, values[:, chosen].T)
                else:
                    assert len(answer.bins(int(told["bin_ns"]))) <= 2.5 * points + 2
                    assert_bins(answer, times, values, start, start + length)
            assert seen & {50, 2500} if levels_too else seen <= {0, 1}
        whole = live.ask(50, "long", FIELDS, begin, end + 1, points=100)
        high = max(high[1] for _, high in whole.bins(int(
            whole.of("history_end")[0]["bin_ns"])).values())
        assert peaks and high == PEAK


def test_096_columns_by_rest(fleet, long):
    """The same messages as the socket's, each with its length in its front."""
    _, _, times, _ = long
    begin, end = int(times[1000]), int(times[60_000])
    path = (f"/api/v1/channels/long/samples?from={stamp(begin)}&to={stamp(end)}"
            f"&fields={','.join(FIELDS)}&points=500")
    answer = fleet.ask(path, Accept="application/vnd.flotilla.columns")
    assert (answer.status, answer.headers["Content-Type"]) == \
        (200, "application/vnd.flotilla.columns")
    assert fleet.ask(path + "&format=columns").body == answer.body
    with Live(fleet.port) as live:
        socket = live.ask(1, "long", FIELDS, begin, end, points=500)
    width = int(socket.of("history_end")[0]["bin_ns"])
    mine, at = Answer(), 0
    while at < len(answer.body):
        front = FRONT.unpack_from(answer.body, at)
        length = FRONT.size + 8 * front[4] * front[2] * 2
        mine.messages.append(Message(answer.body[at:at + length]))
        at += length
    assert at == len(answer.body) and mine.bins(width).keys() == socket.bins(width).keys()
    for number, pair in mine.bins(width).items():
        numpy.testing.assert_array_equal(pair, socket.bins(width)[number])
    for wrong in ("&format=columns&fields=nothing", "&format=columns"):
        assert fleet.ask(f"/api/v1/channels/long/samples?from={stamp(begin)}&to={stamp(end)}"
                         + wrong).status == 400
    assert fleet.ask("/api/v1/channels/nobody/samples?from=1&to=2&fields=x&format=columns"
                     ).status == 404


def test_096_history_of_odd_clocks(fleet):
    """Own time an hour behind, then, from the middle on, three hours ahead; none; and no time."""
    schema = json.dumps({"type": "record", "name": "R", "fields": [
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "x", "type": "double"}]})
    parsed = avro.Schema(json.loads(schema))
    times, numbers, blocks = [], range(4000), []
    for number in numbers:
        arrival = levels.START + number * 100 * MS
        shift = -3600 if number < 2000 else 3 * 3600
        times.append((arrival + shift * SECOND) // MS)
        if number % 50 == 0:
            blocks.append((arrival, []))
        blocks[-1][1].append(avro.encode(parsed, {"time": times[-1], "x": float(number)}))
    levels.write_recording(fleet.recordings / "stepped", schema, blocks, time=b"time")
    levels.write_recording(fleet.recordings / "untimed", schema, blocks)
    values = numpy.array([list(map(float, numbers))])
    own = numpy.array(times) * MS
    with Live(fleet.port) as live:
        for start, end in ((own[100], own[1000]), (own[2500], own[3500]), (own[0] - 50, own[10])):
            answer = live.ask(1, "stepped", ["x"], int(start), int(end), points=5)
            assert answer.of("history_end")[0]["clock"] == "own"
            assert_bins(answer, own, values, int(start), int(end), rate=10)
        # By arrival: known of each block's first, the others are spread up to the next one.
        start, end = levels.START, levels.START + 400 * SECOND
        answer = live.ask(2, "untimed", ["x"], start, end, points=40)
        told = answer.of("history_end")[0]
        assert told["clock"] == "arrival" and int(told["bin_ns"]) == 10 * SECOND
        bins = answer.bins(10 * SECOND)
        wanted = reference(levels.START + numpy.arange(4000) * 100 * MS, values, 10 * SECOND,
                           start, end)
        assert bins.keys() == wanted.keys()
        for number, (low, high) in wanted.items():
            assert abs(bins[number][0][0] - low[0]) <= 50
            assert abs(bins[number][1][0] - high[0]) <= 50
        # More single datums than a slice holds, and more questions than are answered at a time.
        start, end = int(own[0]), int(own[1999]) + 1
        for id in range(10, 40):
            live.history(id, "stepped", ["x"] * 24, start, end, points=3000)
        for id in range(10, 40):
            live.until(lambda id=id: live.by_id[id].of("history_end"), "its end")
            got = numpy.array([row for _, row in live.by_id[id].datums()])
            numpy.testing.assert_array_equal(got, numpy.repeat(values[:, :2000].T, 24, axis=1))
        nothing = live.ask(3, "nobody", ["x"], 0, 10**18)
        assert nothing.of("history_end")[0]["level"] == 0 and not nothing.messages
        wrong = live.ask(4, "stepped", ["x", "y"], int(own[0]), int(own[-1]))
        assert 'no field "y"' in wrong.of("error")[0]["text"]


def test_096_history_damaged(fleet):
    folder = fleet.recordings / "damaged"
    make(folder, 3_000_000)
    path = sorted(folder.glob("*.avro"))[0]
    data = bytearray(path.read_bytes())
    data[1_500_000:1_500_100] = bytes(100)
    path.write_bytes(data)
    with Live(fleet.port) as live:
        answer = live.ask(1, "damaged", FIELDS, 0, 2 * 10**18, points=10)
        gaps = answer.of("history_end")[0]["gaps"]
        assert gaps and all(path.name in gap["reason"] and "/" not in gap["reason"] for gap in gaps)
        assert answer.messages


@pytest.fixture(scope="module")
def large(fleet):
    """So much, without an overview, that a question takes a second and more."""
    folder = fleet.recordings / "large"
    make(folder, 600_000_000, rate=20_000, file_bytes=200_000_000)
    yield folder
    shutil.rmtree(folder)


def test_096_history_coarse_first_and_cancelled(fleet, large):
    span = (1767225600 * SECOND, (1767225600 + 400) * SECOND)
    with Live(fleet.port) as live:
        answer = live.ask(1, "large", FIELDS, *span, points=500)
        flags = [message.flags for message in answer.messages]
        coarse = [flag for flag in flags if flag & COARSE]
        fine = flags[len(coarse):]
        assert coarse and coarse == flags[:len(coarse)] and coarse[0] & FIRST and coarse[-1] & LAST
        assert fine[0] & FIRST and fine[-1] & LAST and not fine[0] & COARSE
        end = answer.of("history_end")[0]
        bins = answer.bins(int(end["bin_ns"]))
        wide = next(message.width for message in answer.messages if message.flags & COARSE)
        rough = answer.bins(wide, coarse=True)
        assert len(rough) > 20 and end["rows_read"] > 5_000_000
        for number, (low, high) in rough.items():  # of what is there
            inside = [bins[n] for n in range(number * wide // int(end["bin_ns"]),
                                             (number + 1) * wide // int(end["bin_ns"]))
                      if n in bins]
            assert min(pair[0][0] for pair in inside) <= low[0] <= high[0] <= \
                max(pair[1][0] for pair in inside)
        # Superseded: of the old one nothing comes behind the first of the new one.
        live.history(2, "large", FIELDS, *span, points=500)
        live.take()
        small = live.ask(2, "large", FIELDS, span[0], span[0] + 10 * MS, points=500)
        assert [message.kind for message in small.messages if message.kind == 2]
        assert small.of("history_end")[0]["exact"]
        count = len(small.messages)
        cancelled = live.history(3, "large", FIELDS, *span, points=500)
        live.send("cancel", id=3)
        live.until(lambda: cancelled.of("ended"), "cancelled")
        other = live.ask(4, "large", FIELDS, span[0], span[0] + 10 * MS, points=500)
        assert other.of("history_end")
        assert not cancelled.of("history_end") and len(small.messages) == count
        last = live.texts.index(cancelled.of("ended")[0])
        assert not [text for text in live.texts[last + 1:] if text.get("id") == 3]
