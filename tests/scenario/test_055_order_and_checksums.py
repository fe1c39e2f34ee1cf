# SPDX-License-Identifier: MIT
"""055-order-and-checksums: numbers that come late or twice are told as such and not as missing, and
all are recorded; a wrong checksum is not a full queue."""
import json
import socket
import struct

import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, Fleet, wait_until
from harness.network import Networks, run

KEYS = {"schema": signals.SCHEMA, "sequence": "counter"}


def swapped(by):
    """Blocks of `by` + 1, the first of each behind the others."""
    numbers = list(range(0, 20 * (by + 1)))
    for first in range(0, len(numbers), by + 1):
        numbers[first:first + by + 1] = [*numbers[first + 1:first + by + 1], numbers[first]]
    return numbers


def two_paths(behind, count=500):
    return [number for at in range(count + behind)
            for number in (at, at - behind) if 0 <= number < count]


CASES = {
    # numbers: gaps, reordered, duplicates
    "by 1": (swapped(1), 0, 20, 0),
    "by 10": (swapped(10), 0, 20, 0),
    "by 63": (swapped(63), 0, 20, 0),
    "by 64": (swapped(64), 0, 20, 0),
    "one late": ([n for n in range(100) if n != 20] + [20] + list(range(100, 200)), 1, 1, 0),
    "one late, in the window": ([n for n in range(80) if n != 20] + [20] + list(range(80, 200)),
                                0, 1, 0),
    "two paths": (two_paths(8), 0, 0, 500),
    "two paths, far": (two_paths(64), 0, 0, 500),
    "twice": ([n for n in range(300) for _ in range(2)], 0, 0, 300),
    "lost": ([n for n in range(1001) if n % 10 or n == 1000], 99, 0, 0),
    "lost and swapped": ([n for n in swapped(3) if n % 10 != 5], 8, 20, 0),
    "begins again": (list(range(1000)) + list(range(500)), 0, 0, 0),
    "begins again at 7": (list(range(1000)) + list(range(7, 500)), 0, 0, 0),
    "ahead": (list(range(100)) + list(range(5000, 5100)), 4900, 0, 0),
    "around": (list(range(65000, 65536)) + list(range(0, 500)), 0, 0, 0),
}


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_055_order(seed, offload, direct_io):
    names = {f"c{index}": case for index, case in enumerate(CASES)}
    with Fleet({name: {**KEYS, "offload": offload} for name in names},
               storage={"direct_io": direct_io}) as fleet:
        sent = {name: [signals.sample(number) for number in CASES[case][0]]
                for name, case in names.items()}
        for name, datagrams in sent.items():
            fleet.source(name, datagrams, rate=20000).finish()
        after = fleet.settle({name: len(datagrams) for name, datagrams in sent.items()})
        for name, case in names.items():
            channel = after[name]
            assert (channel["sequence_gaps"], channel["sequence_reordered"],
                    channel["sequence_duplicates"]) == CASES[case][1:], (case, channel)
        fleet.stop()
        for name, datagrams in sent.items():
            assert container.payload(fleet.files(name))[0] == b"".join(datagrams), name


def test_055_the_order_is_kept_over_relays(seed):
    """What a killed relay knew of missing numbers the next one knows, and so do the totals."""
    with Fleet({"c": KEYS}) as fleet:
        numbers = [n for n in range(300) if n != 290]
        fleet.source("c", [signals.sample(n) for n in numbers]).finish()
        fleet.settle({"c": 299})
        flotilla = [FLOTILLA, "restart", "c", "-c", fleet.file]
        run(*flotilla)
        fleet.source("c", [signals.sample(n) for n in (290, 300, 299)]).finish()
        channel = fleet.settle({"c": 302})["c"]
        assert (channel["sequence_gaps"], channel["sequence_reordered"],
                channel["sequence_duplicates"]) == (0, 1, 1), channel


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff or 0xffff


def raw(net, family, port, payloads, wrong):
    """UDP datagrams with a checksum of our own, by a raw socket of the equipment's."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    ends = (("10.9.0.2", "10.9.0.1") if family == 4 else ("fd09:0::2", "fd09:0::1"))
    source, to = (socket.inet_pton(kind, end) for end in ends)
    made = net.within(net.peer, lambda: socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_UDP))
    with made:
        for payload in payloads:
            udp = struct.pack("!HHHH", 5000, port, 8 + len(payload), 0)
            pseudo = (source + to + struct.pack("!BBH", 0, 17, 8 + len(payload)) if family == 4
                      else source + to + struct.pack("!II", 8 + len(payload), 17))
            made.sendto(udp[:6] + struct.pack("!H", checksum(pseudo + udp + payload)
                                              ^ (0x1234 if wrong else 0)) + payload,
                        (ends[1], 0) if family == 4 else (ends[1], 0, 0, 0))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("size", [40, 1200])
def test_055_a_wrong_checksum_is_no_full_queue(seed, family, size):
    listen = {4: "10.9.0.1:26001", 6: "[fd09:0::1]:26001"}[family]
    with Networks(1) as net, \
            Fleet({"fpga": {"schema": None, "encoding": "opaque", "listen": listen,
                            "interface": "eth0"}}, inside=net.inside) as fleet:
        def findings():
            done = run(*net.inside, FLOTILLA, "doctor", "-c", fleet.file, "--json", check=False)
            return {(one.get("about"), one["check"]): one for one in json.loads(done)["findings"]}
        assert not any(check == "checksum" for _, check in findings())
        raw(net, family, 26001, [bytes([n]) * size for n in range(10)], wrong=False)
        raw(net, family, 26001, [bytes([n]) * size for n in range(50)], wrong=True)
        raw(net, family, 26001, [b"end"], wrong=False)
        channel = wait_until(lambda: (found := fleet.channel("fpga"))["datagrams_received"] == 11
                             and found["datagrams_dropped"] == (50 if size > 76 else 0) and found,
                             what="the end")
        found = findings()
        (text,) = [one["text"] for (_, check), one in found.items() if check == "checksum"]
        assert "50 datagrams" in text and "checksum" in text, text
        drops = [one for (_, check), one in found.items() if check == "drops"][0]
        assert "rmem_max" not in json.dumps(drops), drops
        assert "queue was full" not in drops["text"], drops
        assert (drops["level"] == "ok") == (channel["datagrams_dropped"] == 0), drops
