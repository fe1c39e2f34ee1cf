# SPDX-License-Identifier: MIT
"""What the world is made of: three fleets, their channels and disks, and what a datagram holds.

steady   its manager is never killed, so that it can be watched for an hour; direct I/O
paged    through the page cache, on a disk that must be mounted
brief    files of two seconds that are removed by age

Ports, groups and addresses are free to choose: the networks are the world's own."""
import os
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "scenario"))  # of sender and sink, too

from harness.avro import long  # noqa: E402

LINKS = ("eth0", "eth1")
# The address that a unicast channel listens at comes and goes; the other one of a link stays.
MOVING = {"eth0": "10.9.1.1", "eth1": "fd09:2::1"}
HOST4, HOST6 = "10.9.{}.10", "fd09:{}::10"
PEER4, PEER6 = "10.9.{}.2", "fd09:{}::2"
HOST_MAC, PEER_MAC = "02:00:00:00:0{}:01", "02:00:00:00:0{}:02"
WITNESS_PORT = 9000
RETAIN_S = int(os.environ.get("FLOTILLA_WORLD_RETAIN_S", 240))  # 0: for ever

SCHEMA = {"type": "record", "name": "World", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "number", "type": "long"},
    {"name": "channel", "type": "int"},
    {"name": "pad", "type": "bytes"},
]}
INVALID = b"\xff" * 12  # a long that does not end, so no datum begins with it
REJECT = struct.Struct("<QQ")  # what follows it: the datagram's number, and when it was sent


class Channel:
    """`packs`: datums in a datagram; `invalid`: each so many datagrams one that is no datum at all;
    `sends`: where its full stream goes, and by which link."""

    def __init__(self, number, fleet, name, link, listen, *, rate=1.0, packs=1, pad=0, invalid=0,
                 full=None, keys=None, recorded=True):
        self.number, self.fleet, self.name, self.link = number, fleet, name, link
        self.listen, self.rate, self.packs, self.pad = listen, rate, packs, pad
        self.invalid, self.full, self.recorded = invalid, full, recorded
        self.keys = {"schema": SCHEMA, "interface": link, "time": "time", "sequence": "number",
                     "listen": listen, "receive_queue": "64MiB", **(keys or {})}
        if full:
            self.keys["full"] = full
        if not recorded:
            self.keys["record"] = False

    @property
    def moving(self):
        """The address that comes and goes which it listens at; None for a group."""
        address = self.listen.rpartition(":")[0].strip("[]")
        return address if address in MOVING.values() else None

    @property
    def six(self):
        return self.listen.startswith("[")


def channels():
    return [
        # One group on two links: what comes by one must not be in the other's files.
        Channel(0, "steady", "g4", "eth0", "239.10.0.1:26000", full="239.11.0.1:6000",
                keys={"latency": "on"}),
        Channel(1, "steady", "g4b", "eth1", "239.10.0.1:26000", rate=0.5, pad=150),
        Channel(2, "steady", "dec", "eth0", f"{MOVING['eth0']}:26002", keys={
            "offload": "off", "decimated": {"to": f"{PEER4.format(1)}:6002", "factor": 10,
                                            "algorithm": "average"}}),
        Channel(3, "paged", "g6", "eth0", "[ff15::77]:26003", full="[ff15::78]:6003"),
        Channel(4, "paged", "g6b", "eth1", "[ff15::77]:26003", rate=0.5,
                keys={"offload": "off"}),
        Channel(5, "paged", "uni6", "eth1", f"[{MOVING['eth1']}]:26005", pad=60),
        Channel(6, "brief", "fast", "eth1", "239.10.0.6:26006", rate=2.0),
        Channel(7, "brief", "norec", "eth0", "239.10.0.7:26007", full=f"{PEER4.format(1)}:6007",
                recorded=False),
        Channel(8, "brief", "packs", "eth1", "239.10.0.8:26008", rate=0.5, packs=3, invalid=100),
    ]


STORAGE = {
    "steady": {"sync": "200ms", "rotate": {"size": "1MiB", "age": "20s"}},
    "paged": {"sync": "100ms", "direct_io": "off", "rotate": {"size": "256KiB", "age": "10s"}},
    "brief": {"sync": "50ms", "rotate": {"age": "2s"}, "retain": {"age": f"{RETAIN_S}s"}},
}
DISKS = {"steady": "ext4", "paged": "xfs", "brief": "ext4"}
MOUNTED = {"paged"}
IMMORTAL = {"steady"}
RETAINED = {"brief"} if RETAIN_S else set()


def datagram(channel, number, time_us):
    """The datagram of a number: its datums have the numbers number * packs and following."""
    if channel.invalid and number % channel.invalid == channel.invalid - 1:
        return INVALID + REJECT.pack(number, time_us)
    tail = long(channel.number) + long(channel.pad) + b"\0" * channel.pad
    head = long(time_us)
    return b"".join(head + long(one) + tail
                    for one in range(number * channel.packs, (number + 1) * channel.packs))


def split(address):
    """(host, port) of ADDRESS:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
