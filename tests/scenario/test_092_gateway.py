# SPDX-License-Identifier: MIT
"""092-gateway: what REST and metrics tell is what the command tells and what fastavro reads; a
schema is judged, a channel restarted; the served document lists what there is and every answer
fits it; a killed gateway comes back, and the fleet notices nothing."""
import io
import json
import os
import signal
import subprocess
import sys

import fastavro
import pytest
from harness import signals
from harness.fleet import LONG, ROOT, flotilla, wait_until
from harness.gateway import GATEWAY, GatewayFleet
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_families)
from prometheus_client.parser import text_string_to_metric_families as families

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
CHANNELS = {"engine": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter",
                       "full": True, "decimated": {"to": True, "factor": 50,
                                                   "algorithm": "min-max"}},
            "idle": {"schema": signals.SCHEMA}}


@pytest.fixture(scope="module")
def fleet():
    with GatewayFleet(CHANNELS) as made:
        made.source("engine", signals.samples(3000), rate=20_000).finish()
        made.settle({"engine": 3000})
        yield made


def test_092_channels(fleet):
    told = fleet.ask("/api/v1/channels").json["channels"]
    wanted = fleet.status()["channels"]
    for one, other in zip(told, wanted):
        assert {key: value for key, value in one.items() if key not in ("rate", "file")} == \
            {key: value for key, value in other.items() if key not in ("rate", "file")}
    assert fleet.ask("/api/v1/channels?status=failed").json == {"channels": []}
    states = {one["state"] for one in wanted}
    for state in states:
        assert [one["name"] for one in fleet.ask(f"/api/v1/channels?status={state}").json[
            "channels"]] == [one["name"] for one in wanted if one["state"] == state]
    one = fleet.ask("/api/v1/channels/engine").json
    assert one["datums_recorded"] == 3000
    configuration = one["configuration"]
    assert configuration["listen"] == fleet.address("engine")
    assert configuration["decimated"] == {"to": fleet.address("engine", "decimated"), "factor": 50,
                                          "algorithm": "min-max"}
    assert configuration["record"] is True and configuration["ttl"] == 1
    idle = fleet.ask("/api/v1/channels/idle").json["configuration"]
    assert "decimated" not in idle and "full" not in idle
    missing = fleet.ask("/api/v1/channels/nobody")
    assert missing.status == 404
    assert missing.headers["Content-Type"] == "application/problem+json"
    assert missing.json["detail"] == 'no channel is called "nobody"'
    health = fleet.ask("/api/v1/health")
    assert (health.status, health.json["status"], health.json["channels"]) == (200, "ok", 2)


def test_092_schema(fleet):
    text = (fleet.folder / "schemas/engine.avsc").read_bytes()
    assert fleet.ask("/api/v1/channels/engine/schema").body == text

    def judge(body):
        return fleet.ask("/api/v1/channels/engine/validate-schema", "POST", body,
                         Content_Type="application/json")
    same = judge(text).json
    assert same["valid"] and same["same"] and same["errors"] == []
    other = json.loads(text)
    other["fields"] = [field for field in other["fields"] if field["name"] != "counter"]
    lacks = judge(json.dumps(other)).json
    assert not lacks["valid"] and not lacks["same"]
    assert "counter" in lacks["errors"][0]["message"] and "difference" in lacks
    broken = judge(b'{"type": "recrd"}').json
    assert not broken["valid"] and broken["errors"][0]["line"] == 1
    assert judge(b"").json["valid"] is False
    assert judge(b"\xff\x00{").json["valid"] is False


def test_092_files(fleet):
    files = fleet.ask("/api/v1/channels/engine/files").json["files"]
    assert len(files) == 1 and files[0]["open"] and files[0]["lost_before"] == 0
    whole = fleet.ask("/api/v1/files/" + files[0]["id"])
    assert whole.status == 200 and len(whole.body) == files[0]["bytes"]
    got = [one["counter"] for one in fastavro.reader(io.BytesIO(whole.body))]
    assert got == list(range(3000))
    assert whole.headers["ETag"].startswith('W/"')  # it grows
    path = "/api/v1/files/" + files[0]["id"]
    for span, begin, end in (("0-3", 0, 4), ("10-", 10, None), ("-7", -7, None),
                             ("5-99999999", 5, None)):
        part = fleet.ask(path, Range=f"bytes={span}")
        assert (part.status, part.body) == (206, whole.body[begin:end]), span
    beyond = fleet.ask(path, Range="bytes=99999999-")
    assert beyond.status == 416 and beyond.headers["Content-Range"] == f"bytes */{len(whole.body)}"
    assert fleet.ask(path, Range="bytes=0-1,4-5").body == whole.body  # of several: all
    assert fleet.ask(path, If_None_Match=whole.headers["ETag"]).status == 304
    assert fleet.ask(path, "HEAD").headers["Content-Length"] == str(len(whole.body))
    for odd in ("fleet.yaml", "..%2ffleet.yaml", "%2e%2e", "engine-..-1.avro",
                files[0]["id"] + ".part", files[0]["id"].replace("engine", "nobody")):
        assert fleet.ask("/api/v1/files/" + odd).status in (400, 404), odd
    assert fleet.ask("/api/v1/channels/engine/files?to=2001-01-01T00:00:00Z").json["files"] == []
    assert fleet.ask("/api/v1/channels/engine/files?from=-1h&limit=1").json["files"] == files
    assert fleet.ask("/api/v1/channels/engine/files?after=" + files[0]["id"]).json["files"] == []


def test_092_samples(fleet):
    """As cat prints them, single datums and points."""
    folder = fleet.folder / "recordings/engine"
    rows = [json.loads(line) for line in flotilla("cat", folder, check=0).stdout.splitlines()]
    exact = fleet.ask("/api/v1/channels/engine/samples?points=4000").json
    assert exact["exact"] and [row["value"] for row in exact["rows"]] == rows
    assert {row["kind"] for row in exact["rows"]} == {"datum"}
    wanted = [json.loads(line) for line in
              flotilla("cat", "--points", 10, folder, check=0).stdout.splitlines()]
    few = fleet.ask("/api/v1/channels/engine/samples?points=10").json
    points = len(few["rows"]) // 2  # one in which nothing came has none
    assert not few["exact"] and 5 <= points <= 10
    assert [row["kind"] for row in few["rows"]] == ["min", "max"] * points
    assert max(row["value"]["y"] for row in few["rows"]) == max(row["y"] for row in wanted) == \
        max(row["y"] for row in rows)
    table = fleet.ask("/api/v1/channels/engine/samples?points=4000&fields=counter,x",
                      Accept="text/csv").body.decode().split("\r\n")
    assert table[0] == "at,kind,counter,x" and len(table) == 3002
    assert [int(line.split(",")[2]) for line in table[1:-1]] == list(range(3000))
    wrong = fleet.ask("/api/v1/channels/engine/samples?fields=cuonter")
    assert wrong.status == 400 and 'did you mean "counter"' in wrong.json["detail"]
    assert fleet.ask("/api/v1/channels/engine/samples?from=2026-01-02T00:00:00Z&to="
                     "2026-01-01T00:00:00Z").status == 400
    assert fleet.ask("/api/v1/channels/nobody/samples").status == 404


def test_092_ports(fleet):
    port = int(fleet.address("engine").rsplit(":", 1)[1])
    taken = fleet.ask(f"/api/v1/ports/{port}/status").json
    assert not taken["available"]
    assert taken["channels"] == [{"name": "engine", "as": "listen",
                                  "address": fleet.address("engine")}]
    low, high = max(port - 3, 1), min(port + 3, 65535)
    free = fleet.ask(f"/api/v1/ports/available?start={low}&end={high}").json["available"]
    assert port not in free
    assert fleet.ask("/api/v1/ports/0/status").status == 404
    assert fleet.ask("/api/v1/ports/available?start=1").status == 400
    assert fleet.ask("/api/v1/ports/available?start=5&end=4").status == 400


def test_092_restart(fleet):
    before = fleet.channel("idle")["pid"]
    assert fleet.ask("/api/v1/channels/idle/restart").status == 405  # nothing changes by GET
    assert fleet.channel("idle")["pid"] == before
    done = fleet.ask("/api/v1/channels/idle/restart", "POST")
    assert (done.status, done.json) == (200, {"restarted": "idle"})
    wait_until(lambda: fleet.channel("idle")["pid"] not in (before, None))
    assert fleet.ask("/api/v1/channels/nobody/restart", "POST").status == 404


def test_092_metrics(fleet):
    wanted = fleet.channel("engine")
    for accept, read in (("text/plain", families),
                         ("application/openmetrics-text; version=1.0.0", open_metrics_families)):
        page = fleet.ask("/metrics", Accept=accept)
        assert page.headers["Content-Type"].startswith(accept.split(";")[0])
        samples = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
                   for family in read(page.body.decode()) for sample in family.samples}
        engine = ("channel", "engine")
        for name in ("datagrams_received", "datums_recorded", "sequence_gaps", "bytes_recorded"):
            assert samples[(f"flotilla_{name}_total", (engine,))] == wanted[name]
        assert samples[("flotilla_relay_restarts_total", (engine,))] == wanted["restarts"]
        states = {key[1][1][1]: value for key, value in samples.items()
                  if key[0] == "flotilla_channel_state" and key[1][0] == engine}
        assert len(states) == 8 and sum(states.values()) == 1 and states[wanted["state"]] == 1
        assert samples[("flotilla_up", ())] == 1
        assert samples[("flotilla_storage_free_bytes", ())] > 0
        assert any(key[0] == "flotilla_build_info" for key in samples)


def test_092_rules_are_of_metrics_that_exist(fleet):
    """The alerts of the examples ask for what is there."""
    import re

    import yaml
    rules = yaml.safe_load((ROOT / "examples/prometheus/alerts.yaml").read_text())
    page = fleet.ask("/metrics").body.decode()
    there = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    asked = set()
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert {"alert", "expr", "annotations"} <= set(rule)
            asked |= set(re.findall(r"flotilla_\w+", rule["expr"]))
    assert asked and asked <= there, asked - there


def test_092_the_document(fleet, tmp_path):
    """schemathesis asks all that the document lists, and judges the answers by it."""
    document = fleet.ask("/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for path in document["paths"]:
        filled = path.replace("{name}", "engine").replace("{port}", "26000")
        filled = filled.replace("{id}", fleet.ask("/api/v1/channels/engine/files").json[
            "files"][0]["id"])
        if "get" in document["paths"][path]:
            query = {"available": "?start=26000&end=26001",
                     "export": "?format=csv&channels=engine"}.get(path.rpartition("/")[2], "")
            assert fleet.ask(filled + query).status == 200, path
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run",
         f"http://127.0.0.1:{fleet.port}/api/v1/openapi.json", "--max-examples",
         "200" if LONG else "8", "--seed", "1", "--phases",
         "examples,coverage,fuzzing" if LONG else "coverage", "--checks",
         "not_a_server_error,status_code_conformance,content_type_conformance,"
         "response_schema_conformance,unsupported_method", "--exclude-path-regex", "restart$"],
        capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_092_killed():
    """It comes back, and recording goes on; asked to end, nothing is left."""
    with GatewayFleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        source = fleet.source("engine", signals.samples(4000), rate=4000)
        relay = fleet.channel("engine")["pid"]
        first = fleet.service()["pid"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: fleet.service()["pid"] not in (None, first) and fleet.serves())
        source.finish()
        fleet.settle({"engine": 4000})
        assert fleet.channel("engine")["pid"] == relay
        assert fleet.channel("engine")["datums_recorded"] == 4000
        assert fleet.ask("/api/v1/channels/engine").json["datums_recorded"] == 4000
        last = fleet.service()["pid"]
    assert not os.path.exists(f"/proc/{last}")


def test_092_without_a_manager():
    """Recordings are there still; what only a manager knows is said to be missing."""
    with GatewayFleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(10)).finish()
        fleet.settle({"engine": 10})
        flotilla("stop", "-c", fleet.file, check=0)
        fleet.manager.wait(60)
        with subprocess.Popen([str(GATEWAY), "-c", str(fleet.file)], stderr=subprocess.PIPE,
                              text=True) as alone:
            try:
                wait_until(fleet.serves)
                health = fleet.ask("/api/v1/health")
                assert (health.status, health.json["status"]) == (503, "down")
                assert "no manager" in health.json["detail"]
                assert fleet.ask("/api/v1/channels").status == 503
                assert b"flotilla_up 0\n" in fleet.ask("/metrics").body
                listed = fleet.ask("/api/v1/channels/engine/files").json["files"]
                done = fleet.ask("/api/v1/files/" + listed[0]["id"])
                assert len(list(fastavro.reader(io.BytesIO(done.body)))) == 10
                tag = done.headers["ETag"]
                assert tag.startswith('"')
                part = fleet.ask("/api/v1/files/" + listed[0]["id"], Range="bytes=0-3",
                                 If_Range=tag)
                assert (part.status, part.body) == (206, b"Obj\x01")
                other = fleet.ask("/api/v1/files/" + listed[0]["id"], Range="bytes=0-3",
                                  If_Range='"other"')
                assert (other.status, other.body) == (200, done.body)
            finally:
                alone.terminate()
                assert alone.wait(60) == 0
        fleet.start()
