# SPDX-License-Identifier: MIT
"""013-takeover: a relay killed at random under load loses nothing and records nothing twice; the
manager killed and started again goes on; nobody ever runs two relays on a channel."""
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy
import pytest
from harness import container, signals
from harness.faults import flotilla_stop, slow_disk, stop_under
from harness.fleet import (FLOTILLA, LONG, ROOT, Fleet, copy_programs, half_recorded,
                           put_in_the_way, wait_until)
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
        kills, last = 0, None
        while kills < KILLS // 4 and source.child.poll() is None:
            time.sleep(rng.uniform(0.002, 0.06))
            pid = fleet.channel("engine")["pid"]
            if pid not in (None, last):  # where the machine is busy, it has not ended yet
                os.kill(pid, signal.SIGKILL)
                kills, last = kills + 1, pid
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
            with contextlib.suppress(ProcessLookupError):  # the manager was faster
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
    """Of its threads, the first one first; one that ends meanwhile is none."""
    found = []
    for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
        with contextlib.suppress(FileNotFoundError):
            text = Path(f"/proc/{pid}/task/{task}/stat").read_text()
            found.append(text.rpartition(")")[2].split()[0])
    return found


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
