# SPDX-License-Identifier: MIT
"""Two network namespaces of a test's own, `host` with the fleet and `peer` with the equipment,
joined by pairs of interfaces. Nothing leaves them, and all is gone at the end.

with Networks(2) as net: ... has ethN and peerN from the begin, with 10.9.N.1, fd09:N::1 and
fe80::N:1 here, .2 there. with Network() as network: network.link("eth0", 1) makes links whose ends
can be removed, renamed and given addresses."""
import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import signals
from .fleet import wait_until

CLONE_NEWNET = 0x40000000
IP_MULTICAST_ALL = 49


def run(*words, check=True):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0 or not check, (words, done.stderr)
    return done.stdout


def split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def join(listener, host, index):
    """Joins a group by the interface of that index, if it is one."""
    packed = socket.inet_pton(listener.family, host)
    if listener.family == socket.AF_INET and 224 <= packed[0] < 240:
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                            packed + bytes(4) + index.to_bytes(4, "little"))
    elif listener.family == socket.AF_INET6 and packed[0] == 0xff:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                            packed + index.to_bytes(4, "little"))


class Networks:
    """`inside` are the words in front of what runs on the recorder."""
    _count = 0

    def __init__(self, links):
        self.links = range(links)
        Networks._count += 1
        stem = f"flotilla-{os.getpid()}-{Networks._count}"
        self.host, self.peer = stem + "-host", stem + "-peer"
        # Not `ip netns exec`, which would need netlink and hide mounts.
        self.inside = ["nsenter", f"--net=/run/netns/{self.host}"]

    def __enter__(self):
        if os.geteuid() != 0 or not shutil.which("ip"):
            pytest.skip("needs root and iproute2")
        try:
            for name in self.host, self.peer:
                done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
                if done.returncode:
                    pytest.skip(f"needs network namespaces: {done.stderr.strip()}")
                run("ip", "-n", name, "link", "set", "lo", "up")
            for number in self.links:
                self.make(number)
            wait_until(self._is_up, what="the links")
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self, number):
        ends = ((self.host, f"eth{number}", 1), (self.peer, f"peer{number}", 2))
        run("ip", "-n", self.host, "link", "add", ends[0][1], "type", "veth", "peer", "name",
            ends[1][1], "netns", self.peer)
        for space, name, end in ends:
            run("ip", "-n", space, "address", "add", f"10.9.{number}.{end}/24", "brd", "+", "dev",
                name)
            for address in f"fd09:{number}::{end}/64", f"fe80::{number}:{end}/64":
                run("ip", "-n", space, "address", "add", address, "dev", name, "nodad")
            run("ip", "-n", space, "link", "set", name, "up")

    def _is_up(self):
        """Both ends, and the ways that IPv6 groups take."""
        return all("ff00::/8 dev " + link in run("ip", "-n", space, "-6", "route", "show", "table",
                                                "local", "type", "multicast").replace(
                                                    "multicast ", "")
                   for number in self.links
                   for space, link in ((self.host, f"eth{number}"), (self.peer, f"peer{number}")))

    def __exit__(self, *_):
        for name in self.host, self.peer:
            if os.path.exists(f"/run/netns/{name}"):
                run("ip", "netns", "delete", name, check=False)

    def on_host(self, *words, **keys):
        return run(*self.inside, *words, **keys)

    def on_peer(self, *words, **keys):
        return run("nsenter", f"--net=/run/netns/{self.peer}", *words, **keys)

    def within(self, space, action):
        """What `action` returns, done by a thread that is in that namespace."""
        with ThreadPoolExecutor(1) as thread:
            def act():
                with open(f"/run/netns/{space}", "rb") as file:
                    assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(),
                                                                   CLONE_NEWNET) == 0
                return action()
            return thread.submit(act).result()

    def socket(self, space, address, *, listens=False, interface=None, sender=None):
        """A UDP socket there, with its destination: to send to `address` by `interface`, or, with
        `listens`, bound to it, and joined if it is a group, for groups of all interfaces."""
        host, port = split(address)
        host = host.partition("%")[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def make():
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.settimeout(30)
            index = socket.if_nametoindex(interface) if interface else 0
            if listens:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                made.bind((host, port) if family == socket.AF_INET
                          else (host, port, 0, index))
                join(made, host, index)
                return made, None
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if sender:
                made.bind((sender, 0) if family == socket.AF_INET else (sender, 0, 0, index))
            if index and family == socket.AF_INET:
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                                bytes(8) + index.to_bytes(4, "little"))
                made.setsockopt(socket.IPPROTO_IP, 50, index.to_bytes(4, "big"))  # IP_UNICAST_IF
            elif index:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            return made, ((host, port) if family == socket.AF_INET
                          else (host, port, 0, index))
        return self.within(space, make)

    def send(self, address, datagrams, interface=None, space=None, **keys):
        """Sends from the equipment (or `space`), by that interface of its."""
        made, to = self.socket(space or self.peer, address, interface=interface, **keys)
        with made:
            for one in datagrams:
                made.sendto(one, to)

    def listen(self, address, interface=None, space=None):
        """A socket of another program's, at the equipment's unless `space` says where."""
        return self.socket(space or self.peer, address, listens=True, interface=interface)[0]


class Network(Networks):
    """Link number N is 10.9.N.1 and fd09:N::1 here, .2 and ::2 at the peer's `peerN`."""

    def __init__(self):
        super().__init__(0)

    def ip(self, words, name=None, check=True):
        done = subprocess.run(["ip", "-n", name or self.host, *words.split()], capture_output=True,
                              text=True)
        assert not check or done.returncode == 0, (words, done.stderr)
        return done.stdout

    def link(self, name, number, addresses=True, index=""):
        """Up when this returns; `index` asks for a number of its own."""
        self.ip(f"link add {name} {index} type veth peer name peer{number} netns {self.peer}")
        self.ip(f"addr add 10.9.{number}.2/24 dev peer{number}", self.peer)
        self.ip(f"-6 addr add fd09:{number}::2/64 dev peer{number} nodad", self.peer)
        self.ip(f"link set peer{number} up", self.peer)
        if addresses:
            self.ip(f"addr add 10.9.{number}.1/24 dev {name}")
            self.ip(f"-6 addr add fd09:{number}::1/64 dev {name} nodad")
        self.ip(f"link set {name} up")
        wait_until(lambda: "state UP" in self.ip(f"link show {name}")
                   and "state UP" in self.ip(f"link show peer{number}", self.peer))

    def remove(self, name):
        self.ip(f"link del {name}")

    def remake(self, name, number):
        self.remove(name)
        self.link(name, number)

    def joined(self, group, name):
        return f" {group} " in self.ip(f"maddr show dev {name}").replace("\n", " ")

    def send(self, to, number, datagrams):
        """Sends from the peer by link `number`, all at once; again where the link is not up yet."""
        super().send(to, datagrams, interface=f"peer{number}")

    def listener(self, at, number):
        """A socket of the peer's, on link `number`."""
        made = self.listen(at, interface=f"peer{number}")
        if made.family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        made.setblocking(False)
        return made

    def join(self, listener, at, number):
        """Once more, where the link was made anew."""
        index = self.within(self.peer, lambda: socket.if_nametoindex(f"peer{number}"))
        with contextlib.suppress(OSError):  # it is joined
            join(listener, split(at)[0], index)

    def until_heard(self, fleet, name, number, seconds=60):
        """Sends datagrams until the channel counts one. How many were sent, and how long that
        took."""
        begun, sent = time.monotonic(), 0
        before = fleet.channel(name)["datagrams_received"]

        def heard():
            nonlocal sent
            with contextlib.suppress(OSError):  # no way there yet
                self.send(fleet.address(name), number, [signals.sample(900_000 + sent)])
                sent += 1
            return fleet.channel(name)["datagrams_received"] > before
        wait_until(heard, seconds=seconds, pause=0.02, what=f"{name} to hear:\n{fleet.log()}")
        return sent, time.monotonic() - begun


def take(listener):
    """What waits in a socket."""
    taken = []
    with contextlib.suppress(BlockingIOError):
        while True:
            taken.append(listener.recv(65536))
    return taken


def receive(listener, count, seconds=30):
    """`count` datagrams of a socket, and whatever else is there."""
    listener.settimeout(seconds)
    found = [listener.recv(65536) for _ in range(count)]
    listener.settimeout(0.1)
    try:
        while True:
            found.append(listener.recv(65536))
    except OSError:
        return found


def refuse_netlink():
    """As a container does that forbids the address family: EAFNOSUPPORT from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    machine = os.uname().machine
    number = {"x86_64": 41, "aarch64": 198}[machine]
    program = b"".join(struct.pack("HBBI", *line) for line in [
        (0x20, 0, 0, 0),           # the call's number
        (0x15, 0, 3, number),      # socket
        (0x20, 0, 0, 16),          # its first argument
        (0x15, 0, 1, 16),          # AF_NETLINK
        (0x06, 0, 0, 0x00050000 | 97),
        (0x06, 0, 0, 0x7fff0000)])
    room = ctypes.create_string_buffer(program)
    rule = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(room))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.create_string_buffer(rule), 0, 0) == 0
