# SPDX-License-Identifier: MIT
"""013-takeover: a relay killed at random under load loses nothing and records nothing twice; the
manager killed and started again goes on; nobody ever runs two relays on a channel."""
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy
import pytest
from harness import container, signals
from harness.fleet import (FLOTILLA, LONG, ROOT, Fleet, copied_sockets, copy_programs,
                           half_recorded, put_in_the_way, wait_until)
from harness.pinger import Pinger

BUILD = ROOT / "build"
KILLS = 1000 if LONG else 60


@pytest.mark.parametrize("storage", [
    {"sync": "100ms"},
    {"sync": "20ms", "rotate": {"size": "64KiB"}},
    {"sync": "20ms", "rotate": {"age": "1s"}},
    {"sync": "20ms", "direct_io": "off"},
], ids=["plain", "rotate-size", "rotate-age", "page-cache"])
def test_013_kills_under_load_lose_nothing(rng, storage):
    rate, pool = 20_000, signals.samples(1_000_000 if LONG else 300_000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True, "sequence": "counter",
                           "decimated": {"to": True, "factor": 10, "algorithm": "min-max"}}},
               storage=storage) as fleet:
        source = fleet.source("engine", pool, rate=rate)
        # One that is killed before it has done any work is followed after a second only.
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] > 0)
        kills = 0
        while kills < KILLS // 4 and source.child.poll() is None:
            time.sleep(rng.uniform(0.002, 0.06))
            pid = fleet.channel("engine")["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
                kills += 1
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent}, seconds=60)["engine"]
        print(f"{kills} kills, {sent} datagrams, {channel['restarts']} restarts")
        assert kills >= KILLS // 4 - 1 and channel["restarts"] >= kills // 2
        assert channel["datagrams_dropped"] == 0 and channel["sequence_gaps"] == 0
        assert channel["datagrams_received"] == channel["datums_recorded"] == sent
        fleet.stop()
        payload, count = container.payload(fleet.files("engine"))
        assert count == sent and payload == b"".join(pool[:sent]), "each once, in order"


def test_013_kills_around_a_file_made_ahead(rng):
    """A relay killed while the next file waits or takes its name: no number twice, none left."""
    pool = signals.samples(60_000, pad=1000)
    with Fleet({"engine": {"schema": signals.SCHEMA}},
               storage={"sync": "20ms", "rotate": {"size": "5MiB"}}) as fleet:
        folder = fleet.folder / "recordings/engine"
        source, seen = fleet.source("engine", pool, rate=15_000), 0
        while source.child.poll() is None and seen < KILLS // 4:
            if not list(folder.glob(".opening*")):
                time.sleep(0.001)
                continue
            seen += 1
            time.sleep(rng.uniform(0, 0.04))
            pid = fleet.channel("engine")["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent}, seconds=60)["engine"]
        print(f"{seen} files made ahead, {sent} datagrams, {channel['restarts']} restarts")
        assert seen >= 3 and channel["datums_recorded"] == sent
        fleet.stop()
        files = fleet.files("engine")
        assert not list(folder.glob(".opening*")) and not list(folder.glob("*.part"))
        numbers = [path.stem.rsplit("-", 1)[1] for path in files]
        assert len(numbers) == len(set(numbers)) and numbers == sorted(numbers)
        assert container.payload(files) == (b"".join(pool[:sent]), sent), "each once, in order"


def test_013_restart_under_load_loses_nothing(flotilla, rng):
    pool = signals.samples(200_000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True}}) as fleet:
        source = fleet.source("engine", pool, rate=10_000)
        for _ in range(10):
            before = fleet.channel("engine")["pid"]
            flotilla("restart", "engine", "-c", fleet.file, check=0)
            assert fleet.channel("engine")["pid"] != before
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datagrams_dropped"] == 0 and channel["restarts"] == 10
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)


def test_013_a_new_manager_after_a_killed_one(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(100)).finish()
        fleet.settle({"engine": 100})
        (relay,) = fleet.relay_processes()
        fleet.manager.kill()
        fleet.manager.wait()
        # The relay goes on without a manager.
        fleet.source("engine", signals.samples(100, start=100), rate=1000).finish()
        (path,) = fleet.files("engine")
        wait_until(lambda: container.count(path) == 200, what="the orphan to record")
        fleet.start()
        assert fleet.relay_processes() == [relay], "it was taken over, not replaced"
        channel = fleet.channel("engine")
        assert channel["pid"] == relay and channel["restarts"] == 0
        fleet.source("engine", signals.samples(50, start=200)).finish()
        channel = fleet.settle({"engine": 250})["engine"]
        assert channel["datums_recorded"] == 250, "its counters went on"
        fleet.stop()
        assert container.payload(fleet.files("engine"))[0] == b"".join(signals.samples(250))


def test_013_a_second_manager_is_refused(seed, flotilla):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        second = flotilla("run", "-c", fleet.file)
        assert second.returncode == 1
        assert f"process {fleet.manager.pid}" in second.stderr
        assert fleet.channel("engine")["pid"] in fleet.relay_processes()


def test_013_stop_ends_what_a_killed_manager_has_left(seed, flotilla):
    with Fleet({name: {"schema": signals.SCHEMA} for name in ("one", "two")}) as fleet:
        fleet.source("one", signals.samples(100)).finish()
        fleet.settle({"one": 100})
        fleet.manager.kill()
        fleet.manager.wait()
        fleet.manager = None
        assert len(fleet.relay_processes()) == 2
        done = flotilla("stop", "-c", fleet.file, check=0)
        assert "one: 100 received, 0 rejected, 0 dropped, 100 recorded" in done.stdout
        assert not fleet.relay_processes()
        assert "no manager runs" in flotilla("stop", "-c", fleet.file, check=1).stderr
        assert [path.suffix for path in fleet.files("one")] == [".avro"]
        assert not [path for path in (fleet.folder / "run").iterdir() if "keeper" in path.name]


def test_013_a_slow_disk_holds_up_no_restart_and_no_reload(rng, flotilla):
    """The next relay goes on with what the last one has in memory: nobody waits for the disk."""
    pool = signals.samples(400_000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True, "sequence": "counter"}},
               storage={"sync": "50ms"}) as fleet:
        source = fleet.source("engine", pool, rate=20_000)
        begun = time.monotonic()
        for turn in range(6):
            pid = fleet.channel("engine")["pid"]
            tracer = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e",
                 "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_enter=1500000"])
            fleet._children.append(tracer)
            time.sleep(0.3)
            if turn % 2:
                fleet.channels["engine"]["ttl"] = turn + 2
                fleet.write()
                fleet.reload()
            else:
                flotilla("restart", "engine", "-c", fleet.file, check=0)
            assert fleet.channel("engine")["pid"] != pid
            tracer.wait(60)
        print(f"{time.monotonic() - begun:.2f} s for 6")
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datagrams_dropped"] == 0 and channel["datums_recorded"] == sent, channel
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)


def test_013_a_slow_disk_does_not_delay_what_is_sent_on(rng, flotilla):
    """Nor does it while a relay starts on what the last one has left: every call of the disk takes
    0.7 s. (One that is killed in such a call is followed when the kernel lets it go.)"""
    calls = "pwritev,pread64,preadv,fdatasync,fsync,ftruncate,fallocate"
    pool = signals.samples(60_000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True}}, run=False,
               storage={"sync": "100ms"}) as fleet:
        with open(fleet.log_path, "ab") as log:
            fleet.manager = subprocess.Popen(
                ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null",
                 "-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter=700000",
                 str(FLOTILLA), "run", "-c", str(fleet.file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=fleet.folder)
        fleet.wait_running()
        sink = fleet.sink(fleet.address("engine", "full"), arrivals=True)
        source = fleet.source("engine", pool, rate=2000)
        for turn in range(4):
            time.sleep(rng.uniform(0.3, 1.2))
            pid = fleet.channel("engine")["pid"]
            if turn % 2:
                fleet.channels["engine"]["ttl"] = turn + 2
                fleet.write()
                fleet.reload()
            else:
                flotilla("restart", "engine", "-c", fleet.file, check=0)
            assert fleet.channel("engine")["pid"] != pid
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent}, seconds=60)["engine"]
        assert channel["datums_recorded"] == sent and channel["datagrams_dropped"] == 0
        sink.end()
        arrivals = numpy.fromfile(f"{sink.path}.arrivals", dtype="<u8")
        gap_ms = numpy.diff(arrivals).max() / 1e6
        print(f"{sent} sent, the longest gap in the live stream {gap_ms:.0f} ms")
        assert gap_ms < 400
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)


def test_013_a_stop_in_the_middle_of_a_restart_finishes_everything(rng):
    """What a relay has left to a successor is finished, also where nobody wants one any more."""
    for _ in range(8):
        with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
            pool = signals.samples(3000)
            fleet.source("engine", pool, rate=20_000).finish()
            restart = subprocess.Popen([str(FLOTILLA), "restart", "engine", "-c", str(fleet.file)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0, 0.01))
            fleet.laws = False
            fleet.stop()
            restart.wait()
            assert container.payload(fleet.files("engine")) == (b"".join(pool), 3000)


def only_the_keeper_is_left(fleet, relay, source, pool):
    """Manager and relay die, and the next ones have everything."""
    fleet.kill_manager()
    os.kill(relay, signal.SIGKILL)
    fleet.start()
    sent = source.stop()["sent"]
    channel = fleet.settle({"engine": sent})["engine"]
    assert channel["datums_recorded"] == sent and channel["datagrams_dropped"] == 0
    fleet.stop()
    assert container.payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)


@pytest.mark.parametrize("way", ["stop without a manager", "channel removed", "relay missing",
                                 "removed and relay missing", "killed while it stops"])
def test_013_what_a_dead_relay_left_is_finished(way, rng, flotilla, tmp_path):
    """A stop or a removal brings to the disk what nobody is there any more to bring."""
    copy_programs(tmp_path)
    with Fleet({"engine": {"schema": signals.SCHEMA}, "other": {"schema": signals.SCHEMA}},
               storage={"sync": "20s"}, prefix=tmp_path) as fleet:
        pool = half_recorded(fleet)
        relay = fleet.channel("engine")["pid"]
        fleet.laws = False
        if way == "stop without a manager":
            fleet.kill_manager()
            os.kill(relay, signal.SIGKILL)
            fleet.manager = None
            done = flotilla("stop", "-c", fleet.file, check=0)
            assert "engine: 3000 received, 0 rejected, 0 dropped, 3000 recorded" in done.stdout
        elif way == "channel removed":
            fleet.kill_manager()
            os.kill(relay, signal.SIGKILL)
            del fleet.channels["engine"]
            fleet.write()
            fleet.start()
            wait_until(lambda: "engine" not in fleet.by_name())
            fleet.stop()
        elif way == "relay missing":
            os.rename(tmp_path / "flotilla-relay", tmp_path / "away")
            os.kill(relay, signal.SIGKILL)
            wait_until(lambda: fleet.channel("engine")["state"] == "failed")
            os.rename(tmp_path / "away", tmp_path / "flotilla-relay")
            fleet.stop()
        elif way == "removed and relay missing":
            os.rename(tmp_path / "flotilla-relay", tmp_path / "away")
            os.kill(relay, signal.SIGKILL)
            wait_until(lambda: fleet.channel("engine")["state"] == "failed")
            del fleet.channels["engine"]
            fleet.write()
            assert "engine" in fleet.reload(check=1).stderr
            found = fleet.by_name()["engine"]
            assert found["state"] == "failed" and "removed, and not all" in found["reason"], found
            os.rename(tmp_path / "away", tmp_path / "flotilla-relay")
            wait_until(lambda: "engine" not in fleet.by_name(), what="the channel to go")
            fleet.stop()
        else:
            os.kill(relay, signal.SIGSTOP)
            fleet.manager.send_signal(signal.SIGTERM)
            os.kill(relay, signal.SIGKILL)
            assert fleet.manager.wait(60) == 0
            fleet.manager = None
        assert container.payload(fleet.files("engine")) == (b"".join(pool), 3000)
        assert all(path.suffix == ".avro" for path in fleet.files("engine"))


@pytest.mark.parametrize("removed", [True, False])
def test_013_a_stop_counts_what_nobody_could_finish(removed, rng, flotilla, tmp_path):
    copy_programs(tmp_path)
    with Fleet({"engine": {"schema": signals.SCHEMA}, "other": {"schema": signals.SCHEMA}},
               storage={"sync": "20s"}, prefix=tmp_path, laws=False) as fleet:
        half_recorded(fleet)
        relay = fleet.channel("engine")["pid"]
        os.rename(tmp_path / "flotilla-relay", tmp_path / "away")
        os.kill(relay, signal.SIGKILL)
        wait_until(lambda: fleet.channel("engine")["state"] == "failed")
        if removed:
            del fleet.channels["engine"]
            fleet.write()
            fleet.reload(check=1)
        wait_until(lambda: fleet.channel("engine")["state"] == "failed")
        done = flotilla("stop", "--json", "-c", fleet.file, check=1)
        (engine,) = [each for each in json.loads(done.stdout)["channels"]
                     if each["name"] == "engine"]
        assert engine["datums_recorded"] + engine["datums_unrecorded"] == 3000, engine
        assert engine["datums_unrecorded"] > 0 and engine["unsynced_datums"] == 0, engine
        assert container.payload(fleet.files("engine"))[1] <= 3000
        fleet.manager.wait(60)
        fleet.manager = None


@pytest.mark.parametrize("change", [{"buffer": "16MiB"}, {"listen": True}])
def test_013_a_relay_killed_while_its_channel_changes(change, rng):
    """What cannot be handed over is finished as it was begun, and counted once."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        pool = half_recorded(fleet)
        if change.get("listen"):
            change = {"listen": fleet.addresses.group()}
        fleet.channels["engine"].update(change)
        fleet.write()
        relay = fleet.channel("engine")["pid"]
        os.kill(relay, signal.SIGSTOP)
        reload = subprocess.Popen([str(FLOTILLA), "reload", "-c", str(fleet.file)],
                                  stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 0.02))
        with contextlib.suppress(ProcessLookupError):  # it may have been quicker
            os.kill(relay, signal.SIGKILL)
        assert reload.wait(20) == 0
        fleet.wait_running()
        channel = fleet.channel("engine")
        assert channel["datums_accepted"] == 3000 and channel["datums_unrecorded"] == 0, channel
        if "buffer" in change:
            assert channel["datums_recorded"] == 3000, channel
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool), 3000)


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed as it finishes"])
def test_013_folder_changes_on_a_live_stream(rng, killed):
    """One relay a change, though datagrams always wait; one more for each that dies before it has
    brought everything to the disk, however many changes there were before."""
    pool = signals.samples(100_000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "2s"}) as fleet:
        source = fleet.source("engine", pool, rate=5000)
        for change in range(6):
            time.sleep(0.3)
            before, relay = fleet.log().count(" started\n"), fleet.relays()["engine"]
            fleet.storage["directory"] = f"recordings{change}"
            fleet.write()
            if killed:  # a slow disk keeps it at its last work
                tracer = subprocess.Popen(
                    ["strace", "-f", "-o", "/dev/null", "-p", str(relay), "-e", "trace=fdatasync",
                     "-e", "inject=fdatasync:delay_enter=400000"], stderr=subprocess.PIPE)
                assert b"attached" in tracer.stderr.readline()
            reload = subprocess.Popen([str(FLOTILLA), "reload", "-c", str(fleet.file)],
                                      stdout=subprocess.DEVNULL)
            if killed:
                time.sleep(0.2)
                os.kill(relay, signal.SIGKILL)
            assert reload.wait(20) == 0
            if killed:
                tracer.communicate()
            assert fleet.log().count(" started\n") == before + 1 + killed
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datums_recorded"] == sent and channel["datums_unrecorded"] == 0
        assert channel["datagrams_dropped"] == 0
        fleet.stop()
        files = sorted(fleet.folder.glob("recordings*/engine/*.avro*"), key=lambda path: path.name)
        assert container.payload(files) == (b"".join(pool[:sent]), sent)


def test_013_an_address_changes_while_the_disk_is_slow(rng):
    """The old relay goes on until it has written what it is at; the next one takes what came to the
    old address meanwhile, then the rest."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "100ms"}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.reload()
        sender = Pinger(fleet.address("engine"), signals.samples(60_000), 5_000)
        time.sleep(0.2)
        relay = fleet.relays()["engine"]
        tracer = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-p", str(relay), "-e", "trace=fdatasync",
             "-e", "inject=fdatasync:delay_enter=1500000"], stderr=subprocess.PIPE)
        assert b"attached" in tracer.stderr.readline()
        time.sleep(0.2)
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.reload()
        taken = sender.stop()
        tracer.communicate()
        fleet.source("engine", signals.samples(100)).finish()
        channel = fleet.settle({"engine": taken + 100})["engine"]
        assert channel["datums_recorded"] == taken + 100 and channel["datagrams_dropped"] == 0
        assert fleet.log().count(" started\n") == 3
        fleet.stop()
        assert container.payload(fleet.files("engine"))[1] == taken + 100


def test_013_what_comes_as_an_address_changes_is_received(rng):
    """To the old address, until nothing more comes to it: the next relay takes that first. On the
    loopback interface a sender learns with the next datagram that nobody has taken one."""
    counts = []
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.reload()
        for turn in range(8):
            port = fleet.address("engine").split(":")[1]
            before = fleet.channel("engine")

            def send(to=("127.0.0.1", int(port))):
                taken = 0
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.connect(to)
                    with contextlib.suppress(ConnectionRefusedError):
                        while True:
                            for datum in signals.samples(100, start=taken):
                                sender.send(datum)
                                taken += 1
                counts.append(taken - 1)

            sender = threading.Thread(target=send)
            sender.start()
            time.sleep(rng.uniform(0.1, 0.3))
            to = fleet.addresses.unicast()
            if turn % 2:
                to = "0.0.0.0:" + to.split(":")[1]
            fleet.channels["engine"]["listen"] = to
            fleet.write()
            fleet.reload()
            sender.join(20)
            after = fleet.settle()["engine"]
            seen = {key: after[key] - before[key] for key in
                    ("datagrams_received", "datagrams_dropped", "datums_recorded")}
            assert seen["datagrams_received"] + seen["datagrams_dropped"] == counts[-1], seen
            assert seen["datums_recorded"] == seen["datagrams_received"], seen
        assert "counted as dropped" not in fleet.log()
        assert fleet.log().count(" started\n") == 10, "one relay a change"
        fleet.stop()
    print(f"{counts} datagrams before each of 8 changes")


def slow_disk(seconds):
    """What a manager is started with, so that each fdatasync of its relays takes so long."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e",
            "trace=fdatasync", "-e", f"inject=fdatasync:delay_enter={int(seconds * 1e6)}"]


def mortal_relay(folder, victims):
    """Programs of the test's own, whose next relay kills `victims` as it starts, once there is a
    file "die"; that is "died" then. (By bash: dash would let early signals through.)"""
    copy_programs(folder)
    (folder / "real").mkdir()
    os.rename(folder / "flotilla-relay", folder / "real/flotilla-relay")
    (folder / "flotilla-relay").write_text(
        f'#!/bin/bash\nmv {folder}/die {folder}/died 2>/dev/null && kill -9 {victims}\n'
        f'exec {folder}/real/flotilla-relay "$@"\n')
    (folder / "flotilla-relay").chmod(0o755)


def test_013_one_address_and_all_of_its_port(rng):
    """Only one socket may hold them, but for the moment in which ours change."""
    taken = 0
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "50ms"}) as fleet:
        both = [fleet.addresses.unicast()]
        both.append("0.0.0.0:" + both[0].split(":")[1])
        for turn in range(9):
            fleet.channels["engine"]["listen"] = both[turn % 2]
            fleet.write()
            fleet.reload()
            if turn == 0:
                sender = Pinger(both[0], signals.samples(60_000), 10_000)
            time.sleep(0.1)
        taken = sender.stop()
        channel = fleet.settle()["engine"]
        assert channel["datagrams_received"] == taken and channel["datagrams_dropped"] == 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, pytest.raises(OSError):
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("0.0.0.0", int(both[0].split(":")[1])))  # a stranger does not take part
        fleet.stop()
        assert container.payload(fleet.files("engine"))[1] == taken


@pytest.mark.parametrize("relay", ["lives", "dies"])
def test_013_a_manager_killed_as_an_address_changes(relay, rng):
    """All that has come to a socket, of the old address or of the new one, is received or counted;
    and nobody goes on with a socket that hears nothing."""
    taken = 0
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "50ms"}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.reload()
        for turn in range(20 if LONG else 8):
            old = fleet.address("engine")
            fleet.channels["engine"]["listen"] = new = fleet.addresses.unicast()
            fleet.write()
            both = [Pinger(address, signals.samples(60_000), 10_000) for address in (old, new)]
            time.sleep(0.1)
            asked = subprocess.Popen([str(FLOTILLA), "reload", "-c", str(fleet.file)],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0, 0.03) if turn else 0.02)
            fleet.kill_manager()
            for pid in fleet.relay_processes() if relay == "dies" else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            asked.wait()
            time.sleep(0.05)
            fleet.start()
            time.sleep(0.1)
            heard = fleet.channel("engine")["datagrams_received"]
            wait_until(lambda heard=heard: fleet.channel("engine")["datagrams_received"] > heard)
            taken += sum(each.stop() for each in both)
            channel = fleet.settle()["engine"]
            assert channel["datagrams_received"] + channel["datagrams_dropped"] == taken, turn
        print(f"{taken} datagrams, {channel['datagrams_dropped']} dropped")
        fleet.stop()
        assert container.payload(fleet.files("engine"))[1] == channel["datums_recorded"]


@pytest.mark.parametrize(("host", "deaths"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
@pytest.mark.parametrize("then", ["changed", "changed back", "removed", "stopped"])
def test_013_what_waits_where_nothing_more_comes(then, host, deaths, rng, tmp_path):
    """The address was to be changed, and nothing more comes to its socket; but then manager and
    relay were killed. One relay receives what waits there, or the next, should that one die."""
    mortal_relay(tmp_path, "$$")
    with Fleet({"engine": {"schema": signals.SCHEMA}}, prefix=tmp_path, run=False) as fleet:
        port = fleet.addresses.unicast().split(":")[1]
        fleet.channels["engine"]["listen"] = f"{host}:{port}"
        fleet.write()
        fleet.start()
        (relay,) = fleet.relay_processes()
        os.kill(fleet.manager.pid, signal.SIGSTOP)  # it would end a relay that hangs
        if not deaths:  # it has never received anything
            os.kill(relay, signal.SIGSTOP)
        sender = Pinger(f"127.0.0.1:{port}", signals.samples(60_000), 20_000)
        time.sleep(0.1)
        os.kill(relay, signal.SIGSTOP)
        time.sleep(0.1)
        sent = sender.stop()
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        (keeper,) = fleet.processes("flotilla-keeper")
        for one in copied_sockets(keeper):
            if one.family == socket.AF_INET:
                one.connect(("127.0.0.1", 9))
        if deaths:
            (tmp_path / "die").touch()
        if then == "changed":
            fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        elif then == "removed":  # another wants the address
            del fleet.channels["engine"]
            fleet.set("other", {"schema": signals.SCHEMA})
            fleet.channels["other"]["listen"] = f"127.0.0.2:{port}"
        fleet.write()
        if then == "stopped":
            fleet.manager = None
            done = flotilla_stop(fleet, tmp_path / "flotilla")
            assert f"engine: {sent} received, 0 rejected, 0 dropped, {sent} rec" in done.stdout
        else:
            fleet.start()
            wait_until(lambda: then != "removed" or "recorded, 0 not" in fleet.log())
        assert "counted as dropped" not in fleet.log()
        assert fleet.log().count("engine: relay ") - fleet.log().count("(SIG") <= 6
        if then.startswith("changed"):
            channel = fleet.settle()["engine"]
            assert channel["datagrams_received"] == sent and channel["datagrams_dropped"] == 0
            fleet.source("engine", signals.samples(100)).finish()
            fleet.settle({"engine": sent + 100})
        assert (tmp_path / "died").exists() == bool(deaths)
        wait_until(lambda: len(container.payload(fleet.files("engine"))[0]) > 0)
        assert container.payload(fleet.files("engine"))[1] >= sent


@pytest.mark.parametrize("then", ["address", "address and buffer", "stopped", "removed"])
def test_013_a_relay_that_takes_its_time_to_die(then, rng):
    """It was killed, but its writing thread waits for the disk: nobody can go on before that has
    ended, and nobody gives anything up."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False,
               storage={"sync": "50ms"}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet._inside = slow_disk(0.7)
        fleet.start()
        fleet._inside = []
        sender = Pinger(fleet.address("engine"), signals.samples(60_000), 5_000)
        time.sleep(0.5)
        (relay,) = fleet.relay_processes()
        fleet.kill_manager()
        wait_until(lambda: "t" in states(relay), pause=0.001)  # strace holds its writing thread
        os.kill(relay, signal.SIGKILL)
        wait_until(lambda: states(relay)[0] == "Z", pause=0.001)
        taken = sender.stop()
        if then.startswith("address"):
            fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        if then.endswith("buffer"):
            fleet.channels["engine"]["buffer"] = "8MiB"
        if then == "removed":
            del fleet.channels["engine"]
            fleet.set("other", {"schema": signals.SCHEMA})
        fleet.write()
        if then == "stopped":
            fleet.manager = None
            done = flotilla_stop(fleet)
            assert f"engine: {taken} received, 0 rejected, 0 dropped, {taken} rec" in done.stdout
        else:
            fleet.start()
            wait_until(lambda: then == "address" or "recorded, 0 not" in fleet.log())
        if then.startswith("address"):
            channel = fleet.settle()["engine"]
            assert channel["datagrams_received"] == taken == channel["datums_recorded"]
        assert "another relay has the channel" not in fleet.log()
        assert container.payload(fleet.files("engine"))[1] == taken


def states(pid):
    """Of its threads, the first one first."""
    return [Path(f"/proc/{pid}/task/{task}/stat").read_text().rpartition(")")[2].split()[0]
            for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int)]


def flotilla_stop(fleet, program=FLOTILLA):
    return subprocess.run([program, "stop", "-c", fleet.file], check=True, capture_output=True,
                          text=True, timeout=60)


def stop_under(sender, fleet, seconds):
    """All that comes until the stop is received and recorded; how many that were."""
    done = flotilla_stop(fleet)
    assert fleet.manager.wait(seconds) == 0
    fleet.manager = None
    taken = sender.stop()
    assert f"engine: {taken} received, 0 rejected, 0 dropped, {taken} rec" in done.stdout
    return taken


@pytest.mark.parametrize("how", ["stopped", "removed"])
def test_013_an_end_on_a_live_stream_counts_all(how, rng):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.reload()
        sender = Pinger(fleet.address("engine"), signals.samples(60_000), 20_000)
        time.sleep(rng.uniform(0.2, 0.3))
        if how == "stopped":
            taken = stop_under(sender, fleet, 10)
        else:
            del fleet.channels["engine"]
            fleet.set("other", {"schema": signals.SCHEMA})
            fleet.write()
            fleet.reload()
            wait_until(lambda: "recorded, 0 not" in fleet.log())
            taken = sender.stop()
        assert container.payload(fleet.files("engine"))[1] == taken


@pytest.mark.parametrize("then", ["stopped", "removed", "removed and added"])
def test_013_an_end_in_the_middle_of_a_change(then, rng):
    """Its relay has looked at its socket for the last time, and brings all to a slow disk; what
    came meanwhile is received by one more. A channel that is added again hears at once."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False,
               storage={"sync": "50ms"}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet._inside = slow_disk(0.7)
        fleet.start()
        sender = Pinger(fleet.address("engine"), signals.samples(60_000), 5_000)
        time.sleep(0.3)
        asked = []

        def reload():
            fleet.write()
            asked.append(subprocess.Popen([str(FLOTILLA), "reload", "-c", str(fleet.file)],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(0.3)

        fleet.channels["engine"]["buffer"] = "8MiB"
        reload()
        if then == "stopped":
            taken = stop_under(sender, fleet, 20)
        else:
            keys = fleet.channels.pop("engine")
            fleet.set("other", {"schema": signals.SCHEMA})
            reload()
            if then == "removed":
                wait_until(lambda: fleet.log().count("recorded, 0 not") == 2)
                taken = sender.stop()
            else:
                fleet.channels["engine"] = keys
                before = sender.taken
                reload()
                assert sender.taken > before + 500
                assert fleet.log().count("engine: relay") == 1, "the disk was not slow enough"
                taken = sender.stop()
                for each in asked:
                    each.wait(20)
                assert fleet.settle()["engine"]["datagrams_received"] == taken
        assert "counted as dropped" not in fleet.log()
        wait_until(lambda: container.payload(fleet.files("engine"))[1] == taken)


@pytest.mark.parametrize("change", ["address", "back"])
def test_013_two_names_for_one_socket(change, rng):
    """The keeper has not heard yet that a socket which had been kept for a change is the channel's
    own by now."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.reload()
        (keeper,) = [os.dup(one.fileno()) for one in copied_sockets(fleet.manager.pid)
                     if one.family == socket.AF_UNIX and one.type == socket.SOCK_SEQPACKET]
        with socket.socket(fileno=keeper) as keeper:
            for one in copied_sockets(fleet.relay_processes()[0]):
                if one.family == socket.AF_INET and one.getsockname()[1] == int(
                        fleet.address("engine").split(":")[1]):
                    socket.send_fds(keeper, [b"FDSTORE=1\nFDNAME=engine.draining"], [one.fileno()])
        sender = Pinger(fleet.address("engine"), signals.samples(60_000), 5_000)
        fleet.kill_manager()
        if change == "address":
            fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
            fleet.write()
        fleet.start()
        before = sender.taken
        if change != "address":
            wait_until(lambda: sender.taken > before + 200, what="what is sent there to be taken")
        taken = sender.stop()
        fleet.source("engine", signals.samples(100)).finish()
        channel = fleet.settle()["engine"]
        assert channel["datagrams_received"] == taken + 100 and channel["datagrams_dropped"] == 0


def test_013_an_address_changes_before_the_new_buffer_had_a_relay(rng, tmp_path):
    """Its first relay and the manager die together."""
    mortal_relay(tmp_path, "$PPID $$")
    with Fleet({"engine": {"schema": signals.SCHEMA}}, prefix=tmp_path) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.reload()
        sender = Pinger(fleet.address("engine"), signals.samples(60_000), 10_000)
        time.sleep(0.1)
        (tmp_path / "die").touch()
        fleet.channels["engine"]["buffer"] = "8MiB"
        fleet.write()
        fleet.reload(check=1)
        assert fleet.manager.wait(60) == -signal.SIGKILL
        time.sleep(0.05)
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.start()
        fleet.wait_running()
        taken = sender.stop()
        channel = fleet.settle()["engine"]
        assert channel["datagrams_received"] == taken == channel["datums_recorded"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_013_a_relay_hears_again(host, rng):
    """The manager was killed before it could ask the relay to end, and the change is not wanted."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        port = fleet.addresses.unicast().split(":")[1]
        fleet.channels["engine"]["listen"] = f"{host}:{port}"
        fleet.write()
        fleet.reload()
        relays = fleet.relay_processes()
        fleet.kill_manager()
        for one in copied_sockets(relays[0]):
            if one.family == socket.AF_INET and one.getsockname()[1] == int(port):
                one.connect(("127.0.0.1", 9))
        sender = Pinger(f"127.0.0.1:{port}", signals.samples(60_000), 5_000)
        time.sleep(0.1)
        assert sender.taken <= 1
        fleet.start()
        wait_until(lambda: sender.taken > 100)
        taken = sender.stop()
        assert fleet.settle({"engine": taken})["engine"]["datums_recorded"] == taken
        assert fleet.relay_processes() == relays


def test_013_an_address_is_wanted_again(rng):
    """While a relay still brings to a slow disk what had come to it: it is listened at at once."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        fleet.channels["engine"]["listen"] = old = fleet.addresses.unicast()
        fleet.write()
        fleet._inside = slow_disk(5)
        fleet.start()
        sender = Pinger(old, signals.samples(60_000), 5_000)
        time.sleep(0.2)
        asked = []
        for address in fleet.addresses.unicast(), old:
            fleet.channels["engine"]["listen"] = address
            fleet.write()
            asked.append(subprocess.Popen([str(FLOTILLA), "reload", "-c", str(fleet.file)],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            if address != old:
                wait_until(lambda: fleet.log().count(" started\n") == 2)
                refused = sender.taken
                time.sleep(0.2)
                assert sender.taken - refused < 100, "nothing more is to come to the old address"
        time.sleep(0.2)
        before = sender.taken
        time.sleep(0.2)
        assert sender.taken - before > 500
        assert fleet.log().count(" started\n") == 2, "the disk was not slow enough"
        for each in asked:
            each.wait(60)
        taken = sender.stop()
        channel = fleet.settle()["engine"]
        assert channel["datagrams_received"] == channel["datums_recorded"] == taken
        assert channel["datagrams_dropped"] == 0


@pytest.mark.parametrize("then", ["changed", "changed back"])
def test_013_a_manager_killed_as_it_leaves_an_address(then, rng):
    """It has seen to it that nothing more comes to the old socket, and would now ask the relay to
    hand over; the keeper has both sockets."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        fleet.channels["engine"]["listen"] = old = fleet.addresses.unicast()
        fleet.write()
        fleet._inside = ["strace", "-D", "-o", "/dev/null", "-e", "trace=pidfd_send_signal", "-e",
                         "inject=pidfd_send_signal:error=EPERM:signal=KILL:when=1"]
        fleet.start()
        fleet._inside = []
        fleet.channels["engine"]["listen"] = new = fleet.addresses.unicast()
        fleet.write()
        both = [Pinger(address, signals.samples(60_000), 5_000) for address in (old, new)]
        time.sleep(0.3)
        fleet.reload(check=1)
        assert fleet.manager.wait(60) == -signal.SIGKILL
        if then == "changed back":
            fleet.channels["engine"]["listen"] = old
            fleet.write()
        time.sleep(0.1)
        fleet.start()
        time.sleep(0.3)
        heard = fleet.channel("engine")["datagrams_received"]
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] > heard + 100)
        taken = [each.stop() for each in both]
        channel = fleet.settle()["engine"]
        known = channel["datagrams_received"] + channel["datagrams_dropped"]
        if then == "changed":
            assert known == sum(taken)
        else:  # what had come to the new address is not wanted any more
            assert taken[0] <= known <= sum(taken)


def test_013_a_channel_that_was_begun(rng):
    """Its socket collects, but its buffer cannot be made; then the manager dies."""
    pool = signals.samples(1500)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        with contextlib.ExitStack() as after:
            after.callback(setattr, fleet, "_inside", fleet._inside)
            fleet._inside = ["strace", "-D", "-o", "/dev/null", "-e", "trace=memfd_create", "-e",
                             "inject=memfd_create:error=ENOMEM"]
            fleet.start(wait=False)
        wait_until(lambda: "cannot make its buffer" in fleet.log())
        fleet.source("engine", pool[:500], rate=10_000).finish()
        fleet.kill_manager()
        fleet.source("engine", pool[500:1000], rate=10_000).finish()
        fleet.start()
        fleet.source("engine", pool[1000:], rate=10_000).finish()
        fleet.settle({"engine": 1500})
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool), 1500)


def test_013_a_stop_without_manager_relay_and_layouts(rng, flotilla):
    """Nothing is left but the keeper; the schema is in the configuration."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        pool = half_recorded(fleet)
        relay = fleet.channel("engine")["pid"]
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        more = signals.samples(300, start=3000)
        fleet.source("engine", more, rate=10_000).finish()
        shutil.rmtree(fleet.folder / "run")
        done = flotilla("stop", "-c", fleet.file, check=0)
        assert "3300 received, 0 rejected, 0 dropped, 3300 recorded" in done.stdout, done
        fleet.manager = None
        assert container.payload(fleet.files("engine")) == (b"".join(pool + more), 3300)


@pytest.mark.parametrize("wait", ["dies", "is removed"])
def test_013_a_relay_dies_while_its_change_waits(wait, rng):
    """It is followed by one like it: its layout is there still, and the next one's cannot be."""
    pool = signals.samples(3000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "50ms"}) as fleet:
        fleet.source("engine", pool[:1000], rate=10_000).finish()
        fleet.settle({"engine": 1000})
        relay, beside = fleet.channel("engine")["pid"], fleet.folder / "run/engine.layout.new"
        put_in_the_way(beside)
        fleet.channels["engine"]["ttl"] = 7
        fleet.write()
        assert "not replaced yet" in fleet.reload(check=1).stderr
        os.kill(relay, signal.SIGKILL)
        fleet.source("engine", pool[1000:2000], rate=10_000).finish()
        channel = fleet.settle({"engine": 2000})["engine"]
        assert channel["state"] == "running" and "not replaced yet" in channel["reason"], channel
        assert channel["pid"] != relay and channel["datums_recorded"] == 2000
        if wait == "is removed":
            del fleet.channels["engine"]
            fleet.set("other", {"schema": signals.SCHEMA})
            fleet.write()
            fleet.reload()
            wait_until(lambda: list(fleet.relays()) == ["other"])
            pool = pool[:2000]
        else:
            shutil.rmtree(beside)
            wait_until(lambda: fleet.channel("engine")["reason"] == "", what="the change")
            fleet.source("engine", pool[2000:], rate=10_000).finish()
            fleet.settle({"engine": 3000})
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool), len(pool))


def test_013_a_change_waits_for_the_relays_program(rng, tmp_path):
    """What is in memory is not given up because nobody can be started to finish it for a while."""
    copy_programs(tmp_path)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"},
               prefix=tmp_path) as fleet:
        pool = half_recorded(fleet)
        relay = fleet.channel("engine")["pid"]
        os.rename(tmp_path / "flotilla-relay", tmp_path / "away")
        os.kill(relay, signal.SIGKILL)
        wait_until(lambda: fleet.channel("engine")["state"] == "failed")
        fleet.channels["engine"]["buffer"] = "16MiB"
        fleet.write()
        assert "engine: failed" in fleet.reload(check=1).stderr
        time.sleep(7.5)  # it is tried after 1, 2 and 4 s
        os.rename(tmp_path / "away", tmp_path / "flotilla-relay")
        fleet.reload()
        fleet.wait_running()
        channel = fleet.channel("engine")
        assert channel["datums_recorded"] == 3000 and channel["datums_unrecorded"] == 0, channel
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool), 3000)


def test_013_a_change_that_is_called_off(rng):
    """A change that could not be put in force yet, and then the old configuration again."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        relay, layout = fleet.relays(), fleet.folder / "run/engine.layout"
        put_in_the_way(layout)
        before = fleet.channels["engine"]["listen"]
        fleet.channels["engine"]["listen"] = fleet.addresses.group()
        fleet.write()
        assert "not replaced yet" in fleet.reload(check=1).stderr
        fleet.channels["engine"]["listen"] = before
        fleet.write()
        assert "unchanged 1" in fleet.reload().stdout
        assert fleet.channel("engine")["reason"] == ""
        shutil.rmtree(layout)
        time.sleep(1.5)
        assert fleet.relays() == relay
        fleet.source("engine", signals.samples(100)).finish()
        assert fleet.settle({"engine": 100})["engine"]["datums_recorded"] == 100


def test_013_a_runtime_folder_that_was_removed(rng):
    """Relays are found by their command lines, and so is the keeper."""
    keys = {"schema": signals.SCHEMA, "full": True, "record": False}
    with Fleet({"engine": keys}) as fleet:
        source = fleet.source("engine", signals.samples(20_000), rate=5000)
        time.sleep(0.2)
        fleet.kill_manager()
        shutil.rmtree(fleet.folder / "run")
        fleet.start()
        assert len(fleet.relay_processes()) == 1
        sent = source.finish()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datagrams_sent_full"] == sent and channel["datagrams_dropped"] == 0
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)


@pytest.mark.parametrize("manager_lives", [True, False], ids=["superseded", "killed"])
def test_013_a_new_manager_has_what_the_keeper_holds(rng, manager_lives):
    """The runtime folder is removed and the relay killed: what is in its memory and in its socket,
    and what it had counted, is with the keeper alone."""
    pool = signals.samples(12_000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "5s"}) as fleet:
        fleet.source("engine", pool[:5000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] == 5000)
        first, (relay,) = fleet.manager, fleet.relay_processes()
        if manager_lives:
            os.kill(first.pid, signal.SIGSTOP)  # it starts no other relay meanwhile
        else:
            fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        shutil.rmtree(fleet.folder / "run")
        fleet.source("engine", pool[5000:], rate=10_000).finish()
        fleet.start()
        if manager_lives:
            os.kill(first.pid, signal.SIGCONT)
            assert first.wait(60) == 1
        channel = fleet.settle({"engine": len(pool)})["engine"]
        assert channel["datums_recorded"] == len(pool) and channel["datagrams_dropped"] == 0
        assert len(fleet.processes("flotilla-keeper")) == len(fleet.relay_processes()) == 1
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool), len(pool))


def test_013_a_runtime_folder_removed_under_a_manager_is_made_again(rng, flotilla):
    pool = signals.samples(60_000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        source = fleet.source("engine", pool, rate=5000)
        time.sleep(0.2)
        (relay,) = fleet.relay_processes()
        shutil.rmtree(fleet.folder / "run")
        wait_until(lambda: fleet.status(missing={}), what="the control socket again")
        assert "was removed; it is there again" in fleet.log()
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)
        second = flotilla("run", "-c", fleet.file)
        assert second.returncode == 1 and f"process {fleet.manager.pid}" in second.stderr
        os.kill(relay, signal.SIGKILL)  # the next one needs its layout
        wait_until(lambda: fleet.channel("engine")["pid"] not in (0, None, relay))
        fleet.kill_manager()
        fleet.start()
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datums_recorded"] == sent and channel["restarts"] == 1
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)


def test_013_a_runtime_folder_removed_after_reloads(rng, flotilla):
    """What the manager knows of the folder does not hang on the configuration it began with."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        for ttl in range(2, 6):
            fleet.channels["engine"]["ttl"] = ttl
            fleet.write()
            fleet.reload()
        shutil.rmtree(fleet.folder / "run")
        wait_until(lambda: fleet.status(missing={}), what="the control socket again")
        second = flotilla("run", "-c", fleet.file)
        assert second.returncode == 1 and f"process {fleet.manager.pid}" in second.stderr
        first = fleet.manager
        shutil.rmtree(fleet.folder / "run")
        fleet.start()
        assert first.wait(60) == 1
        assert len(fleet.relay_processes()) == 1


def test_013_a_manager_under_sanitizers(rng, tmp_path):
    """All that a manager is asked for and goes through, with its memory watched."""
    copy_programs(tmp_path, manager=BUILD / "sanitized/flotilla")
    os.environ["ASAN_OPTIONS"] = f"detect_leaks=0:log_path={tmp_path}/found"
    os.environ["UBSAN_OPTIONS"] = f"halt_on_error=1:print_stacktrace=1:log_path={tmp_path}/found"
    try:
        channels = {name: {"schema": signals.SCHEMA, "full": True} for name in ("a", "b", "c")}
        with Fleet(channels, prefix=tmp_path) as fleet:
            def command(*words):
                return subprocess.run([tmp_path / "flotilla", *words, "-c", fleet.file],
                                      capture_output=True, text=True, timeout=60)
            source = fleet.source("a", signals.samples(100_000), rate=2000)
            good = fleet.file.read_text()
            for turn in range(2):
                for ttl in 2, 3:
                    fleet.channels["a"]["ttl"] = ttl
                    fleet.channels.pop("b", None)
                    fleet.write()
                    assert command("reload").returncode == 0
                    fleet.file.write_text("runtime: run\nchannels: 7\n")
                    assert command("reload").returncode == 78
                    fleet.file.write_text(good)
                    assert command("reload").returncode == 0
                assert command("restart", "c").returncode == 0
                assert command("restart", "none").returncode == 1
                assert command("restart", "--all").returncode == 0
                shutil.rmtree(fleet.folder / "run")
                wait_until(lambda: command("status").returncode == 0, what="the folder again")
                for name in "control.sock", "manager.lock", "a.layout":
                    (fleet.folder / "run" / name).unlink()
                    os.kill(fleet.relays()["a"], signal.SIGKILL)
                    time.sleep(1.2)
                os.kill(fleet.status()["manager"]["keeper"], signal.SIGKILL)
                fleet.kill_manager()
                if turn:
                    shutil.rmtree(fleet.folder / "run")
                fleet.start()
                shutil.rmtree(fleet.folder / "run")
                managers = [fleet.manager]
                fleet.start(wait=False)
                managers.append(fleet.manager)
                # The first is slow here: it may have its folder again before the other is up.
                (left,) = wait_until(lambda: [one for one in managers if one.poll() is not None],
                                     what="one of them to leave")
                assert left.returncode == 1
                (fleet.manager,) = [one for one in managers if one is not left]
                fleet.wait_running()
            sent = source.stop()["sent"]
            assert fleet.settle({"a": sent})["a"]["datums_recorded"] == sent
            assert command("stop").returncode == 0
            assert fleet.manager.wait(60) == 0
            fleet.manager = None
    finally:
        del os.environ["ASAN_OPTIONS"], os.environ["UBSAN_OPTIONS"]
    assert not list(tmp_path.glob("found*")), next(tmp_path.glob("found*")).read_text()


def test_013_a_layout_that_goes_as_its_relay_starts(rng, tmp_path):
    """The runtime folder was removed in that moment: it is furnished again."""
    copy_programs(tmp_path)
    os.rename(tmp_path / "flotilla-relay", tmp_path / "real")
    (tmp_path / "flotilla-relay").write_text(
        '#!/bin/sh\nfor word; do case $word in --layout=*) layout=${word#--layout=};; esac; done\n'
        f'mkdir {tmp_path}/once 2>/dev/null && rm "$layout"\nexec {tmp_path}/real "$@"\n')
    (tmp_path / "flotilla-relay").chmod(0o755)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, prefix=tmp_path, run=False) as fleet:
        fleet.start(wait=False)
        fleet.wait_running()
        assert "engine.layout: No such file" in fleet.log()
        fleet.source("engine", signals.samples(100)).finish()
        assert fleet.settle({"engine": 100})["engine"]["datums_recorded"] == 100


@pytest.mark.parametrize(("lacks", "asked"), [
    *itertools.product(["layout", "program"], ["reload", "restart", "restart --all"]),
    ("lock", "restart --all")])
def test_013_a_relay_stays_until_the_next_can_be_started(lacks, asked, rng, flotilla, tmp_path):
    """A folder stands where its layout is to be, or its program has gone; or the manager that is to
    follow would find a folder in place of the lock."""
    copy_programs(tmp_path)
    pool = signals.samples(60_000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "50ms"},
               prefix=tmp_path) as fleet:
        source = fleet.source("engine", pool, rate=10_000)
        time.sleep(0.3)
        relay = fleet.relays()["engine"]
        layout = fleet.folder / "run" / ("engine.layout" if lacks == "layout" else "manager.lock")
        if lacks != "program":
            put_in_the_way(layout)
        else:
            os.rename(tmp_path / "flotilla-relay", tmp_path / "away")
        if asked == "reload":
            fleet.channels["engine"]["ttl"] = 7
            fleet.write()
            answer = fleet.reload(check=1)
        elif asked == "restart":
            answer = flotilla("restart", "engine", "-c", fleet.file, check=1)
        else:
            answer = flotilla("restart", "--all", "-c", fleet.file, check=1)
        if asked == "restart --all":
            assert ("engine did not come up anew" if lacks == "layout" else
                    "nothing was restarted") in answer.stderr, answer
            assert fleet.status()["manager"]["pid"] == fleet.manager.pid
        else:
            assert "engine: failed: not replaced yet: cannot" in answer.stderr, answer
            shown = fleet.channel("engine")
            assert shown["state"] == "running" and "not replaced yet" in shown["reason"], shown
            assert shown["restarts"] == 0
        time.sleep(1.2)
        assert fleet.relays() == {"engine": relay}
        if lacks != "program":
            shutil.rmtree(layout)
        else:
            os.rename(tmp_path / "away", tmp_path / "flotilla-relay")
        if asked == "restart --all":  # that is to be asked for again
            time.sleep(1.2)
            assert fleet.relays() == {"engine": relay}
            flotilla("restart", "--all", "-c", fleet.file, check=0)
        wait_until(lambda: fleet.relays() != {"engine": relay}, what="another relay")
        wait_until(lambda: fleet.channel("engine")["reason"] == "")
        assert fleet.channel("engine")["restarts"] == (asked == "restart")
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datums_recorded"] == sent and channel["datagrams_dropped"] == 0
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_013_only_one_manager_after_a_lost_runtime_folder(rng, how):
    """Another manager is started before the first one has noticed: the first leaves all to it."""
    pool = signals.samples(60_000)
    with Fleet({name: {"schema": signals.SCHEMA} for name in ("engine", "gear")}) as fleet:
        source = fleet.source("engine", pool, rate=5000)
        time.sleep(0.2)
        relays, first = fleet.relays(), fleet.manager
        os.kill(first.pid, signal.SIGSTOP)  # it notices only when the other one is there
        if how == "removed":
            shutil.rmtree(fleet.folder / "run")
        else:
            (fleet.folder / "run").rename(fleet.folder / "old")
        fleet.start()
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(60) == 1
        assert f"process {fleet.manager.pid} manages it now: leaving the fleet to it" in fleet.log()
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)
        assert fleet.relays() == relays, "the relays were taken over, not replaced"
        os.kill(relays["engine"], signal.SIGKILL)
        wait_until(lambda: fleet.channel("engine")["pid"] not in (0, None, relays["engine"]))
        time.sleep(1)
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        # A relay that gets no processor in its first moments is taken for one that hangs.
        assert channel["datums_recorded"] == sent and channel["restarts"] >= 1
        assert len(fleet.relay_processes()) == 2
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)


@pytest.mark.parametrize("gone", ["folder", "lock"])
def test_013_a_stop_soon_after_the_runtime_folder_was_removed(rng, flotilla, gone):
    """The manager has not noticed yet: it is waited for, not taken for dead."""
    pool = signals.samples(3000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        fleet.source("engine", pool, rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] == len(pool))
        time.sleep(rng.uniform(0, 1))
        if gone == "folder":
            shutil.rmtree(fleet.folder / "run")
        else:
            (fleet.folder / "run" / "manager.lock").unlink()
        done = flotilla("stop", "-c", fleet.file, check=0)
        assert "engine: 3000 received, 0 rejected, 0 dropped, 3000 recorded" in done.stdout
        assert fleet.manager.wait(60) == 0
        fleet.manager = None
        assert not fleet.relay_processes() and not fleet.processes("flotilla-keeper")
        assert container.payload(fleet.files("engine")) == (b"".join(pool), len(pool))


@pytest.mark.parametrize("asked", [{"verb": "reload"}, {"verb": "restart", "all": True},
                                   {"verb": "restart", "channel": "engine"}, {"verb": "stop"}],
                         ids=["reload", "all", "one", "stop"])
def test_013_a_superseded_manager_changes_nothing(rng, asked):
    """Also where a request is how it learns of it: who was connected to it is told."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        relays, folder = fleet.relays(), fleet.folder / "run"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            with contextlib.chdir(folder):
                client.connect("control.sock")
            time.sleep(0.1)  # it is accepted
            folder.rename(fleet.folder / "old")
            folder.mkdir()
            with open(folder / "manager.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # as another manager does
                client.sendall(json.dumps(asked).encode() + b"\n")
                answer = client.recv(65536)
                assert fleet.manager.wait(60) == 1
            if asked["verb"] != "stop":
                assert json.loads(answer)["error"].startswith("another manager has the fleet")
        assert "another process manages it now: leaving the fleet to it" in fleet.log()
        assert fleet.relays() == relays
        fleet.start()
        assert fleet.relays() == relays and fleet.channel("engine")["restarts"] == 0


def test_013_a_manager_that_comes_back_to_a_dead_ones_folder(rng):
    """Another manager had the fleet for a moment and was killed: its sockets are there still."""
    pool = signals.samples(60_000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        source = fleet.source("engine", pool, rate=5000)
        time.sleep(0.2)
        first, (relay,) = fleet.manager, fleet.relay_processes()
        os.kill(first.pid, signal.SIGSTOP)
        shutil.rmtree(fleet.folder / "run")
        fleet.start()
        fleet.kill_manager()
        os.kill(first.pid, signal.SIGCONT)
        fleet.manager = first
        wait_until(lambda: fleet.status(missing={}), what="the first one's socket")
        assert fleet.status()["manager"]["pid"] == first.pid
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)
        only_the_keeper_is_left(fleet, relay, source, pool)


@pytest.mark.parametrize("place", ["run", "run/engine.layout.new"])
def test_013_a_runtime_folder_that_cannot_be_made_again_at_once(rng, place):
    """What stands in the way is told once, and tried until it has gone."""
    pool = signals.samples(60_000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        source = fleet.source("engine", pool, rate=5000)
        time.sleep(0.2)
        (relay,) = fleet.relay_processes()
        os.kill(fleet.manager.pid, signal.SIGSTOP)  # it looks only when all is in place
        shutil.rmtree(fleet.folder / "run")
        path = fleet.folder / place
        if place == "run":
            path.touch()
        else:
            path.mkdir(parents=True)
            (path / "inside").touch()
        os.kill(fleet.manager.pid, signal.SIGCONT)
        told = "cannot be made again in full"
        wait_until(lambda: told in fleet.log(), what="the reason in the log")
        time.sleep(2.5)
        assert fleet.log().count(told) == 1
        if place == "run":
            path.unlink()
        else:
            shutil.rmtree(path)
        wait_until(lambda: fleet.status(missing={}), what="the control socket again")
        wait_until((fleet.folder / "run/engine.layout").is_file, what="the layout again")
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)
        only_the_keeper_is_left(fleet, relay, source, pool)


def test_013_two_managers_that_start_at_once(rng):
    """The folder is removed while the first one is still starting: one of them stays."""
    channels = {f"c{i}": {"schema": signals.SCHEMA} for i in range(30)}
    for _ in range(8):
        with Fleet(channels, run=False) as fleet:
            words = [str(FLOTILLA), "run", "-c", str(fleet.file)]
            log = open(fleet.log_path, "ab")
            managers = [subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)]
            wait_until((fleet.folder / "run/manager.lock").exists)
            time.sleep(rng.uniform(0, 0.1))
            shutil.rmtree(fleet.folder / "run", ignore_errors=True)
            managers.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log))
            log.close()
            try:
                wait_until(lambda: any(manager.poll() is not None for manager in managers),
                           what="one of them to leave")
                (fleet.manager,) = [each for each in managers if each.poll() is None]
                (left,) = [each for each in managers if each is not fleet.manager]
                assert left.returncode == 1
                fleet.wait_running()
                assert fleet.status()["manager"]["pid"] == fleet.manager.pid
                assert len(fleet.relay_processes()) == 30
                wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)
                fleet.source("c7", signals.samples(100)).finish()
                assert fleet.settle({"c7": 100})["c7"]["datums_recorded"] == 100
                fleet.stop()
                assert not fleet.relay_processes()
            finally:
                for manager in managers:
                    if manager.poll() is None:
                        manager.kill()
                        manager.wait()
