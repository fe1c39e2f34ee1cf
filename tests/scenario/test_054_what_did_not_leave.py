# SPDX-License-Identifier: MIT
"""054-what-did-not-leave: what this host dropped in front of the network is counted, by its reason,
and never as sent; what the network tells of earlier datagrams is no error of the next one."""
import socket
import threading
import time

import pytest
from harness.fleet import FLOTILLA, Fleet, wait_until
from harness.network import Networks, receive, run

OPAQUE = {"schema": None, "encoding": "opaque", "receive_queue": "8MiB"}
CAUSES = ("queue_full", "socket_full", "too_large", "no_link", "unreachable", "forbidden", "other")
UDP_SEGMENT = 103


@pytest.fixture
def net():
    with Networks(1) as made:
        yield made


def by_cause(channel):
    found = {cause: channel[f"send_errors_{cause}"] for cause in CAUSES}
    assert sum(found.values()) == channel["send_errors"], channel
    return {cause: count for cause, count in found.items() if count}


class Counting:
    """Counts what comes to a socket, in a thread, until nothing has for a while."""

    def __init__(self, listener):
        self.listener, self.count, self.numbers = listener, 0, []
        listener.settimeout(0.2)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.ended.is_set():
            try:
                self.numbers.append(int.from_bytes(self.listener.recv(65536)[:8], "big"))
            except TimeoutError:
                continue

    def finish(self, quiet=2.0):
        """After the link's queue, which holds 0.3 s, is empty."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < quiet:
            if len(self.numbers) != last:
                last, since = len(self.numbers), time.monotonic()
            time.sleep(0.05)
        self.ended.set()
        self.thread.join()
        return self.numbers


def send_paced(net, to, count, size, burst, pause):
    """Bursts of equal datagrams, each a segmented message, to the recorder by its loopback."""
    made, where = net.socket(net.host, to)
    with made:
        if burst > 1:
            made.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        for first in range(0, count, burst):
            made.sendto(b"".join(number.to_bytes(8, "big") + bytes(size - 8)
                                 for number in range(first, min(count, first + burst))), where)
            time.sleep(pause)


@pytest.mark.parametrize("burst", [1, 40], ids=["single", "bursts"])
@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("kind", ["tbf", "pfifo"])
def test_054_a_link_that_is_slower_than_the_stream(seed, net, offload, burst, kind):
    """4 Mbit/s by a link of 1: sent is what arrives, the rest is in the queue's errors."""
    if kind == "tbf":
        net.on_host("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "1mbit", "burst",
                    "10kb", "limit", "30kb")
    else:
        net.on_host("tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb", "default",
                    "1")
        net.on_host("tc", "class", "add", "dev", "eth0", "parent", "1:", "classid", "1:1", "htb",
                    "rate", "1mbit", "burst", "10kb")
        net.on_host("tc", "qdisc", "add", "dev", "eth0", "parent", "1:1", "bfifo", "limit", "60kb")
    to = "10.9.0.2:6001"
    with net.listen(to) as listener, \
            Fleet({"a": {**OPAQUE, "listen": "127.0.0.1:26001", "interface": "eth0", "full": to,
                         "offload": offload}}, inside=net.inside) as fleet:
        got = Counting(listener)
        send_paced(net, "127.0.0.1:26001", 800, 1000, burst, 0.002 * burst)
        channel = fleet.settle({"a": 800})["a"]
        numbers = got.finish()
        assert channel["datagrams_sent_full"] + channel["send_errors"] == 800, channel
        assert channel["datagrams_sent_full"] == len(numbers) == len(set(numbers)), channel
        assert by_cause(channel) == {"queue_full": 800 - len(numbers)}
        assert 100 < len(numbers) < 700
        assert fleet.log().count("queue is full") == 1, fleet.log()
        shown = run(FLOTILLA, "status", "-c", fleet.file)
        assert "1 with losses" in shown and "the interface's queue is full" in shown, shown


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("offload", ["auto", "off"])
def test_054_nobody_listens_yet(seed, net, offload, family):
    """ICMP says that the port is closed: no error, no line; who comes gets all from then on."""
    to = {4: "10.9.0.2:6001", 6: "[fd09:0::2]:6001"}[family]
    with Fleet({"a": {**OPAQUE, "listen": "127.0.0.1:26001", "interface": "eth0", "full": to,
                      "decimated": {"to": to.replace("6001", "6002"), "factor": 2},
                      "offload": offload}}, inside=net.inside) as fleet:
        for unreachable in ("icmp_ratelimit",):  # each one is told of, not one a second
            net.on_peer("sysctl", "-qw", f"net.ipv4.{unreachable}=0", "net.ipv4.icmp_msgs_per_sec="
                        "1000000", "net.ipv4.icmp_msgs_burst=1000000", check=False)
            net.on_peer("sysctl", "-qw", "net.ipv6.icmp.ratelimit=0", check=False)
        before = fleet.log()
        send_paced(net, "127.0.0.1:26001", 400, 100, 1, 0.001)
        send_paced(net, "127.0.0.1:26001", 400, 100, 40, 0.01)
        channel = fleet.settle({"a": 800})["a"]
        assert (channel["send_errors"], channel["datagrams_sent_full"],
                channel["datums_sent_decimated"]) == (0, 800, 400), channel
        assert fleet.log() == before
        with net.listen(to) as listener:
            send_paced(net, "127.0.0.1:26001", 400, 100, 40, 0.01)
            assert len(receive(listener, 400)) == 400
        channel = fleet.settle({"a": 1200})["a"]
        assert (channel["send_errors"], channel["datagrams_sent_full"]) == (0, 1200), channel


@pytest.mark.parametrize("family", [4, 6])
def test_054_nobody_is_at_the_address(seed, net, family):
    """The neighbour is looked for for three seconds; what waited for it was not sent."""
    to = {4: "10.9.0.77:6001", 6: "[fd09:0::77]:6001"}[family]
    with Fleet({"a": {**OPAQUE, "listen": "127.0.0.1:26001", "interface": "eth0", "full": to,
                      "offload": "off"}}, inside=net.inside) as fleet:
        send_paced(net, "127.0.0.1:26001", 20, 100, 1, 0.001)
        channel = wait_until(lambda: (found := fleet.channel("a"))["send_errors"] == 20 and found,
                             what="errors")
        assert channel["datagrams_sent_full"] == 0
        assert by_cause(channel) == {"unreachable": 20}
        assert fleet.log().count("not all is sent") == 1, fleet.log()


@pytest.mark.parametrize(("route", "cause"), [
    ("prohibit", "forbidden"), ("unreachable", "unreachable"), (None, "unreachable"),
    ("down", "unreachable"), ("blackhole", "other"),
])
def test_054_causes(seed, net, route, cause):
    to = "10.77.0.1:6001"
    if route == "down":
        to = "10.9.0.2:6001"
    elif route:
        net.on_host("ip", "route", "add", route, "10.77.0.0/16")
    with Fleet({"a": {**OPAQUE, "listen": "127.0.0.1:26001", "interface": "lo", "full": to},
                "b": {**OPAQUE, "listen": "127.0.0.1:26002", "interface": "lo",
                      "full": "127.0.0.1:6009"}}, inside=net.inside, run=False) as fleet:
        for keys in fleet.channels.values():
            del keys["interface"]
        fleet.write()
        fleet.start()
        if route == "down":
            net.on_host("ip", "link", "set", "eth0", "down")
        send_paced(net, "127.0.0.1:26001", 20, 100, 1, 0.001)
        send_paced(net, "127.0.0.1:26002", 20, 100, 1, 0.001)
        channels = fleet.settle({"a": 20, "b": 20})
        assert channels["a"]["datagrams_sent_full"] == 0
        assert by_cause(channels["a"]) == {cause: 20}
        assert (channels["b"]["datagrams_sent_full"], channels["b"]["send_errors"]) == (20, 0)
        assert fleet.log().count("not all is sent") == 1, fleet.log()
        fleet.kill_manager()  # the counts are in the memory, and in the ledger
        fleet.start()
        assert by_cause(fleet.channel("a")) == {cause: 20}
