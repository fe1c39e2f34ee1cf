# SPDX-License-Identifier: MIT
"""096-live: what the live socket tells of streams and recordings is what was sent, by references of
others (fastavro, numpy): bins and single datums of every type, the past without a hole, gaps with
their reasons; who asks wrongly is answered, who does not keep up gets fewer messages."""
import math

import numpy
import pytest
from harness import signals
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
    with GatewayFleet({"engine": {"schema": signals.SCHEMA, **STREAMS},
                       "idle": {"schema": signals.SCHEMA, **STREAMS}}) as made:
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
