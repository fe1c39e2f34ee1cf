# SPDX-License-Identifier: MIT
"""016-encodings: single-object, Confluent and opaque channels. What is recorded is the plain datum;
what is sent on is what came; what names another schema is rejected by name."""
import io
import json
import struct

import fastavro
from fastavro._schema_py import fingerprint, to_parsing_canonical_form
from harness import container, signals
from harness.fleet import Fleet

DATUMS = signals.samples(100)
CANONICAL = to_parsing_canonical_form(fastavro.parse_schema(signals.SCHEMA))
FINGERPRINT = bytes.fromhex(fingerprint(CANONICAL, "CRC-64-AVRO"))


def test_016_single_object(seed, flotilla):
    prefix = b"\xc3\x01" + FINGERPRINT
    foreign = b"\xc3\x01" + bytes(8)
    sent = [prefix + datum for datum in DATUMS]
    bad = [foreign + DATUMS[0], DATUMS[0], b"\xc3", prefix, prefix[:5]]
    with Fleet({"engine": {"schema": signals.SCHEMA, "encoding": "single-object", "full": True,
                           "decimated": {"to": True, "factor": 10}}}) as fleet:
        full = fleet.sink(fleet.address("engine", "full"))
        few = fleet.sink(fleet.address("engine", "decimated"))
        fleet.source("engine", sent[:50] + bad + [b"".join(sent[50:])], rate=2000).finish()
        channel = fleet.settle({"engine": 56})["engine"]
        assert channel["datums_recorded"] == 100
        assert channel["rejected"] == {"fingerprint": 1, "framing": 3, "truncated": 1}
        assert full.stop() == sent[:50] + [b"".join(sent[50:])]
        assert few.stop() == sent[9::10]
        flotilla("send", "engine", "--rate", "0", "--count", "7", "-c", fleet.file, check=0)
        channel = fleet.settle({"engine": 63})["engine"]
        assert channel["datums_recorded"] == 107
        fleet.stop()
        payload, count = container.payload(fleet.files("engine"))
        assert count == 107 and payload.startswith(b"".join(DATUMS))


def test_016_confluent(seed, flotilla):
    prefix = b"\0" + struct.pack(">I", 4711)
    sent = [prefix + datum for datum in DATUMS]
    bad = [b"\0" + struct.pack(">I", 1147) + DATUMS[0], b"\1" + sent[0][1:], b"\0\0"]
    with Fleet({"engine": {"schema": signals.SCHEMA, "encoding": "confluent", "schema_id": 4711,
                           "full": True, "decimated": {"to": True, "factor": 20,
                                                       "algorithm": "average"}}}) as fleet:
        full = fleet.sink(fleet.address("engine", "full"))
        few = fleet.sink(fleet.address("engine", "decimated"))
        fleet.source("engine", sent + bad, rate=2000).finish()
        channel = fleet.settle({"engine": 103})["engine"]
        assert channel["datums_recorded"] == 100
        assert channel["rejected"] == {"schema_id": 1, "framing": 2}
        assert full.stop() == sent
        decimated = few.stop()
        assert len(decimated) == 5
        for number, one in enumerate(decimated):
            assert one.startswith(prefix)
            value = fastavro.schemaless_reader(io.BytesIO(one[5:]), signals.SCHEMA)
            assert value["counter"] == round(sum(range(20 * number, 20 * number + 20)) / 20 + 1e-9)
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(DATUMS), 100)


def test_016_opaque(rng, flotilla):
    """Any bytes at all: empty ones, the largest there are, and what looks like something else."""
    sent = [rng.randbytes(rng.choice((0, 1, 7, 48, 1400, 8448))) for _ in range(300)]
    sent += [b"", rng.randbytes(65507), b"\xc3\x01" + bytes(8), rng.randbytes(65507), b"Obj\x01"]
    with Fleet({"lidar": {"schema": None, "encoding": "opaque", "full": True,
                          "decimated": {"to": True, "factor": 50}}}) as fleet:
        full = fleet.sink(fleet.address("lidar", "full"))
        few = fleet.sink(fleet.address("lidar", "decimated"))
        fleet.source("lidar", sent, rate=1000).finish()
        channel = fleet.settle({"lidar": 305})["lidar"]
        assert channel["datums_recorded"] == 305 and channel["rejected"] == {}
        assert full.stop() == sent and few.stop() == sent[49::50]
        fleet.stop()
        (path,) = fleet.files("lidar")
        with open(path, "rb") as file:
            records = list(fastavro.reader(file))
        assert [record["payload"] for record in records] == sent
        assert all(record["source"].rpartition(":")[2].isdigit() for record in records)
        times = [record["received"] for record in records]
        assert times == sorted(times)

        # And the recording sent again, by hand: the same payloads in the same order.
        fleet.start()
        full = fleet.sink(fleet.address("lidar", "full"))
        flotilla("send", "lidar", "--from", path, "--rate", "1000", "-c", fleet.file, check=0)
        fleet.settle({"lidar": 305})
        assert full.stop() == sent


def test_016_listen_strips_what_stands_before_a_datum(seed, flotilla):
    import subprocess

    from harness.fleet import FLOTILLA, wait_until
    with Fleet({"engine": {"schema": signals.SCHEMA, "encoding": "single-object", "full": True},
                "raw": {"schema": None, "encoding": "opaque", "full": True}}) as fleet:
        heard = {}
        for name in ("engine", "raw"):
            child = subprocess.Popen([str(FLOTILLA), "listen", name, "--json", "--count", "3",
                                      "--timeout", "20s", "-c", str(fleet.file)],
                                     stdout=subprocess.PIPE, text=True)
            fleet._children.append(child)
            heard[name] = child

        def sending():
            for name in heard:
                flotilla("send", name, "--rate", "0", "--count", "3", "-c", fleet.file, check=0)
            return all(child.poll() is not None for child in heard.values())
        wait_until(sending, what="both listeners to hear three", pause=0.1)
        lines = {name: [json.loads(line) for line in child.stdout] for name, child in heard.items()}
        assert [set(line) for line in lines["engine"]] == [
            {field["name"] for field in signals.SCHEMA["fields"]}] * 3
        assert [set(line) for line in lines["raw"]] == [{"received", "source", "payload"}] * 3
