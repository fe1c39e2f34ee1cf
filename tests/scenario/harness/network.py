# SPDX-License-Identifier: MIT
"""Two network namespaces of a test's own, `host` with the fleet and `peer` with the equipment, and
pairs of interfaces between them: they can be made, removed, renamed and given addresses.

with Network() as network: network.link("eth0", 1); Fleet(..., inside=network.inside)"""
import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from . import signals
from .fleet import wait_until

CLONE_NEWNET = 0x40000000


class Network:
    """Link number N is 10.9.N.1 and fd09:N::1 here, .2 and ::2 at the peer's `peerN`."""
    _count = 0

    def __init__(self):
        if os.geteuid() != 0:
            pytest.skip("needs root")
        if not shutil.which("ip"):
            pytest.skip("needs iproute2")
        Network._count += 1
        stem = f"flotilla-{os.getpid()}-{Network._count}"
        self.host, self.peer = stem + "-host", stem + "-peer"
        # Not `ip netns exec`, which would need netlink and hide mounts.
        self.inside = ["nsenter", f"--net=/run/netns/{self.host}"]

    def __enter__(self):
        try:
            for name in (self.host, self.peer):
                subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
                self.ip("link set lo up", name)
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"needs network namespaces: {error.stderr.decode().strip()}")
        return self

    def __exit__(self, *_):
        for name in (self.host, self.peer):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

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

    def _socket(self, namespace, six):
        """Made in a thread that is in that namespace, where it stays."""
        made = []

        def make():
            with open(f"/run/netns/{namespace}") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket(socket.AF_INET6 if six else socket.AF_INET,
                                              socket.SOCK_DGRAM))
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def _index(self, number):
        return int(self.ip(f"-o link show peer{number}", self.peer).split(":")[0])

    def send(self, to, number, datagrams):
        """Sends from the peer by link `number`, all at once; again where the link is not up yet."""
        host, port = split(to)
        six = ":" in host
        with self._socket(self.peer, six) as sender:
            index = self._index(number)
            if six:
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            else:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                                  struct.pack("4s4si", b"", b"", index))
            for datagram in datagrams:
                sender.sendto(datagram, (host, port))

    def listener(self, at, number):
        """A socket of the peer's, on link `number`."""
        host, port = split(at)
        six = ":" in host
        made = self._socket(self.peer, six)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not six:
            made.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
        made.bind((host, port))
        self.join(made, at, number)
        made.setblocking(False)
        return made

    def join(self, listener, at, number):
        host, _ = split(at)
        index = self._index(number)
        with contextlib.suppress(OSError):  # it is joined, or no group
            if ":" in host:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                                    socket.inet_pton(socket.AF_INET6, host)
                                    + struct.pack("i", index))
            else:
                listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                    struct.pack("4s4si", socket.inet_aton(host), b"", index))

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


def split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def take(listener):
    """What waits in a socket."""
    taken = []
    with contextlib.suppress(BlockingIOError):
        while True:
            taken.append(listener.recv(65536))
    return taken
