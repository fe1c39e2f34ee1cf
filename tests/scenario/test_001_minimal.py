# SPDX-License-Identifier: MIT
"""001-minimal: one channel is received, re-sent, recorded, stopped; the file is Avro."""
import json
import re
import signal

import fastavro
from harness import container, signals
from harness.fleet import Fleet, wait_until


def test_001_minimal(seed):
    datums = signals.samples(500)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True, "time": "time",
                           "sequence": "counter",
                           "decimated": {"to": True, "factor": 10, "algorithm": "downsample"}}},
               ) as fleet:
        full = fleet.sink(fleet.address("engine", "full"))
        few = fleet.sink(fleet.address("engine", "decimated"))
        fleet.source("engine", datums, rate=2000).finish()
        channel = fleet.settle({"engine": 500})["engine"]
        assert channel["state"] == "running"
        assert channel["datagrams_accepted"] == channel["datums_recorded"] == 500
        assert channel["datagrams_sent_full"] == 500
        assert channel["datums_sent_decimated"] == 50
        assert channel["sequence_gaps"] == channel["send_errors"] == channel["restarts"] == 0
        assert channel["bytes_received"] == sum(map(len, datums))
        (part,) = fleet.files("engine")
        assert str(part) == channel["file"] and part.name.endswith(".avro.part")
        assert channel["bytes_recorded"] == part.stat().st_size
        assert full.stop() == datums
        assert few.stop() == datums[9::10]
        fleet.stop()

        (path,) = fleet.files("engine")
        assert re.fullmatch(r"engine-\d{8}T\d{6}\.\d{6}Z-000001\.avro", path.name), path.name
        assert container.payload([path]) == (b"".join(datums), 500)
        metadata, _ = container.read(path)
        schema = (fleet.folder / "schemas/engine.avsc").read_bytes()
        assert metadata["avro.schema"] == schema, "the user's schema, verbatim"
        assert metadata["avro.codec"] == b"deflate"
        assert metadata["flotilla.channel"] == b"engine"
        assert {"flotilla.host", "flotilla.started", "flotilla.version"} <= metadata.keys()
        with open(path, "rb") as file:
            counters = [record["counter"] for record in fastavro.reader(file)]
        assert counters == list(range(500))


def test_001_status_shows_what_the_interface_promises(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        status = fleet.status()
        assert status["manager"]["pid"] == fleet.manager.pid
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status["manager"]["started"])
        assert status["manager"]["version"]
        (channel,) = status["channels"]
        for key in ("datagrams_received", "datagrams_accepted", "datagrams_rejected",
                    "datagrams_dropped", "datagrams_sent_full", "datums_sent_decimated",
                    "send_errors", "datums_accepted", "datums_recorded", "datums_unrecorded",
                    "sequence_gaps", "bytes_received", "bytes_recorded", "buffer_bytes",
                    "restarts", "pid"):
            assert isinstance(channel[key], int), key
        assert isinstance(channel["direct_io"], bool) and isinstance(channel["file"], str)
        assert channel["pid"] in fleet.relay_processes()


def test_001_silent_after_a_while(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(1)).finish()
        fleet.settle({"engine": 1})
        assert fleet.channel("engine")["state"] == "running"
        wait_until(lambda: fleet.channel("engine")["state"] == "silent", pause=0.2)
        fleet.source("engine", signals.samples(1, start=1)).finish()
        fleet.settle({"engine": 2})
        assert fleet.channel("engine")["state"] == "running"


def test_001_restarted_manager_continues_with_new_files(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        for number in range(3):
            if number:
                fleet.start()
            fleet.source("engine", signals.samples(20, start=20 * number)).finish()
            fleet.settle({"engine": 20})
            fleet.stop()
            assert len(fleet.files("engine")) == number + 1
        assert container.payload(fleet.files("engine"))[0] == b"".join(signals.samples(60))
        numbers = [path.stem.rpartition("-")[2] for path in fleet.files("engine")]
        assert numbers == ["000001", "000002", "000003"]


def test_001_interrupt_is_a_clean_stop_too(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(10)).finish()
        fleet.settle({"engine": 10})
        fleet.manager.send_signal(signal.SIGINT)
        assert fleet.manager.wait(60) == 0, fleet.log()
        fleet.manager = None
        assert container.payload(fleet.files("engine"))[1] == 10
        assert not fleet.relay_processes()


def test_001_stop_and_json(seed, flotilla):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        listed = json.loads(flotilla("status", "--json", "-c", fleet.file, check=0).stdout)
        assert [channel["name"] for channel in listed["channels"]] == ["engine"]
        flotilla("stop", "-c", fleet.file, check=0)
        assert fleet.manager.wait(60) == 0
        fleet.manager = None
        assert flotilla("status", "-c", fleet.file).returncode == 1
