# SPDX-License-Identifier: MIT
"""044-check-shown: what `flotilla check` shows of a configuration that is right: its values, where
they come from, the table, and what it warns of."""
import json
import os
import socket
import time
from pathlib import Path

import pytest
from harness.checking import INCLUDE, SCHEMA, channel, check

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_found(flotilla, tmp_path):
    if Path("/etc/flotilla/fleet.yaml").exists():
        pytest.skip("/etc/flotilla/fleet.yaml is there")
    done = flotilla("check", cwd=tmp_path)
    assert done.returncode == 78
    assert done.stderr == ("/etc/flotilla/fleet.yaml: No such file or directory\n"
                           "No ./fleet.yaml either; say where it is with -c FILE.\n")


def test_include(check):
    done = check(INCLUDE, "--json", files={
        "channels.d/2.yaml": "channels:\n" + channel("c", 3).replace("s.avsc", "../s.avsc"),
        "channels.d/1.yaml": "channels:\n" + channel("b", 2).replace("s.avsc", "x/s.avsc"),
        "channels.d/x/s.avsc": SCHEMA, "channels.d/3.yml": "not read"})
    assert (done.returncode, done.stderr) == (0, "")
    assert [one["name"] for one in json.loads(done.stdout)["channels"]] == ["a", "b", "c"]


FULL = """\
runtime: "r u n"
storage:
  directory: /var/data
  direct_io: required
  sync: 250ms
  rotate: {size: 1.5GiB, age: 0}
  retain: {age: 7d, size: 100GiB, free: 2.5%}
defaults:
  interface: lo
  sources: [10.0.0.0/24, 127.0.0.1]
  time: time
  decimated: {factor: 50, algorithm: min-max}
channels:
  first:
    listen: 239.10.0.1:26000
    schema: s.avsc
    sequence: counter
    full: "[ff15::1]:6000"
    decimated: {to: 239.12.0.1:6001, algorithm: rms}
    ttl: 0
    record: false
    on_invalid: drop
    buffer: 3MiB
    receive_queue: 212992B
    offload: off
    latency: on
  second.one-2_3:
    listen: "[ff15::7]:26000"
    interface: lo
    sources: "fd00::/8"
    schema: ./s.avsc
"""


PRINTED = """\
runtime: "{folder}/r u n"
storage:
  directory: /var/data
  direct_io: required
  sync: 250ms
  rotate:
    size: 1.5GiB
    age: 0
  retain:
    age: 7d
    size: 100GiB
    free: 2.5%
channels:
  first:
    listen: 239.10.0.1:26000
    interface: lo
    sources: [10.0.0.0/24, 127.0.0.1]
    schema: {folder}/s.avsc
    encoding: datum
    time: time
    sequence: counter
    full: "[ff15::1]:6000"
    decimated:
      to: 239.12.0.1:6001
      factor: 50
      algorithm: rms
    ttl: 0
    record: false
    on_invalid: drop
    buffer: 3MiB
    receive_queue: 208KiB
    offload: off
    latency: on
  second.one-2_3:
    listen: "[ff15::7]:26000"
    interface: lo
    sources: ["fd00::/8"]
    schema: {folder}/s.avsc
    encoding: datum
    time: time
    ttl: 1
    record: true
    on_invalid: quarantine
    buffer: 64MiB
    receive_queue: 8MiB
    offload: auto
    latency: off
"""


def test_print(check, tmp_path):
    """Every value resolved, and the same again when it is read back from elsewhere."""
    done = check(FULL, "--print")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == PRINTED.replace("{folder}", str(tmp_path.resolve()))
    again = check(FULL, "--print", "-c", "elsewhere/printed.yaml",
                  files={"elsewhere/printed.yaml": done.stdout})
    assert (again.returncode, again.stderr, again.stdout) == (0, "", done.stdout)


def test_print_the_limits(check):
    text = ("runtime: run\ngateway: {listen: 127.0.0.1:8080, token_file: token, "
            "allowed_hosts: [a, b]}\nchannels:\n"
            + channel("a", 1, "limits: {memory: 256MiB, cpu: 12.5%}") + channel("b", 2))
    done = check(text, "--print")
    assert done.returncode == 0
    assert "gateway:\n  listen: 127.0.0.1:8080\n  token_file: " in done.stdout
    assert "  allowed_hosts: [a, b]\n" in done.stdout and "origins" not in done.stdout
    assert done.stdout.count("limits:\n      memory: 256MiB\n      cpu: 12.5%\n") == 1
    again = check(done.stdout, "--print")
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_print_odd_paths(check, tmp_path):
    """Letters that YAML would take for its own come back as they were."""
    odd = "a: b #c \"d\" \\e {f} é"
    text = f"runtime: '{odd}'\nchannels:\n" + channel("a", 1).replace("s.avsc", f"'{odd}/s.avsc'")
    done = check(text, "--print", files={f"{odd}/s.avsc": SCHEMA})
    assert (done.returncode, done.stderr) == (0, "")
    again = check(done.stdout, "--print")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    machine = json.loads(check(done.stdout, "--json").stdout)
    assert machine["runtime"] == f"{tmp_path.resolve()}/{odd}"
    assert machine["channels"][0]["schema"] == f"{tmp_path.resolve()}/{odd}/s.avsc"


def test_defaults_are_inherited(check):
    done = check(FULL, "--json")
    first, second = json.loads(done.stdout)["channels"]
    assert first["decimated"] == {"to": "239.12.0.1:6001", "factor": 50, "algorithm": "rms"}
    assert second["decimated"] is None and second["full"] is None
    assert (first["directory"], second["directory"]) == ("", "/var/data/second.one-2_3")
    assert (first["record"], second["record"]) == (False, True)
    assert first["leaves"] == 3  # time, counter, value


def test_table(check):
    """The outage budget: 2,305 bytes are charged for a datagram of 1,400 bytes, 100 Mbit/s of them
    come one every 112 us, and the kernel grants what it grants."""
    def budget(asked):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.setsockopt(socket.SOL_SOCKET, 33, asked)  # SO_RCVBUFFORCE
            except PermissionError:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked)
            granted = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        return str(round(granted / 2305 * 1400 * 8 / 100e6 * 1000))
    done = check("runtime: run\nchannels:\n" + channel("engine", 1, "full: 239.11.0.1:6000")
                 + channel("slow", 2, "receive_queue: 1MiB",
                           "decimated: {to: 239.12.0.1:6001, factor: 7, algorithm: average}"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()[:3]]
    assert lines[0] == ["CHANNEL", "INPUT", "FULL", "DECIMATED", "NUMBERS", "BUDGET"]
    assert lines[1] == ["engine", "239.10.0.1:1", "239.11.0.1:6000", "-", "3",
                        budget(8 << 20), "ms"]
    assert lines[2] == ["slow", "239.10.0.1:2", "-", "239.12.0.1:6001", "average/7", "3",
                        budget(1 << 20), "ms"]


def test_runtime_of_a_user(check, tmp_path):
    text = "channels:\n" + channel("a", 1)
    bare = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    if os.geteuid() == 0:
        done = check(text, "--json", env=bare)
        assert json.loads(done.stdout)["runtime"] == "/run/flotilla"
        return
    done = check(text, env=bare)
    assert done.returncode == 78
    assert done.stderr == ("fleet.yaml: runtime is not said, and without it $XDG_RUNTIME_DIR is "
                           "needed, which is not set: set one of them\n")
    done = check(text, "--json", env={**bare, "XDG_RUNTIME_DIR": str(tmp_path)})
    assert json.loads(done.stdout)["runtime"] == f"{tmp_path}/flotilla"


def test_groups_on_two_interfaces(check):
    """One group on two interfaces is two places; here there is one interface for sure, so the other
    is named and missing, and that is all that is said."""
    done = check("runtime: run\nchannels:\n" + channel("a", 1, "interface: lo")
                 + channel("b", 1, "interface: nosuch0"))
    assert done.stderr.count("^") == 1
    assert 'there is no interface "nosuch0"' in done.stderr


def test_examples(flotilla):
    done = flotilla("check", "-c", ROOT / "examples/fleet.yaml", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    channels = json.loads(done.stdout)["channels"]
    assert [one["name"] for one in channels] == ["imu", "engine", "position", "housekeeping"]
    assert {one["interface"] for one in channels} == {"lo"}


def test_keys(flotilla):
    """The list of keys names every key that --print can print."""
    done = flotilla("check", "--keys")
    assert done.returncode == 0
    known = {line.split(":")[0] for line in done.stdout.splitlines() if not line.startswith(" ")}
    for key in ("runtime", "include", "storage.rotate.size", "storage.retain.free",
                "gateway.listen", "channels.NAME.listen", "channels.NAME.decimated.algorithm",
                "channels.NAME.limits.cpu", "channels.NAME.receive_queue"):
        assert key in known
    assert "channels.NAME.ttl: N\n    hops that what is sent may make (default 1)\n" in done.stdout


def test_many_channels(check):
    """A thousand channels are checked against each other in less than anybody minds."""
    text = "runtime: run\nchannels:\n" + "".join(
        channel(f"c{i}", i + 1, f"full: 239.11.0.1:{i + 1}") for i in range(1000))
    start = time.monotonic()
    done = check(text, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["channels"]) == 1000
    assert time.monotonic() - start < 10
