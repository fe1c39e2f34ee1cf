# SPDX-License-Identifier: MIT
"""101-manage-export: recordings as files by REST: each format holds exactly the rows of the span,
as readers that are not ours read them; an export ends with its client, two run at once, one that is
cut short shows. Pins and the doctor's findings, as the command has them."""
import concurrent.futures
import csv
import http.client
import io
import json
import os
import signal
import socket

import asammdf
import fastavro
import h5py
import pytest
from harness import signals
from harness.disks import Disk, why_not
from harness.fleet import flotilla, new_folder, wait_until
from harness.gateway import GATEWAY, GatewayFleet
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

pytestmark = [pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd"),
              pytest.mark.xdist_group("101")]
ROWS, MANY = 20_000, 200_000
# What the samples say of themselves (signals.sample): years before they come in.
BEGAN_US, STEP_US = 1_700_000_000_000_000, 100
EXPORTER = "flotilla-export"


def moment(number):
    """When sample `number` says it was, in seconds since 1970."""
    return f"{(BEGAN_US + STEP_US * number) / 1e6:.6f}"


@pytest.fixture(scope="module")
def fleet():
    keys = {"schema": signals.SCHEMA, "time": "time", "sequence": "counter"}
    with GatewayFleet({"engine": keys, "gps": {"schema": signals.SCHEMA}, "big": keys,
                       "nothing": keys}, storage={"rotate": {"size": "256KiB"}}) as made:
        sources = [made.source(name, signals.samples(count), rate=100_000)
                   for name, count in (("engine", ROWS), ("gps", 100), ("big", MANY))]
        for source in sources:
            source.finish()
        made.settle({"engine": ROWS, "gps": 100, "big": MANY})
        assert len(made.files("engine")) > 1
        yield made


def get(fleet, **query):
    return fleet.ask("/api/v1/export?" + "&".join(f"{key}={value}" for key, value in query.items()))


def from_csv(body):
    return [(int(row["counter"]), float(row["x"])) for row in csv.DictReader(
        io.StringIO(body.decode()))]


def from_avro(body):
    return [(row["counter"], row["x"]) for row in fastavro.reader(io.BytesIO(body))]


def from_h5(body):
    with h5py.File(io.BytesIO(body)) as file:
        return list(zip(file["counter"][()].tolist(), file["x"][()].tolist()))


def from_mf4(body):
    with asammdf.MDF(io.BytesIO(body)) as file:
        return list(zip(file.get("counter").samples.tolist(), file.get("x").samples.tolist()))


def from_mcap(body):
    reader = make_reader(io.BytesIO(body), decoder_factories=[DecoderFactory()])
    return [(one.decoded_message.counter, one.decoded_message.x)
            for one in reader.iter_decoded_messages()]


READERS = {"csv": from_csv, "avro": from_avro, "h5": from_h5, "mf4": from_mf4, "mcap": from_mcap}


@pytest.mark.parametrize("kind", READERS)
def test_101_exactly_the_span(fleet, kind):
    """From and to are of the channel's own time, years from when the datums came in."""
    for first, behind in ((0, ROWS), (5000, 12345), (777, 778)):
        got = get(fleet, format=kind, channels="engine", **{"from": moment(first),
                                                            "to": moment(behind)})
        assert got.status == 200, got.body
        rows = READERS[kind](got.body)
        right = rows == [(number, number / 7) for number in range(first, behind)]
        assert right, (len(rows), rows[:1], rows[-1:])  # no difference of long lists
        assert got.headers["Content-Disposition"].endswith(f'.{kind}"')
        assert ("Content-Length" in got.headers) == (kind in ("h5", "mf4"))
    whole = get(fleet, format=kind, channels="engine")
    assert len(READERS[kind](whole.body)) == ROWS
    assert not fleet.processes(EXPORTER)
    assert not [entry for entry in (fleet.folder / "recordings").rglob("*")
                if "scratch" in entry.name or entry.suffix == "." + kind and kind != "avro"]


def test_101_by_arrival(fleet):
    """What has no time of its own goes by arrival, and so does everything where that is asked."""
    assert get(fleet, format="csv", channels="engine", clock="arrival",
               to=moment(ROWS)).status == 404
    rows = get(fleet, format="csv", channels="gps", **{"from": "-1h"})
    assert [row[0] for row in from_csv(rows.body)] == list(range(100))
    late = flotilla("export", fleet.folder / "recordings/gps", "-o", "-", "--format", "csv",
                    "--from", "-1h", text=False, check=0).stdout
    same = late == rows.body
    assert same
    assert get(fleet, format="csv", channels="gps", to="-1h").status == 404


def test_101_as_the_command(fleet, tmp_path):
    """Fewer rows, fewer fields, several channels; and -o x.avro, whose arrival times are those of
    the recordings."""
    folder = fleet.folder / "recordings"
    for query, words in (({"every": "10"}, ["--every=10"]), ({"fields": "x"}, ["--fields=x"]),
                         ({"decimate": "min-max:50"}, ["--decimate=min-max:50"]),
                         ({"fields": "counter,x", "every": "10ms", "channels": "engine,gps",
                           "from": "-1h", "clock": "arrival"},
                          ["--fields=counter,x", "--every=10ms", "--from=-1h", folder / "gps"])):
        got = get(fleet, **{"format": "csv", "channels": "engine", **query})
        wanted = flotilla("export", folder / "engine", *words, "-o", "-", "--format", "csv",
                          text=False, check=0).stdout
        same = got.body == wanted
        assert got.status == 200 and same, query
    flotilla("export", folder / "engine", "-o", tmp_path / "e.avro", check=0)
    flotilla("verify", tmp_path / "e.avro", check=0)
    about = json.loads(flotilla("info", "--json", tmp_path / "e.avro", check=0).stdout)
    assert str(ROWS) in json.dumps(about)
    half = flotilla("cat", "--fields=counter", "--from=-1h", tmp_path / "e.avro", check=0).stdout
    same = half == flotilla("cat", "--fields=counter", "--from=-1h", folder / "engine",
                            check=0).stdout
    assert same and half.count("\n") == ROWS
    by_time = flotilla("export", folder / "engine", "--span-by=time", "--from", moment(10), "--to",
                       moment(20), "-o", "-", "--format=csv", text=False, check=0).stdout
    assert [row[0] for row in from_csv(by_time)] == list(range(10, 20))
    both = get(fleet, format="h5", channels="engine,gps", **{"from": moment(0)})
    with h5py.File(io.BytesIO(both.body)) as file:
        assert len(file["engine/counter"]) == ROWS


@pytest.mark.parametrize("query, status, words", [
    ({"format": "csv"}, 400, "channels"), ({"channels": "engine"}, 400, "format"),
    ({"format": "xls", "channels": "engine"}, 400, "format"),
    ({"format": "csv", "channels": "nobody"}, 404, "nobody"),
    ({"format": "csv", "channels": "engine,"}, 404, "channel"),
    ({"format": "csv", "channels": "../etc"}, 404, "etc"),
    ({"format": "csv", "channels": "nothing"}, 404, "nothing"),
    ({"format": "csv", "channels": "engine", "fields": "cuonter"}, 400, 'did you mean "counter"'),
    ({"format": "avro", "channels": "engine", "fields": "x"}, 400, "no --fields"),
    ({"format": "csv", "channels": "engine,gps"}, 400, "one table"),
    ({"format": "mcap", "channels": "engine", "every": "10ms"}, 400, "--every"),
    ({"format": "csv", "channels": "engine", "every": "x"}, 400, "--every"),
    ({"format": "csv", "channels": "engine", "every": "--help"}, 400, "--every"),
    ({"format": "csv", "channels": "engine", "decimate": "x"}, 400, "--decimate"),
    ({"format": "csv", "channels": "engine", "gzip": "3"}, 400, "--gzip"),
    ({"format": "csv", "channels": "engine", "from": "2", "to": "1"}, 400, "before it begins"),
    ({"format": "csv", "channels": "engine", "to": "now", "until": "1"}, 400, "until"),
])
def test_101_refused(fleet, query, status, words):
    answer = get(fleet, **query)
    assert (answer.status, words in answer.json["detail"]) == (status, True), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Content-Disposition" not in answer.headers


def begin(fleet, **query):
    """An export whose client takes no more than the front of the answer."""
    client = socket.create_connection(("127.0.0.1", fleet.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    words = "&".join(f"{key}={value}" for key, value in query.items())
    client.sendall(f"GET /api/v1/export?{words} HTTP/1.1\r\nHost: 127.0.0.1:{fleet.port}\r\n\r\n"
                   .encode())
    return client


def test_101_two_at_once(fleet):
    """The third is told to come again; an export ends when its client goes, and gives way to
    everything else."""
    query = {"format": "csv", "channels": "big"}
    clients = [begin(fleet, **query) for _ in range(2)]
    try:
        wait_until(lambda: len(fleet.processes(EXPORTER)) == 2)
        for client in clients:
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        for pid in fleet.processes(EXPORTER):
            wait_until(lambda: os.sched_getscheduler(pid) == os.SCHED_IDLE)
        busy = get(fleet, format="csv", channels="engine")
        assert busy.status == 503 and busy.headers["Retry-After"]
        assert fleet.ask("/api/v1/health").status == 200  # nobody else waits
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: not fleet.processes(EXPORTER), what="exports without clients to end")
    assert get(fleet, format="csv", channels="engine").status == 200


def test_101_a_client_that_waits_and_goes(fleet):
    """Before there is anything to send it: of formats that are made as a whole."""
    client = begin(fleet, format="h5", channels="big", gzip="12")
    wait_until(lambda: fleet.processes(EXPORTER))
    (pid,) = fleet.processes(EXPORTER)
    os.kill(pid, signal.SIGSTOP)
    client.close()
    wait_until(lambda: not fleet.processes(EXPORTER), what="its end")


def test_101_cut_short(fleet):
    """One that is killed while it is sent breaks the connection off: no client takes what it has
    for all of it. What is killed before is told."""
    client = http.client.HTTPConnection("127.0.0.1", fleet.port, timeout=60)
    client.request("GET", "/api/v1/export?format=csv&channels=big")
    answer = client.getresponse()
    assert answer.status == 200
    (pid,) = wait_until(lambda: fleet.processes(EXPORTER))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    client.close()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, fleet, format="mf4", channels="big")
        wait_until(lambda: [os.kill(pid, signal.SIGKILL) for pid in fleet.processes(EXPORTER)])
        refused = asked.result()
    assert refused.status in (500, 503), refused.body
    assert fleet.channel("engine")["state"] in ("running", "silent")


def test_101_the_gateway_dies(fleet):
    client = begin(fleet, format="csv", channels="big")
    assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert fleet.processes(EXPORTER)
    os.kill(fleet.service()["pid"], signal.SIGKILL)
    wait_until(lambda: not fleet.processes(EXPORTER), what="its export to end")
    client.close()
    wait_until(fleet.serves)


@pytest.mark.skipif(why_not(throttled=False) is not None, reason=str(why_not(throttled=False)))
def test_101_a_disk_without_room():
    """No temporary file where recordings need the room; what is streamed needs none."""
    folder = new_folder()
    with Disk(folder) as disk:
        with GatewayFleet({"engine": {"schema": signals.SCHEMA}},
                          storage={"directory": str(disk.at / "recordings")}) as fleet:
            fleet.source("engine", signals.samples(100)).finish()
            fleet.settle({"engine": 100})
            full = get(fleet, format="h5", channels="engine")
            assert full.status == 507 and "too little room" in full.json["detail"]
            assert len(from_csv(get(fleet, format="csv", channels="engine").body)) == 100
    folder.joinpath("disk").rmdir()
    folder.rmdir()


def test_101_while_it_is_recorded(fleet):
    """Of a recording that is open, what is synced."""
    fleet.source("gps", signals.samples(50, start=100)).finish()
    fleet.settle({"gps": 150})
    assert len(from_avro(get(fleet, format="avro", channels="gps").body)) == 150


def test_101_files_that_are_not_there(fleet):
    files = fleet.ask("/api/v1/channels/big/files").json["files"]
    assert len(files) > 4 and {one["lost_before"] for one in files} == {0}
    folder = fleet.folder / "recordings/big"
    for one in files[1:3]:
        (folder / one["id"]).rename(folder / (one["id"] + ".away"))
    left = fleet.ask("/api/v1/channels/big/files").json["files"]
    assert [one["lost_before"] for one in left] == [0, 2] + [0] * (len(left) - 2)
    for one in files[1:3]:
        (folder / (one["id"] + ".away")).rename(folder / one["id"])


# ---- pins and the doctor ----

def send(fleet, path, method, body):
    return fleet.ask("/api/v1/" + path, method, json.dumps(body), Content_Type="application/json")


def pins_on_disk(fleet):
    return sorted(path.name for path in (fleet.folder / "recordings").rglob("*.pin"))


def test_101_pins(fleet):
    made = send(fleet, "pins", "POST", {"name": "overspeed", "from": "2026-01-31T12:00:00Z",
                                        "to": "2026-01-31T12:05:00Z", "channels": ["engine"]})
    assert made.status == 201 and made.json["failed"] == [], made.body
    (one,) = made.json["pins"]
    assert (one["channel"], one["pin"]) == ("engine", "overspeed")
    name = "overspeed@20260131T120000.000000Z@20260131T120500.000000Z.pin"
    assert pins_on_disk(fleet) == [name]
    late = send(fleet, "pins", "POST", {"name": "late", "from": "-10min"})
    assert late.status == 201
    assert {one["channel"] for one in late.json["pins"]} == {"engine", "gps", "big", "nothing"}
    listed = fleet.ask("/api/v1/pins").json["pins"]
    assert len(listed) == 5 and listed[-1] == {
        "channel": "engine", "name": "overspeed", "from": "2026-01-31T12:00:00.000000Z",
        "to": "2026-01-31T12:05:00.000000Z"}
    assert [one["name"] for one in fleet.ask("/api/v1/pins?channel=gps").json["pins"]] == ["late"]
    assert "overspeed" in flotilla("info", fleet.folder / "recordings/engine", check=0).stdout
    gone = fleet.ask("/api/v1/pins/late?channel=gps", "DELETE")
    assert gone.json == {"unpinned": ["gps"]}
    assert sorted(fleet.ask("/api/v1/pins/late", "DELETE").json["unpinned"]) == [
        "big", "engine", "nothing"]
    assert fleet.ask("/api/v1/pins/late", "DELETE").status == 404
    assert fleet.ask("/api/v1/pins/overspeed", "DELETE").status == 200
    assert pins_on_disk(fleet) == [] and fleet.ask("/api/v1/pins").json == {"pins": []}


@pytest.mark.parametrize("body, words", [
    ({}, "name"), ([], "JSON object"), ({"name": "x"}, "from"),
    ({"name": "", "from": "-1h"}, "name"),
    ({"name": "../x", "from": "-1h"}, "name"), ({"name": "x", "from": 5}, "text"),
    ({"name": "x", "from": "soon"}, "soon"),
    ({"name": "x", "from": "now", "to": "-1h"}, "ends before"),
    ({"name": "x", "from": "-1h", "till": "now"}, "no such member"),
    ({"name": "x", "from": "-1h", "channels": "engine"}, "channels"),
    ({"name": "x", "from": "-1h", "channels": ["../e"]}, "channels"),
    ({"name": "--help", "from": "-1h"}, "name"), ({"name": "x", "from": "--help"}, "--help"),
])
def test_101_pins_refused(fleet, body, words):
    refused = send(fleet, "pins", "POST", body)
    assert refused.status == 400 and words in refused.json["detail"], refused.body
    assert pins_on_disk(fleet) == []


def test_101_no_pin_of_nobody(fleet):
    refused = send(fleet, "pins", "POST", {"name": "x", "from": "-1h", "channels": ["nobody"]})
    assert refused.status == 409 and "nobody" in refused.json["detail"]
    assert fleet.ask("/api/v1/pins/no%2fname", "DELETE").status in (400, 404)


def test_101_doctor(fleet):
    told = fleet.ask("/api/v1/doctor")
    wanted = json.loads(flotilla("doctor", "--json", "-c", fleet.file).stdout)
    assert told.status == 200 and told.json["running"]
    assert [(one["about"], one["name"], one["check"], one["level"])
            for one in told.json["findings"]] == \
        [(one["about"], one["name"], one["check"], one["level"]) for one in wanted["findings"]]


def test_101_doctor_of_a_broken_configuration():
    with GatewayFleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        text = fleet.file.read_text()
        fleet.file.write_text(text + "nonsense: 1\n")
        told = fleet.ask("/api/v1/doctor")
        assert told.status == 409 and "nonsense" in told.json["detail"]
        fleet.file.write_text(text)

