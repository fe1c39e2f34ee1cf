# SPDX-License-Identifier: MIT
"""017-captures: bytes nobody here made up, through opaque channels: a lidar's datagrams and a
spacecraft's packets, captured elsewhere; then the largest and the smallest datagrams there are,
jumbo frames and IP fragments between two network namespaces. What comes out at full rate and what
is recorded is what was sent, in order, and the kernel dropped nothing."""
import os
import shutil
import struct
import subprocess

import fastavro
import pytest
from harness.fleet import SINK, SOURCE, Addresses, Fleet, Load, Sink, write_datagrams

OPAQUE = {"schema": None, "encoding": "opaque", "full": True}


def udp_payloads(path):
    """[(destination port, payload)] of a classic pcap file of Ethernet, IPv4 and UDP."""
    data = path.read_bytes()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[data[:4]]
    (link,) = struct.unpack_from(order + "I", data, 20)
    assert link == 1, f"not Ethernet: link type {link}"
    at, found = 24, []
    while at < len(data):
        captured, whole = struct.unpack_from(order + "II", data, at + 8)
        frame, at = data[at + 16:at + 16 + captured], at + 16 + captured
        assert captured == whole and len(frame) == captured, "a frame is cut short"
        if frame[12:14] != b"\x08\x00" or frame[14 + 9] != 17:
            continue
        assert not struct.unpack_from(">H", frame, 20)[0] & 0x3FFF, "a fragment: not foreseen here"
        udp = 14 + (frame[14] & 15) * 4
        port, size = struct.unpack_from(">HH", frame, udp + 2)
        found.append((port, frame[udp + 8:udp + size]))
    return found


def space_packets(path):
    """The packets of a file of CCSDS space packets, by the length in their primary headers."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from(">H", data, at + 4)
        found.append(data[at:at + size + 7])
        assert len(found[-1]) == size + 7, "the last packet is cut short"
        at += size + 7
    return found


def payloads(fleet, name):
    """What an independent reader finds recorded, with arrival times that do not go back."""
    records = []
    for path in fleet.files(name):
        with open(path, "rb") as file:
            records += fastavro.reader(file)
    times = [record["received"] for record in records]
    assert times == sorted(times)
    return [record["payload"] for record in records]


def check(fleet, sent, sinks, loads):
    """Everything sent arrived once, in order, unchanged: at full rate and in the files."""
    for load in loads:
        load.finish()
    channels = fleet.settle({name: len(datagrams) for name, datagrams in sent.items()}, seconds=60)
    fleet.assert_laws(channels)
    for name, datagrams in sent.items():
        channel = channels[name]
        wanted = {"datagrams_received": len(datagrams), "datagrams_rejected": 0,
                  "datagrams_dropped": 0, "datagrams_sent_full": len(datagrams), "send_errors": 0,
                  "datums_recorded": len(datagrams), "datums_unrecorded": 0,
                  "bytes_received": sum(map(len, datagrams))}
        assert {key: channel[key] for key in wanted} == wanted, name
        assert sinks[name].stop() == datagrams, f"{name}: other bytes at full rate"
    fleet.stop()
    for name, datagrams in sent.items():
        assert payloads(fleet, name) == datagrams, f"{name}: other bytes recorded"


def on_loopback(sent, rates, channels=None, addresses=None):
    with Fleet(channels or {name: OPAQUE for name in sent}, addresses=addresses) as fleet:
        sinks = {name: fleet.sink(fleet.address(name, "full")) for name in sent}
        loads = [fleet.source(name, sent[name], rate=rates[name]) for name in sent]
        check(fleet, sent, sinks, loads)


def test_017_lidar(seed, data):
    """192 datagrams of points, 8,448 bytes each, and 30 of the inertial unit, 48 bytes each."""
    captured = udp_payloads(data / "ouster-os1-128.pcap")
    sent = {"lidar": [payload for port, payload in captured if port == 7502],
            "imu": [payload for port, payload in captured if port == 7503]}
    assert {name: (len(them), set(map(len, them))) for name, them in sent.items()} == \
        {"lidar": (192, {8448}), "imu": (30, {48})}
    on_loopback(sent, {"lidar": 640, "imu": 100})  # as the sensor sends them


def test_017_spacecraft(seed, data):
    packets = space_packets(data / "ccsds-apid251.tlm")
    assert len(packets) == 24000 and {packet[1] for packet in packets} == {251}
    on_loopback({"hk": packets}, {"hk": 6000})


@pytest.mark.parametrize("largest, host", [(65507, "127.0.0.1"), (65527, "[::1]")],
                         ids=["ipv4", "ipv6"])
def test_017_largest_and_empty(rng, largest, host):
    """The most that UDP carries over each protocol, and nothing at all, side by side. Slow, because
    the receive queue that an ordinary user is granted holds three of the large ones."""
    addresses = Addresses()
    sizes = [largest, 0, largest, largest, 0, 0, 1] * 12
    sent = {"c": [rng.randbytes(size) for size in sizes]}
    on_loopback(sent, {"c": 40}, addresses=addresses, channels={"c": {
        **OPAQUE, **{key: f"{host}:{addresses.port()}" for key in ("listen", "full")}}})


class Wire:
    """Two network namespaces with a pair of virtual interfaces between them: `near` is where the
    relay lives, `far` is the rest of the world."""

    def __init__(self, mtu):
        self.near, self.far = (f"flotilla-{os.getpid()}-{end}" for end in ("near", "far"))
        self.mtu = mtu

    @staticmethod
    def ip(*words):
        return subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, text=True)

    def __enter__(self):
        try:
            self.ip("netns", "add", self.near)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"needs network namespaces: {error.stderr.strip()}")
        try:
            self.ip("netns", "add", self.far)
            self.ip("-n", self.near, "link", "add", "wire", "type", "veth", "peer", "name", "wire",
                    "netns", self.far)
            for host, name in enumerate((self.near, self.far), start=1):
                self.ip("-n", name, "link", "set", "lo", "up")
                self.ip("-n", name, "link", "set", "wire", "mtu", self.mtu, "up")
                self.ip("-n", name, "address", "add", f"10.77.0.{host}/24", "dev", "wire")
                self.ip("-n", name, "-6", "address", "add", f"fd77::{host}/64", "dev", "wire",
                        "nodad")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def within(self, name):
        return ["ip", "netns", "exec", name]

    def counter(self, key):
        """A counter of the near end's IPv4 and IPv6 together, as ReasmReqds."""
        total = 0
        for path in ("snmp", "snmp6"):
            text = subprocess.run([*self.within(self.near), "cat", f"/proc/net/{path}"],
                                  check=True, capture_output=True, text=True).stdout
            lines = [line.split() for line in text.splitlines()]
            if path == "snmp6":
                total += sum(int(line[1]) for line in lines if line[0] == f"Ip6{key}")
            else:
                head, values = (line for line in lines if line[0] == "Ip:")
                total += int(values[head.index(key)])
        return total

    def far_end(self, fleet, *command):
        child = subprocess.Popen([*self.within(self.far), *map(str, command), "--interface",
                                  "wire"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True)
        fleet._children.append(child)  # ended with the fleet
        return child

    def carry(self, datagrams, listen, full, rate):
        """Datagrams from the far end to a relay at the near end, and back at full rate."""
        with Fleet({"c": {**OPAQUE, "listen": listen, "full": full, "interface": "wire"}},
                   inside=self.within(self.near)) as fleet:
            path, back = fleet.folder / "datagrams", fleet.folder / "back"
            write_datagrams(path, datagrams)
            sink = self.far_end(fleet, SINK, "--listen", full, "--file", back)
            assert sink.stdout.readline() == "ready\n", sink.stderr.read()
            load = self.far_end(fleet, SOURCE, "--to", listen, "--file", path, "--rate", rate)
            check(fleet, {"c": datagrams}, {"c": Sink(sink, back)}, [Load(load)])


def addresses_of(kind):
    addresses = Addresses()
    port = addresses.port()
    return {"unicast": (f"10.77.0.1:{port}", f"10.77.0.2:{port}"),
            "unicast6": (f"[fd77::1]:{port}", f"[fd77::2]:{port}"),
            "group": (addresses.group(), addresses.group()),
            "group6": (addresses.group6(), addresses.group6())}[kind]


@pytest.fixture
def needs_wire(needs_root):
    if not shutil.which("ip"):
        pytest.skip("needs iproute2")


@pytest.mark.parametrize("kind", ["unicast", "group", "unicast6"])
def test_017_jumbo_frames(rng, needs_wire, kind):
    """Datagrams that fill frames of 9,000 bytes, in one piece both ways."""
    most = 9000 - (48 if kind == "unicast6" else 28)
    with Wire(9000) as wire:
        datagrams = [rng.randbytes(most - (number % 7 == 6)) for number in range(2000)]
        wire.carry(datagrams, *addresses_of(kind), rate=4000)
        assert wire.counter("ReasmReqds") == 0 and wire.counter("FragCreates") == 0


@pytest.mark.parametrize("kind", ["unicast", "group", "unicast6", "group6"])
def test_017_fragments(rng, needs_wire, kind):
    """Datagrams larger than the wire's 1,500 bytes come and go in fragments, among small ones."""
    most = 65527 if kind.endswith("6") else 65507
    sizes = (1473, most, 20, 9000, 0, 3000, 1400, 65000)
    with Wire(1500) as wire:
        datagrams = [rng.randbytes(sizes[number % len(sizes)]) for number in range(400)]
        wire.carry(datagrams, *addresses_of(kind), rate=200)
        fragments = sum(-(-(size + 8) // 1480) for size in sizes if size > 1472) * 50
        assert wire.counter("ReasmReqds") >= fragments
        assert wire.counter("FragCreates") >= fragments
