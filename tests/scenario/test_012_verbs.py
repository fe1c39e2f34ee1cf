# SPDX-License-Identifier: MIT
"""012-verbs: send, listen, cat, schema, and one channel by hand, each as a user types it."""
import json
import signal
import subprocess

import fastavro
import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, RELAY, Fleet, wait_until

VERBS = ("run", "check", "status", "reload", "stop", "restart", "send", "listen", "cat", "schema")
ENGINE = {"type": "record", "name": "Engine", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "counter", "type": "long"}, {"name": "rpm", "type": "double"},
    {"name": "oil", "type": ["null", "float"]}, {"name": "note", "type": "string"}]}
CHANNEL = {"schema": ENGINE, "full": True, "time": "time", "sequence": "counter",
           "decimated": {"to": True, "factor": 5, "algorithm": "average"}}


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_012_send_listen_cat_agree(seed, flotilla):
    with Fleet({"engine": CHANNEL}) as fleet:
        full = fleet.listening("engine", "--full", "--json", "--count", "200")
        few = fleet.listening("engine", "--decimated", "--json", "--count", "40")
        sent = json.loads(flotilla("send", "engine", "--rate", "1000", "--count", "200", "--json",
                                   "-c", fleet.file, check=0).stdout)
        assert sent["datums_sent"] == 200 and sent["errors"] == 0
        assert 0.15 < sent["seconds"] < 5
        heard = lines(full.communicate(timeout=20)[0])
        decimated = lines(few.communicate(timeout=20)[0])
        assert full.returncode == few.returncode == 0
        fleet.settle({"engine": 200})
        (part,) = fleet.files("engine")
        assert lines(flotilla("cat", part, check=0).stdout) == heard, "the open file"
        fleet.stop()
        (path,) = fleet.files("engine")
        assert lines(flotilla("cat", path, check=0).stdout) == heard, "the finished file"
        assert [one["counter"] for one in heard] == list(range(200))
        assert [one["counter"] for one in decimated] == list(range(4, 200, 5))
        with open(path, "rb") as file:  # and the same in somebody else's words
            for ours, theirs in zip(heard, fastavro.reader(file), strict=True):
                assert (ours["rpm"], ours["oil"], ours["note"]) == \
                    (theirs["rpm"], theirs["oil"], theirs["note"])
        schema = json.loads(flotilla("cat", "--schema", path, check=0).stdout)
        assert schema == ENGINE


def test_012_send_from_a_recording(seed, flotilla):
    with Fleet({"engine": CHANNEL, "other": {"schema": signals.SCHEMA}}) as fleet:
        flotilla("send", "engine", "--rate", "0", "--count", "50", "-c", fleet.file, check=0)
        fleet.settle({"engine": 50})
        (part,) = fleet.files("engine")
        flotilla("send", "engine", "--rate", "2000", "--from", part, "--count", "50",
                 "-c", fleet.file, check=0)
        fleet.settle({"engine": 100})
        payload, count = container.payload(fleet.files("engine"))
        assert count == 100 and payload[:len(payload) // 2] == payload[len(payload) // 2:]
        refused = flotilla("send", "other", "--from", part, "-c", fleet.file)
        assert refused.returncode == 1 and "schema" in refused.stderr
        assert fleet.channel("other")["datagrams_received"] == 0


def test_012_several_datums_a_datagram(seed, flotilla):
    with Fleet({"engine": CHANNEL}) as fleet:
        flotilla("send", "engine", "--rate", "5000", "--count", "100", "--batch", "10",
                 "-c", fleet.file, check=0)
        channel = fleet.settle({"engine": 10})["engine"]
        assert channel["datagrams_received"] == 10 and channel["datums_recorded"] == 100
        assert channel["datums_sent_decimated"] == 20 and channel["sequence_gaps"] == 0


def test_012_cat_tells_where_a_file_is_damaged(seed, flotilla):
    with Fleet({"engine": CHANNEL}) as fleet:
        flotilla("send", "engine", "--rate", "0", "--count", "20", "-c", fleet.file, check=0)
        fleet.settle({"engine": 20})
        fleet.stop()
        (path,) = fleet.files("engine")
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        cut = flotilla("cat", path)
        assert cut.returncode == 1
        assert cut.stderr.startswith(f"{path}: offset ") or f"{path}: offset " in cut.stderr
        nothing = flotilla("cat", fleet.folder / "missing.avro")
        assert nothing.returncode == 1 and "missing.avro" in nothing.stderr


def test_012_one_channel_by_hand(seed, flotilla, tmp_path):
    """flotilla schema, then the relay with flags: no manager, no YAML."""
    schema = tmp_path / "engine.avsc"
    schema.write_text(json.dumps(ENGINE))
    layout = tmp_path / "engine.layout"
    shown = flotilla("schema", schema, "-o", layout, "--time", "time", "--sequence", "counter",
                     check=0).stdout
    assert "rpm" in shown and layout.stat().st_size > schema.stat().st_size
    with Fleet({}, run=False) as fleet:
        listen = fleet.addresses.group()
        relay = subprocess.Popen([str(RELAY), "--name=engine", f"--layout={layout}",
                                  f"--listen={listen}", "--interface=lo", "--sync=100ms",
                                  f"--directory={tmp_path}/recordings/engine"],
                                 stderr=subprocess.PIPE, text=True)
        fleet._children.append(relay)
        folder = tmp_path / "recordings/engine"
        wait_until(lambda: (folder / ".lock").exists(), what="the relay to start")
        flotilla("send", "--to", listen, "--interface", "lo", "--schema", schema, "--rate", "1000",
                 "--count", "100", "--time", "time", "--sequence", "counter", check=0)
        wait_until(lambda: sum(map(container.count, folder.glob("*.part"))) == 100, what="records")

        # A second one on the same folder is refused, and harms nothing.
        second = subprocess.run([str(RELAY), "--name=engine", f"--layout={layout}",
                                 f"--listen={fleet.addresses.group()}", "--interface=lo",
                                 f"--directory={folder}"], capture_output=True, text=True,
                                timeout=20)
        assert second.returncode == 75 and "another relay records in" in second.stderr
        relay.send_signal(signal.SIGTERM)
        _, said = relay.communicate(timeout=20)
        assert relay.returncode == 0
        assert "100 datagrams received, 0 rejected, 0 dropped by the kernel; 100 datums recorded" \
            in said
        (path,) = folder.glob("*.avro")
        assert container.count(path) == 100


@pytest.mark.parametrize("arguments, said", [
    (["--listen=1.2.3.4"], "listen"),
    (["--name=engine", "--listen=127.0.0.1:9", "--layout=/nonexistent/x.layout"], "x.layout"),
    (["--nmae=engine"], "name"),
    (["--factor=0"], "factor"),
])
def test_012_wrong_flags_of_the_relay_are_named(arguments, said):
    done = subprocess.run([str(RELAY), *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode in (2, 78) and said in done.stderr, done


def test_012_help_of_every_verb(flotilla):
    top = flotilla("--help", check=0).stdout
    for verb in VERBS:
        assert f"\n  {verb}" in top, verb
        text = flotilla(verb, "--help", check=0).stdout
        assert f"flotilla {verb}" in text and len(text.splitlines()) >= 5, verb
        wrong = flotilla(verb, "--no-such-option")
        assert wrong.returncode == 2 and "--no-such-option" in wrong.stderr, verb
    assert flotilla("no-such-verb").returncode == 2
    assert flotilla("--version", check=0).stdout.startswith("flotilla ")
