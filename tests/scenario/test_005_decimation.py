# SPDX-License-Identifier: MIT
"""005-decimation: the four algorithms against a reference in numpy, over random schemas and
windows, with integer rounding, NaN and infinities; every decimated datum is read back by the same
schema with fastavro."""
import io
import math
from fractions import Fraction

import fastavro
import numpy
import pytest
from harness import avro
from harness.avro import Branch
from harness.decimation import Reference, dumped
from harness.fleet import LONG, Fleet

ALGORITHMS = ("downsample", "average", "min-max", "rms")
TIME = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}}
COUNTER = {"name": "counter", "type": "long"}


def is_root(got, values, kind):
    """Whether an integer is the rms of integers, rounded, as exact as a double: half a unit from
    it, and for the sum, the quotient and the root together four roundings of a double."""
    square = Fraction(sum(value * value for value in values), len(values))
    high = (1 << (31 if kind == "int" else 63)) - 1
    slack = Fraction(4, 1 << 53)
    low_end, high_end = got - Fraction(1, 2), got + Fraction(1, 2)
    return 0 < low_end and low_end**2 <= square * (1 + slack)**2 and \
        (got == high or square * (1 - slack)**2 <= high_end**2)


def assert_close(schema, got, wanted, window, algorithm, part=None, space="", where="datum"):
    """Equal; reals within the rounding of a sum, integers exactly wherever a double can."""
    kind, part, space = schema.resolve(schema.json if part is None else part, space)
    if kind == "record":
        for field in part["fields"]:
            name = field["name"]
            assert_close(schema, got[name], wanted[name], [value[name] for value in window],
                         algorithm, field["type"], space, f"{where}.{name}")
        return
    if kind == "union":
        assert got.index == wanted.index, where
        window = [value.value for value in window if value.index == got.index]
        assert_close(schema, got.value, wanted.value, window, algorithm, part[got.index], space,
                     where)
        return
    if kind in ("float", "double") and got != wanted and not (got != got and wanted != wanted):
        finite = [abs(value) for value in window if isinstance(value, float)]
        assert all(map(math.isfinite, finite + [got, wanted])), (where, got, wanted, window)
        room = 4 * numpy.finfo(numpy.float64).eps * max(finite, default=0)
        if kind == "float":
            room += float(numpy.spacing(numpy.float32(abs(wanted))))
        assert abs(got - wanted) <= room, (where, got, wanted, room, window)
        return
    if kind in ("int", "long") and got != wanted:  # squares beyond 2^53 are not exact
        assert algorithm == "rms" and abs(wanted) > 2**26 and is_root(got, window, kind), \
            (where, got, wanted, window)
        return
    assert dumped(got) == dumped(wanted), (where, got, wanted)


def decode_all(schema, datagrams):
    """One datum a datagram, to its last byte; fastavro must read the same bytes as well."""
    parsed = fastavro.parse_schema(schema.json)
    for datagram in datagrams:
        value, end = avro.decode(schema, datagram)
        assert end == len(datagram)
        stream = io.BytesIO(datagram)
        fastavro.schemaless_reader(stream, parsed)
        assert stream.tell() == len(datagram)
        yield value


def run(cases, rng, algorithm):
    """cases: {name: (schema, values, factor, time, sequence)}; all channels in one fleet."""
    channels = {}
    for name, (schema, _, factor, time, sequence) in cases.items():
        keys = {"schema": schema, "record": False, "buffer": "1MiB",
                "decimated": {"to": True, "factor": factor, "algorithm": algorithm}}
        keys.update({"time": time} if time else {})
        keys.update({"sequence": sequence} if sequence else {})
        channels[name] = keys
    with Fleet(channels) as fleet:
        sinks, sent = {}, {}
        for name, (schema, values, *_) in cases.items():
            sinks[name] = fleet.sink(fleet.address(name, "decimated"))
            datagrams, at = [], 0
            datums = [avro.encode(schema, value, rng=rng) for value in values]
            while at < len(datums):  # one or several datums a datagram
                several = rng.choice([1, 1, 2, 5])
                datagrams.append(b"".join(datums[at:at + several]))
                at += several
            sent[name] = len(datagrams)
            fleet.source(name, datagrams, rate=10000).finish()
        channels = fleet.settle(sent)
        for name, (schema, values, factor, time, sequence) in cases.items():
            assert channels[name]["datums_accepted"] == len(values), channels[name]
            wanted = Reference(schema, algorithm, time, sequence).windows(values, factor)
            got = list(decode_all(schema, sinks[name].stop()))
            assert len(got) == len(wanted) == channels[name]["datums_sent_decimated"]
            for number, (mine, (theirs, window)) in enumerate(zip(got, wanted)):
                assert_close(schema, mine, theirs, window, algorithm, where=f"{name}[{number}]")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_005_random_schemas(rng, algorithm):
    cases = {}
    for number in range(60 if LONG else 16):
        schema = avro.random_schema(rng, first_fields=(TIME, COUNTER) if number % 2 else
                                    ({"name": "always", "type": "double"},))
        factor = rng.choice([1, 2, 3, 7, 50])
        values = [avro.random_value(rng, schema, nonfinite=number % 3 == 0)
                  for _ in range(rng.randint(3, 6) * factor + rng.randint(0, factor - 1))]
        named = ("time", "counter") if number % 2 else (None, None)
        for index, value in enumerate(values):
            if number % 2:
                value["time"], value["counter"] = 1700000000000000 + index, index
        cases[f"c{number:02}"] = (schema, values, factor, *named)
    run(cases, rng, algorithm)


def column(kind, values, factor):
    schema = avro.Schema({"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]})
    return schema, [{"x": value} for value in values], factor, None, None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_005_corners(rng, algorithm):
    """What the manual says by name: halves, the ends of the integers, NaN and infinities."""
    nan, inf = math.nan, math.inf
    low, high = -1 << 63, (1 << 63) - 1
    small = 1.0000000000000002
    cases = {
        "halves": column("int", [1, 2, -1, -2, 0, 1, 0, -1, 2, 3, -2, -3], 2),
        "thirds": column("long", [1, 1, 2, -1, -1, -2, 5, 5, 6], 3),
        "int-ends": column("int", [-1 << 31, -1 << 31, (1 << 31) - 1, (1 << 31) - 1,
                                   -1 << 31, (1 << 31) - 1], 2),
        "nan": column("double", [nan, 1.0, 2.0, nan, nan, nan, 3.0, 4.0], 2),
        "infinite": column("double", [inf, 1.0, inf, -inf, -inf, -inf, nan, inf], 2),
        "float-nan": column("float", [nan, 1.5, -2.5, nan, nan, nan, inf, -inf], 2),
        "cancel": column("double", [1e16, 1.0, -1e16, 1.0] * 3, 4),
        "near-half": column("long", [44, 266585124133808, 498586190505], 3),
        "tiny": column("double", [small, small, small], 3),
        "one": column("double", [1.5, -2.5, nan], 1),
        "nullable": (avro.Schema({"type": "record", "name": "R", "fields": [
            {"name": "x", "type": ["null", "int", "double"]}]}),
            [{"x": Branch(*each)} for each in [(1, 4), (0, None), (1, 7), (2, 2.5), (1, 7),
                                               (0, None), (0, None), (2, 1.0), (2, 2.0)]],
            3, None, None),
    }
    if algorithm != "rms":  # the squares' sum is beyond what any integer type holds
        cases["long-ends"] = column("long", [low, low, high, high, low, high], 2)
    run(cases, rng, algorithm)


def test_005_rms_of_the_largest_longs_stays_in_range(rng):
    """sqrt of the mean of squares of -2^63 is 2^63, one more than a long holds: it is capped."""
    schema, values, *_ = column("long", [-1 << 63] * 4, 4)
    with Fleet({"c": {"schema": schema, "record": False,
                      "decimated": {"to": True, "factor": 4, "algorithm": "rms"}}}) as fleet:
        sink = fleet.sink(fleet.address("c", "decimated"))
        fleet.source("c", [avro.encode(schema, value) for value in values]).finish()
        fleet.settle({"c": 4})
        assert [value["x"] for value in decode_all(schema, sink.stop())] == [(1 << 63) - 1]


def test_005_a_window_not_full_is_dropped_and_survives_a_restart(rng, flotilla):
    """The window lives outside of the relay: a restart in its middle changes nothing."""
    schema, values, *_ = column("double", [float(number) for number in range(25)], 10)
    with Fleet({"c": {"schema": schema,
                      "decimated": {"to": True, "factor": 10, "algorithm": "average"}}}) as fleet:
        sink = fleet.sink(fleet.address("c", "decimated"))
        datums = [avro.encode(schema, value) for value in values]
        fleet.source("c", datums[:15]).finish()
        fleet.settle({"c": 15})
        before = fleet.channel("c")["pid"]
        flotilla("restart", "c", "-c", fleet.file, check=0)
        fleet.wait_running()
        assert fleet.channel("c")["pid"] != before
        fleet.source("c", datums[15:]).finish()
        fleet.settle({"c": 25})
        assert [value["x"] for value in decode_all(schema, sink.stop())] == [4.5, 14.5]
