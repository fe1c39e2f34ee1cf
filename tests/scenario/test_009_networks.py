# SPDX-License-Identifier: MIT
"""009-networks: two groups on one port never mix; unicast; sources joined and filtered; IPv6
multicast and unicast in a network namespace (the loopback interface brings no IPv6 group back)."""
import os
import shutil
import socket
import subprocess

import pytest
from harness import container, signals
from harness.fleet import Addresses, Fleet, wait_until


def test_009_two_groups_on_one_port_never_mix(seed):
    addresses = Addresses()
    port = addresses.port()
    names = ("a", "b", "c")
    with Fleet({name: {"schema": signals.SCHEMA, "listen": addresses.group(port)}
                for name in names}) as fleet:
        sent = {name: signals.samples(2000, start=100000 * number)
                for number, name in enumerate(names)}
        stray = fleet._source(addresses.group(port), signals.samples(2000, start=900000), 4000)
        loads = [fleet.source(name, sent[name], rate=4000) for name in names]
        for load in [stray, *loads]:
            load.finish()
        after = fleet.settle({name: 2000 for name in names})
        assert [after[name]["datagrams_received"] for name in names] == [2000] * 3
        fleet.stop()
        for name in names:
            assert container.payload(fleet.files(name))[0] == b"".join(sent[name])


def test_009_unicast_in_and_out(seed):
    addresses = Addresses()
    with Fleet({"c": {"schema": signals.SCHEMA, "listen": addresses.unicast(),
                      "full": addresses.unicast()}}) as fleet:
        sink = fleet.sink(fleet.address("c", "full"))
        fleet.source("c", signals.samples(1000), rate=5000).finish()
        fleet.settle({"c": 1000})
        assert sink.stop() == signals.samples(1000)


@pytest.mark.parametrize("listen", ["group", "unicast"])
@pytest.mark.parametrize("sources", ["127.0.0.2", "127.0.0.0/30", ["127.0.0.2", "127.0.0.3"]],
                         ids=["one", "prefix", "two"])
def test_009_sources(seed, listen, sources):
    """Only senders that are named get in: the kernel joins single addresses source-specifically,
    the relay turns away and counts what comes from others all the same."""
    addresses = Addresses()
    with Fleet({"c": {"schema": signals.SCHEMA, "listen": getattr(addresses, listen)(),
                      "sources": sources}}, addresses=addresses) as fleet:
        mine, other = signals.samples(500), signals.samples(500, start=5000)
        fleet.source("c", other, rate=5000, sender="127.0.0.9:0").finish()
        fleet.source("c", mine, rate=5000, sender="127.0.0.2:0").finish()
        fleet.settle()
        channel = wait_until(lambda: (now := fleet.settle()["c"])["datums_recorded"] >= 500 and now,
                             what="all to be recorded")
        assert channel["datums_recorded"] == 500, channel
        specific = listen == "group" and "/" not in str(sources)
        assert channel["datagrams_rejected"] == (0 if specific else 500), channel
        if not specific:
            assert channel["rejected"]["source"] == 500, channel
        fleet.stop()
        assert container.payload(fleet.files("c"))[0] == b"".join(mine)


@pytest.fixture
def namespace(needs_root):
    """A network of our own: a pair of interfaces that lead to each other, nothing else."""
    if not shutil.which("ip"):
        pytest.skip("needs iproute2")
    name = f"flotilla-{os.getpid()}"

    def ip(*words):
        return subprocess.run(["ip", *words], check=True, capture_output=True)
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs network namespaces: {error.stderr.decode().strip()}")
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "pair0", "type", "veth", "peer", "name", "pair1")
        for address in ("fd09::1/64", "fd09::2/64"):
            ip("-n", name, "-6", "addr", "add", address, "dev", "pair0", "nodad")
        for link in ("pair0", "pair1"):
            ip("-n", name, "link", "set", link, "up")
        wait_until(lambda: "state UP" in ip("-n", name, "link", "show", "pair0").stdout.decode())
        yield name
    finally:
        ip("netns", "delete", name)


@pytest.mark.parametrize("case", ["group", "two-groups", "unicast", "one-source", "prefix"])
def test_009_ipv6(namespace, seed, case):
    addresses = Addresses()
    port = addresses.port()
    keys = {"schema": signals.SCHEMA, "interface": "pair0", "full": addresses.group6(),
            "listen": f"[fd09::1]:{port}" if case == "unicast" else addresses.group6(port)}
    if case == "one-source":
        keys["sources"] = "fd09::2"
    if case == "prefix":
        keys["sources"] = "fd09::2/127"
    with Fleet({"c": keys}, addresses=addresses,
               inside=["ip", "netns", "exec", namespace]) as fleet:
        sink = fleet.sink(fleet.address("c", "full"), interface="pair0")
        mine, other = signals.samples(500), signals.samples(500, start=5000)
        if case == "two-groups":
            fleet._source(addresses.group6(port), other, 5000, interface="pair0").finish()
        elif case in ("one-source", "prefix"):
            fleet.source("c", other, rate=5000, sender="[fd09::1]:0", interface="pair0").finish()
        fleet.source("c", mine, rate=5000, sender="[fd09::2]:0", interface="pair0").finish()
        channel = fleet.settle({"c": 500})["c"]
        assert channel["datums_recorded"] == 500, channel
        assert channel["datagrams_rejected"] == (500 if case == "prefix" else 0)
        assert sink.stop() == mine


def test_009_a_port_in_use_fails_alone(seed):
    """A channel whose socket cannot be opened says so; the others run."""
    addresses = Addresses()
    taken = addresses.unicast()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", int(taken.rpartition(":")[2])))
        with Fleet({"good": {"schema": signals.SCHEMA},
                    "bad": {"schema": signals.SCHEMA, "listen": taken}}, run=False) as fleet:
            fleet.start(wait=False)
            fleet.wait_running(["good"])
            bad = wait_until(lambda: (fleet.channel("bad")["state"] in ("failed", "backoff")
                                      and fleet.channel("bad")))
            assert "in use" in bad["reason"].lower(), bad
            assert taken in fleet.log()
            fleet.source("good", signals.samples(100)).finish()
            assert fleet.settle({"good": 100})["good"]["datums_recorded"] == 100
            other.close()
            fleet.wait_running(["bad"])
            fleet.source("bad", signals.samples(100)).finish()
            assert fleet.settle({"bad": 100})["bad"]["datums_recorded"] == 100
