# SPDX-License-Identifier: MIT
"""Where a measurement takes place, and what the machine does meanwhile.

A Place is a network of its own: two namespaces joined by a veth pair (`veth`), or one namespace
with nothing but lo (`loopback`). Made and removed by the run that needs it; nothing leaves it.
Relies on root, ip and ethtool."""
import os
import platform
import random
import subprocess
from pathlib import Path


def run(*words, check=True):
    return subprocess.run([str(word) for word in words], check=check, capture_output=True,
                          text=True)


class Place:
    """with Place("veth") as place: the load is `outside`, what is measured `inside`."""

    MTU = 9000  # so that 8,972 bytes are one datagram

    def __init__(self, kind):
        self.kind = kind
        stem = f"flbench{os.getpid()}"
        self._names = {"outside": f"{stem}o", "inside": f"{stem}i"}
        self._interfaces = {"outside": "veth0", "inside": "veth0"}
        if kind == "loopback":
            self._names["inside"] = self._names["outside"]
            self._interfaces = dict.fromkeys(self._interfaces, "lo")

    def __enter__(self):
        try:
            for name in set(self._names.values()):
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
            if self.kind == "veth":
                out, inside = self._names["outside"], self._names["inside"]
                run("ip", "link", "add", "veth0", "netns", out, "type", "veth",
                    "peer", "name", "veth0", "netns", inside)
                for number, name in enumerate((out, inside), 1):
                    run("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "veth0")
                    run("ip", "-n", name, "link", "set", "veth0", "mtu", self.MTU, "up")
                    run("ip", "netns", "exec", name, "ethtool", "-K", "veth0", "gro", "on")
            for name in set(self._names.values()):
                device = self._interfaces["inside"]
                run("ip", "-n", name, "route", "add", "224.0.0.0/4", "dev", device)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in set(self._names.values()):
            run("ip", "netns", "del", name, check=False)

    def words(self, side):
        """What stands in front of a command on that side."""
        return ["ip", "netns", "exec", self._names[side]]

    def interface(self, side):
        return self._interfaces[side]

    def address(self, side):
        if self.kind == "loopback":
            return "127.0.0.1"
        return "10.77.0.1" if side == "outside" else "10.77.0.2"


class Groups:
    """Addresses that are not used twice in a run: what is late of one must not meet the next."""

    def __init__(self):
        self._random = random.Random()
        self._port = 21000

    def next(self):
        self._port += 1
        octets = self._random.choices(range(1, 255), k=2)
        return f"239.{self._random.randint(192, 195)}.{octets[0]}.{octets[1]}:{self._port}"


def processor_times():
    """(all, stolen, busy) of the machine in clock ticks since it started."""
    fields = [int(word) for word in open("/proc/stat").readline().split()[1:9]]
    return sum(fields), fields[7], sum(fields) - fields[3] - fields[4]


def machine():
    """What the figures were measured on."""
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo")
                  if line.startswith(("model name", "Model"))), platform.machine())
    memory = int(open("/proc/meminfo").readline().split()[1]) // 1024
    system = next((line.partition("=")[2].strip().strip('"') for line in open("/etc/os-release")
                   if line.startswith("PRETTY_NAME")), "")
    virtual = run("systemd-detect-virt", check=False).stdout.strip() \
        if Path("/usr/bin/systemd-detect-virt").exists() else ""
    return {"processor": model, "cores": os.cpu_count(), "memory_mib": memory,
            "kernel": platform.release(), "system": system, "virtual": virtual or "unknown",
            "load": list(os.getloadavg())}


def disk_of(folder):
    """The file system and device below a folder, as findmnt has them."""
    found = run("findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", "-T", folder, check=False)
    return " ".join(found.stdout.split())
