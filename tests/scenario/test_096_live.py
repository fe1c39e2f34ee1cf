# SPDX-License-Identifier: MIT
"""096-live: what the live socket tells of streams and recordings is what was sent, by references of
others (fastavro, numpy): bins and single datums of every type, the past without a hole, gaps with
their reasons; who asks wrongly is answered, who does not keep up gets fewer messages."""
import math
import os
import signal

import numpy
import pytest
from harness import avro, columns, exports, signals
from harness.fleet import wait_until
from harness.gateway import GATEWAY, GatewayFleet
from harness.live import Live

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
MS = 1_000_000
STREAMS = {"time": "time", "sequence": "counter", "full": True,
           "decimated": {"to": True, "factor": 50, "algorithm": "min-max"}}
START = 1_700_000_000_000_000_000  # of signals.sample, which come every 100 us
FIELDS = {"x": lambda number: number / 7,
          "y": lambda number: float(numpy.float32((number % 1000) / 4)),
          "counter": float}


def wanted_bins(numbers, width, fields=("x", "y")):
    """What the datums of these numbers are in bins of that width, by their own time."""
    bins = {}
    for number in numbers:
        row = numpy.array([FIELDS[field](number) for field in fields])
        at = (START + number * 100_000) // width
        low, high = bins.get(at, (row, row))
        bins[at] = (numpy.fmin(low, row), numpy.fmax(high, row))
    return bins


def assert_same(got, wanted):
    assert got.keys() == wanted.keys()
    for number, (low, high) in wanted.items():
        numpy.testing.assert_array_equal(got[number], (low, high), str(number))


@pytest.fixture(scope="module")
def fleet():
    with GatewayFleet({name: {"schema": signals.SCHEMA, **STREAMS}
                       for name in ("engine", "idle", "losing")} |
                      {"wide": {"schema": signals.SCHEMA, "time": "time", "full": True}}) as made:
        yield made


def test_096_bins_live_and_past(fleet):
    """Of a min-max stream, all that was sent; the past and history are the same bins."""
    numbers, width = range(3000), 10 * MS
    with Live(fleet.port) as live:
        bins = live.subscribe(7, "engine", ["x", "y"], width, latest=True)
        live.until(lambda: bins.of("past"), "subscribed")
        told = bins.of("subscribed")[0]
        assert (told["source"], told["exact"], told["clock"], told["algorithm"]) == \
            ("decimated", True, "own", "min-max")
        assert [field["type"] for field in told["fields"]] == ["double", "float"]
        fleet.source("engine", signals.samples(3000), rate=20_000).finish()
        wanted = wanted_bins(numbers, width)
        live.until(lambda: bins.bins(width).keys() == wanted.keys() and
                   max(high[0] for _, high in bins.bins(width).values()) == 2999 / 7, "all bins")
        assert_same(bins.bins(width), wanted)
        live.until(lambda: any(one["values"]["x"] == 2999 / 7 for one in bins.of("latest")),
                   "the latest")
        fleet.settle({"engine": 3000})
        past = live.subscribe(8, "engine", ["x", "y"], width, back=60_000 * MS)
        live.until(lambda: past.of("past"), "the past")
        assert_same(past.bins(width, kinds=[3]), wanted)
        end = START + 3000 * 100_000
        answer = live.ask(9, "engine", ["x", "y"], START, end, points=25)
        told = answer.of("history_end")[0]
        assert told["exact"] and told["clock"] == "own" and math.isclose(int(told["bin_ns"]), width)
        assert_same(answer.bins(width), wanted)
        single = live.ask(10, "engine", ["x"], START, START + 10 * MS, points=100)
        assert [(at, values[0]) for at, values in single.datums()] == \
            [(START + number * 100_000, number / 7) for number in range(100)]


# ---- every type ----

def names_of(columns_of, limit=24):
    """[(name in a request, how a row's value is found, the leaf)] of values and items of arrays."""
    names = []
    for column in columns_of:
        if column.kind == "map":
            continue
        if column.kind != "array":
            names.append((str(column), lambda row, at=column: row[at], column))
            continue
        for item in columns.tops(column.items):
            if item.kind in ("array", "map"):
                continue
            for index in range(2):
                def find(row, column=column, item=item, index=index):
                    items = row[column] or []
                    return items[index][item] if index < len(items) else None
                names.append((item.replace("[]", f"[{index}]", 1), find, item))
    return names[:limit]


def number_of(leaf, value):
    if value is None or leaf.kind not in ("boolean", "int", "long", "float", "double", "enum"):
        return math.nan
    if leaf.kind == "enum":
        return float(leaf.part["symbols"].index(value))
    return exports.narrow(value) if leaf.kind == "float" else float(value)


def same_value(leaf, found, wanted):
    if leaf.kind in ("bytes", "fixed") and found is not None:
        return wanted is not None and found.encode("latin-1") == wanted
    return exports.same_json(leaf, found, wanted)


def test_096_every_type(rng):
    """Single datums of random schemas, as their values never were bytes; the latest is exact."""
    made = {f"c{index:02}": exports.drawn(rng, rows=12) for index in range(20)}
    channels = {name: {"schema": schema, "full": True, "time": "time"}
                for name, (schema, _) in made.items()}
    with GatewayFleet(channels) as fleet, Live(fleet.port) as live:
        wanted = {}
        for id, (name, (schema, values)) in enumerate(made.items(), 1):
            tops, rows = exports.expected(schema, values)
            wanted[id] = names_of(tops), rows
            live.subscribe(id, name, [one for one, _, _ in wanted[id][0]], 0, latest=True)
        live.until(lambda: all(answer.of("past") for answer in live.by_id.values()), "all begun")
        for id, answer in live.by_id.items():
            told = answer.of("subscribed")[0]
            assert (told["source"], told["exact"]) == ("full", True)
            assert [field["name"] for field in told["fields"]] == \
                [one for one, _, _ in wanted[id][0]]
            assert [field["type"] for field in told["fields"]] == \
                [str(leaf.kind) for _, _, leaf in wanted[id][0]]
        sources = [fleet.source(name, [avro.encode(schema, value) for value in values], rate=500)
                   for name, (schema, values) in made.items()]
        for source in sources:
            source.finish()
        live.until(lambda: all(len(live.by_id[id].datums()) == len(rows)
                               for id, (_, rows) in wanted.items()), "all datums")
        for id, (names, rows) in wanted.items():
            for (_, got), row in zip(live.by_id[id].datums(), rows):
                numpy.testing.assert_array_equal(
                    got, [number_of(leaf, find(row)) for _, find, leaf in names])

            def newest(id=id, names=names, row=rows[-1]):
                latest = live.by_id[id].of("latest")
                return latest and all(same_value(leaf, latest[-1]["values"][name], find(row))
                                      for name, find, leaf in names)
            live.until(newest, f"the latest of {id}")


# ---- what is missing ----

def test_096_gaps(fleet):
    pool = signals.samples(400)
    with Live(fleet.port) as live:
        answer = live.subscribe(1, "losing", ["x"], 0)
        idle = live.subscribe(2, "idle", ["x"])
        live.until(lambda: answer.of("past") and idle.of("past"), "begun")

        def gap(of, words):
            live.until(lambda: any(words in one["reason"] for one in of.of("gap")), words)
            return [one for one in of.of("gap") if words in one["reason"]]
        silent = gap(idle, "nothing comes in")[0]
        assert silent["count"] is None and int(silent["from"]) <= int(silent["to"])
        fleet.source("losing", pool[:100] + pool[110:200], rate=10_000).finish()
        missing = gap(answer, "numbers are missing")
        assert sum(one["count"] for one in missing) == 10
        # On the axis, which is the channel's own time: between the two that enclose it.
        assert abs(int(missing[0]["to"]) - (START + 110 * 100_000)) < 10_000 * MS
        fleet.source("losing", [b"\xff"] * 3, rate=1000).finish()
        rejected = gap(answer, "rejected")
        assert sum(one["count"] for one in rejected) == 3 and "truncated" in rejected[0]["reason"]
        os.kill(fleet.channel("losing")["pid"], signal.SIGKILL)
        assert gap(answer, "another relay")[0]["count"] == 0
        fleet.wait_running(["losing"])
        fleet.source("losing", pool[200:300], rate=10_000).finish()
        live.until(lambda: len(answer.datums()) == 290, "what came after the relay's end")
        assert sum(one["count"] for one in gap(answer, "numbers are missing")) == 10
        # Somebody else sends to the group.
        fleet._source(fleet.address("losing", "full"), [b"\xfe"], rate=100).finish()
        assert gap(answer, "not the channel's")[0]["count"] == 1


def test_096_the_gateways_own_queue(fleet):
    """It is stopped while more comes than its queue holds."""
    pid = fleet.service()["pid"]
    with Live(fleet.port) as live:
        answer = live.subscribe(1, "losing", ["counter"], 0)
        live.until(lambda: answer.of("past"), "begun")
        before = fleet.channel("losing")["datagrams_received"]
        os.kill(pid, signal.SIGSTOP)
        try:
            fleet.source("losing", signals.samples(40_000, 1000, pad=600), rate=40_000).finish()
            wait_until(lambda: fleet.channel("losing")["datagrams_received"] == before + 40_000)
        finally:
            os.kill(pid, signal.SIGCONT)
        live.until(lambda: any("keep up" in one["reason"] for one in answer.of("gap")) and
                   any(values[0] > 1000 for _, values in answer.datums()), "what was dropped")
        fleet.source("losing", signals.samples(10, 41_000), rate=1000).finish()
        live.until(lambda: any(values[0] == 41_009 for _, values in answer.datums()), "the end")

        def counts(words):
            return sum(one["count"] for one in answer.of("gap") if words in one["reason"])
        live.until(lambda: len(answer.datums()) + counts("keep up") >= 40_010 and
                   counts("numbers are missing") == counts("keep up"), "the sum")
        assert len(answer.datums()) + counts("keep up") == 40_010


# ---- the past meets now ----

@pytest.mark.parametrize("kill", [False, True])
def test_096_no_hole(kill):
    """Subscribed in the middle of a stream that is synced once a second, and again after the
    gateway was killed: past and live together have every datum."""
    width, count = 5 * MS, 6000
    wanted = wanted_bins(range(count), width)
    with GatewayFleet({"engine": {"schema": signals.SCHEMA, **STREAMS}},
                      storage={"sync": "1s"}) as fleet:
        source = fleet.source("engine", signals.samples(count), rate=1500)
        merged = {}

        def look(until):
            with Live(fleet.port) as live:
                answer = live.subscribe(1, "engine", ["x", "y"], width, back=200_000 * MS)
                live.until(lambda: until(answer), "the end")
                for number, (low, high) in answer.bins(width).items():
                    low_before, high_before = merged.get(number, (low, high))
                    merged[number] = (numpy.fmin(low, low_before), numpy.fmax(high, high_before))
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] > 500)
        if kill:
            pid = fleet.service()["pid"]
            look(lambda answer: answer.bins(width))
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: fleet.service()["pid"] not in (pid, None) and fleet.serves())
            merged.clear()
        look(lambda answer: answer.of("past") and merged_of(answer, width, wanted))
        source.finish()
        assert_same(merged, wanted)


def same(got, wanted):
    return got.keys() == wanted.keys() and all(
        numpy.array_equal(got[number], wanted[number]) for number in wanted)


def merged_of(answer, width, wanted):
    bins = answer.bins(width)
    last = max(wanted)
    return len(bins) >= len(wanted) and bins[last][1][0] == wanted[last][1][0]


def test_096_other_streams():
    """A channel without a group is followed in its file; one of slow windows in its full stream;
    one that loses peaks says so."""
    width = 10 * MS
    with GatewayFleet({
            "filed": {"schema": signals.SCHEMA, "time": "time"},
            "slow": {"schema": signals.SCHEMA, **STREAMS},
            "averaged": {"schema": signals.SCHEMA, "time": "time",
                         "decimated": {"to": True, "factor": 50, "algorithm": "average"}},
            "opaque": {"schema": None, "encoding": "opaque", "full": True},
            "alone": {"schema": signals.SCHEMA, "record": False}}) as fleet, \
            Live(fleet.port) as live:
        filed = live.subscribe(1, "filed", ["x", "y"], width, back=1000 * MS)
        slow = live.subscribe(2, "slow", ["x", "y"], width)
        averaged = live.subscribe(3, "averaged", ["x", "note"], width)
        opaque = live.subscribe(4, "opaque", ["payload", "received"], 0, latest=True)
        alone = live.subscribe(5, "alone", ["x"], width)
        live.until(lambda: filed.of("past") and slow.of("past") and averaged.of("past") and
                   opaque.of("past") and alone.of("error"), "all begun")
        assert filed.of("subscribed")[0]["source"] == "recording"
        assert averaged.of("subscribed")[0]["exact"] is False
        assert averaged.of("subscribed")[0]["algorithm"] == "average"
        assert "no stream that can be joined" in alone.of("error")[0]["text"]
        fleet.source("filed", signals.samples(1000), rate=20_000).finish()
        fleet.source("opaque", [b"\0\xffabc"], rate=100).finish()
        wanted = wanted_bins(range(1000), width)
        live.until(lambda: filed.bins(width).keys() == wanted.keys() and
                   filed.bins(width)[max(wanted)][1][0] == 999 / 7, "what was filed")
        assert_same(filed.bins(width), wanted)
        live.until(lambda: any(one["values"]["payload"] == "\0\xffabc"
                               for one in opaque.of("latest")), "any bytes")
        # 100 datums a second: a window is half a second, a bin a hundredth.
        source = fleet.source("slow", signals.samples(700), rate=100)
        live.until(lambda: slow.of("subscribed")[-1]["source"] == "full", "the full stream")
        source.finish()
        wanted = wanted_bins(range(700), width)
        live.until(lambda: same(slow.bins(width), wanted), "all of it, and what was between")


def test_096_channels_come_and_go():
    keys = {"schema": signals.SCHEMA, "full": True, "time": "time"}
    filed = {"schema": signals.SCHEMA, "time": "time"}
    with GatewayFleet({"stays": dict(keys), "goes": dict(keys), "changes": dict(keys),
                       "filed": filed}) as fleet, Live(fleet.port) as live:
        answers = {name: live.subscribe(id, name, ["x"], latest=True)
                   for id, name in ((1, "stays"), (2, "goes"), (3, "changes"), (6, "filed"))}
        unknown = live.subscribe(4, "nobody", ["x"])
        live.until(lambda: all(one.of("past") for one in answers.values()) and
                   unknown.of("error") and live.channels != "none yet", "begun")
        assert 'no channel is called "nobody"' in unknown.of("error")[0]["text"]
        assert {one["name"] for one in live.channels} == {"stays", "goes", "changes", "filed"}
        # What a datum was read by is gone when its schema is: also while nothing new has come.
        fleet.source("filed", signals.samples(5), rate=100).finish()
        live.until(lambda: answers["filed"].of("latest"), "what was filed")
        del fleet.channels["goes"]
        other = {**signals.SCHEMA, "fields": signals.SCHEMA["fields"][:3]}
        fleet.set("changes", {**fleet.channels["changes"], "schema": other})
        fleet.set("filed", {**fleet.channels["filed"], "schema": other})
        fleet.set("nobody", dict(keys))
        fleet.write()
        fleet.reload()
        live.until(lambda: all(answers[name].of("ended") for name in ("goes", "changes", "filed")),
                   "ended")
        assert "schema" in answers["filed"].of("ended")[0]["reason"]
        assert "not in the configuration" in answers["goes"].of("ended")[0]["reason"]
        assert "schema" in answers["changes"].of("ended")[0]["reason"]
        assert not answers["stays"].of("ended")
        again = live.subscribe(3, "changes", ["x", "counter"], latest=True)
        live.until(lambda: again.of("past"), "the new schema")
        fleet.source("changes", [avro.encode(avro.Schema(other), {
            "time": 1_700_000_000_000_000, "counter": 5, "x": 2.5})], rate=10).finish()
        live.until(lambda: any(one["values"] == {"x": 2.5, "counter": 5}
                               for one in again.of("latest")), "its datum")
        assert live.until(lambda: "nobody" in {one["name"] for one in live.channels}, "it came")
        # The manager does not answer: told, and what is there goes on.
        fleet.manager.send_signal(signal.SIGSTOP)
        try:
            live.until(lambda: live.channels is None, "that nobody answers")
            fleet.source("changes", [avro.encode(avro.Schema(other), {
                "time": 1_700_000_000_000_000, "counter": 6, "x": 3.5})], rate=10).finish()
            live.until(lambda: any(one["values"] == {"x": 3.5, "counter": 6}
                                   for one in again.of("latest")), "its datum")
            late = live.subscribe(5, "another", ["x"])
            live.until(lambda: late.of("ended"), "not now")
        finally:
            fleet.manager.send_signal(signal.SIGCONT)
        live.until(lambda: live.channels, "it is there again")


def test_096_a_large_fleet():
    """It comes in parts, each of which fits."""
    names = [f"c{index:03}" for index in range(101)]
    with GatewayFleet({name: {"schema": signals.SCHEMA, "record": False} for name in names},
                      laws=False) as fleet, Live(fleet.port) as live:
        live.until(lambda: live.channels not in ("none yet", None), "the fleet")
        assert [one["name"] for one in live.channels] == names
        assert {text["parts"] for text in live.texts if text["op"] == "channels"} == {2}


# ---- clients ----

def test_096_who_does_not_keep_up(fleet):
    """Bins come later and wider and have all; single datums are left out and counted."""
    count, width, fields = 40_000, MS, ["x", "y"] * 21
    with Live(fleet.port, max_queue=2) as bins, Live(fleet.port, max_queue=2) as single:
        bins.subscribe(1, "wide", fields, width)
        single.subscribe(1, "wide", fields, 0)
        for live in (bins, single):
            live.until(lambda: live.by_id[1].of("past"), "begun")
        fleet.source("wide", signals.samples(count), rate=20_000).finish()
        wait_until(lambda: fleet.channel("wide")["datums_accepted"] == count)
        answer = bins.by_id[1]
        bins.until(lambda: answer.messages and
                   answer.messages[-1].high[0, -1] == (count - 1) / 7, "the last bin")
        widths = {message.width for message in answer.messages}
        assert min(widths) == width and max(widths) > width
        widest = max(widths)
        wanted = wanted_bins(range(count), widest, fields)
        got = {}
        for message in answer.messages:
            for row in range(message.rows):
                number = (message.start + row * message.width) // widest
                low, high = message.low[:, row], message.high[:, row]
                before = got.get(number, (low, high))
                got[number] = (numpy.fmin(low, before[0]), numpy.fmax(high, before[1]))
        got = {number: pair for number, pair in got.items() if not numpy.isnan(pair[0][0])}
        assert_same(got, wanted)

        answer = single.by_id[1]

        def skipped():
            return sum(one["datums"] for one in answer.of("skipped"))
        single.until(lambda: sum(message.rows for message in answer.messages) + skipped() == count,
                     "the sum")
        assert skipped() > 0
        numbers = [round(values[0] * 7) for _, values in answer.datums()]
        assert numbers == sorted(set(numbers))


WRONG = ["", "{", "7", "[]", '{"op": "dance"}', '{"op": "subscribe", "id": 1}', "[" * 60_000,
         '{"op": "unsubscribe", "id": 77}', '{"op": "cancel", "id": 0}',
         '{"op": "history", "id": 5, "channel": "engine", "fields": ["x"], "from": "9", "to": "1",'
         ' "points": 5}',
         '{"op": "history", "id": 5, "channel": "../engine", "fields": ["x"], "from": "0", '
         '"to": "1", "points": 5}']


def test_096_wrong_messages(fleet):
    with Live(fleet.port) as live:
        for wrong in WRONG:
            before = len([text for text in live.texts if text["op"] == "error"])
            live.socket.send(wrong)
            live.until(lambda: len([text for text in live.texts if text["op"] == "error"])
                       > before, wrong[:80])
        live.socket.send(b"\1\2\3")
        for fields, words in ((["speed"], 'no field "speed"'), (["nothing[0]"], "no field"),
                              (["x[0]"], "no array"), (["x["], "no name"),
                              (["x[99999999]"], "no name")):
            answer = live.subscribe(6, "engine", fields)
            live.until(lambda: answer.of("error"), str(fields))
            assert words in answer.of("error")[0]["text"], answer.texts
        # As many as there may be, and one more; an id that is in use is replaced.
        for id in range(100, 355):
            live.subscribe(id, "engine", ["x"] * 4)
        last = live.subscribe(355, "engine", ["x"] * 4)
        over = live.subscribe(356, "engine", ["x"])
        live.until(lambda: over.of("error") and last.of("past"), "one too many")
        again = live.subscribe(355, "engine", ["y"] * 4)
        live.until(lambda: again.of("subscribed"), "replaced")
        assert again.of("subscribed")[0]["fields"][0]["name"] == "y"
        live.send("unsubscribe", id=100)
        live.until(lambda: live.by_id[100].of("ended"), "ended")
        more = live.subscribe(100, "engine", ["x"] * 5)
        live.until(lambda: more.of("error"), "too many fields")
        same = live.history(101, "engine", ["x"], 0, 10**18)
        live.until(lambda: same.of("error"), "an id of the other kind")
        live.send("cancel", id=999)
        live.until(lambda: 999 in live.by_id and live.by_id[999].of("ended"), "cancelled")
    with Live(fleet.port) as live:
        live.until(lambda: live.channels != "none yet", "it serves others")
