# SPDX-License-Identifier: MIT
"""029-systemd: the units are sound and tight; a booted systemd (harness/machine.py) runs the fleet
with a manager and without, and whatever is killed, hung, restarted or reloaded under load, no
datagram is lost and none is recorded twice. What arrived is counted from the recordings, by a
reader of their own."""
import collections
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest
from harness import container, signals
from harness.builds import make
from harness.fleet import (LONG, RELAY, ROOT, SINK, SOURCE, Addresses, new_folder, read_datagrams,
                           to_yaml, wait_until, write_datagrams)
from harness.machine import Machine, why_not

EXPOSURE_MAX = 2.0
RELAY_KILLS = 200 if LONG else 24
MANAGER_KILLS = 40 if LONG else 4
RATE = 10_000 if LONG else 5_000
# A channel's name and a folder that need care in a unit file.
NAME = "a-b.service_1"
FOLDER = "50% of $HOME and \\it's \"q\""


def say(*words, check=True, **kw):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=60, **kw)
    assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
    return done


@pytest.fixture
def addresses():
    return Addresses()


@pytest.fixture(scope="module")
def booted():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Machine() as machine:
        yield machine


@pytest.fixture
def machine(booted):
    yield booted
    print(f"--- journal\n{booted.journal(lines=200)}")
    booted.clear()


in_the_machine = pytest.mark.xdist_group("machine")  # one is booted for all of them


def write_fleet(path, channels, directory="recordings", **storage):
    """A fleet.yaml on the loopback interface; the channels' schema beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "sample.avsc").write_text(json.dumps(signals.SCHEMA))
    every = {name: {"schema": "sample.avsc", "interface": "lo", "sequence": "counter", **keys}
             for name, keys in channels.items()}
    path.write_text(to_yaml({"storage": {"directory": directory, "sync": "100ms", **storage},
                             "channels": every}) + "\n")
    return path


def channel(number, **keys):
    return {"listen": f"239.192.29.{number}:2900{number}",
            "full": f"239.192.30.{number}:2910{number}", **keys}


class Load:
    """A sender in the machine's network to a channel, and a listener to what it sends on."""

    # Without being told, what leaves by a lone loopback interface comes from 0.0.0.0.
    ports = itertools.count(40000)

    def __init__(self, machine, folder, keys, pool, rate=RATE):
        self.folder, self.pool = Path(folder), pool
        self.folder.mkdir(parents=True, exist_ok=True)
        write_datagrams(self.folder / "pool", pool)
        self.sink = self._start(machine, SINK, "--listen", keys["full"], "--file",
                                self.folder / "heard", "--interface", "lo")
        assert self.sink.stdout.readline() == "ready\n"
        self.source = self._start(machine, SOURCE, "--to", keys["listen"], "--file",
                                  self.folder / "pool", "--rate", rate, "--interface", "lo",
                                  "--from", f"127.0.0.1:{next(self.ports)}")

    @staticmethod
    def _start(machine, *words):
        return subprocess.Popen(machine.words(*words, only_network=True), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @staticmethod
    def _stop(child):
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        return json.loads(out)

    def stop(self, recordings):
        """Ends it and waits until as much as was sent is in the recordings (a folder), or no more
        comes. How many were sent, are missing there, are there twice, and came twice live."""
        sent = self._stop(self.source)["sent"]
        wanted, last, since = self.pool[:sent], -1, time.monotonic()
        while last < sent and time.monotonic() < since + 15:
            now = sum(container.count(path) for path in sorted(recordings.glob("*.avro*")))
            last, since = now, since if now == last else time.monotonic()
            time.sleep(0.5)
        payload, count = container.payload(sorted(recordings.glob("*.avro*"), key=str))
        assert self._stop(self.sink)["dropped"] == 0, "the test's own listener was too slow"
        heard = collections.Counter(read_datagrams(self.folder / "heard"))
        assert set(heard) <= set(wanted)
        if payload != b"".join(wanted):  # not each once, in order
            size = len(wanted[0])
            found = collections.Counter(payload[at:at + size]
                                        for at in range(0, len(payload), size))
            lost = sum(one not in found for one in wanted)
            return sent, lost, count - (sent - lost), sum(heard.values()) - len(heard)
        return sent, 0, 0, sum(heard.values()) - len(heard)

    def end(self):
        for child in (self.source, self.sink):
            if child.poll() is None:
                child.kill()
            child.communicate()


class Table:
    """What was done to a fleet, and what it cost."""

    def __init__(self):
        self.rows = []

    def add(self, fault, times, sent, lost, twice, live, waits):
        waits = sorted(waits)
        spread = "".join(f"{1000 * waits[min(len(waits) - 1, int(len(waits) * part))]:8.0f} ms"
                         for part in (0.5, 0.99)) if waits else f"{'-':>11}" * 2
        self.rows.append(f"{fault:<42}{times:>6}{sent:>10}{lost:>6}{twice:>8}{live:>12}{spread}")

    def print(self):
        print(f"{'fault':<42}{'times':>6}{'sent':>10}{'lost':>6}{'twice':>8}{'live twice':>12}"
              f"{'p50':>11}{'p99':>11}")
        print("\n".join(self.rows))


def until_another(machine, unit, pid, seconds=30):
    """Waits until the unit is active with another main process; how long that took."""
    begin = time.monotonic()

    def another():
        main, state = machine.show(unit, "MainPID", "ActiveState")
        return int(main) not in (0, pid) and state == "active"
    wait_until(another, seconds=seconds, what=f"{unit} to be started again")
    return time.monotonic() - begin


# The units as files ------------------------------------------------------------------------------

@pytest.fixture
def installed(tmp_path):
    """The units as installed, with the programs where they say."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    make("install", f"PREFIX={tmp_path}/prefix")
    fleet = write_fleet(tmp_path / "fleet.yaml", {
        NAME: channel(1, limits={"memory": "256MiB", "cpu": "50%"}),
        "link": channel(2, listen="[ff12::29]:29002"), "plain": {"listen": "127.0.0.1:29003"}},
        directory=tmp_path / FOLDER)
    (tmp_path / FOLDER).mkdir()
    units = tmp_path / "prefix/lib/systemd/system"
    say(tmp_path / "prefix/bin/flotilla", "units", "-c", fleet, "-o", units)
    return units


def test_029_units_are_verified(installed):
    names = ["flotilla.service", f"flotilla-overview@{NAME}.service"]
    names += [f"flotilla-relay@{name}.{kind}" for name in (NAME, "link", "plain")
              for kind in ("service", "socket")]
    said = say("systemd-analyze", "verify", "--man=no", *names, check=False,
               env={**os.environ, "SYSTEMD_UNIT_PATH": f"{installed}:"})
    ours = [line for line in said.stderr.splitlines() if "flotilla" in line]
    assert said.returncode == 0 and not ours, said.stderr
    broken = (installed / "flotilla.service").read_text().replace("Type=notify", "Type=notyfi")
    (installed / "flotilla.service").write_text(broken)
    said = say("systemd-analyze", "verify", "--man=no", "flotilla.service", check=False,
               env={**os.environ, "SYSTEMD_UNIT_PATH": f"{installed}:"})
    assert "notyfi" in said.stderr, "it does look at these files"


def test_029_units_are_tight(installed):
    for name in ("flotilla.service", "flotilla-relay@.service",
                 "flotilla-overview@.service"):
        said = say("systemd-analyze", "security", "--offline=true", installed / name).stdout
        exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said).group(1))
        print(f"{name}: {exposure}")
        assert exposure <= EXPOSURE_MAX, said


# The verb ----------------------------------------------------------------------------------------

def test_029_units_verb_only_touches_its_own(tmp_path, flotilla):
    fleet = write_fleet(tmp_path / "fleet.yaml", {"one": channel(1), "two": channel(2)})
    out = tmp_path / "units"
    shown = flotilla("units", "-c", fleet, check=0).stdout
    assert "# /etc/systemd/system/flotilla-relay@one.socket.d/flotilla.conf" in shown
    assert "ListenDatagram=239.192.29.1:29001" in shown and not out.exists()
    assert flotilla("units", "-c", fleet, "-o", out).returncode == 1, "no such folder"
    out.mkdir()
    first = flotilla("units", "-c", fleet, "-o", out, check=0).stdout
    assert first.count("made ") == 6 and "enable --now" in first
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode & 0o777)
             for path in out.rglob("*") if path.is_file()}
    assert len(files) == 6 and all(mode == 0o644 for _, _, mode in files.values())
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in out.iterdir())

    assert "nothing has changed" in flotilla("units", "-c", fleet, "-o", out, check=0).stdout
    assert all((path.read_bytes(), path.stat().st_mtime_ns) == known[:2]
               for path, known in files.items())

    # Changed, gone and new; what others have put there stays.
    other = out / "flotilla-relay@three.service.d"
    other.mkdir()
    (other / "flotilla.conf").write_text("[Service]\nNice=5\n")
    (out / "flotilla-relay@two.socket.d/mine.conf").write_text("[Socket]\nPriority=6\n")
    write_fleet(fleet, {"one": channel(1, listen="239.192.29.7:29007"), "four": channel(4)})
    said = flotilla("units", "-c", fleet, "-o", out, check=0).stdout
    assert re.search(r"systemctl disable --now \\\n +flotilla-relay@two\.socket", said)
    assert re.search(r"systemctl stop \\\n +flotilla-relay@one\.socket", said)
    assert sorted(path.name for path in out.iterdir()) == [
        "flotilla-relay@four.service.d", "flotilla-relay@four.socket.d",
        "flotilla-relay@one.service.d", "flotilla-relay@one.socket.d",
        "flotilla-relay@three.service.d", "flotilla-relay@two.socket.d"]
    assert (other / "flotilla.conf").read_text() == "[Service]\nNice=5\n"
    assert [path.name for path in (out / "flotilla-relay@two.socket.d").iterdir()] == ["mine.conf"]

    # Only the relay changes: its socket goes on.
    write_fleet(fleet, {"one": channel(1, listen="239.192.29.7:29007", ttl=3), "four": channel(4)})
    said = flotilla("units", "-c", fleet, "-o", out, check=0).stdout
    assert "systemctl restart \\\n    flotilla-relay@one.service\n" in said
    assert "systemctl stop" not in said and "enable" not in said

    # A drop-in of that name that somebody else has made is not overwritten.
    write_fleet(fleet, {"three": channel(3)})
    refused = flotilla("units", "-c", fleet, "-o", out)
    assert refused.returncode == 1 and "was not made by this command" in refused.stderr
    assert (other / "flotilla.conf").read_text() == "[Service]\nNice=5\n"
    # Another fleet's are not this one's to remove.
    elsewhere = write_fleet(tmp_path / "other/fleet.yaml", {"five": channel(5)})
    flotilla("units", "-c", elsewhere, "-o", out, check=0)
    assert (out / "flotilla-relay@one.service.d/flotilla.conf").exists()


# A test in systemd's place ------------------------------------------------------------------------

class Supervisor:
    """What systemd does for a relay, as sd_listen_fds(3) and sd_notify(3) have it: holds a socket
    that is only bound, keeps what is given into keeping, and hands both down."""

    def __init__(self, folder, listen):
        self.told, self.kept, self.pid = [], {}, None
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.settimeout(20)
        family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self.receive = socket.socket(family, socket.SOCK_DGRAM)
        self.receive.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.receive.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        self.receive.bind(listen)
        self.kept["receive"] = self.receive.fileno()

    def start(self, words, **environment):
        names = list(self.kept)
        actions = [(os.POSIX_SPAWN_DUP2, self.kept[name], 200 + at)
                   for at, name in enumerate(names)]
        actions += [(os.POSIX_SPAWN_DUP2, 200 + at, 3 + at) for at in range(len(names))]
        actions += [(os.POSIX_SPAWN_CLOSE, 200 + at) for at in range(len(names))]
        self.pid = os.posix_spawn("/bin/sh", ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh",
                                              *map(str, words)],
                                  {"NOTIFY_SOCKET": self.notify.getsockname(),
                                   "LISTEN_FDS": str(len(names)),
                                   "LISTEN_FDNAMES": ":".join(names), **environment},
                                  file_actions=actions)

    def hear(self, wanted):
        """Reads what the relay tells until a line of it is `wanted`."""
        while True:
            data, extra, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(4))
            lines = data.decode().split("\n")
            self.told += lines
            if "FDSTORE=1" in lines:
                ((_, _, raw),) = extra
                (name,) = [line[7:] for line in lines if line.startswith("FDNAME=")]
                assert name not in self.kept
                self.kept[name] = struct.unpack("i", raw)[0]
            if wanted in lines:
                return

    def end(self, number):
        os.kill(self.pid, number)
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def close(self):
        if self.pid is not None:
            self.end(signal.SIGKILL)
        if "memory" in self.kept:
            os.close(self.kept["memory"])
        self.receive.close()
        self.notify.close()


@pytest.mark.parametrize("joined", ["nobody", "somebody-else"] + LONG * ["everybody"])
def test_029_the_same_by_the_words_alone(tmp_path, rng, flotilla, addresses, needs_root, joined):
    group, port = addresses.group().split(":")
    (tmp_path / "sample.avsc").write_text(json.dumps(signals.SCHEMA))
    flotilla("schema", tmp_path / "sample.avsc", "-o", tmp_path / "sample.layout", check=0)
    folder = new_folder()
    sender = addresses.unicast()
    words = [RELAY, "--name=engine", f"--layout={tmp_path}/sample.layout", "--interface=lo",
             f"--listen={group}:{port}", f"--directory={folder}/engine", "--sync=50ms",
             "--source=127.0.0.1"]
    pool = signals.samples(300_000 if LONG else 40_000)
    write_datagrams(folder / "pool", pool)
    systemd = Supervisor(tmp_path, (group, int(port)))
    loopback = struct.pack("=4sII", socket.inet_aton(group), 0, socket.if_nametoindex("lo"))
    if joined == "everybody":
        systemd.receive.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, loopback)
    elif joined == "somebody-else":  # struct ip_mreq_source; IP_ADD_SOURCE_MEMBERSHIP
        systemd.receive.setsockopt(socket.IPPROTO_IP, 39, b"".join(
            socket.inet_aton(one) for one in (group, "127.0.0.1", "127.0.0.9")))
    source = None
    try:
        systemd.start(words)
        systemd.hear("READY=1")
        assert list(systemd.kept) == ["receive", "memory"]

        def filters():  # what is read of the file is not of one moment where others join and leave
            lines = Path("/proc/net/mcfilter").read_text().splitlines()
            return [line.split()[3:] for line in lines
                    if f"0x{socket.inet_aton(group).hex()}" in line]
        wait_until(lambda: filters() == [["0x7f000001", "1", "0"]], seconds=10,
                   what="127.0.0.1 included, and nobody else")
        source = subprocess.Popen([str(word) for word in (
            SOURCE, "--to", f"{group}:{port}", "--file", folder / "pool", "--rate", 20_000,
            "--interface", "lo", "--from", sender)], stdout=subprocess.PIPE, text=True)
        kills = 0
        while source.poll() is None:
            time.sleep(rng.uniform(0.002, 0.08))
            assert systemd.end(signal.SIGKILL) == -signal.SIGKILL
            systemd.start(words)
            systemd.hear("READY=1")
            kills += 1
        assert json.loads(source.communicate()[0])["sent"] == len(pool)
        assert systemd.end(signal.SIGTERM) == 0
        systemd.hear("STOPPING=1")
        payload, count = container.payload(sorted((folder / "engine").glob("*.avro*")))
        print(f"{kills} kills of the relay, {len(pool) - count} of {len(pool)} lost")
        assert payload == b"".join(pool), "each once, in order"
        assert "WATCHDOG=1" not in systemd.told, "nobody had asked for it"
        systemd.start(words, WATCHDOG_USEC="200000")
        begin = time.monotonic()
        for _ in range(5):
            systemd.hear("WATCHDOG=1")
        assert 0.3 < time.monotonic() - begin < 2, "every 100 ms while nothing arrives"
        assert systemd.end(signal.SIGTERM) == 0
    finally:
        if source is not None:
            source.kill()
            source.wait()
        systemd.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("more", [["--interface=lo"], ["--interface=lo", "--source=::1"], []],
                         ids=["interface", "sender", "route"])
def test_029_ipv6_is_joined_once(tmp_path, flotilla, addresses, needs_root, more):
    group, port = addresses.group6()[1:].split("]:")
    (tmp_path / "sample.avsc").write_text(json.dumps(signals.SCHEMA))
    flotilla("schema", tmp_path / "sample.avsc", "-o", tmp_path / "sample.layout", check=0)
    systemd = Supervisor(tmp_path, (group, int(port)))
    try:
        for _ in range(3):
            systemd.start([RELAY, "--name=engine", f"--layout={tmp_path}/sample.layout",
                           f"--listen=[{group}]:{port}", *more])
            systemd.hear("READY=1")
            wanted = socket.inet_pton(socket.AF_INET6, group).hex()

            def rows(name):
                lines = Path("/proc/net", name).read_text().splitlines()
                return [line.split() for line in lines if wanted in line.replace("0x", "")]
            wait_until(lambda: [row[3] for row in rows("igmp6")] == ["1"], seconds=10,
                       what="one member")
            wait_until(lambda: len(rows("mcfilter6")) == ("--source=::1" in more), seconds=10,
                       what="one filter, or none")
            assert systemd.end(signal.SIGKILL) == -signal.SIGKILL
    finally:
        systemd.close()


def test_029_a_socket_of_another_address_is_refused(tmp_path, flotilla, addresses, needs_root):
    (tmp_path / "sample.avsc").write_text(json.dumps(signals.SCHEMA))
    flotilla("schema", tmp_path / "sample.avsc", "-o", tmp_path / "sample.layout", check=0)
    systemd = Supervisor(tmp_path, ("127.0.0.1", addresses.port()))
    try:
        begin = time.monotonic()
        systemd.start([RELAY, "--name=engine", f"--layout={tmp_path}/sample.layout",
                       f"--listen={addresses.unicast()}"])
        systemd.hear("STATUS=Cannot start: see the log")
        _, status = os.waitpid(systemd.pid, 0)
        systemd.pid = None
        assert os.waitstatus_to_exitcode(status) == 1 and time.monotonic() - begin > 0.9
        assert list(systemd.kept) == ["receive"]
    finally:
        systemd.close()


# Under systemd, with no manager ------------------------------------------------------------------

def prepare_relays(machine, channels):
    """Has systemd run the relays of a fleet; their recordings as seen from here."""
    fleet = write_fleet(machine.root / "etc/flotilla/fleet.yaml", channels,
                        directory=f"/var/lib/flotilla/{FOLDER}", rotate={"size": "1MiB"})
    machine.run("flotilla", "units", "-o", "/etc/systemd/system", "-c", "/etc/flotilla/fleet.yaml")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now",
                *[f"flotilla-relay@{name}.{kind}" for name in channels
                  for kind in ("socket", "service")])
    assert fleet.exists()
    return {name: machine.root / "var/lib/flotilla" / FOLDER / name for name in channels}


@in_the_machine
def test_029_relays_without_a_manager(machine, rng):
    channels = {NAME: channel(1), "one-sender": channel(2, sources=["127.0.0.1"]),
                "unicast": {"listen": "127.0.0.1:29003", "full": "239.192.30.3:29103"}}
    folders = prepare_relays(machine, channels)
    unit = f"flotilla-relay@{NAME}.service"
    table, pools = Table(), {name: signals.samples(RATE * (60 if LONG else 12))
                             for name in channels}
    words = (machine.process(machine.main_pid(unit)) / "cmdline").read_bytes()
    assert f"--directory=/var/lib/flotilla/{FOLDER}/{NAME}".encode() in words.split(b"\0")
    assert machine.show(unit, "NFileDescriptorStore", "StatusText") == ["1", "Receiving"]
    loads = {name: Load(machine, machine.root / "loads" / name, channels[name], pools[name])
             for name in channels}
    try:
        waits = collections.defaultdict(list)
        for _ in range(RELAY_KILLS):
            name = rng.choice(list(channels))
            relay = f"flotilla-relay@{name}.service"
            pid = machine.main_pid(relay)
            if pid:
                machine.kill("KILL", pid)
                waits[name].append(until_another(machine, relay, pid))
            time.sleep(rng.uniform(0, 0.02))
        for name in channels:
            machine.run("systemctl", "restart", f"flotilla-relay@{name}.service")
        for name, load in loads.items():
            sent, lost, twice, live = load.stop(folders[name])
            table.add(f"relay killed ({name})", len(waits[name]), sent, lost, twice, live,
                      waits[name])
            assert (lost, twice) == (0, 0) and live <= 32 * (len(waits[name]) + 1)
    finally:
        table.print()
        for load in loads.values():
            load.end()
    machine.run("systemctl", "stop", *[f"flotilla-relay@{name}.{kind}" for name in channels
                                       for kind in ("service", "socket")])
    for name in channels:
        assert not list(folders[name].glob("*.part")), "stopped cleanly"
        said = machine.journal(f"flotilla-relay@{name}.service", lines=400)
        assert re.search(r"stopped: \d+ datagrams received, 0 rejected, 0 dropped", said), said
        assert machine.show(f"flotilla-relay@{name}.service", "Result")[0] == "success"


@in_the_machine
def test_029_a_relay_that_hangs_and_one_that_cannot_begin(machine):
    folders = prepare_relays(machine, {"engine": channel(1)})
    unit = "flotilla-relay@engine.service"
    drop_in = machine.root / "etc/systemd/system" / f"{unit}.d/quick.conf"
    drop_in.write_text("[Service]\nWatchdogSec=1s\nTimeoutAbortSec=200ms\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", unit)
    pid = machine.main_pid(unit)
    time.sleep(2)
    assert machine.main_pid(unit) == pid, "an idle relay gives signs of life"
    table, load = Table(), Load(machine, machine.root / "load", channel(1),
                                signals.samples(100_000), rate=2_000)
    try:
        machine.kill("STOP", pid)
        wait = until_another(machine, unit, pid)
        sent, lost, twice, live = load.stop(folders["engine"])
        table.add("relay suspended, watchdog of 1 s", 1, sent, lost, twice, live, [wait])
        assert (lost, twice) == (0, 0) and "watchdog" in machine.journal(unit).lower()
    finally:
        table.print()
        load.end()

    # Its schema is gone: that is final, until somebody has mended it.
    layout = machine.root / "etc/systemd/system" / f"{unit}.d/flotilla.layout"
    layout.rename(layout.with_suffix(".away"))
    machine.run("systemctl", "restart", unit, check=False)
    assert machine.show(unit, "ActiveState", "ExecMainStatus") == ["failed", "78"]
    layout.with_suffix(".away").rename(layout)
    # Its interface is missing: it is tried again, not a thousand times a second, until it is there.
    drop_in.write_text("[Service]\nExecStart=\n" + re.sub(
        "interface=lo", "interface=absent", (drop_in.parent / "flotilla.conf").read_text()
        .partition("ExecStart=\n")[2]))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "--no-block", unit)
    time.sleep(2.5)
    tries = machine.journal(unit, lines=2000).count("cannot listen")
    assert 1 <= tries <= 4, machine.journal(unit)
    machine.run("ip", "link", "add", "absent", "type", "veth", "peer", "other")
    machine.run("ip", "link", "set", "absent", "up")
    wait_until(lambda: machine.show(unit, "ActiveState")[0] == "active", what="it to begin")
    machine.run("ip", "link", "delete", "absent")
    state = machine.show("flotilla-relay@engine.socket", "ActiveState")[0]
    assert state == "active", "the socket has outlived it"


# Under systemd, with the manager -----------------------------------------------------------------

MANAGER = "flotilla.service"


def prepare_manager(machine, channels, **service):
    write_fleet(machine.root / "etc/flotilla/fleet.yaml", channels,
                directory="/var/lib/flotilla/recordings")
    if service:
        folder = machine.root / f"etc/systemd/system/{MANAGER}.d"
        folder.mkdir()
        (folder / "test.conf").write_text("[Service]\n" + "".join(
            f"{key}={value}\n" for key, value in service.items()))
        machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", MANAGER)
    return {name: machine.root / "var/lib/flotilla/recordings" / name for name in channels}


@in_the_machine
def test_029_the_manager_tells_how_it_is(machine):
    prepare_manager(machine, {"engine": channel(1), "gears": channel(2)})
    text = lambda: machine.show(MANAGER, "StatusText")[0]  # noqa: E731
    wait_until(lambda: text().startswith("2 channels: "), what="STATUS")
    assert machine.run("flotilla", "status", "--json").stdout.startswith("{"), "root finds it"
    pid = machine.main_pid(MANAGER)
    (uid,) = {machine.process(one).stat().st_uid
              for one in machine.run("pgrep", "flotilla").stdout.split()}
    assert uid != 0
    # Longer than this machine grants to whoever has no capability.
    assert "rb16777216," in machine.run("ss", "-ulnm", "sport = :29001").stdout
    # A reload is waited for; one that is refused fails, and nothing has changed.
    fleet = machine.root / "etc/flotilla/fleet.yaml"
    good = fleet.read_text()
    write_fleet(fleet, {"engine": channel(1)}, directory="/var/lib/flotilla/recordings")
    machine.run("systemctl", "reload", MANAGER)
    wait_until(lambda: text().startswith("1 channel:"), what="STATUS after the reload")
    fleet.write_text("channels: {engine: {listen: nowhere}}\n")
    assert machine.run("systemctl", "reload", MANAGER, check=False).returncode != 0
    assert machine.show(MANAGER, "ActiveState", "MainPID") == ["active", str(pid)]
    fleet.write_text(good)
    machine.run("kill", "-HUP", str(pid))
    wait_until(lambda: text().startswith("2 channels:"), what="STATUS after SIGHUP")
    # A channel in trouble is named.
    load = Load(machine, machine.root / "load", channel(2), [b"\xff" * 3] * 40, rate=1000)
    try:
        wait_until(lambda: "1 failing (gears: schema_mismatch)" in text(), what="STATUS of trouble")
    finally:
        load.end()
    machine.run("systemctl", "stop", MANAGER)
    assert machine.run("pgrep", "flotilla", check=False).stdout == ""
    assert machine.show(MANAGER, "Result", "ActiveState") == ["success", "inactive"]


@pytest.mark.skipif(not LONG, reason="boots a virtual machine: make test-long")
def test_029_in_a_virtual_machine():
    done = subprocess.run([ROOT / "tests/systemd/vm", ROOT / "tests/systemd/check_manager"],
                          capture_output=True, text=True, timeout=900)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    print(done.stdout)
    assert done.returncode == 0 and "datums 4000" in done.stdout, done.stdout + done.stderr


@in_the_machine
def test_029_an_address_changes_and_all_die(machine):
    """What systemd keeps of the channel from then on is the new address's socket."""
    folder = prepare_manager(machine, {"engine": channel(1)})["engine"]
    kept = machine.show(MANAGER, "NFileDescriptorStore")
    write_fleet(machine.root / "etc/flotilla/fleet.yaml", {"engine": channel(2)},
                directory="/var/lib/flotilla/recordings")
    machine.run("systemctl", "reload", MANAGER)
    wait_until(lambda: machine.show(MANAGER, "NFileDescriptorStore") == kept, what="as many")
    load = Load(machine, machine.root / "load", channel(2), signals.samples(20_000), rate=RATE)
    try:
        time.sleep(0.3)
        machine.run("pkill", "-KILL", "flotilla", check=False)
        wait_until(lambda: machine.show(MANAGER, "ActiveState")[0] == "active", what="the manager")
        time.sleep(0.3)
        sent, lost, twice, _ = load.stop(folder)
        assert sent > 0 and (lost, twice) == (0, 0)
    finally:
        load.end()
    assert machine.show(MANAGER, "NFileDescriptorStore") == kept


@in_the_machine
def test_029_restart_of_all_and_all_die(machine):
    """For the moment in which the manager becomes its program anew a keeper has what systemd keeps,
    too; then that has it all as before."""
    folder = prepare_manager(machine, {"engine": channel(1)})["engine"]
    kept, pid = machine.show(MANAGER, "NFileDescriptorStore"), machine.main_pid(MANAGER)
    load = Load(machine, machine.root / "load", channel(1), signals.samples(60_000), rate=RATE)
    try:
        for _ in range(2):
            machine.run("flotilla", "restart", "--all")
        wait_until(lambda: not machine.run("pgrep", "-x", "flotilla-keeper", check=False).stdout,
                   what="the keeper's end")
        assert machine.main_pid(MANAGER) == pid
        assert machine.show(MANAGER, "NFileDescriptorStore") == kept
        machine.run("pkill", "-KILL", "flotilla", check=False)
        wait_until(lambda: machine.show(MANAGER, "ActiveState")[0] == "active", what="the manager")
        time.sleep(0.3)
        sent, lost, twice, _ = load.stop(folder)
        assert sent > 0 and (lost, twice) == (0, 0)
    finally:
        load.end()
    assert machine.show(MANAGER, "NFileDescriptorStore") == kept


@in_the_machine
def test_029_a_manager_that_hangs_is_replaced(machine):
    prepare_manager(machine, {"engine": channel(1)}, WatchdogSec="1s", TimeoutAbortSec="200ms")
    pid = machine.main_pid(MANAGER)
    time.sleep(3)
    assert machine.main_pid(MANAGER) == pid, "an idle manager gives signs of life"
    machine.kill("STOP", pid)
    print(f"replaced in {until_another(machine, MANAGER, pid):.2f} s (watchdog of 1 s)")
    assert "watchdog" in machine.journal(MANAGER).lower()


@in_the_machine
def test_029_the_manager_and_its_relays_under_faults(machine, rng):
    channels = {"engine": channel(1), "ge.ars": channel(2)}
    folders = prepare_manager(machine, channels, WatchdogSec="2s", TimeoutAbortSec="200ms")
    kept = int(machine.show(MANAGER, "NFileDescriptorStore")[0])
    assert kept == 2 * len(channels), "socket and memory of each channel"
    table = Table()

    def under_load(fault, times, step):
        begun = [sum(container.count(path) for path in folder.glob("*.avro*"))
                 for folder in folders.values()]
        shutil.rmtree(machine.root / "loads", ignore_errors=True)
        machine.run("flotilla", "status")
        loads = {name: Load(machine, machine.root / "loads" / name, channels[name],
                            signals.samples(200_000), rate=RATE) for name in channels}
        try:
            time.sleep(0.2)
            waits = [wait for wait in (step() for _ in range(times)) if wait is not None]
            for name, load in loads.items():
                assert begun[list(channels).index(name)] == 0
                sent, lost, twice, live = load.stop(folders[name])
                table.add(f"{fault} ({name})", times, sent, lost, twice, live, waits)
                assert (lost, twice) == (0, 0)
        finally:
            for load in loads.values():
                load.end()
        # The next load is counted by itself.
        machine.run("systemctl", "stop", MANAGER)
        for folder in folders.values():
            shutil.rmtree(folder)
        machine.run("systemctl", "start", MANAGER)

    def relay_killed():
        pids = machine.run("pgrep", "-x", "flotilla-relay", check=False).stdout.split()
        if pids:
            machine.kill("KILL", rng.choice(pids))
        time.sleep(rng.uniform(0.02, 0.1))

    def manager_killed(number="KILL"):
        pid = machine.main_pid(MANAGER)
        machine.kill(number, pid)
        return until_another(machine, MANAGER, pid)

    def both_killed():
        machine.run("pkill", "-KILL", "flotilla", check=False)
        time.sleep(0.5)
        wait_until(lambda: machine.show(MANAGER, "ActiveState")[0] == "active", what="the manager")

    try:
        under_load("relay killed", RELAY_KILLS, relay_killed)
        under_load("manager killed", MANAGER_KILLS, manager_killed)
        under_load("manager suspended, watchdog of 2 s", 1, lambda: manager_killed("STOP"))
        under_load("manager and relays killed at once", MANAGER_KILLS, both_killed)
        under_load("systemctl restart", 2, lambda: machine.run("systemctl", "restart", MANAGER)
                   and None)
        under_load("systemctl reload", 2, lambda: machine.run("systemctl", "reload", MANAGER)
                   and None)
    finally:
        table.print()
    assert machine.show(MANAGER, "NFileDescriptorStore")[0] == str(kept), "as many as before"
