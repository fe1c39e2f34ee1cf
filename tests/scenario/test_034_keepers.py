# SPDX-License-Identifier: MIT
"""034-keepers: what was received and not recorded outlives relay and manager in the keeper,
whatever has become of that: it hangs, its socket has gone, there are two, or the system refuses
something."""
import array
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


def keeper_by_hand(folder, orders):
    """A keeper without a table, as an older version's: it takes its orders from that socket."""
    return subprocess.Popen(
        ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=orders exec "$0" "$1"', KEEPER,
         folder], pass_fds=[3], preexec_fn=lambda: os.dup2(orders.fileno(), 3),
        stdin=subprocess.DEVNULL)


def named_socket(path):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.bind(str(path))
    return one


def tell(way, text, descriptor=None):
    rights = [] if descriptor is None else [
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    way.sendmsg([text.encode()], rights)


def ask(way, word):
    """{name: inode} of what the keeper answers, and the id it says it has."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    with ours, theirs:
        tell(way, f"{word}=1\n", theirs.fileno())
        theirs.close()
        held, keeper = {}, None
        while True:
            text, passed, _, _ = socket.recv_fds(ours, 500, 4)
            if text.startswith(b"KEEPER="):
                keeper = int(text[7:])
            elif text.startswith(b"FDNAME="):
                (one,) = passed
                held[text[7:].decode().strip()] = os.fstat(one).st_ino
                os.close(one)
            elif not text or text.startswith(b"END"):
                return held, keeper


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


def start_without_copying(fleet):
    """A manager that the system does not let copy another process's descriptors."""
    program = fleet.program
    wrapper = fleet.folder / "flotilla"
    wrapper.write_text("#!/bin/sh\nexec strace -D -o /dev/null -e trace=pidfd_getfd -e "
                       f"inject=pidfd_getfd:error=EPERM {program} \"$@\"\n")
    wrapper.chmod(0o755)
    fleet.program = wrapper
    try:
        fleet.start()
    finally:
        fleet.program = program


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


@pytest.mark.parametrize("keeper_is", ["well", "hard to reach"])
def test_034_a_start_that_fails_ends_nothing(rng, keeper_is):
    """Manager and relay have died, and the next manager finds the fleet, but cannot go on."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "10s"}) as fleet:
        fleet.source("engine", pool[:2000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        (keeper,), (relay,) = fleet.processes("flotilla-keeper"), fleet.relay_processes()
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        put_in_the_way(fleet.folder / "run/control.sock")
        if keeper_is != "well":
            put_in_the_way(fleet.folder / "run/keeper.sock")
        for turn in range(2):
            fleet.start(wait=False)
            assert fleet.manager.wait(20) == 1
            assert fleet.log().count("cannot open the control socket") == turn + 1
            assert fleet.log().count("is left to the next manager") == turn + 1
            assert keeper in fleet.processes("flotilla-keeper")
            with open(f"/proc/{keeper}/stat", encoding="latin-1") as file:
                assert file.read().rpartition(")")[2].split()[0] == "S", "not suspended"
        shutil.rmtree(fleet.folder / "run/control.sock")
        fleet.source("engine", pool[2000:], rate=10_000).finish()
        fleet.start()
        everything_is_there(fleet, pool)


def test_034_a_first_start_that_fails_leaves_nothing(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        (fleet.folder / "run").mkdir()
        put_in_the_way(fleet.folder / "run/control.sock")
        fleet.start(wait=False)
        assert fleet.manager.wait(20) == 1
        fleet.manager = None
        assert not fleet.processes("flotilla-keeper") and not fleet.relay_processes()
        assert "is left to" not in fleet.log()


def test_034_managers_killed_as_they_empty_a_busy_keeper(rng):
    """It has not even come to what it was told last: a new buffer is among it."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        fleet.source("engine", pool[:1000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 1000)
        with busy(fleet.status()["manager"]["keeper"]):
            fleet.channels["engine"]["buffer"] = "16MiB"
            fleet.write()
            fleet.reload()
            fleet.source("engine", pool[1000:2000], rate=10_000).finish()
            wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
            (relay,) = fleet.relay_processes()
            fleet.kill_manager()
            os.kill(relay, signal.SIGKILL)
            for turn in range(2):
                fleet.start(wait=False)
                wait_until(lambda turn=turn: fleet.log().count("copied what it holds") > turn,
                           pause=0.0002)
                fleet.kill_manager()
                for one in fleet.relay_processes():
                    os.kill(one, signal.SIGKILL)
                for one in fleet.processes("flotilla-keeper")[1:]:
                    os.kill(one, signal.SIGKILL)  # whatever it has by now
            fleet.source("engine", pool[2000:], rate=10_000).finish()
            fleet.start()
        everything_is_there(fleet, pool)


@pytest.mark.parametrize("copying", ["allowed", "forbidden"])
@pytest.mark.parametrize("other_is", ["well", "without its socket"])
def test_034_of_two_keepers_the_fuller_counts(rng, copying, other_is):
    """One that has nothing is at the name; or none is."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "10s"}) as fleet:
        fleet.source("engine", pool[:2000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        (relay,), at_name = fleet.relay_processes(), fleet.folder / "run/keeper.sock"
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        at_name.unlink()
        with named_socket(at_name) as orders:
            second = keeper_by_hand(fleet.folder / "run", orders)
        try:
            wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 2)
            if other_is != "well":
                at_name.unlink()
            fleet.source("engine", pool[2000:], rate=10_000).finish()
            if copying == "forbidden":
                start_without_copying(fleet)
            else:
                fleet.start()
            wait_until(lambda: second.poll() is not None or len(
                fleet.processes("flotilla-keeper")) == 1, what="the second one's end")
            everything_is_there(fleet, pool)
        finally:
            second.kill()
            second.wait()


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
            assert fleet.manager.wait(20) == 1, (limit, fleet.log())
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


def test_034_a_drop_that_was_not_taken(rng):
    """A keeper that took nothing for a moment holds what it was to give up, and an address with it:
    it is followed by another."""
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
        fleet.wait_running(seconds=8)
        wait_until(lambda: "has missed what it was to give up" in fleet.log())
        wait_until(lambda: keeper not in fleet.processes("flotilla-keeper"))


def test_034_a_keeper_that_hangs_is_found_by_what_it_does_not_answer(rng):
    """All it is told is less than its socket takes."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        (keeper,) = fleet.processes("flotilla-keeper")
        os.kill(keeper, signal.SIGSTOP)
        fleet.channels["engine"]["buffer"] = "16MiB"
        fleet.write()
        fleet.reload()
        wait_until(lambda: fleet.processes("flotilla-keeper") not in ([keeper], []), seconds=8)
        wait_until(lambda: keeper not in fleet.processes("flotilla-keeper"), seconds=4)


def test_034_a_keeper_noted_as_followed_is_ended(rng):
    """Whoever noted it was killed before that."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        pool = half_recorded(fleet)
        (keeper,), relays = fleet.processes("flotilla-keeper"), fleet.relays()
        fleet.kill_manager()
        os.kill(keeper, signal.SIGSTOP)
        with open(f"/proc/{keeper}/fd/4", "r+b", buffering=0) as table:
            table.seek(20)  # behind begun_ns, orders, end
            table.write(b"\1")
        (fleet.folder / "run/keeper.sock").unlink()
        fleet.start()
        wait_until(lambda: keeper not in fleet.processes("flotilla-keeper"))
        assert fleet.relays() == relays
        everything_is_there(fleet, pool)


def test_034_an_older_keeper_that_has_the_name_again(rng, flotilla):
    """It is not told of anything more: the younger one would seem to know better."""
    pool = signals.samples(2000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        fleet.source("engine", pool[:500], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 500)
        (older,), at_name = fleet.processes("flotilla-keeper"), fleet.folder / "run/keeper.sock"
        os.kill(older, signal.SIGSTOP)
        while "another takes its place" not in fleet.log():
            flotilla("restart", "engine", "-c", fleet.file)
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 2, pause=0.005, seconds=3)
        time.sleep(0.3)
        kill_all(fleet)
        at_name.unlink()
        os.kill(older, signal.SIGHUP)
        os.kill(older, signal.SIGCONT)
        wait_until(at_name.is_socket)
        assert len(fleet.processes("flotilla-keeper")) == 2
        fleet.start(wait=False)
        wait_until(lambda: fleet.log().count("managing 1 channels") == 2, pause=0.005)
        fleet.channels["engine"]["buffer"] = "16MiB"
        fleet.write()
        fleet.reload()
        fleet.source("engine", pool[500:1000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 1000, seconds=3)
        kill_all(fleet)
        fleet.source("engine", pool[1000:], rate=10_000).finish()
        fleet.start()
        everything_is_there(fleet, pool)


def test_034_a_keeper_that_a_debugger_holds_leaves_no_zombie(rng, flotilla):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        (keeper,) = fleet.processes("flotilla-keeper")
        with busy(keeper, trap=True):
            while "another takes its place" not in fleet.log():
                flotilla("restart", "engine", "-c", fleet.file)
            time.sleep(2.5)
        wait_until(lambda: not os.path.exists(f"/proc/{keeper}"), seconds=5, what="its end")


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
        wait_until(lambda: "cannot keep everything" in fleet.log())
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


def test_034_a_keeper_does_first_what_was_said_first(rng, tmp_path):
    """Through the socket it had before, and the one before that, which it closes."""
    files = [open(tmp_path / f"file{number}", "wb") for number in range(12)]
    inodes = [os.fstat(file.fileno()).st_ino for file in files]
    ways = []

    def connect():
        wait_until((tmp_path / "keeper.sock").is_socket)
        ways.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        ways[-1].connect(str(tmp_path / "keeper.sock"))

    def keep(name, number):
        tell(ways[-1], f"FDSTORE=1\nFDNAME={name}\n", files[number].fileno())

    with named_socket(tmp_path / "keeper.sock") as orders:
        keeper = keeper_by_hand(tmp_path, orders)
    try:
        connect()
        assert ask(ways[-1], "WHO") == ({}, keeper.pid)
        for turn in range(3):
            # While it is suspended it is sent more than one round of its loop takes, by each way.
            (tmp_path / "keeper.sock").unlink()
            os.kill(keeper.pid, signal.SIGHUP)
            before = len(ways)
            connect()
            os.kill(keeper.pid, signal.SIGSTOP)
            if turn:  # first of all it closes the older one of the two, with what comes to it now
                (tmp_path / "keeper.sock").unlink()
                os.kill(keeper.pid, signal.SIGHUP)
            newest = ways.pop()
            for number in range(4):
                keep("a", number)
                keep(f"b{number}", number)
            ways.append(newest)
            for number in range(4, 7):
                keep("a", number)
            os.kill(keeper.pid, signal.SIGCONT)
            if turn:
                connect()
            assert len(ways) > before
            held, _ = ask(ways[-1], "GIVE")
            assert held == {"a": inodes[6], **{f"b{n}": inodes[n] for n in range(4)}}, turn
            for name in held:
                tell(ways[-1], f"FDSTOREREMOVE=1\nFDNAME={name}\n")
    finally:
        keeper.kill()
        keeper.wait()
        for each in files + ways:
            each.close()


def test_034_another_socket_at_the_keepers_name(rng):
    """It is not taken for the keeper's, which goes on being told, and is found by its words."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"}) as fleet:
        at_name = fleet.folder / "run/keeper.sock"
        put_in_the_way(at_name)
        wait_until(lambda: "was gone; it makes it again" in fleet.log())
        shutil.rmtree(at_name)
        with named_socket(at_name):
            time.sleep(2.5)
            fleet.channels["engine"]["buffer"] = "16MiB"
            fleet.write()
            fleet.reload()
            fleet.source("engine", pool[:2000], rate=10_000).finish()
            wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
            (relay,) = fleet.relay_processes()
            fleet.kill_manager()
            os.kill(relay, signal.SIGKILL)
            fleet.source("engine", pool[2000:], rate=10_000).finish()
            fleet.start()
            everything_is_there(fleet, pool)


def test_034_a_keeper_that_hangs_stays_until_it_is_followed(rng, flotilla, tmp_path):
    """Its program is gone for a while, so that no other one can take its place."""
    copy_programs(tmp_path)
    names = [f"c{number}" for number in range(12)]
    with Fleet({name: {"schema": signals.SCHEMA} for name in ["engine", *names]},
               storage={"sync": "20s"}, prefix=tmp_path) as fleet:
        pool = half_recorded(fleet)
        (keeper,) = fleet.processes("flotilla-keeper")
        os.rename(tmp_path / "flotilla-keeper", tmp_path / "away")
        os.kill(keeper, signal.SIGSTOP)
        for name in names:  # more than its socket takes
            for _ in range(3):
                flotilla("restart", name, "-c", fleet.file, check=0)
        wait_until(lambda: "another takes its place" in fleet.log())
        wait_until(lambda: "cannot start" in fleet.log())
        relay = fleet.relays()["engine"]
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        os.rename(tmp_path / "away", tmp_path / "flotilla-keeper")
        fleet.start()
        everything_is_there(fleet, pool)


def freezer():
    """Makes a control group that can be frozen: its folder, and how to freeze and thaw it."""
    name = f"flotilla-test-{os.getpid()}"
    for mount, knob, words in ((Path("/sys/fs/cgroup/freezer"), "freezer.state",
                                ("FROZEN", "THAWED")),
                               (Path("/sys/fs/cgroup/unified"), "cgroup.freeze", ("1", "0")),
                               (Path("/sys/fs/cgroup"), "cgroup.freeze", ("1", "0"))):
        with contextlib.suppress(OSError):
            (mount / name).mkdir()
            if (mount / name / knob).exists():
                return mount / name, knob, words
            (mount / name).rmdir()
    pytest.skip("needs a control group that can be frozen")


def test_034_a_frozen_keeper(needs_root, rng):
    """No signal reaches it, not even SIGKILL; a manager has what it holds all the same, and so has
    the next one. Thawed, it is gone."""
    with contextlib.ExitStack() as after:
        group, knob, (frozen, thawed) = freezer()
        after.callback(group.rmdir)
        after.callback(wait_until, lambda: not (group / "cgroup.procs").read_text())
        fleet = after.enter_context(Fleet({"engine": {"schema": signals.SCHEMA}},
                                          storage={"sync": "20s"}))
        after.callback((group / knob).write_text, thawed)
        pool = half_recorded(fleet)
        for _ in range(2):
            relay, keeper = fleet.relays()["engine"], fleet.status()["manager"]["keeper"]
            (group / "cgroup.procs").write_text(str(keeper))
            (group / knob).write_text(frozen)
            fleet.kill_manager()
            os.kill(relay, signal.SIGKILL)
            fleet.start()
            assert fleet.status()["manager"]["keeper"] != keeper
            assert fleet.channel("engine")["datums_accepted"] == 3000
            time.sleep(1.5)  # by now the new one has everything
        assert len(fleet.processes("flotilla-keeper")) == 3
        (group / knob).write_text(thawed)
        everything_is_there(fleet, pool)


def test_034_a_keeper_that_cannot_be_followed_stays(rng, flotilla, tmp_path):
    """Its program is gone, and then the runtime folder: what it holds is there all the same."""
    copy_programs(tmp_path)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "20s"},
               prefix=tmp_path) as fleet:
        pool = half_recorded(fleet)
        keeper, relay = fleet.status()["manager"]["keeper"], fleet.channel("engine")["pid"]
        os.rename(tmp_path / "flotilla-keeper", tmp_path / "away")
        shutil.rmtree(fleet.folder / "run")
        wait_until(lambda: fleet.status(missing={}), what="the control socket again")
        wait_until((fleet.folder / "run/keeper.sock").is_socket, what="the keeper's socket again")
        assert fleet.processes("flotilla-keeper") == [keeper]
        time.sleep(2.5)
        assert fleet.log().count("cannot") == 0, fleet.log()
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        os.rename(tmp_path / "away", tmp_path / "flotilla-keeper")
        fleet.start()
        assert fleet.channel("engine")["restarts"] == 1
        everything_is_there(fleet, pool)


@pytest.mark.parametrize("obstacle", ["folder", "empty folder", "traced", "busy"])
def test_034_a_keeper_that_cannot_be_asked_is_emptied(rng, obstacle):
    """It is healthy, but nobody can reach it; or it does not answer, and no signal will change
    that. With the relay dead it alone has what was received."""
    pool = signals.samples(9000)
    with Fleet({"engine": {"schema": signals.SCHEMA}, "gear": {"schema": signals.SCHEMA}},
               storage={"sync": "5s"}) as fleet:
        fleet.source("engine", pool[:3000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 3000)
        keeper, relay = fleet.status()["manager"]["keeper"], fleet.channel("engine")["pid"]
        at_name, sent = fleet.folder / "run/keeper.sock", 3000
        with contextlib.ExitStack() as after:
            if "folder" in obstacle:
                fleet.kill_manager()
                put_in_the_way(at_name, empty=obstacle == "empty folder")
            else:
                after.enter_context(busy(keeper, trap=obstacle == "traced"))
                # What it is told now it does not come to any more: a new buffer is among it.
                fleet.channels["engine"]["buffer"] = "16MiB"
                fleet.write()
                fleet.reload()
                relay = fleet.channel("engine")["pid"]
                fleet.source("engine", pool[3000:4000], rate=10_000).finish()
                wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 4000)
                sent = 4000
                fleet.kill_manager()
            os.kill(relay, signal.SIGKILL)
            fleet.source("engine", pool[sent:6000], rate=10_000).finish()
            fleet.start()
            wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 6000)
            if obstacle == "folder":
                # The next one is as hard to reach, and is emptied as well.
                assert "cannot make the keeper's socket" in fleet.log()
                relay = fleet.channel("engine")["pid"]
                fleet.kill_manager()
                os.kill(relay, signal.SIGKILL)
                fleet.source("engine", pool[6000:], rate=10_000).finish()
                fleet.start()
                shutil.rmtree(at_name)
                wait_until(at_name.is_socket, what="the keeper's socket")
            else:
                fleet.source("engine", pool[6000:], rate=10_000).finish()
        wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1)
        assert fleet.processes("flotilla-keeper") == [fleet.status()["manager"]["keeper"]]
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 9000)
        assert fleet.channel("engine")["datagrams_dropped"] == 0
        only_one = fleet.status()["manager"]["keeper"]
        assert (only_one == keeper) == (obstacle == "empty folder")
        fleet.laws = False
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(pool), 9000)


def test_034_managers_killed_as_they_empty_a_keeper(rng):
    """It stays until another has all that it holds: whatever was copied by then, the next manager
    finds it again."""
    pool = signals.samples(4000)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, storage={"sync": "10s"}) as fleet:
        fleet.source("engine", pool[:2000], rate=10_000).finish()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 2000)
        relay = fleet.channel("engine")["pid"]
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        put_in_the_way(fleet.folder / "run/keeper.sock")
        fleet.source("engine", pool[2000:], rate=10_000).finish()
        for turn in range(6):
            fleet.start(wait=False)
            wait_until(lambda: fleet.log().count("copied what it holds") > turn, pause=0.001)
            time.sleep(rng.uniform(0, 0.02) if turn % 2 else 0)
            fleet.kill_manager()
            for relay in fleet.relay_processes():
                os.kill(relay, signal.SIGKILL)
        fleet.start()
        wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 4000)
        everything_is_there(fleet, pool)


def test_034_a_link_to_another_fleets_keeper(rng):
    """Neither fleet has to do with the other's."""
    pool = signals.samples(3000)
    keys = {"engine": {"schema": signals.SCHEMA}}
    with Fleet(keys, storage={"sync": "5s"}) as other, Fleet(keys, storage={"sync": "5s"}) as fleet:
        for each in other, fleet:
            each.source("engine", pool, rate=10_000).finish()
            wait_until(lambda each=each: each.channel("engine")["datums_accepted"] == 3000)
        keepers = [each.status()["manager"]["keeper"] for each in (other, fleet)]
        relay, at_name = fleet.channel("engine")["pid"], fleet.folder / "run/keeper.sock"
        fleet.kill_manager()
        os.kill(relay, signal.SIGKILL)
        at_name.unlink()
        at_name.symlink_to(other.folder / "run/keeper.sock")
        fleet.start()
        assert [each.status()["manager"]["keeper"] for each in (other, fleet)] == keepers
        at_name.unlink()
        at_name.symlink_to(other.folder / "run/keeper.sock")
        wait_until(lambda: not at_name.is_symlink(), what="a socket of its own")
        for each in fleet, other:
            assert each.channel("engine")["datums_accepted"] == 3000
            each.stop()
            assert container.payload(each.files("engine")) == (b"".join(pool), 3000)


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
    """Yama's ptrace_scope of 1, and a fleet without privileges: keeper and relay let the manager
    copy all the same."""
    done = subprocess.run([ROOT / "tests/systemd/vm", ROOT / "tests/systemd/check_yama"],
                          capture_output=True, text=True, timeout=900)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in "emptied: 1000", "copied: 1000, relays 1", "datums 1000":
        assert words in done.stdout, done.stdout
