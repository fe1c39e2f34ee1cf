# SPDX-License-Identifier: MIT
"""051-interfaces-made-anew: interfaces that go, come back under their name with another number (or
the same), are renamed or come late: joined again and sent by again within two seconds, with all
that waits in the sockets; what cannot be sent is counted; alternative names are names."""
import contextlib
import os
import re
import signal
import subprocess
import time

import pytest
from harness import container, signals
from harness.fleet import Addresses, Fleet, flotilla, wait_until
from harness.network import Network, refuse_netlink, take


@pytest.fixture
def network(needs_root):
    with Network() as one:
        one.link("eth0", 1)
        yield one


def gone(fleet, name, words="eth0 is gone; nothing can come until it is back"):
    channel = fleet.channel(name)
    return channel["reason"] == words and channel


def there(fleet, name):
    channel = fleet.channel(name)
    return channel["reason"] == "" and channel["state"] in ("running", "silent") and channel


def counted(fleet, name):
    """What came is known to the last datagram, and what was to be sent on as well."""
    channel = fleet.settle()[name]
    assert channel["datums_recorded"] == channel["datagrams_received"]
    assert channel["datagrams_received"] == channel["datagrams_sent_full"] + channel["send_errors"]
    assert channel["datagrams_dropped"] == 0
    return channel


def both_ways(network, fleet, name, listener, number=1):
    """Each of fifty datagrams comes and is sent on."""
    before = counted(fleet, name)
    pool = signals.samples(50, start=100_000 + before["datagrams_received"])
    network.send(fleet.address(name), number, pool)
    fleet.settle({name: before["datagrams_received"] + 50})
    heard = []

    def all_of_them():  # what was sent before may still be on its way
        heard.extend(one for one in take(listener) if one in pool)
        return len(heard) >= 50
    wait_until(all_of_them)
    assert heard == pool
    after = counted(fleet, name)
    assert after["datagrams_sent_full"] == before["datagrams_sent_full"] + 50, after


PLACES = {
    "group": lambda a: (a.group(), a.group()),
    "group6": lambda a: (a.group6(), a.group6()),
    "unicast": lambda a: (f"10.9.1.1:{a.port()}", f"10.9.1.2:{a.port()}"),
    "unicast6": lambda a: (f"[fd09:1::1]:{a.port()}", f"[fd09:1::2]:{a.port()}"),
}


def away_and_back(network, fleet, listener, full):
    """The interface is gone until that is told of, and then made anew: heard within two seconds."""
    network.remove("eth0")
    wait_until(lambda: fleet.channel("engine")["state"] == "failed")
    network.link("eth0", 1)
    network.join(listener, full, 1)
    _, took = network.until_heard(fleet, "engine", 1)
    assert took < 2, fleet.log()
    wait_until(lambda: there(fleet, "engine"))
    both_ways(network, fleet, "engine", listener)


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("place", PLACES)
def test_051_made_anew(network, seed, place, offload):
    addresses = Addresses()
    listen, full = PLACES[place](addresses)
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "listen": listen,
                           "full": full, "offload": offload}},
               addresses=addresses, inside=network.inside,
               storage={"direct_io": "auto" if offload == "auto" else "off"}) as fleet:
        listener = network.listener(full, 1)
        both_ways(network, fleet, "engine", listener)
        relay = fleet.relays()["engine"]
        for _ in range(3):
            away_and_back(network, fleet, listener, full)
        # And so quickly that nobody may have looked in between; more often than a socket can be in
        # a group at once.
        for _ in range(25):
            network.remake("eth0", 1)
        network.join(listener, full, 1)
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        both_ways(network, fleet, "engine", listener)
        assert fleet.relays()["engine"] == relay, "it did not need another relay"
        assert " is back after " in fleet.log()
        fleet.stop()
        assert container.payload(fleet.files("engine"))[1] > 250


def test_051_renamed_away_and_back(network, seed):
    """The name in the configuration counts: of an interface that is called otherwise now nothing is
    heard, and nothing is sent by it."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "full": True}},
               inside=network.inside) as fleet:
        full = fleet.address("engine", "full")
        listener = network.listener(full, 1)
        both_ways(network, fleet, "engine", listener)
        for _ in range(2):
            network.ip("link set eth0 down")
            network.ip("link set eth0 name lan7")
            network.ip("link set lan7 up")
            wait_until(lambda: gone(fleet, "engine"))
            before = counted(fleet, "engine")
            network.send(fleet.address("engine"), 1, signals.samples(30))
            time.sleep(0.3)
            assert counted(fleet, "engine") == before and take(listener) == []
            # Another one takes the name; what comes there is heard.
            network.link("eth0", 2)
            listener2 = network.listener(full, 2)
            _, took = network.until_heard(fleet, "engine", 2)
            assert took < 2, fleet.log()
            both_ways(network, fleet, "engine", listener2, 2)
            network.send(fleet.address("engine"), 1, signals.samples(30))
            both_ways(network, fleet, "engine", listener2, 2)
            assert take(listener) == []
            listener2.close()
            network.remove("eth0")
            wait_until(lambda: gone(fleet, "engine"))
            network.ip("link set lan7 down")
            network.ip("link set lan7 name eth0")
            network.ip("link set eth0 up")
            _, took = network.until_heard(fleet, "engine", 1)
            assert took < 2, fleet.log()
            both_ways(network, fleet, "engine", listener)


@pytest.mark.parametrize("place", ["group", "group6"])
def test_051_the_same_number_again(network, seed, place):
    """To another namespace and back: the interface keeps its number, and has lost its groups."""
    addresses = Addresses()
    listen, full = PLACES[place](addresses)
    network.remove("eth0")
    network.link("eth0", 1, index="index 77")
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "listen": listen,
                           "full": full}}, addresses=addresses, inside=network.inside) as fleet:
        listener = network.listener(full, 1)
        both_ways(network, fleet, "engine", listener)
        number = network.ip("-o link show eth0").split(":")[0]
        network.ip(f"link set eth0 netns {network.peer}")
        network.ip(f"link set eth0 netns {network.host}", network.peer)
        assert network.ip("-o link show eth0").split(":")[0] == number
        network.ip("addr add 10.9.1.1/24 dev eth0")
        network.ip("-6 addr add fd09:1::1/64 dev eth0 nodad")
        network.ip("link set eth0 up")
        network.join(listener, full, 1)
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        both_ways(network, fleet, "engine", listener)


def test_051_what_waits_in_the_socket_stays(network, seed):
    """With the relay suspended and no manager there, an interface is made anew: what has come
    before is recorded, and what comes after."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "full": True}},
               inside=network.inside) as fleet:
        listener = network.listener(fleet.address("engine", "full"), 1)
        fleet.kill_manager()
        relay = fleet.relays()["engine"]
        os.kill(relay, signal.SIGSTOP)
        pool = signals.samples(500)
        network.send(fleet.address("engine"), 1, pool)
        network.remake("eth0", 1)
        network.join(listener, fleet.address("engine", "full"), 1)
        fleet.start(wait=False)
        os.kill(relay, signal.SIGCONT)
        fleet.wait_running()
        assert fleet.settle({"engine": 500})["engine"]["datums_recorded"] == 500
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        both_ways(network, fleet, "engine", listener)
        fleet.stop()
        assert container.payload(fleet.files("engine"))[0].startswith(b"".join(pool))


def test_051_an_output_that_is_away_stops_no_recording(network, seed):
    """Only what is sent by it fails, is counted, and has a reason, whether it goes or was never
    there, over deaths of relay and manager."""
    addresses = Addresses()
    listen = addresses.unicast()
    full, decimated = addresses.group(), addresses.group()
    words = "{}; nothing can be sent until {}"
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "usb0", "listen": listen,
                           "full": full, "decimated": {"to": decimated, "factor": 1}}},
               addresses=addresses, inside=network.inside, run=False) as fleet:
        def send(count):
            before = fleet.channel("engine")["datagrams_received"]
            fleet.source("engine", signals.samples(count), rate=5000).finish()
            return fleet.settle({"engine": before + count})["engine"]
        fleet.start()
        never = words.format("there is no interface usb0", "there is")
        wait_until(lambda: gone(fleet, "engine", never))
        assert fleet.channel("engine")["state"] in ("running", "silent", "starting")
        engine = send(100)
        assert engine["datums_recorded"] == 100 and engine["send_errors"] == 200, engine
        os.kill(fleet.relays()["engine"], signal.SIGKILL)
        assert send(100)["datums_recorded"] == 200
        fleet.kill_manager()
        fleet.start()
        engine = send(100)
        assert engine["datums_recorded"] == 300 and engine["send_errors"] == 600, engine
        sent = 0
        for _ in range(2):
            network.link("usb0", 2)
            listeners = [network.listener(to, 2) for to in (full, decimated)]
            wait_until(lambda: there(fleet, "engine"), seconds=2)
            before = fleet.channel("engine")
            engine = send(100)
            sent += 100
            assert engine["datagrams_sent_full"] == engine["datums_sent_decimated"] == sent, engine
            assert engine["send_errors"] == before["send_errors"]
            for listener in listeners:
                heard = []
                wait_until(lambda: heard.extend(take(listener)) or len(heard) >= 100)
                assert heard == signals.samples(100)
                listener.close()
            network.remove("usb0")
            wait_until(lambda: gone(fleet, "engine",
                                    words.format("usb0 is gone", "it is back")))
            engine = send(100)
            assert engine["send_errors"] == before["send_errors"] + 200, engine
        assert engine["datums_recorded"] == 700
        assert re.search(r"usb0 is there after \d+\.\d s: sending there again", fleet.log())
        assert re.search(r"engine: 200 datagrams could not be sent meanwhile", fleet.log())
        assert re.search(r"usb0 is back after \d+\.\d s: sending there again", fleet.log())


def test_051_the_way_that_the_routing_table_chooses(network, seed):
    """Without an interface in the file: joined where the route leads now."""
    network.ip("route add 239.0.0.0/8 dev eth0")
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0"}}, run=False,
               inside=network.inside) as fleet:
        del fleet.channels["engine"]["interface"]
        fleet.write()
        fleet.start()
        network.until_heard(fleet, "engine", 1)
        network.remove("eth0")
        wait_until(lambda: "no interface leads to" in fleet.channel("engine")["reason"])
        fleet.kill_manager()
        fleet.start(wait=False)
        wait_until(lambda: "no interface leads to" in fleet.status(missing={"channels": [
            {"reason": ""}]})["channels"][0]["reason"])
        network.link("eth0", 1)
        network.link("eth1", 2)
        network.ip("route add 239.0.0.0/8 dev eth0")
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        network.ip("route replace 239.0.0.0/8 dev eth1")
        _, took = network.until_heard(fleet, "engine", 2)
        assert took < 2, fleet.log()
        assert counted_in(fleet)["datagrams_dropped"] == 0


def counted_in(fleet):
    channel = fleet.settle()["engine"]
    assert channel["datums_recorded"] == channel["datagrams_received"]
    return channel


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_051_where_nobody_tells(network, seed, user):
    """Without netlink one looks once a second."""
    address = f"10.9.1.1:{Addresses().port()}"
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "full": True},
                "uni": {"schema": signals.SCHEMA, "interface": "eth0", "listen": address}},
               inside=[*network.inside, *ordinary(user)], run=False) as fleet:
        allow(fleet)
        fleet.start(preexec_fn=refuse_netlink)
        assert "does not tell of changes to interfaces" in fleet.log()
        full = fleet.address("engine", "full")
        listener = network.listener(full, 1)
        for _ in range(2):
            network.remove("eth0")
            wait_until(lambda: gone(fleet, "engine"))
            wait_until(lambda: "no interface has" in fleet.channel("uni")["reason"])
            network.link("eth0", 1)
            network.join(listener, full, 1)
            begun = time.monotonic()
            network.until_heard(fleet, "engine", 1)
            network.until_heard(fleet, "uni", 1)
            assert time.monotonic() - begun < 2, fleet.log()
            wait_until(lambda: there(fleet, "engine"))
            both_ways(network, fleet, "engine", listener)


def ordinary(user):
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all"] if user == "ordinary" else []


def allow(fleet):
    for path in [fleet.folder, *fleet.folder.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)


@pytest.mark.parametrize("place", PLACES)
def test_051_made_anew_for_an_ordinary_user(network, seed, place):
    addresses = Addresses()
    listen, full = PLACES[place](addresses)
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "listen": listen,
                           "full": full, "receive_queue": "200KiB"}}, run=False,
               addresses=addresses, inside=[*network.inside, *ordinary("ordinary")]) as fleet:
        allow(fleet)
        fleet.start()
        listener = network.listener(full, 1)
        both_ways(network, fleet, "engine", listener)
        for _ in range(2):
            away_and_back(network, fleet, listener, full)


@pytest.mark.parametrize("name", ["tele0", "the-telemetry-network-of-the-left-wing-" + "x" * 88])
def test_051_alternative_names(network, seed, name):
    """An interface's other names do for all, and are one interface."""
    assert len(name) < 128
    if subprocess.run(["ip", "-n", network.host, "link", "property", "add", "dev", "eth0",
                       "altname", name], capture_output=True).returncode:
        pytest.skip("needs alternative names of interfaces")
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": name, "full": True}},
               inside=network.inside) as fleet:
        full = fleet.address("engine", "full")
        listener = network.listener(full, 1)
        both_ways(network, fleet, "engine", listener)

        def run(*words):
            return subprocess.run([*network.inside, str(fleet.program), *words, "-c",
                                   str(fleet.file)], capture_output=True, text=True)
        assert run("check").returncode == 0
        network.remake("eth0", 1)
        wait_until(lambda: fleet.channel("engine")["reason"]
                   == f"{name} is gone; nothing can come until it is back")
        network.ip(f"link property add dev eth0 altname {name}")
        network.join(listener, full, 1)
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        both_ways(network, fleet, "engine", listener)
        # The relay that follows finds it, too.
        os.kill(fleet.relays()["engine"], signal.SIGKILL)
        both_ways(network, fleet, "engine", listener)
        # One interface by two names is one interface.
        fleet.set("other", {"schema": signals.SCHEMA, "listen": fleet.address("engine"),
                            "interface": "eth0"})
        fleet.set("loop", {"schema": signals.SCHEMA, "full": fleet.address("engine"),
                           "interface": "eth0"})
        fleet.write()
        clash = run("check")
        assert clash.returncode == 78
        assert "is the input of channel \"engine\" already" in clash.stderr
        assert "is the input of channel \"engine\" (" in clash.stderr
        assert fleet.reload(check=None).returncode == 78
        both_ways(network, fleet, "engine", listener)


TOO_MUCH = "more has happened to interfaces than the system could tell of"


def flood_of_news(network):
    """More than the system keeps for who does not read: some thousands of changes."""
    addresses = [f"10.77.{i // 250}.{i % 250 + 1}/32" for i in range(3000)]
    for verb in "add", "del":
        subprocess.run(["ip", "-n", network.host, "-batch", "-"], check=True, text=True,
                       input="".join(f"address {verb} {one} dev lo\n" for one in addresses))


@pytest.mark.parametrize("user", ["root", "ordinary"])
@pytest.mark.parametrize("manager", ["suspended", "killed"])
@pytest.mark.parametrize("place", ["group", "group6"])
def test_051_the_same_number_and_nobody_was_told(network, seed, place, manager, user):
    """An interface is made anew with its number, and the news of it are lost, or no manager is
    there: what is left of the membership is told from one that holds. Two channels are in that
    group, so that one must not leave for the other."""
    addresses = Addresses()
    listen, full = PLACES[place](addresses)
    second = f"{listen.rpartition(':')[0]}:{addresses.port()}"
    network.remove("eth0")
    network.link("eth0", 1, index="index 77")
    keys = {"schema": signals.SCHEMA, "interface": "eth0"}
    with Fleet({"engine": {**keys, "listen": listen, "full": full},
                "second": {**keys, "listen": second}}, addresses=addresses, run=False,
               inside=[*network.inside, *ordinary(user)]) as fleet:
        allow(fleet)
        fleet.start()
        listener = network.listener(full, 1)
        both_ways(network, fleet, "engine", listener)
        if manager == "killed":
            fleet.kill_manager()
        else:
            os.kill(fleet.manager.pid, signal.SIGSTOP)
            flood_of_news(network)
        network.remove("eth0")
        network.link("eth0", 1, index="index 77")
        network.join(listener, full, 1)
        if manager == "killed":
            fleet.start()
        else:
            os.kill(fleet.manager.pid, signal.SIGCONT)
        for name in "engine", "second":
            network.until_heard(fleet, name, 1, seconds=10)
        both_ways(network, fleet, "engine", listener)
        log = fleet.log()
        assert (TOO_MUCH in log) == (manager == "suspended"), log
        for name in "engine", "second":
            assert f"{name}: eth0 is another one now, or was made anew: listening there" in log
        # That one goes takes nothing from the other.
        fleet.channels.pop("second")
        fleet.write()
        fleet.reload()
        both_ways(network, fleet, "engine", listener)


def test_051_news_are_lost_and_no_datagram(network, seed):
    """Where nothing has become of the interface, nothing is lost for want of news of others."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0"}},
               inside=network.inside) as fleet:
        sent = 0
        for _ in range(3):
            os.kill(fleet.manager.pid, signal.SIGSTOP)
            flood_of_news(network)
            before = fleet.log().count(TOO_MUCH)
            os.kill(fleet.manager.pid, signal.SIGCONT)

            def told():
                nonlocal sent
                network.send(fleet.address("engine"), 1, signals.samples(10))
                sent += 10
                return fleet.log().count(TOO_MUCH) > before
            wait_until(told, pause=0.001)
            for _ in range(20):
                network.send(fleet.address("engine"), 1, signals.samples(10))
                sent += 10
        engine = fleet.settle({"engine": sent})["engine"]
        assert engine["datums_recorded"] == sent and "anew" not in fleet.log()


def test_051_out_of_descriptors_for_a_while(network, seed):
    """Then one looks once a second; and is told again once there are some."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0"}},
               inside=network.inside) as fleet:
        manager = str(fleet.manager.pid)
        limits = ["prlimit", "--pid", manager]
        soft = subprocess.check_output([*limits, "--nofile", "-o", "SOFT", "--noheadings",
                                        "--raw"], text=True).strip()
        subprocess.run([*limits, "--nofile=6:"], check=True)  # the first ones are in use
        os.kill(fleet.relays()["engine"], signal.SIGKILL)
        wait_until(lambda: "out of open files: looking" in fleet.log())
        subprocess.run([*limits, f"--nofile={soft}:"], check=True)
        wait_until(lambda: "the system tells of changes to interfaces now" in fleet.log())
        fleet.wait_running()
        network.remake("eth0", 1)
        network.until_heard(fleet, "engine", 1, seconds=10)
        assert fleet.log().count("out of open files: looking") == 1, fleet.log()


def test_051_a_reload_while_it_is_away(network, seed):
    """Changes are made meanwhile, and hold when it is back."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "full": True}},
               inside=network.inside) as fleet:
        network.send(fleet.address("engine"), 1, signals.samples(50))
        fleet.settle({"engine": 50})
        network.remove("eth0")
        wait_until(lambda: gone(fleet, "engine"))
        fleet.channels["engine"]["full"] = full = fleet.addresses.group()
        fleet.channels["engine"]["buffer"] = "32MiB"
        fleet.write()
        fleet.reload(check=None)
        flotilla("restart", "engine", "-c", fleet.file)
        assert fleet.settle()["engine"]["datums_recorded"] == 50
        network.link("eth0", 1)
        listener = network.listener(full, 1)
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        wait_until(lambda: there(fleet, "engine"))
        with contextlib.suppress(AssertionError):
            take(listener)
        before = fleet.settle()["engine"]
        network.send(fleet.address("engine"), 1, signals.samples(50))
        after = fleet.settle({"engine": before["datagrams_received"] + 50})["engine"]
        assert after["datagrams_sent_full"] - before["datagrams_sent_full"] == 50


def test_051_between_two_networks(network, seed):
    """Each way is followed by itself: where the way out goes, receiving and recording do not
    notice; where the way in goes, nothing else is said."""
    network.link("eth1", 2)
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "full": True,
                           "send_interface": "eth1"}}, inside=network.inside) as fleet:
        full = fleet.address("engine", "full")
        listener = network.listener(full, 2)
        both_ways(network, fleet, "engine", listener)
        sent, errors = 50, 0
        for _ in range(2):
            network.remove("eth1")
            wait_until(lambda: gone(fleet, "engine",
                                    "eth1 is gone; nothing can be sent until it is back"))
            assert fleet.channel("engine")["state"] in ("running", "silent")
            network.send(fleet.address("engine"), 1, signals.samples(50))
            errors += 50
            sent += 50
            fleet.settle({"engine": sent})
            assert counted(fleet, "engine")["send_errors"] == errors
            network.link("eth1", 2)
            network.join(listener, full, 2)
            wait_until(lambda: there(fleet, "engine"), seconds=2)
            both_ways(network, fleet, "engine", listener)
            sent += 50
            network.remove("eth0")
            wait_until(lambda: gone(fleet, "engine"))
            assert fleet.channel("engine")["state"] == "failed"
            network.link("eth0", 1)
            tries, took = network.until_heard(fleet, "engine", 1)
            assert took < 2, fleet.log()
            wait_until(lambda: there(fleet, "engine"))
            both_ways(network, fleet, "engine", listener)
            sent = counted(fleet, "engine")["datagrams_received"]
        assert counted(fleet, "engine")["send_errors"] == errors == 100
        assert fleet.log().count("50 datagrams could not be sent meanwhile") == 2, fleet.log()


def test_051_both_ways_are_away(network, seed):
    """What is told of one way is its own: how long it was away, and how many could not be sent; and
    of what a manager has seen itself."""
    network.link("eth1", 2)
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0", "full": True,
                           "send_interface": "eth1"}}, inside=network.inside) as fleet:
        def tell(number, name):
            """The next line that says how long it was away: seconds."""
            network.link(name, number)
            line = wait_until(lambda: re.findall(rf"{name} is \w+ after (\d+\.\d) s", fleet.log()))
            return float(line[-1])
        network.remove("eth1")
        wait_until(lambda: gone(fleet, "engine",
                                "eth1 is gone; nothing can be sent until it is back"))
        network.send(fleet.address("engine"), 1, signals.samples(50))
        fleet.settle({"engine": 50})
        time.sleep(3)
        network.remove("eth0")
        wait_until(lambda: gone(fleet, "engine"))
        assert tell(1, "eth0") < 3, fleet.log()
        wait_until(lambda: gone(fleet, "engine",
                                "eth1 is gone; nothing can be sent until it is back"))
        assert "could not be sent" not in fleet.log()
        # Another manager, which finds it away, and these fifty failed.
        fleet.kill_manager()
        fleet.start()
        wait_until(lambda: "there is no interface eth1" in fleet.channel("engine")["reason"])
        _, took = network.until_heard(fleet, "engine", 1)
        before = fleet.settle()["engine"]["send_errors"]
        assert before >= 51
        tell(2, "eth1")
        said = wait_until(lambda: re.findall(r"(\d+) datagrams could not be sent meanwhile",
                                             fleet.log()))
        assert said == [str(before - 50)], fleet.log()
