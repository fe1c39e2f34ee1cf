# SPDX-License-Identifier: MIT
"""052-addresses-come-and-go: an address that comes late (DHCP), is taken away and given back, moves
to another interface, or is still being tried for a duplicate (IPv6): heard at once when it is
there, with what waits in the socket; said meanwhile; and the same where groups are on its
interface."""
import os
import signal
import time

import pytest
from harness import container, signals
from harness.fleet import Addresses, Fleet, wait_until
from harness.network import Network


@pytest.fixture
def network(needs_root):
    with Network() as one:
        one.link("eth0", 1, addresses=False)
        yield one


ADDRESSES = {"ipv4": ("10.9.1.1", "10.9.1.1/24"), "ipv6": ("[fd09:1::1]", "fd09:1::1/64")}


def give(network, place, name="eth0"):
    network.ip(f"address add {ADDRESSES[place][1]} dev {name}"
               + (" nodad" if place == "ipv6" else ""))


def take_away(network, place, name="eth0"):
    network.ip(f"address del {ADDRESSES[place][1]} dev {name}")


def fleet_at(network, place, **keys):
    addresses = Addresses()
    listen = f"{ADDRESSES[place][0]}:{addresses.port()}"
    return Fleet({"engine": {"schema": signals.SCHEMA, "listen": listen, "interface": "eth0"},
                  "all": {"schema": signals.SCHEMA, "interface": "eth0",
                          "listen": addresses.group() if place == "ipv4" else addresses.group6()}},
                 addresses=addresses, inside=network.inside, **keys)


def has_no_address(fleet):
    channel = fleet.channel("engine")
    return channel["state"] == "failed" and "no interface has the address" in channel["reason"]


def is_there(fleet):
    channel = fleet.channel("engine")
    return channel["state"] in ("running", "silent") and channel["reason"] == ""


@pytest.mark.parametrize("place", ADDRESSES)
def test_052_an_address_that_comes_late(network, seed, place):
    with fleet_at(network, place, run=False) as fleet:
        fleet.start(wait=False)
        wait_until(lambda: fleet.status(missing={}).get("channels") and has_no_address(fleet))
        time.sleep(4)  # the waits used to grow
        give(network, place)
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        wait_until(lambda: is_there(fleet))
        # To the last one of those that come from now on.
        before = fleet.settle()["engine"]["datagrams_received"]
        network.send(fleet.address("engine"), 1, signals.samples(200))
        engine = fleet.settle({"engine": before + 200})["engine"]
        assert engine["datums_recorded"] == engine["datagrams_received"] == before + 200
        network.send(fleet.address("all"), 1, signals.samples(50))
        assert fleet.settle({"all": 50})["all"]["datagrams_received"] == 50


@pytest.mark.parametrize("place", ADDRESSES)
def test_052_an_address_that_goes_and_comes_back(network, seed, place):
    """Under its relay, over a takeover, and while the relay is suspended: the socket stays."""
    give(network, place)
    with fleet_at(network, place) as fleet:
        pool = signals.samples(100)
        network.send(fleet.address("engine"), 1, pool)
        relay = fleet.relays()["engine"]
        fleet.settle({"engine": 100})
        for _ in range(3):
            take_away(network, place)
            wait_until(lambda: has_no_address(fleet))
            give(network, place)
            _, took = network.until_heard(fleet, "engine", 1)
            assert took < 2, fleet.log()
            wait_until(lambda: is_there(fleet))
        assert fleet.relays()["engine"] == relay
        before = fleet.settle()["engine"]["datagrams_received"]
        fleet.kill_manager()
        os.kill(relay, signal.SIGSTOP)
        network.send(fleet.address("engine"), 1, signals.samples(300))
        take_away(network, place)
        os.kill(relay, signal.SIGKILL)
        fleet.start(wait=False)
        wait_until(lambda: fleet.status(missing={}).get("channels") and has_no_address(fleet))
        engine = fleet.settle({"engine": before + 300})["engine"]
        assert engine["datums_recorded"] == before + 300 and engine["datagrams_dropped"] == 0
        give(network, place)
        _, took = network.until_heard(fleet, "engine", 1)
        assert took < 2, fleet.log()
        fleet.stop()
        assert container.payload(fleet.files("engine"))[0].startswith(b"".join(pool))


@pytest.mark.parametrize("place", ADDRESSES)
def test_052_an_address_that_moves(network, seed, place):
    """To another interface: one address is heard wherever it is."""
    give(network, place)
    with fleet_at(network, place) as fleet:
        network.until_heard(fleet, "engine", 1)
        take_away(network, place)
        wait_until(lambda: has_no_address(fleet))
        network.link("eth1", 2, addresses=False)
        network.ip(f"address add {ADDRESSES[place][1].replace('/24', '/32').replace('/64', '/128')}"
                   " dev eth1" + (" nodad" if place == "ipv6" else ""))
        back = "10.9.2.2" if place == "ipv4" else "fd09:2::2"
        network.ip(f"route add {back} dev eth1")
        bare = ADDRESSES[place][0].strip("[]")
        network.ip(f"route del {'10.9.1.0/24' if place == 'ipv4' else 'fd09:1::/64'}", network.peer)
        network.ip(f"route add {bare} dev peer2", network.peer)
        _, took = network.until_heard(fleet, "engine", 2)
        assert took < 2, fleet.log()
        wait_until(lambda: is_there(fleet))


def test_052_a_duplicate_is_looked_for(network, seed):
    """An IPv6 address that is still tentative, as it is for a second or two when an interface
    comes: that is said, and it is listened at as soon as it may be used."""
    give(network, "ipv6")
    with fleet_at(network, "ipv6") as fleet:
        network.remove("eth0")
        network.link("eth0", 1, addresses=False)
        network.ip("address add fd09:1::1/64 dev eth0")
        wait_until(lambda: has_no_address(fleet) or is_there(fleet))
        wait_until(lambda: "tentative" not in network.ip("-6 address show dev eth0"))
        begun = time.monotonic()
        network.until_heard(fleet, "engine", 1)
        network.until_heard(fleet, "all", 1)
        assert time.monotonic() - begun < 2, fleet.log()
        before = fleet.settle()["engine"]["datagrams_received"]
        network.send(fleet.address("engine"), 1, signals.samples(100))
        assert fleet.settle({"engine": before + 100})["engine"]["datums_recorded"] == before + 100


def test_052_all_addresses_and_this_host_are_always_there(network, seed):
    addresses = Addresses()
    with Fleet({"all4": {"schema": signals.SCHEMA, "listen": f"0.0.0.0:{addresses.port()}"},
                "all6": {"schema": signals.SCHEMA, "listen": f"[::]:{addresses.port()}"},
                "lo": {"schema": signals.SCHEMA, "listen": addresses.unicast()},
                "lo6": {"schema": signals.SCHEMA, "listen": f"[::1]:{addresses.port()}"}},
               addresses=addresses, inside=network.inside, run=False) as fleet:
        for keys in fleet.channels.values():
            keys.pop("interface")
        fleet.write()
        fleet.start()
        network.remove("eth0")
        network.link("eth0", 1)
        for _ in range(3):
            states = {name: (one["state"] != "failed", one["reason"])
                      for name, one in fleet.by_name().items()}
            assert states == dict.fromkeys(fleet.channels, (True, ""))
            time.sleep(0.5)
        port = fleet.address("all4").rpartition(":")[2]
        network.send(f"10.9.1.1:{port}", 1, signals.samples(50))
        assert fleet.settle({"all4": 50})["all4"]["datums_recorded"] == 50


@pytest.mark.parametrize("which", ["zone", "all", "broadcast"])
def test_052_bound_to_an_interface_that_is_made_anew(network, seed, which):
    """A link-local address, all addresses of one interface, its broadcasts: what is bound to an
    interface is bound to the new one."""
    network.remove("eth0")
    network.link("eth0", 1)
    addresses = Addresses()
    port = addresses.port()
    to = {"zone": "fe80::91%eth0", "all": "0.0.0.0", "broadcast": "10.9.1.255"}[which]

    def dress():
        if which == "zone":
            network.ip("address add fe80::91/64 dev eth0 nodad")
    dress()
    keys = {"schema": signals.SCHEMA, "listen": f"[{to}]:{port}" if ":" in to else f"{to}:{port}"}
    if which != "zone":
        keys["interface"] = "eth0"
    with Fleet({"engine": keys}, addresses=addresses, inside=network.inside, run=False) as fleet:
        if which == "zone":
            fleet.channels["engine"].pop("interface")
            fleet.write()
        fleet.start()

        at = {"zone": "[fe80::91]", "all": "10.9.1.1"}.get(which, to)

        def send(count):
            network.send(f"{at}:{port}", 1, signals.samples(count))

        def heard():
            before = fleet.channel("engine")["datagrams_received"]
            try:
                send(1)
            except OSError:
                return False
            return fleet.channel("engine")["datagrams_received"] > before
        wait_until(heard)
        for _ in range(3):
            network.remove("eth0")
            wait_until(lambda: fleet.channel("engine")["state"] == "failed")
            network.link("eth0", 1)
            dress()
            begun = time.monotonic()
            wait_until(heard)
            assert time.monotonic() - begun < 2, fleet.log()
            wait_until(lambda: is_there(fleet))
            before = fleet.settle()["engine"]["datagrams_received"]
            send(100)
            assert fleet.settle({"engine": before + 100})["engine"]["datums_recorded"] == \
                before + 100
