# SPDX-License-Identifier: MIT
"""053-one-network: a channel gets what comes in by its interface and nothing else, and sends by its
interface. The same group on two interfaces, IPv4 and IPv6, whatever others have joined; from one
network to another; link-local addresses; broadcasts in and out; without root, too."""
import json
import socket
import subprocess

import pytest
from harness.fleet import FLOTILLA, Fleet, new_folder, wait_until
from harness.network import Networks, receive, run

OPAQUE = {"schema": None, "encoding": "opaque"}
GROUP = {4: "239.9.0.7:26000", 6: "[ff15::77]:26000"}
ALL = {4: "0.0.0.0:26000", 6: "[::]:26000"}
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def net():
    with Networks(2) as made:
        yield made


def marks(stem, count=20):
    return [f"{stem}{number}".encode() for number in range(count)]


def payloads(fleet, name):
    """What is recorded of an opaque channel."""
    done = run(FLOTILLA, "cat", *fleet.files(name), check=False)
    return [json.loads(line)["payload"].encode() for line in done.splitlines()]


class Unprivileged(Fleet):
    def __init__(self, *arguments, inside, **keys):
        folder = new_folder()
        folder.chmod(0o777)
        super().__init__(*arguments, inside=[*inside, *NOBODY], folder=folder, **keys)
        self._own_folder = True


def settled(fleet, net, to, name):
    """Sends a mark by eth0's network until it is received: what was sent before is there, too."""
    before = fleet.channel(name)["datagrams_received"]
    net.send(to, [b"end"], interface="peer0")
    wait_until(lambda: fleet.channel(name)["datagrams_received"] > before, what="the end")


@pytest.mark.parametrize("root", [True, False], ids=["root", "user"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("offload", ["auto", "off"])
def test_053_a_group_on_two_interfaces(seed, net, family, root, offload):
    """Two channels and another program at one group: each gets its own network's."""
    to = GROUP[family]
    keys = {**OPAQUE, "listen": to, "receive_queue": "128KiB", "offload": offload}
    kind = Fleet if root else Unprivileged
    with kind({"a": {**keys, "interface": "eth0"}, "b": {**keys, "listen_interface": "eth1"}},
              inside=net.inside) as fleet:
        with net.listen(to, "eth0", space=net.host), net.listen(to, "eth1", space=net.host):
            net.send(to, marks("a"), interface="peer0")
            net.send(to, marks("b"), interface="peer1")
            fleet.settle({"a": 20, "b": 20})
        channels = fleet.stop()
        assert [channels[name]["datagrams_received"] for name in "ab"] == [20, 20]
        assert [channels[name]["datagrams_dropped"] for name in "ab"] == [0, 0]
        assert payloads(fleet, "a") == marks("a")
        assert payloads(fleet, "b") == marks("b")


@pytest.mark.parametrize("named", [True, False], ids=["named", "by-route"])
@pytest.mark.parametrize("family", [4, 6])
def test_053_one_channel_and_a_stranger_on_the_other_interface(seed, net, family, named):
    to = GROUP[family]
    prefix = {4: "239.9.0.0/16", 6: "ff15::77/128"}[family]
    if not named:
        table = ["table", "local"] if family == 6 else []
        kind = ["multicast"] if family == 6 else []
        run("ip", "-n", net.host, f"-{family}", "route", "add", *kind, prefix, "dev", "eth0",
            *table)
    keys = {**OPAQUE, "listen": to}
    keys["interface"] = "eth0"
    with Fleet({"a": keys}, inside=net.inside, run=False) as fleet:
        if not named:
            del fleet.channels["a"]["interface"]
            fleet.write()
        fleet.start()
        with net.listen(to, "eth1", space=net.host) as stranger:
            net.send(to, marks("b"), interface="peer1")
            assert receive(stranger, 20) == marks("b")  # they were there to be had
            net.send(to, marks("a"), interface="peer0")
            settled(fleet, net, to, "a")
        assert fleet.stop()["a"]["datagrams_received"] == 21
        assert payloads(fleet, "a") == [*marks("a"), b"end"]


@pytest.mark.parametrize("root", [True, False], ids=["root", "user"])
@pytest.mark.parametrize("family", [4, 6])
def test_053_a_change_of_interface_is_one_of_network(seed, net, family, root):
    """Reloaded to the other interface and back, with what waits: the socket stays."""
    to = GROUP[family]
    with (Fleet if root else Unprivileged)(
            {"a": {**OPAQUE, "listen": to, "interface": "eth0", "receive_queue": "128KiB"}},
            inside=net.inside) as fleet:
        for number, interface in enumerate(("eth1", "eth0", "eth1"), 1):
            fleet.set("a", {**OPAQUE, "listen": to, "listen_interface": interface,
                            "receive_queue": "128KiB"})
            fleet.write()
            fleet.reload()
            net.send(to, marks(f"other{number}-"), interface="peer0" if interface == "eth1"
                     else "peer1")
            net.send(to, marks(f"mine{number}-"), interface=interface.replace("eth", "peer"))
            fleet.settle({"a": 20 * number})
        fleet.stop()
        assert payloads(fleet, "a") == [*marks("mine1-"), *marks("mine2-"), *marks("mine3-")]


@pytest.mark.parametrize("family", [4, 6])
def test_053_all_addresses_of_one_interface(seed, net, family):
    """Two channels at all addresses of a port, one an interface; a group that others have joined
    is not theirs."""
    keys = {**OPAQUE, "listen": ALL[family]}
    port = ALL[family].rpartition(":")[2]
    group = GROUP[family]
    to = [{4: f"10.9.{n}.1:{port}", 6: f"[fd09:{n}::1]:{port}"}[family] for n in (0, 1)]
    with Fleet({"a": {**keys, "listen_interface": "eth0"},
                "b": {**keys, "listen_interface": "eth1"}}, inside=net.inside) as fleet:
        with net.listen(group.replace("26000", "26009"), "eth0", space=net.host):
            net.send(group, marks("g"), interface="peer0")
        net.send(to[0], marks("a"))
        net.send(to[1], marks("b"))
        fleet.settle({"a": 20, "b": 20})
        fleet.stop()
        assert payloads(fleet, "a") == marks("a")
        assert payloads(fleet, "b") == marks("b")


@pytest.mark.parametrize("family", [4, 6])
def test_053_a_single_address_is_received_whichever_way_it_comes(seed, net, family):
    """With `interface`: by its own network, and by this host's own programs."""
    to = {4: "10.9.0.1:26000", 6: "[fd09:0::1]:26000"}[family]
    with Fleet({"a": {**OPAQUE, "listen": to, "interface": "eth0"}}, inside=net.inside) as fleet:
        net.send(to, marks("peer"))
        fleet.settle({"a": 20})
        net.send(to, marks("own"), space=net.host)
        fleet.settle({"a": 40})
        fleet.stop()
        assert payloads(fleet, "a") == [*marks("peer"), *marks("own")]


@pytest.mark.parametrize("keys", [
    {"listen_interface": "eth0", "send_interface": "eth1"},
    {"interface": "eth0", "send_interface": "eth1"},
    {"interface": "eth1", "listen_interface": "eth0"},
    {"interface": "eth0", "full": "239.9.1.1%eth1:6000",
     "decimated": {"to": "239.9.1.2%eth1:6001", "factor": 2}},
], ids=["both", "send", "listen", "zone"])
def test_053_from_one_network_to_another(seed, net, keys):
    to, full, decimated = GROUP[4], "239.9.1.1:6000", "239.9.1.2:6001"
    with Fleet({"a": {**OPAQUE, "listen": to, "full": full,
                      "decimated": {"to": decimated, "factor": 2}, **keys}},
               inside=net.inside) as fleet:
        with net.listen(full, "peer1") as wanted, net.listen(decimated, "peer1") as half, \
                net.listen(full, "peer0") as other:
            wanted.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL: this interface alone
            other.setsockopt(socket.IPPROTO_IP, 49, 0)
            net.send(to, marks("a"), interface="peer0")
            assert receive(wanted, 20) == marks("a")
            assert len(receive(half, 10)) == 10
            assert receive(other, 0) == []
        channel = fleet.settle({"a": 20})["a"]
        assert (channel["datagrams_sent_full"], channel["send_errors"]) == (20, 0)
        shown = json.loads(run(*net.inside, FLOTILLA, "check", "-c", fleet.file, "--json"))
        assert shown["channels"][0]["listen_interface"] == "eth0"
        assert shown["channels"][0]["send_interface"] == "eth1"
        assert "eth1" in run(*net.inside, FLOTILLA, "check", "-c", fleet.file, "--print")


@pytest.mark.parametrize("named", ["zone", "interface"])
def test_053_link_local(seed, net, named):
    """In, out, as source, and by the verbs: with %eth0 behind each address, or `interface`."""
    def of(host, port, interface="eth0"):
        return f"[{host}%{interface}]:{port}" if named == "zone" else f"[{host}]:{port}"
    # The same addresses are on the other network, too.
    for space, link, end in (net.host, "eth1", 1), (net.peer, "peer1", 2):
        run("ip", "-n", space, "address", "add", f"fe80::0:{end}/64", "dev", link, "nodad")
    by = {} if named == "zone" else {"listen_interface": "eth0", "send_interface": "eth1"}
    zone = "%eth0" if named == "zone" else ""
    channels = {
        "uni": {"listen": of("fe80::0:1", 26001), "full": of("fe80::0:2", 6001, "eth1"),
                "sources": [f"fe80::0:2{zone}"]},
        "group": {"listen": of("ff12::5", 26002), "full": of("ff12::6", 6002, "eth1"),
                  "decimated": {"to": of("fe80::0:2", 6003, "eth1"), "factor": 5},
                  "sources": [f"fe80::{zone}/10"]},
    }
    with Fleet({name: {**OPAQUE, **keys, **by} for name, keys in channels.items()},
               inside=net.inside, run=False) as fleet:
        for keys in fleet.channels.values():
            del keys["interface"]
        fleet.write()
        fleet.start()
        sinks = [net.listen("[fe80::0:2]:6001", "peer1"), net.listen("[ff12::6]:6002", "peer1"),
                 net.listen("[fe80::0:2]:6003", "peer1")]
        for interface, stem in ("peer1", "other"), ("peer0", "mine"):
            net.send("[fe80::0:1]:26001", marks(stem), interface=interface, sender="fe80::0:2")
            net.send("[ff12::5]:26002", marks(stem), interface=interface, sender="fe80::0:2")
        fleet.settle({"uni": 20, "group": 20})
        assert receive(sinks[0], 20) == receive(sinks[1], 20) == marks("mine")
        assert len(receive(sinks[2], 4)) == 4
        for name in channels:
            channel = fleet.channel(name)
            assert (channel["datagrams_received"], channel["datagrams_rejected"],
                    channel["send_errors"]) == (20, 0, 0), channel
            run(*net.inside, FLOTILLA, "send", name, "-c", fleet.file, "--count", 1)
        schema = fleet.folder / "s.avsc"
        schema.write_text('"long"')
        for words in (["[fe80::0:2%eth1]:6001"], ["[fe80::0:2]:6001", "--interface", "eth1"]):
            run(*net.inside, FLOTILLA, "send", "--to", *words, "--schema", schema, "--count", 3)
            assert len(receive(sinks[0], 3)) >= 3
        for sink in sinks:
            sink.close()


def check_faults(net, tmp_path, text):
    """(line, column, message) of each error and warning."""
    (tmp_path / "fleet.yaml").write_text(text)
    done = subprocess.run([*net.inside, str(FLOTILLA), "check", "-c", "fleet.yaml"], cwd=tmp_path,
                          capture_output=True, text=True)
    found = [line.split(":", 3)[1:] for line in done.stderr.splitlines()
             if line.startswith("fleet.yaml:")]
    return done.returncode, [(int(a), int(b), c.strip()) for a, b, c in found]


@pytest.mark.parametrize(("keys", "column", "words"), [
    ('listen: "[fe80::11]:26001"', 15, "listen: [fe80::11]:26001 is link-local"),
    ('listen: "[ff02::11]:26001"', 15, "listen: [ff02::11]:26001 is link-local"),
    ('listen: 127.0.0.1:1, full: "[fe80::1]:2"', 34, "full: [fe80::1]:2 is link-local"),
    ('listen: 127.0.0.1:1, decimated: {to: "[fe80::1]:2"}', 44, "to: [fe80::1]:2 is link-local"),
    ('listen: "[fe80::11%nosuch0]:26001"', 15, 'there is no interface "nosuch0"'),
    ('listen: "[fe80::11%eth0]:26001", listen_interface: eth1', 15, "but listen_interface is eth1"),
    ('listen: "[fe80::1%eth0]:1", sources: ["fe80::2%eth1"]', 44, "listens on eth0"),
    ('listen: "[::]:1", sources: ["fe80::1%eth1"]', 34, "say listen_interface: eth1"),
    ("listen: 239.1.2.3:1, sources: [10.9.1.2, 10.9.1.2]", 48, "10.9.1.2 is there twice"),
    ('listen: "[ff15::1]:1", sources: ["fd09::2", "fd09:0::2"]', 51, "fd09:0::2 is there twice"),
    ('listen: "[fe80::11%]:1"', 15, "is not ADDRESS:PORT"),
    (f'listen: "[fe80::11%{128 * "a"}]:1"', 15, "is not ADDRESS:PORT"),
])
def test_053_check_says_which_interface_lacks(net, tmp_path, keys, column, words):
    code, faults = check_faults(net, tmp_path, "runtime: run\nchannels:\n  a: {"
                                f"{keys}, encoding: opaque}}\n")
    assert code == 78 and len(faults) == 1, faults
    assert faults[0][:2] == (3, column) and words in faults[0][2], faults


@pytest.mark.parametrize(("listen", "sources", "warns"), [
    ("232.1.2.3:26000", None, True), ("232.1.2.3:26000", "10.9.1.0/24", True),
    ("232.1.2.3:26000", "10.9.1.2", False), ("239.1.2.3:26000", None, False),
    ("[ff35::8000:1]:26000", None, True), ("[ff3e::8000:1]:26000", "fd09::/16", True),
    ("[ff35::8000:1]:26000", "fd09::2", False), ("[ff15::8000:1]:26000", None, False),
])
def test_053_a_source_specific_range_without_sources(net, tmp_path, listen, sources, warns):
    code, faults = check_faults(
        net, tmp_path, f'runtime: run\nchannels:\n  a: {{listen: "{listen}", interface: eth0, '
        f'encoding: opaque{f", sources: [{json.dumps(sources)}]" if sources else ""}}}\n')
    assert code == 0
    assert [(line, column) for line, column, _ in faults] == ([(3, 15)] if warns else [])
    assert all("warning" in text and "sources" in text for _, _, text in faults), faults


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("address", ["10.9.0.255", "255.255.255.255"])
def test_053_broadcast_out(seed, net, address, offload):
    """To the equipment, and to this host's own listeners; by `send`, too."""
    to = f"{address}:6001"
    with Fleet({"a": {**OPAQUE, "listen": "10.9.0.1:26001", "interface": "eth0", "full": to,
                      "offload": offload}}, inside=net.inside) as fleet:
        with net.listen(to) as peer, net.listen(to, space=net.host) as own:
            net.send("10.9.0.1:26001", marks("a"))
            assert receive(peer, 20) == receive(own, 20) == marks("a")
            channel = fleet.settle({"a": 20})["a"]
            assert (channel["datagrams_sent_full"], channel["send_errors"]) == (20, 0)
            schema = fleet.folder / "s.avsc"
            schema.write_text('"long"')
            run(*net.inside, FLOTILLA, "send", "--to", to, "--interface", "eth0", "--schema",
                schema, "--count", 2, "--rate", 0)
            assert len(receive(peer, 2)) == 2


@pytest.mark.parametrize("address", ["10.9.{}.255", "255.255.255.255", "0.0.0.0"])
def test_053_broadcast_in(seed, net, address):
    """Each interface's; the other's has the same network where that can be."""
    to = "255.255.255.255:26003" if address != "10.9.{}.255" else "10.9.{}.255:26003"
    channels = {name: {**OPAQUE, "listen": f"{address.format(number)}:26003",
                       "listen_interface": f"eth{number}"} for number, name in enumerate("ab")}
    with Fleet(channels, inside=net.inside) as fleet:
        for number, name in enumerate("ab"):
            net.send(to.format(number), marks(name), interface=f"peer{number}")
        fleet.settle({"a": 20, "b": 20})
        fleet.stop()
        assert [payloads(fleet, name) for name in "ab"] == [marks("a"), marks("b")]


def test_053_a_networks_broadcast_address_on_two_interfaces(seed, net):
    """Two cables with one numbering: two channels at one broadcast address do not mix."""
    for space, link, end in (net.host, "eth1", 1), (net.peer, "peer1", 2):
        run("ip", "-n", space, "address", "flush", "dev", link)
        run("ip", "-n", space, "address", "add", f"10.9.0.{end}/24", "brd", "+", "dev", link)
    with Fleet({"a": {**OPAQUE, "listen": "10.9.0.255:26003", "listen_interface": "eth0"}},
               inside=net.inside) as fleet:
        net.send("10.9.0.255:26003", marks("b"), interface="peer1")
        net.send("10.9.0.255:26003", marks("a"), interface="peer0")
        settled(fleet, net, "10.9.0.255:26003", "a")
        fleet.stop()
        assert payloads(fleet, "a") == [*marks("a"), b"end"]


@pytest.mark.parametrize("name", ["lo", "%lo"])
def test_053_loopback(seed, net, name):
    """Groups on the loopback interface, and `%lo`: sender and listener on this host."""
    zone, keys = ("%lo", {}) if name == "%lo" else ("", {"interface": "lo"})
    to, full = f"239.9.0.9{zone}:26000", f"239.9.0.8{zone}:6000"
    with Fleet({"a": {**OPAQUE, "listen": to, "full": full, **keys}}, inside=net.inside,
               run=False) as fleet:
        if name == "%lo":
            del fleet.channels["a"]["interface"]
            fleet.write()
        fleet.start()
        with net.listen("239.9.0.8:6000", "lo", space=net.host) as sink:
            net.send("239.9.0.9:26000", marks("a"), interface="lo", space=net.host)
            assert receive(sink, 20) == marks("a")
        assert fleet.settle({"a": 20})["a"]["datagrams_received"] == 20


@pytest.mark.parametrize("family", [4, 6])
def test_053_this_hosts_own_programs_are_heard_at_a_group(seed, net, family):
    """A sender on the recorder itself that sends by the channel's interface."""
    with Fleet({"a": {**OPAQUE, "listen": GROUP[family], "interface": "eth0"}},
               inside=net.inside) as fleet:
        net.send(GROUP[family], marks("other"), interface="eth1", space=net.host)
        net.send(GROUP[family], marks("own"), interface="eth0", space=net.host)
        fleet.settle({"a": 20})
        fleet.stop()
        assert payloads(fleet, "a") == marks("own")


def test_053_defaults_and_own_words(net, tmp_path):
    """A channel's own `interface` comes before what the defaults say of one direction."""
    (tmp_path / "fleet.yaml").write_text(
        "runtime: run\ndefaults: {listen_interface: eth0, send_interface: lo, encoding: opaque}\n"
        "channels:\n  a: {listen: 239.9.0.1:1}\n  b: {listen: 239.9.0.2:1, interface: eth1}\n"
        "  c: {listen: 239.9.0.3:1, interface: eth1, send_interface: eth0}\n")
    shown = json.loads(run(*net.inside, FLOTILLA, "check", "-c", tmp_path / "fleet.yaml", "--json"))
    assert [(one["listen_interface"], one["send_interface"]) for one in shown["channels"]] == [
        ("eth0", "lo"), ("eth1", "eth1"), ("eth1", "eth0")]
    printed = run(*net.inside, FLOTILLA, "check", "-c", tmp_path / "fleet.yaml", "--print")
    (tmp_path / "again.yaml").write_text(printed)
    assert run(*net.inside, FLOTILLA, "check", "-c", tmp_path / "again.yaml", "--print") == printed
