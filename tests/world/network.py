# SPDX-License-Identifier: MIT
"""The host's and the peer's network: two links between them, which can be taken away, made anew,
renamed, switched off, and whose addresses come and go. What is made here lives in the network
namespaces of this process and of the peer's, and goes with them.

Neighbours are told, not asked for, and nobody looks for duplicates: so a way works as soon as it is
made, and what is lost is not the network's doing."""
import socket
import struct
import subprocess
import time
from pathlib import Path

import plan

WORKS_S = 10


def _batch(words, lines):
    done = subprocess.run([*words, "ip", "-batch", "-"], input="\n".join(lines), text=True,
                          capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{lines}: {done.stderr}")


def _moving(link):
    return plan.MOVING[link] + ("/64" if ":" in plan.MOVING[link] else "/24")


class Network:
    def __init__(self, peer):
        self._peer = peer  # a process in the peer's network
        self._in_peer = ["nsenter", f"--net=/proc/{peer}/ns/net"]
        quiet = ("for f in all default; do cd /proc/sys/net/ipv6/conf/$f; echo 0 >accept_dad; "
                 "echo 0 >dad_transmits; echo 0 >accept_ra; done; ip link set lo up")
        for words in [], self._in_peer:
            subprocess.run([*words, "sh", "-c", quiet], check=True)

    def make(self, link):
        n = link[-1]
        host, peer = plan.HOST_MAC.format(n), plan.PEER_MAC.format(n)
        four, six = plan.HOST4.format(int(n) + 1), plan.HOST6.format(int(n) + 1)
        peer4, peer6 = plan.PEER4.format(int(n) + 1), plan.PEER6.format(int(n) + 1)
        _batch([], [
            f"link add {link} address {host} type veth peer name peer{n} address {peer} "
            f"netns {self._peer}"])
        # The peer first: then the way is whole at the moment when the host's end is up.
        _batch(self._in_peer, [
            f"addr add {peer4}/24 dev peer{n}", f"addr add {peer6}/64 dev peer{n} nodad",
            f"link set peer{n} up"])
        _batch([], [
            f"addr add {four}/24 dev {link}", f"addr add {six}/64 dev {link} nodad",
            f"link set {link} up"])
        self.appear(link)
        self._tell_neighbours(link)

    def _tell_neighbours(self, link):
        n = link[-1]
        host, peer = plan.HOST_MAC.format(n), plan.PEER_MAC.format(n)
        _batch([], [f"neigh replace {address.format(int(n) + 1)} lladdr {peer} nud permanent "
                    f"dev {link}" for address in (plan.PEER4, plan.PEER6)])
        _batch(self._in_peer, [
            f"neigh replace {address} lladdr {host} nud permanent dev peer{n}"
            for address in (plan.HOST4.format(int(n) + 1), plan.HOST6.format(int(n) + 1),
                            plan.MOVING[link])])

    def remove(self, link):
        _batch([], [f"link del {link}"])

    def switch_off(self, link):
        _batch([], [f"link set {link} down"])

    def switch_on(self, link):
        """With it come back the addresses of IPv6, which the kernel has taken away."""
        n = int(link[-1]) + 1
        _batch([], [f"link set {link} up",
                    f"addr replace {plan.HOST6.format(n)}/64 dev {link} nodad"])
        if ":" in plan.MOVING[link]:
            _batch([], [f"addr replace {_moving(link)} dev {link} nodad"])
        self._tell_neighbours(link)

    def rename(self, link, name):
        _batch([], [f"link set {link} name {name}"])

    def appear(self, link):
        _batch([], [f"addr add {_moving(link)} dev {link}"
                    + " nodad" * (":" in plan.MOVING[link])])

    def disappear(self, link):
        _batch([], [f"addr del {_moving(link)} dev {link}"])

    def wait_until_works(self, link):
        """Until a program that starts now receives by the link, by both families and at the
        address there: its cause has ended then."""
        index = socket.if_nametoindex(link)
        for way in ("239.10.0.99", "ff15::99", plan.MOVING[link]):
            family = socket.AF_INET6 if ":" in way else socket.AF_INET
            end = time.monotonic() + WORKS_S
            while not self._hears(family, way, index):
                if time.monotonic() > end:
                    raise RuntimeError(f"{way} at {link} does not work again")

    @staticmethod
    def _hears(family, way, index):
        with socket.socket(family, socket.SOCK_DGRAM) as witness:
            witness.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            witness.settimeout(0.3)
            try:
                witness.bind((way, plan.WITNESS_PORT))
                if way.startswith("ff"):
                    witness.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                                       socket.inet_pton(family, way) + struct.pack("@i", index))
                elif way.startswith("239."):
                    witness.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                       struct.pack("@4s4si", socket.inet_aton(way), b"", index))
                witness.recv(1)
                return True
            except OSError:
                time.sleep(0.005)
                return False


def wait_for_own_network(pid):
    """Until a process that was started with `unshare --net` is in its own."""
    ours = Path("/proc/self/ns/net").readlink()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        if time.monotonic() > end:
            raise RuntimeError("no network namespace")
        time.sleep(0.01)
