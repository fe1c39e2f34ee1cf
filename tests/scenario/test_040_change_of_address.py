# SPDX-License-Identifier: MIT
"""040-change-of-address: a channel's address changes under load, and its relay, its manager or both
die on the way: what comes to the old address and to the new one is received, once."""
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import container, signals
from harness.faults import flotilla_stop, slow_disk, stop_under
from harness.fleet import FLOTILLA, LONG, Fleet, copied_sockets, copy_programs, wait_until
from harness.pinger import Pinger


def test_040_an_address_changes_while_the_disk_is_slow(rng):
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


def test_040_what_comes_as_an_address_changes_is_received(rng):
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


def test_040_one_address_and_all_of_its_port(rng):
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
def test_040_a_manager_killed_as_an_address_changes(relay, rng):
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
def test_040_what_waits_where_nothing_more_comes(then, host, deaths, rng, tmp_path):
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


@pytest.mark.parametrize("then", ["stopped", "removed", "removed and added"])
def test_040_an_end_in_the_middle_of_a_change(then, rng):
    """Its relay has looked at its socket for the last time, and brings all to a slow disk; what
    came meanwhile is received by one more. A channel that is added again hears at once."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False,
               storage={"sync": "50ms"}) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet._inside = slow_disk(1.5)
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
def test_040_two_names_for_one_socket(change, rng):
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


def test_040_an_address_changes_before_the_new_buffer_had_a_relay(rng, tmp_path):
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
def test_040_a_relay_hears_again(host, rng):
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


def test_040_an_address_is_wanted_again(rng):
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
        wait_until(lambda: sender.taken - before > 500, pause=0.005, what="the address to hear")
        assert fleet.log().count(" started\n") == 2, "the disk was not slow enough"
        for each in asked:
            each.wait(60)
        taken = sender.stop()
        channel = fleet.settle()["engine"]
        assert channel["datagrams_received"] == channel["datums_recorded"] == taken
        assert channel["datagrams_dropped"] == 0


@pytest.mark.parametrize("then", ["changed", "changed back"])
def test_040_a_manager_killed_as_it_leaves_an_address(then, rng):
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


def test_040_a_channel_that_was_begun(rng):
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
