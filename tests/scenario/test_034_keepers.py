# SPDX-License-Identifier: MIT
"""034-keepers: what was received and not recorded outlives relay and manager in the keeper. It
may itself die or hang: then manager and relays have everything. Of manager, relay and keeper any
two may be lost at once."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from harness import container, signals
from harness.fleet import (BUILD, LONG, ROOT, Fleet, copy_programs, half_recorded, put_in_the_way,
                           wait_until)

KEEPER = BUILD / "flotilla-keeper"


def keeper_by_hand(folder):
    """A keeper that was told nothing yet, and the other end of its requests."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = subprocess.Popen(
        ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=requests exec "$0" "$1"', KEEPER,
         folder], pass_fds=[3], preexec_fn=lambda: os.dup2(its.fileno(), 3),
        stdin=subprocess.DEVNULL)
    its.close()
    return keeper, ours


@contextlib.contextmanager
def busy(keeper, trap=False):
    """Every answer of the keeper's own takes it a minute; or a debugger holds it that hangs."""
    how = "signal=SIGTRAP" if trap else "delay_enter=60000000"
    tracer = subprocess.Popen(
        ["strace", "-o", "/dev/null", "-e", "trace=recvmsg", "-e", f"inject=recvmsg:{how}", "-p",
         str(keeper)], stderr=subprocess.PIPE)
    try:
        assert b"attached" in tracer.stderr.readline()
        if trap:
            os.kill(tracer.pid, signal.SIGSTOP)
        yield
    finally:
        tracer.kill()
        tracer.wait()
        tracer.stderr.close()


def kill_all(fleet):
    fleet.kill_manager()
    for relay in fleet.relay_processes():
        os.kill(relay, signal.SIGKILL)


def everything_is_there(fleet, pool):
    channel = wait_until(lambda: (c := fleet.channel("engine"))["datums_accepted"] == len(pool)
                         and c, what="all that was sent")
    assert channel["datagrams_dropped"] == 0
    wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1, what="one keeper")
    assert fleet.processes("flotilla-keeper") == [fleet.status()["manager"]["keeper"]]
    fleet.laws = False  # the stop brings it to the disk, not the 20 s that `sync` is
    fleet.stop()
    assert container.payload(fleet.files("engine")) == (b"".join(pool), len(pool))


@pytest.mark.parametrize("at_fault", ["control.sock", "keeper.sock"])
def test_034_a_start_that_fails_ends_nothing(rng, at_fault):
    """Manager and relay have died, and the next manager finds the fleet, but cannot go on: what it
    is to answer at, or to be answered at, cannot be made."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "10s"}) as fleet:
        fleet.source("engine", pool[:2000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        (keeper,) = fleet.processes("flotilla-keeper")
        kill_all(fleet)
        put_in_the_way(fleet.folder / "run" / at_fault)
        told = {"control.sock": "cannot open the control socket",
                "keeper.sock": "cannot take over from the keeper"}[at_fault]
        for turn in range(2):
            fleet.start(wait=False)
            assert fleet.manager.wait(60) == 1
            assert fleet.log().count(told) > turn
            assert keeper in fleet.processes("flotilla-keeper")
        shutil.rmtree(fleet.folder / "run" / at_fault)
        fleet.source("engine", pool[2000:], rate=10_000).finish()
        fleet.start()
        everything_is_there(fleet, pool)


def test_034_a_first_start_that_fails_leaves_nothing(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        (fleet.folder / "run").mkdir()
        put_in_the_way(fleet.folder / "run/control.sock")
        fleet.start(wait=False)
        assert fleet.manager.wait(60) == 1
        fleet.manager = None
        assert not fleet.processes("flotilla-keeper") and not fleet.relay_processes()
        assert "is left to" not in fleet.log()


@pytest.mark.parametrize("dead", ["relays", "keeper"])
def test_034_a_manager_with_too_few_descriptors_ends_nothing(rng, dead):
    """It cannot even take what the keeper has for it, or the relays at work."""
    pool, names = signals.samples(2000), [f"c{number}" for number in range(12)]
    with Fleet({"engine": {"schema": signals.SCHEMA},
                **{name: {"schema": signals.SCHEMA} for name in names}},
               storage={"sync": "10s"}) as fleet:
        fleet.source("engine", pool, rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        fleet.kill_manager()
        left = fleet.relay_processes()
        if dead == "relays":
            left, ended = fleet.processes("flotilla-keeper"), left
        else:
            ended = fleet.processes("flotilla-keeper")
        for one in ended:
            os.kill(one, signal.SIGKILL)
        for limit in range(12, 40, 4):
            fleet.log_path.unlink()
            fleet._inside = ["prlimit", f"--nofile={limit}:{limit}"]
            fleet.start(wait=False)
            fleet._inside = []
            assert fleet.manager.wait(60) == 1, (limit, fleet.log())
            assert "Too many open files" in fleet.log(), (limit, fleet.log())
            still = fleet.relay_processes() + fleet.processes("flotilla-keeper")
            assert set(left) <= set(still), (limit, fleet.log())
        fleet.start()
        assert dead == "relays" or set(left) == set(fleet.relay_processes())
        everything_is_there(fleet, pool)


def test_034_a_keeper_that_dies_as_it_is_asked(rng):
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        pool = half_recorded(fleet)
        (keeper,), relays = fleet.processes("flotilla-keeper"), fleet.relays()
        os.kill(keeper, signal.SIGSTOP)
        fleet.kill_manager()
        fleet.start(wait=False)
        time.sleep(0.5)
        os.kill(keeper, signal.SIGKILL)
        fleet.wait_running()
        assert fleet.relays() == relays
        everything_is_there(fleet, pool)


def test_034_a_drop_that_was_not_taken_at_once(rng):
    """A keeper that took nothing for a moment holds what it was to give up, and an address with it.
    """
    names = [f"c{number}" for number in range(6)]
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        for name in names:
            fleet.set(name, {"schema": signals.SCHEMA, "listen": fleet.addresses.unicast()})
        fleet.write()
        fleet.reload()
        (keeper,) = fleet.processes("flotilla-keeper")
        again = fleet.channels[names[3]]
        os.kill(keeper, signal.SIGSTOP)
        for name in names:
            del fleet.channels[name]
        fleet.write()
        fleet.reload()
        os.kill(keeper, signal.SIGCONT)
        fleet.set("other", {"schema": signals.SCHEMA, "listen": again["listen"]})
        fleet.write()
        fleet.reload(check=None)
        fleet.wait_running()


def test_034_a_keeper_that_hangs_is_found_by_what_it_does_not_answer(rng):
    """All it is told is less than its socket takes."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        (keeper,) = fleet.processes("flotilla-keeper")
        os.kill(keeper, signal.SIGSTOP)
        fleet.channels["engine"]["buffer"] = "16MiB"
        fleet.write()
        fleet.reload()
        wait_until(lambda: fleet.processes("flotilla-keeper") not in ([keeper], []))
        wait_until(lambda: keeper not in fleet.processes("flotilla-keeper"))


def test_034_a_keeper_that_hangs_and_cannot_be_followed_stays(tmp_path):
    """Its program has gone for a while: better one that hangs than none. It has what was received
    once manager and relay have died."""
    pool = signals.samples(2000)
    copy_programs(tmp_path)
    with Fleet({"engine": {"schema": signals.SCHEMA}, "gear": {"schema": signals.SCHEMA}},
               storage={"sync": "20s"}, prefix=tmp_path) as fleet:
        fleet.source("engine", pool, rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        keeper, relay = fleet.status()["manager"]["keeper"], fleet.relays()["engine"]
        os.rename(tmp_path / "flotilla-keeper", tmp_path / "away")
        os.kill(keeper, signal.SIGSTOP)
        fleet.channels["gear"]["buffer"] = "16MiB"
        fleet.write()
        fleet.reload()
        wait_until(lambda: "cannot start" in fleet.log())
        assert fleet.processes("flotilla-keeper") == [keeper]
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        os.rename(tmp_path / "away", tmp_path / "flotilla-keeper")
        fleet.start()
        everything_is_there(fleet, pool)


def test_034_a_keeper_that_a_debugger_holds_leaves_no_zombie(rng, flotilla):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        (keeper,) = fleet.processes("flotilla-keeper")
        with busy(keeper, trap=True):
            while "another takes its place" not in fleet.log():
                flotilla("restart", "engine", "-c", fleet.file)
            time.sleep(2.5)
        wait_until(lambda: not os.path.exists(f"/proc/{keeper}"), what="its end")


def test_034_a_keeper_with_too_few_descriptors_says_so(rng, flotilla):
    """It goes on, and is told again what it could not keep; nothing takes it for whole before."""
    pool = signals.samples(2000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "10s"}) as fleet:
        (keeper,) = fleet.processes("flotilla-keeper")
        limit = len(os.listdir(f"/proc/{keeper}/fd"))
        subprocess.run(["prlimit", "--pid", str(keeper), f"--nofile={limit}:"], check=True)
        fleet.set("gear", {"schema": signals.SCHEMA})
        fleet.write()
        fleet.reload()
        wait_until(lambda: "cannot keep gear." in fleet.log())
        assert fleet.processes("flotilla-keeper") == [keeper]
        subprocess.run(["prlimit", "--pid", str(keeper), "--nofile=1024:"], check=True)
        time.sleep(2.5)  # what was not taken is asked for again
        fleet.source("gear", pool, rate=10_000).finish()
        wait_until(lambda: fleet.channel("gear")["datums_accepted"] == 2000)
        fleet.kill_manager()
        for relay in fleet.relay_processes():
            os.kill(relay, signal.SIGKILL)
        fleet.start()
        assert fleet.channel("gear")["datums_accepted"] == 2000
        fleet.laws = False
        fleet.stop()
        assert container.payload(fleet.files("gear")) == (b"".join(pool), 2000)


def test_034_relays_at_work_are_believed_over_a_keeper_that_hung(rng):
    """It was told of more than its socket takes, and then the manager died: what it has of some
    channels is what was there before a change of their buffer."""
    names = [f"c{number}" for number in range(12)]
    pool = signals.samples(2000)
    with Fleet({name: {"schema": signals.SCHEMA} for name in names}) as fleet:
        keeper = fleet.status()["manager"]["keeper"]
        os.kill(keeper, signal.SIGSTOP)
        for name in names:
            fleet.channels[name]["buffer"] = "16MiB"
        fleet.write()
        fleet.reload()
        relays = fleet.relays()
        fleet.kill_manager()
        fleet.start()
        assert fleet.relays() == relays
        sources = [fleet.source(name, pool, rate=5000) for name in names]
        for source in sources:
            source.finish()
        for channel in fleet.settle({name: 2000 for name in names}).values():
            assert channel["datums_recorded"] == 2000 and channel["restarts"] == 0, channel
        assert "exit code 75" not in fleet.log()


def test_034_a_suspended_keeper_holds_up_no_restart_of_all(rng, flotilla):
    """Nobody would look after the relays meanwhile."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        for _ in range(3):
            keeper = fleet.status()["manager"]["keeper"]
            os.kill(keeper, signal.SIGSTOP)
            begun = time.monotonic()
            flotilla("restart", "--all", "-c", fleet.file, check=0)
            assert time.monotonic() - begun < 4
            assert fleet.status()["manager"]["keeper"] != keeper
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)


@pytest.mark.parametrize("restarts", [0, 20], ids=["", "that was told much"])
def test_034_a_suspended_keeper_is_woken(rng, flotilla, restarts):
    """Also where all that waits for it is more than its socket takes."""
    pool = signals.samples(60_000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        source = fleet.source("engine", pool, rate=5000)
        time.sleep(0.3)
        keeper = fleet.status()["manager"]["keeper"]
        (relay,) = fleet.relay_processes()
        os.kill(keeper, signal.SIGSTOP)
        for _ in range(restarts):
            flotilla("restart", "engine", "-c", fleet.file, check=0)
        (relay,) = fleet.relay_processes()
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        fleet.start()
        sent = source.stop()["sent"]
        channel = fleet.settle({"engine": sent})["engine"]
        assert channel["datums_recorded"] + channel["datagrams_dropped"] == sent
        fleet.stop()


@pytest.mark.skipif(not LONG, reason="boots a virtual machine: make test-long")
def test_034_where_only_ancestors_may_trace():
    """Yama's ptrace_scope of 1, and a fleet without privileges: a relay lets the manager copy all
    the same."""
    done = subprocess.run([ROOT / "tests/systemd/vm", ROOT / "tests/systemd/check_yama"],
                          capture_output=True, text=True, timeout=900)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in "asked: 1000", "copied: 1000, relays 1", "datums 1000":
        assert words in done.stdout, done.stdout


def test_034_two_keepers_are_both_asked(rng):
    """A manager was killed while one took the place of another: the younger has next to nothing."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "10s"}) as fleet:
        fleet.source("engine", pool[:2000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        kill_all(fleet)
        second, requests = keeper_by_hand(fleet.folder / "run")
        with requests:
            wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 2)
            fleet.source("engine", pool[2000:], rate=10_000).finish()
            fleet.start()
            assert second.wait(20) == -signal.SIGKILL
        everything_is_there(fleet, pool)


def test_034_managers_killed_as_they_take_over(rng):
    """An earlier keeper stays until another has confirmed all that it holds: whatever was taken by
    then, the next manager finds it again. At each message to the new keeper, and at random."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "60s"}) as fleet:
        fleet.source("engine", pool[:2000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        kill_all(fleet)
        fleet.source("engine", pool[2000:], rate=10_000).finish()
        for turn in range(12):
            if turn < 8:
                fleet._inside = ["strace", "-D", "-o", "/dev/null", "-e", "trace=sendmsg", "-e",
                                 f"inject=sendmsg:signal=KILL:when={turn + 1}"]
            fleet.start(wait=False)
            fleet._inside = []
            with contextlib.suppress(subprocess.TimeoutExpired):
                fleet.manager.wait(3 if turn < 8 else rng.uniform(0, 0.1))
            kill_all(fleet)
        fleet.start()
        everything_is_there(fleet, pool)


def test_034_a_keeper_does_first_what_was_said_first(rng):
    """It is asked before it has come to what the manager told it last: a new buffer."""
    pool = signals.samples(2000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "60s"}) as fleet:
        fleet.source("engine", pool[:1000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 1000)
        os.kill(fleet.status()["manager"]["keeper"], signal.SIGSTOP)
        for buffer in "16MiB", "24MiB", "16MiB":
            fleet.channels["engine"]["buffer"] = buffer
            fleet.write()
            fleet.reload()
        fleet.source("engine", pool[1000:], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        kill_all(fleet)
        fleet.start()
        everything_is_there(fleet, pool)


@pytest.mark.parametrize("what", ["socket", "link"])
def test_034_something_else_at_the_keepers_name(rng, what):
    """Nothing of it is believed."""
    pool = signals.samples(2000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        fleet.source("engine", pool, rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        kill_all(fleet)
        at_name, other = fleet.folder / "run/keeper.sock", fleet.folder / "other.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.bind(str(at_name if what == "socket" else other))
            if what == "link":
                at_name.symlink_to(other)
            fleet.start()
            assert what == "socket" or other.is_socket()
            everything_is_there(fleet, pool)


@contextlib.contextmanager
def frozen(keeper):
    """No signal reaches it, in a version 1 control group not even SIGKILL."""
    name = f"flotilla-test-{os.getpid()}"
    for mount, knob, words in ((Path("/sys/fs/cgroup/freezer"), "freezer.state",
                                ("FROZEN", "THAWED")),
                               (Path("/sys/fs/cgroup/unified"), "cgroup.freeze", ("1", "0")),
                               (Path("/sys/fs/cgroup"), "cgroup.freeze", ("1", "0"))):
        with contextlib.suppress(OSError):
            (mount / name).mkdir()
            if (mount / name / knob).exists():
                break
            (mount / name).rmdir()
    else:
        pytest.skip("needs a control group that can be frozen")
    group = mount / name
    try:
        (group / "cgroup.procs").write_text(str(keeper))
        (group / knob).write_text(words[0])
        yield
    finally:
        (group / knob).write_text(words[1])
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.parametrize("relay", ["lives", "is dead, too"])
@pytest.mark.parametrize("keeper_is", ["frozen", "traced", "busy"])
def test_034_a_keeper_that_hangs_when_the_manager_dies(rng, keeper_is, relay):
    """The next manager ends it, and has everything from the relay at work. What nobody else had of
    another channel, whose relay is dead, is lost: the log says so, and the channel goes on."""
    pool = signals.samples(6000)
    with Fleet({"engine": {"schema": signals.SCHEMA}, "gear": {"schema": signals.SCHEMA}},
               storage={"sync": "20s"}) as fleet:
        relays = fleet.relays()
        keeper = fleet.status()["manager"]["keeper"]
        how = {"frozen": lambda: frozen(keeper), "busy": lambda: busy(keeper),
               "traced": lambda: busy(keeper, trap=True)}[keeper_is]
        with how():
            fleet.source("engine", pool[:2000], rate=10_000).finish()
            fleet.source("gear", pool[:2000], rate=10_000).finish()
            wait_until(lambda: all(channel["datums_accepted"] == 2000
                                   for channel in fleet.by_name().values()))
            fleet.kill_manager()
            if relay != "lives":
                os.kill(relays["gear"], signal.SIGKILL)
            fleet.source("engine", pool[2000:4000], rate=10_000).finish()
            fleet.start()
            assert fleet.relays()["engine"] == relays["engine"]
            assert f"the keeper (process {keeper}) does not answer and is ended" in fleet.log()
            assert ("gear: its relay had died, too" in fleet.log()) == (relay != "lives")
            assert "engine: its relay had died" not in fleet.log()
            fleet.source("engine", pool[4000:], rate=10_000).finish()
            fleet.source("gear", pool[2000:], rate=10_000).finish()
            wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 6000)
            gear = 6000 if relay == "lives" else 4000
            wait_until(lambda: fleet.channel("gear")["datums_accepted"] == gear)
        assert all(channel["datagrams_dropped"] == 0 for channel in fleet.by_name().values())
        wait_until(lambda: fleet.processes("flotilla-keeper")
                   == [fleet.status()["manager"]["keeper"]])
        fleet.laws = False
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool), 6000)
        if relay == "lives":
            assert container.payload(fleet.files("gear")) == (b"".join(pool), 6000)


@pytest.mark.parametrize("relay", ["lives", "dies with it"])
def test_034_the_keeper_is_killed_under_load(rng, relay):
    """The manager has everything; another keeper is told it, and then manager and relay may die."""
    pool = signals.samples(100_000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "sequence": "counter"}}) as fleet:
        source = fleet.source("engine", pool, rate=5000)
        for _ in range(5):
            time.sleep(rng.uniform(0.05, 0.2))
            keeper, pid = fleet.status()["manager"]["keeper"], fleet.relays()["engine"]
            os.kill(keeper, signal.SIGKILL)
            if relay != "lives":
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda keeper=keeper: fleet.status()["manager"]["keeper"]
                       not in (None, keeper), what="another keeper")
            wait_until(lambda: fleet.relays().get("engine"), what="a relay")
        time.sleep(1.5)  # by now the keeper has everything
        kill_all(fleet)
        fleet.start()
        container.all_recorded(fleet, source, pool)
