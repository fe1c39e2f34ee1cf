# SPDX-License-Identifier: MIT
"""Two network namespaces of a test's own, the recorder's and its equipment's, joined by pairs of
interfaces: ethN of the one has 10.9.N.1, fd09:N::1 and fe80::N:1, peerN of the other .2. Nothing
leaves them, and all is gone at the end."""
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from .fleet import wait_until

CLONE_NEWNET = 0x40000000
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29


def run(*words, check=True):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0 or not check, (words, done.stderr)
    return done.stdout


class Networks:
    """with Networks(2) as net: ... `inside` are the words in front of what runs on the recorder."""

    def __init__(self, links):
        self.links = range(links)
        stem = f"fl{os.getpid() % 100000}"
        self.host, self.peer = stem + "h", stem + "p"

    @property
    def inside(self):
        return ["nsenter", f"--net=/run/netns/{self.host}"]

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
        found = []

        def act():
            with open(f"/run/netns/{space}", "rb") as file:
                assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) == 0
            found.append(action())
        thread = threading.Thread(target=act)
        thread.start()
        thread.join()
        return found[0]

    def socket(self, space, address, *, listens=False, interface=None, sender=None):
        """A UDP socket there, with its destination: to send to `address` by `interface`, or, with
        `listens`, bound to it, and joined if it is a group, for groups of all interfaces."""
        host, _, port = address.rpartition(":")
        host = host.strip("[]").partition("%")[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def make():
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.settimeout(30)
            index = socket.if_nametoindex(interface) if interface else 0
            if listens:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                made.bind((host, int(port)) if family == socket.AF_INET
                          else (host, int(port), 0, index))
                packed = socket.inet_pton(family, host)
                if family == socket.AF_INET and 224 <= packed[0] < 240:
                    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                    packed + bytes(4) + index.to_bytes(4, "little"))
                elif family == socket.AF_INET6 and packed[0] == 0xff:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                                    packed + index.to_bytes(4, "little"))
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
            return made, ((host, int(port)) if family == socket.AF_INET
                          else (host, int(port), 0, index))
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
