# SPDX-License-Identifier: MIT
"""What the scenarios of `flotilla doctor` share: a network of their own, the findings, and running
what is printed below them."""
import json
import os
import re
import shutil
import subprocess

import pytest

from .fleet import FLOTILLA, wait_until

PATH = f"{FLOTILLA.parent}:{os.environ['PATH']}"


class Network:
    """A network namespace with a pair of interfaces that lead to each other."""

    def __init__(self):
        self.name = f"flotilla-doctor-{os.getpid()}"
        self.inside = ["ip", "netns", "exec", self.name]

    def run(self, line, check=True):
        return subprocess.run([*self.inside, "sh", "-c", line], check=check, capture_output=True,
                              text=True)

    def make_pair(self, more=""):
        """`more`: words of `ip link add` about pair0."""
        self.run(f"ip link add pair0 {more} type veth peer name pair1 && ip link set pair0 up && "
                 "ip link set pair1 up && ip address add 10.99.0.1/24 dev pair0 && "
                 "ip address add fd09::1/64 dev pair0 nodad")


@pytest.fixture
def network(needs_root):
    if not shutil.which("ip"):
        pytest.skip("needs iproute2")
    made = Network()
    done = subprocess.run(["ip", "netns", "add", made.name], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs network namespaces: {done.stderr.strip()}")
    try:
        made.run("ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; "
                 "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; "
                 "echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter")
        made.make_pair()
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=True)


def doctor(fleet, inside=(), code=None, before=(), **kw):
    """The findings by (name, check): level, text, fix."""
    done = subprocess.run([*inside, *before, str(FLOTILLA), "doctor", "--json", "-c",
                           str(fleet.file)], capture_output=True, text=True, timeout=30, **kw)
    assert done.returncode in (0, 1), done
    told = json.loads(done.stdout)
    problems = [one for one in told["findings"] if one["level"] == "problem"]
    assert told["problems"] == len(problems)
    assert done.returncode == (1 if problems else 0)
    if code is not None:
        assert done.returncode == code, problems
    for one in told["findings"]:
        assert (one["fix"] is not None) == (one["level"] in ("warning", "problem")), one
        assert "\n" not in one["text"]
    return {(one["name"], one["check"]): one for one in told["findings"]}


def mend(fleet, fix, inside=()):
    """Does what a finding prints: commands are run by sh as they stand, in the fleet's folder; keys
    are set in the file, which a manager at work is told to read again."""
    said = ""
    for part in re.split("; (?=set )", fix):
        key = re.fullmatch(r"set ([\w.]+): (.+)", part)
        if not key:
            done = subprocess.run([*inside, "sh", "-c", part], cwd=fleet.folder, text=True,
                                  env={**os.environ, "PATH": PATH}, capture_output=True,
                                  timeout=60)
            assert done.returncode == 0, (part, done)
            said += done.stdout
            continue
        *path, last = key[1].split(".")
        place = {"storage": fleet.storage, "channels": fleet.channels}[path[0]]
        for name in path[1:]:
            place = place.setdefault(name, {})
        value = re.fullmatch(r"{(\w+): (.+)}", key[2])
        place[last] = {value[1]: value[2]} if value else key[2]
        if last in ("storage", "channels"):
            raise AssertionError(part)
        fleet.write()
        if fleet.manager:
            fleet.reload()
    return said


def goes(fleet, place, inside=(), **kw):
    """Waits until the finding has gone, or is fine."""
    def gone():
        found = doctor(fleet, inside, **kw).get(place, {"level": "ok"})
        return found["level"] in ("ok", "unknown")
    wait_until(gone, what=f"{place} to go")
