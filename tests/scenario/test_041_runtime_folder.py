# SPDX-License-Identifier: MIT
"""041-runtime-folder: the runtime folder, or what is in it, is removed, or something stands in its
way: the fleet goes on, and in the end there is one manager."""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, Fleet, copy_programs, wait_until


def only_the_keeper_is_left(fleet, relay, source, pool):
    """Manager and relay die, and the next ones have everything."""
    fleet.kill_manager()
    os.kill(relay, signal.SIGKILL)
    fleet.start()
    container.all_recorded(fleet, source, pool)


def test_041_a_runtime_folder_that_was_removed(rng):
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
def test_041_a_new_manager_has_what_the_keeper_holds(rng, manager_lives):
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


def test_041_a_runtime_folder_removed_under_a_manager_is_made_again(rng, flotilla):
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
        assert container.all_recorded(fleet, source, pool)["restarts"] == 1


def test_041_a_runtime_folder_removed_after_reloads(rng, flotilla):
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


def test_041_a_layout_that_goes_as_its_relay_starts(rng, tmp_path):
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


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_041_only_one_manager_after_a_lost_runtime_folder(rng, how):
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
def test_041_a_stop_soon_after_the_runtime_folder_was_removed(rng, flotilla, gone):
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
def test_041_a_superseded_manager_changes_nothing(rng, asked):
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


def test_041_a_manager_that_comes_back_to_a_dead_ones_folder(rng):
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
def test_041_a_runtime_folder_that_cannot_be_made_again_at_once(rng, place):
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


def test_041_two_managers_that_start_at_once(rng):
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
