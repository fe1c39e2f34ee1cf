# SPDX-License-Identifier: MIT
"""060-sparse-and-kept: decimation of numbers that only some datums of a window have, of numbers
that have no average, of finite numbers whose sums are not, and of datums that grow. Every decimated
datum is read by fastavro."""
import io
import math
import struct
from datetime import datetime, timezone

import fastavro
import pytest
from harness.fleet import Fleet, wait_until

ALGORITHMS = ("downsample", "average", "min-max", "rms")


def record(*fields):
    return {"type": "record", "name": "R", "fields": [
        {"name": name, "type": kind} for name, kind in fields]}


def encode(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def decode(schema, datagram):
    stream = io.BytesIO(datagram)
    value = fastavro.schemaless_reader(stream, fastavro.parse_schema(schema))
    assert stream.tell() == len(datagram)
    return value


def decimated(cases):
    """{name: (schema, values, keys of `decimated`)} in one fleet -> {name: decimated values}."""
    channels = {name: {"schema": schema, "record": False, "buffer": "1MiB",
                       "decimated": {"to": True, "factor": len(values), **keys}}
                for name, (schema, values, keys) in cases.items()}
    with Fleet(channels) as fleet:
        sinks = {name: fleet.sink(fleet.address(name, "decimated")) for name in cases}
        for name, (schema, values, _) in cases.items():
            fleet.source(name, [encode(schema, value) for value in values]).finish()
        fleet.settle({name: len(values) for name, (_, values, _) in cases.items()})
        return {name: [decode(cases[name][0], datagram) for datagram in sinks[name].stop()]
                for name in cases}


def test_060_a_field_of_every_tenth_datum():
    """A position at 1 Hz in a record at 10 Hz is in each window of ten."""
    schema = record(("speed", "double"), ("altitude", ["null", "double"]))
    values = [{"speed": float(i), "altitude": 100.0 + i if i % 10 == 0 else None}
              for i in range(30)]
    found = decimated({algorithm: (schema, values, {"factor": 10, "algorithm": algorithm})
                       for algorithm in ALGORITHMS})
    for algorithm, got in found.items():
        each = 2 if algorithm == "min-max" else 1
        assert [value["altitude"] for value in got] == [
            height for height in (100.0, 110.0, 120.0) for _ in range(each)], algorithm
    assert [value["speed"] for value in found["average"]] == [4.5, 14.5, 24.5]
    assert [value["speed"] for value in found["downsample"]] == [9.0, 19.0, 29.0]


def test_060_aggregated_over_those_that_have_it():
    position = {"type": "record", "name": "P", "fields": [
        {"name": "lat", "type": "double"}, {"name": "lon", "type": "float"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "height", "type": ["null", "int"]}]}
    named = {"type": "record", "name": "N", "fields": [
        {"name": "n", "type": "int"}, {"name": "who", "type": "string"}]}
    schema = record(("p", ["null", position]), ("q", [named, "null"]),
                    ("v", ["null", "int", "double"]), ("w", ["null", "string", "long"]),
                    ("never", ["null", "double"]))
    empty = {"p": None, "q": None, "v": None, "w": None, "never": None}

    newest = datetime(1970, 1, 1, 0, 0, 0, 20, timezone.utc)
    values = [
        {**empty, "p": {"lat": 1.0, "lon": 2.0, "at": 10, "height": 7}, "v": 5, "w": 40},
        {**empty, "p": {"lat": 3.0, "lon": 4.0, "at": 20, "height": None}, "v": 2.5},
        {**empty, "q": {"n": 1, "who": "me"}, "v": 3.5, "w": "text"},
        {**empty, "v": 7}, {**empty, "v": 4.5}, empty]
    (average,) = decimated({"c": (schema, values, {"algorithm": "average"})})["c"]
    low, high = decimated({"c": (schema, values, {"algorithm": "min-max"})})["c"]
    # A position is numbers alone; its time is the newest that there was.
    assert average["p"] == {"lat": 2.0, "lon": 3.0, "at": newest, "height": 7}
    assert (low["p"]["lat"], high["p"]["lat"], low["p"]["height"]) == (1.0, 3.0, 7)
    # The branch that was there last, over those that had it.
    assert average["v"] == 3.5 and isinstance(average["v"], float)
    assert (low["v"], high["v"]) == (2.5, 4.5)
    assert average["w"] == 40
    # A name has no average; what was never there is not made up.
    assert average["q"] is None and average["never"] is None


def test_060_the_last_datum_has_it():
    """What was before, with nulls before it: the branch of the last datum counts."""
    schema = record(("v", ["null", "int", "double"]))
    values = [{"v": 5}, {"v": 2.5}, {"v": None}, {"v": 8}]
    assert decimated({"c": (schema, values, {"algorithm": "average"})})["c"] == [{"v": 7}]


def test_060_a_window_survives_the_relay(flotilla):
    schema = record(("n", "int"), ("x", ["null", "double"]), ("flag", ["null", "int"]))
    values = [{"n": i, "x": float(i) if i in (1, 3) else None, "flag": 8 if i == 2 else None}
              for i in range(10)]
    with Fleet({"c": {"schema": schema, "decimated": {
            "to": True, "factor": 10, "algorithm": "average", "keep": ["flag"]}}}) as fleet:
        sink = fleet.sink(fleet.address("c", "decimated"))
        fleet.source("c", [encode(schema, value) for value in values[:6]]).finish()
        fleet.settle({"c": 6})
        before = fleet.channel("c")["pid"]
        flotilla("restart", "c", "-c", fleet.file, check=0)
        fleet.wait_running()
        assert fleet.channel("c")["pid"] != before
        fleet.source("c", [encode(schema, value) for value in values[6:]]).finish()
        fleet.settle({"c": 10})
        assert [decode(schema, one) for one in sink.stop()] == [{"n": 5, "x": 2.0, "flag": 8}]


def test_060_kept():
    """Headings and flags are the window's last; a record's name stands for all in it."""
    inner = {"type": "record", "name": "I", "fields": [
        {"name": "heading", "type": "double"}, {"name": "turn", "type": "double"}]}
    schema = record(("flags", "int"), ("count", "long"), ("speed", "double"), ("nav", inner),
                    ("other", "I"))
    values = [{"flags": 1 << i, "count": i, "speed": float(i),
               "nav": {"heading": h, "turn": h}, "other": {"heading": h, "turn": h}}
              for i, h in enumerate((1.0, 359.0, 2.0, 358.0))]
    keep = {"keep": ["flags", "count", "nav.heading", "other"]}
    found = decimated({algorithm: (schema, values, {"algorithm": algorithm, **keep})
                       for algorithm in ALGORITHMS})
    found["one"] = decimated({"one": (schema, values, {"algorithm": "average",
                                                       "keep": "flags"})})["one"]
    for algorithm in ALGORITHMS:
        for value in found[algorithm]:
            assert (value["flags"], value["count"]) == (8, 3), algorithm
            assert value["nav"]["heading"] == 358.0, algorithm
            assert value["other"] == {"heading": 358.0, "turn": 358.0}, algorithm
    (average,) = found["average"]
    assert (average["speed"], average["nav"]["turn"]) == (1.5, 180.0)
    assert [value["nav"]["turn"] for value in found["min-max"]] == [1.0, 359.0]
    (one,) = found["one"]
    assert (one["flags"], one["count"], one["nav"]["heading"]) == (8, 2, 180.0)


def test_060_what_is_kept_is_checked(flotilla, tmp_path):
    schema = record(("flags", "int"), ("nav", {"type": "record", "name": "N", "fields": [
        {"name": "heading", "type": "double"}, {"name": "name", "type": "string"}]}))
    with Fleet({"c": {"schema": schema, "decimated": {
            "to": True, "factor": 2, "algorithm": "average",
            "keep": ["flags", "nav.headign", "nav.name"]}}}, run=False) as fleet:
        fleet.laws = False
        fleet.write()
        lines = fleet.file.read_text().splitlines()
        refused = flotilla("check", "-c", fleet.file, check=78)
        said = refused.stdout + refused.stderr
        (number, line), = ((i, line) for i, line in enumerate(lines, 1) if "keep:" in line)
        assert f":{number}:{line.index('nav.headign') + 1}: keep: no number \"nav.headign\"; did " \
            "you mean \"nav.heading\"?" in said, said
        assert f":{number}:{line.index('nav.name') + 1}: keep: no number \"nav.name\"" in said, said
        fleet.set("c", {**fleet.channels["c"], "decimated": {
            **fleet.channels["c"]["decimated"], "keep": ["flags", "nav"]}})
        fleet.write()
        printed = flotilla("check", "--print", "-c", fleet.file, check=0).stdout
        assert "      keep: [flags, nav]\n" in printed
        again = tmp_path / "again.yaml"
        again.write_text(printed)
        assert flotilla("check", "--print", "-c", again, check=0).stdout == printed


def test_060_another_field_to_keep_by_a_reload(flotilla):
    schema = record(("a", "int"), ("b", "int"))
    values = [encode(schema, {"a": i, "b": i}) for i in range(4)]
    with Fleet({"c": {"schema": schema, "decimated": {
            "to": True, "factor": 4, "algorithm": "average", "keep": ["a"]}}}) as fleet:
        sink = fleet.sink(fleet.address("c", "decimated"))
        fleet.source("c", values).finish()
        fleet.settle({"c": 4})
        fleet.channels["c"]["decimated"]["keep"] = ["b"]
        fleet.write()
        before = fleet.channel("c")["pid"]
        fleet.reload()
        wait_until(lambda: fleet.channel("c")["pid"] not in (None, before))
        fleet.wait_running()
        fleet.source("c", values).finish()
        fleet.settle({"c": 8})
        assert [decode(schema, one) for one in sink.stop()] == [{"a": 3, "b": 2}, {"a": 2, "b": 3}]


def narrow(value):
    return struct.unpack("f", struct.pack("f", value))[0]


# name: (algorithm, type, values, right)
FINITE = {
    "largest": ("average", "double", [1.7e308, 1.7e308], 1.7e308),
    "cancel": ("average", "double", [1.7e308, 1.7e308, -1.7e308, -1.7e308], 0.0),
    "negative": ("average", "double", [-1.7976931348623157e308] * 3, -1.7976931348623157e308),
    "one-more": ("average", "double", [1.7e308, 1.7e308, -1.7e308, 1e292], 4.25e307),
    "small-rest": ("average", "double", [1e16, 1.0, -1e16], 1 / 3),
    "rms-large": ("rms", "double", [1e200, 1e200], 1e200),
    "rms-small": ("rms", "double", [3e-200, 4e-200], 5e-200 / math.sqrt(2)),
    "rms-both": ("rms", "double", [1e-200, 1e200, 1e-200, 1e200], 1e200 / math.sqrt(2)),
    "rms-up": ("rms", "double", [1e-300, 3.0, 4.0, 0.0], 2.5),
    "rms-edge": ("rms", "double", [2.0**-480, 2.0**-481], 2.0**-481 * math.sqrt(2.5)),
    "rms-high-edge": ("rms", "double", [2.0**480, 2.0**481], 2.0**480 * math.sqrt(2.5)),
    "rms-largest": ("rms", "double", [1.7976931348623157e308] * 3, 1.7976931348623157e308),
    "rms-least": ("rms", "double", [5e-324] * 4, 5e-324),
    "rms-zero": ("rms", "double", [0.0, -0.0], 0.0),
    "rms-inf": ("rms", "double", [1e300, math.inf, 1e-300], math.inf),
    "rms-nan": ("rms", "double", [1e300, math.nan, 1e-300], math.nan),
    "inf": ("average", "double", [1.7e308, 1.7e308, math.inf], math.inf),
    "infs": ("average", "double", [1.7e308, math.inf, -math.inf], math.nan),
    "float": ("average", "float", [narrow(3.4e38)] * 2, narrow(3.4e38)),
    "float-rms": ("rms", "float", [narrow(1e-30)] * 2, narrow(1e-30)),
}


def test_060_averages_of_finite_numbers_are_finite():
    found = decimated({name: (record(("x", kind)), [{"x": value} for value in values],
                              {"algorithm": algorithm})
                       for name, (algorithm, kind, values, _) in FINITE.items()})
    for name, (_, _, _, right) in FINITE.items():
        (value,) = found[name]
        if math.isfinite(right):
            assert value["x"] == pytest.approx(right, rel=1e-15, abs=0), name
        else:
            assert str(value["x"]) == str(right), name


def test_060_a_decimated_datum_too_long_for_a_datagram():
    """The rms of longs of -64, which take a byte, is 64, which takes two."""
    schema = {"type": "record", "name": "R", "fields": [
        {"name": f"x{i}", "type": "long"} for i in range(40_000)]}
    datum = b"\x7f" * 40_000
    with Fleet({"c": {"schema": schema, "decimated": {
            "to": True, "factor": 1, "algorithm": "rms"}}}) as fleet:
        fleet.source("c", [datum] * 3, rate=10).finish()
        channel = fleet.settle({"c": 3})["c"]
        assert (channel["datums_accepted"], channel["datums_sent_decimated"]) == (3, 0)
        assert channel["send_errors"] == 3
        assert fleet.log().count("a decimated datum of 80000 bytes is not sent") == 1
