# SPDX-License-Identifier: MIT
"""022-doctor: real faults in networks and folders of our own: each is found, the command that is
printed under it mends it, and a machine without faults has none. Nothing is sent or changed."""
import json
import os
import resource
import shutil
import signal
import socket
import subprocess

import pytest
from harness import signals
from harness.doctor import doctor, goes, network  # noqa: F401 (a fixture)
from harness.fleet import FLOTILLA, Addresses, Fleet, new_folder, put_in_the_way, wait_until

FIXED = {"type": "record", "name": "Fixed", "fields": [
    {"name": "a", "type": "long"}, {"name": "b", "type": {"type": "fixed", "name": "F",
                                                          "size": 300}}]}


def fleet_file(keys, **kw):
    return Fleet({"c": {"schema": signals.SCHEMA, **keys}}, run=False, **kw)


# Faults of a network: what the channel asks for, how to break it, who is found to be ill and how
# badly, and what becomes of the printed command before it is run.
GROUP = {"listen": "239.192.7.1:26000", "interface": "pair0"}
GROUP6 = {"listen": "[ff15::7]:26000", "interface": "pair0", "full": "[ff15::8]:26001"}
NO_INTERFACE = {"listen": "239.192.7.1:26000", "interface": ""}
FAULTS = {
    "down": (GROUP, "ip link set pair0 down", ("pair0", "link"), "problem", {}),
    "no-carrier": (GROUP, "ip link set pair1 down", ("pair0", "link"), "warning",
                   {"plug the cable in, or start the other end": "ip link set pair1 up"}),
    "no-multicast": (GROUP, "ip link set pair0 multicast off", ("pair0", "multicast"), "problem",
                     {}),
    "small-mtu": (GROUP, "ip link set pair0 mtu 600", ("pair0", "mtu"), "warning", {}),
    "fixed-mtu": ({**GROUP, "schema": FIXED}, "ip link set pair0 mtu 300", ("pair0", "mtu"),
                  "warning", {}),
    "no-address": (GROUP, "ip -4 address flush dev pair0", ("pair0", "address"), "problem",
                   {"ADDRESS": "10.99.0.1"}),
    "no-ipv6": (GROUP6, "sysctl -qw net.ipv6.conf.pair0.disable_ipv6=1", ("pair0", "address"),
                "problem", {"ADDRESS": "fd09::1"}),
    "no-route": (NO_INTERFACE, "true", ("c", "listen"), "problem", {}),
    "no-route-out": ({"listen": "10.99.0.1:26000", "full": "10.98.0.1:26001", "interface": ""},
                     "true", ("c", "full"), "problem", {}),
    "no-ipv6-route": (GROUP6, "ip -6 route flush table local type multicast", ("c", "full"),
                      "problem", {}),
    "ipv6-group-on-loopback": ({**GROUP6, "interface": "lo"}, "true", ("c", "listen"), "problem",
                               {}),
    "no-such-address": ({"listen": "10.99.0.77:26000", "interface": "pair0"}, "true",
                        ("c", "listen"), "problem", {}),
    "loopback-down": ({"listen": "127.0.0.1:26000", "interface": "lo"}, "ip link set lo down",
                      ("lo", "link"), "problem", {}),
    "path-filter": (GROUP, "sysctl -qw net.ipv4.conf.pair0.rp_filter=1", ("pair0", "rp_filter"),
                    "warning", {}),
    "path-filter-source": ({**GROUP, "sources": "10.97.0.1"},
                           "sysctl -qw net.ipv4.conf.pair0.rp_filter=1", ("c", "sources"),
                           "problem", {}),
    "too-many-sources": ({**GROUP, "sources": ["10.99.0.2", "10.99.0.3"]},
                         "sysctl -qw net.ipv4.igmp_max_msf=1", ("c", "sources"), "warning", {}),
    "no-querier": (GROUP, "ip link add bridge0 type bridge mcast_snooping 1 && "
                   "ip link set bridge0 up && ip link set pair0 master bridge0",
                   ("pair0", "querier"), "warning", {}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_022_a_fault_is_found_and_mended(network, fault, seed):
    keys, breaking, place, level, replaced = FAULTS[fault]
    with fleet_file(dict(keys)) as fleet:
        if not keys["interface"]:
            del fleet.channels["c"]["interface"]
            fleet.write()
        if breaking != "true":
            assert doctor(fleet, network.inside, code=0).get(place, {"level": "ok"})["level"] in (
                "ok", "unknown"), "well before it was broken"
        network.run(breaking)
        found = doctor(fleet, network.inside)[place]
        assert found["level"] == level, found
        fix = found["fix"]
        for word, instead in replaced.items():
            assert word in fix
            fix = fix.replace(word, instead)
        network.run(fix)

        def mended():
            found = doctor(fleet, network.inside).get(place, {"level": "ok"})
            return found["level"] == "ok"
        wait_until(mended, what=f"{fix!r} to mend it")


def test_022_an_ipv6_group_on_loopback_works_once_mended(network, seed):
    """Not only the doctor is content: what is sent arrives."""
    with fleet_file({**GROUP6, "interface": "lo"}, laws=False) as fleet:
        fleet._inside = network.inside
        network.run(doctor(fleet, network.inside)[("c", "listen")]["fix"])
        fleet.start()
        fleet.source("c", signals.samples(100), rate=1000).finish()
        assert fleet.settle({"c": 100})["c"]["datums_recorded"] == 100


def test_022_no_such_interface(network, seed):
    """A finding like others, beside which the rest is looked at; check still refuses the file."""
    with fleet_file({**GROUP, "interface": "eth77"}) as fleet:
        for listen in ("10.98.0.1:26000", GROUP["listen"]):
            fleet.channels["c"]["listen"] = listen
            fleet.write()
            found = doctor(fleet, network.inside, code=1)
            problems = {place: one for place, one in found.items() if one["level"] == "problem"}
            assert list(problems) == [("eth77", "link")], problems
            fix = problems["eth77", "link"]["fix"]
            command, _, rest = fix.partition("; ")
            assert "pair0" in network.run(command).stdout
            assert rest == "set channels.c.interface to one of these"
            assert ("c", "queue") in found and ("", "clock") in found
        done = subprocess.run([*network.inside, str(FLOTILLA), "check", "-c", str(fleet.file)],
                              capture_output=True, text=True)
        assert done.returncode == 78 and "fleet.yaml:" in done.stderr and "eth77" in done.stderr
        fleet.channels["c"]["interface"] = "pair0"
        fleet.write()
        assert doctor(fleet, network.inside, code=0)[("pair0", "link")]["level"] == "ok"


def test_022_a_queue_beyond_the_limit(network, seed):
    """Without CAP_NET_ADMIN the kernel's limit holds: the command names the size to raise it to.
    (The limit is the whole machine's, so it is not raised here.)"""
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv of util-linux")
    with fleet_file({**GROUP, "receive_queue": "512MiB"}) as fleet:
        found = doctor(fleet, network.inside, before=["setpriv", "--bounding-set", "-net_admin"])
        queue = found[("c", "queue")]
        assert queue["level"] == "warning" and "512MiB" in queue["text"], queue
        assert queue["fix"] == f"sysctl -w net.core.rmem_max={512 << 20}"
        allowed = doctor(fleet, network.inside)[("c", "queue")]
        assert allowed["level"] == "ok" and "without CAP_NET_ADMIN only" in allowed["text"]
        # A queue within the limit is granted to everybody; the budget grows with it.
        fleet.channels["c"]["receive_queue"] = "64KiB"
        fleet.write()
        small = doctor(fleet, network.inside, before=["setpriv", "--bounding-set", "-net_admin"])
        assert small[("c", "queue")]["level"] == "ok"
        # 128 KiB of the kernel's accounting hold 56 datagrams of 1,400 bytes, 6.4 ms of 100 Mbit/s
        assert ": 6 ms of 100 Mbit/s" in small[("c", "queue")]["text"]


def test_022_a_running_fleet(network, seed):
    """Memberships and drops."""
    with Fleet({"c": {"schema": signals.SCHEMA, **GROUP, "receive_queue": "4KiB"}},
               inside=network.inside) as fleet:
        found = doctor(fleet, network.inside, code=0)
        assert found[("", "fleet")]["level"] == "ok"
        assert found[("c", "membership")]["level"] == "ok"
        assert found[("c", "drops")]["level"] == "ok"
        assert found[("c", "state")]["level"] == "ok"

        # A relay that does not read, and nobody ends it: the queue of 4 KiB holds next to nothing.
        stopped = [int((fleet.folder / "run/manager.pid").read_text()), fleet.channel("c")["pid"]]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        fleet.source("c", signals.samples(500), rate=0, interface="pair0").finish()
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
        fleet.settle({"c": 500})
        drops = doctor(fleet, network.inside)[("c", "drops")]
        dropped = fleet.channel("c")["datagrams_dropped"]
        assert dropped > 0 and drops["level"] == "warning", drops
        assert f"dropped {dropped} datagrams" in drops["text"]
        fleet.channels["c"]["receive_queue"] = "8KiB"  # as the printed command has it
        assert drops["fix"].endswith("set channels.c.receive_queue: 8KiB")

        # An interface that was made anew has no members: the fleet joins there by itself.
        network.run("ip link delete pair0")
        network.make_pair()
        goes(fleet, ("c", "membership"), network.inside, code=None)
        wait_until(lambda: not [one for one in doctor(fleet, network.inside).values()
                                if one["level"] == "problem"])


def test_022_a_manager_that_does_not_answer(seed):
    """It is none that does not run; the printed command wakes it."""
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        pid = int((fleet.folder / "run" / "manager.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            found = doctor(fleet, code=1)[("", "fleet")]
            assert found["level"] == "problem" and "does not answer" in found["text"], found
            assert found["fix"] == f"kill -CONT {pid}"
            subprocess.run(["sh", "-c", found["fix"]], check=True)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert doctor(fleet, code=0)[("", "fleet")]["text"].startswith("runs, manager")

        path = fleet.folder / "run" / "control.sock"
        put_in_the_way(path)
        found = doctor(fleet, code=1)[("", "fleet")]
        assert found["level"] == "problem" and "does not listen at control.sock" in found["text"]
        shutil.rmtree(path)
        wait_until(path.is_socket)
        assert doctor(fleet, code=0)[("", "fleet")]["text"].startswith("runs, manager")
        fleet.stop()
        assert "no manager runs" in doctor(fleet, code=0)[("", "fleet")]["text"]


def drop():
    """Becomes a user who may do nothing."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def test_022_the_fleet_of_another_user(seed, needs_root):
    """Who may not ask does not hear that nothing runs."""
    folder = new_folder()
    try:
        folder.chmod(0o777)
        with Fleet({"c": {"schema": signals.SCHEMA}}, folder=folder) as fleet:
            found = doctor(fleet, preexec_fn=drop)[("", "fleet")]
            assert found["level"] == "unknown" and "run it with sudo" in found["text"], found
            assert "Permission denied" in found["text"]
            assert doctor(fleet)[("", "fleet")]["text"].startswith("runs, manager")
    finally:
        shutil.rmtree(folder)


def test_022_a_fleet_in_another_network(network, seed):
    with Fleet({"c": {"schema": signals.SCHEMA}}, inside=network.inside) as fleet:
        outside = doctor(fleet)
        assert outside[("", "fleet")]["level"] == "warning"
        assert ("c", "membership") not in outside
        path = {**os.environ, "PATH": f"{FLOTILLA.parent}:{os.environ['PATH']}"}
        again = subprocess.run(["sh", "-c", outside[("", "fleet")]["fix"]], env=path,
                               capture_output=True, text=True, timeout=30)
        assert again.returncode == 0 and "the group is joined on lo" in again.stdout, again


def test_022_rates_and_days(seed):
    """What is recorded now gives the days that are left and the outage the queue bridges."""
    with Fleet({"c": {"schema": signals.SCHEMA, "receive_queue": "64KiB"}}) as fleet:
        idle = doctor(fleet)[(str(fleet.folder / "recordings"), "room")]
        assert idle["level"] == "unknown" and "free" in idle["text"]
        load = fleet.source("c", signals.samples(1000, pad=1000), rate=5000, count=1 << 40)
        wait_until(lambda: fleet.channel("c")["bytes_recorded"] > 1 << 20, what="recordings")

        def warned():
            found = doctor(fleet)
            return found.get(("c", "outage"), {}).get("level") == "warning" and found
        found = wait_until(warned, what="a rate that the queue does not bridge for 0.1 s")
        outage = found[("c", "outage")]
        assert "set channels.c.receive_queue:" in outage["fix"]
        # A busy machine receives less than was sent: about 1 KiB each, and a little over.
        rate = float(outage["text"].split("present ")[1].split(" datagrams/s")[0])
        assert 700 < rate < 6500, outage
        free = os.statvfs(fleet.folder).f_bavail * os.statvfs(fleet.folder).f_frsize
        room = found[(str(fleet.folder / "recordings"), "room")]
        assert "days at" in room["text"], room
        days = float(room["text"].split(": ")[1].split(" days")[0])
        assert days == pytest.approx(free / (1040 * rate) / 86400, rel=0.35, abs=0.1)
        fleet.settle({"c": load.stop()["sent"]})


@pytest.mark.parametrize("mode, level", [("auto", "warning"), ("required", "problem"),
                                         ("off", "ok")])
def test_022_no_direct_io(tmpfs, mode, level, seed):
    directory = tmpfs / "recordings"
    with fleet_file({}, storage={"directory": str(directory), "direct_io": mode}) as fleet:
        found = doctor(fleet)
        assert found[(str(directory), "direct I/O")]["level"] == level
        assert found[(str(directory), "file system")]["level"] == "warning"
        assert "tmpfs" in found[(str(directory), "file system")]["text"]
        assert not list(tmpfs.iterdir()), "the probe is removed, no folder is made"


def test_022_a_folder_that_cannot_be_used(seed):
    with fleet_file({}) as fleet:
        folder = fleet.folder / "recordings"
        folder.write_text("a file in its place")
        found = doctor(fleet, code=1)[(str(folder), "folder")]
        assert found["level"] == "problem" and "cannot be opened" in found["text"]
        subprocess.run(["sh", "-c", found["fix"]], check=True)
        assert doctor(fleet)[(str(folder), "folder")]["level"] == "ok"


def test_022_a_read_only_file_system(needs_root, seed):
    with fleet_file({}) as fleet:
        folder = fleet.folder / "recordings"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=300m", "tmpfs", str(folder)],
                              capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"needs to mount: {done.stderr.strip()}")
        try:
            found = doctor(fleet, code=1)[(str(folder), "file system")]
            assert found["level"] == "problem" and "read-only" in found["text"]
            subprocess.run(["sh", "-c", found["fix"]], check=True)
            assert "read-only" not in doctor(fleet)[(str(folder), "file system")]["text"]
        finally:
            subprocess.run(["umount", str(folder)], check=True)


def test_022_retention_beyond_the_disk(seed):
    with fleet_file({}, storage={"retain": {"size": "1000TiB"}}) as fleet:
        place = (str(fleet.folder / "recordings"), "retention")
        found = doctor(fleet)[place]
        assert found["level"] == "warning", found
        key, _, size = found["fix"].removeprefix("set ").partition(": ")
        assert key == "storage.retain.size"
        fleet.storage["retain"]["size"] = size
        fleet.write()
        assert doctor(fleet)[place]["level"] == "ok"
        fleet.storage["retain"] = {"size": "0"}
        fleet.write()
        found = doctor(fleet)[place]
        assert found["level"] == "warning" and found["fix"] == "set storage.retain: {free: 5%}"
        fleet.storage["retain"] = {"free": "1%"}
        fleet.write()
        assert "never removed" not in doctor(fleet)[place]["text"]


def test_022_too_few_descriptors(needs_root, seed):
    with fleet_file({}) as fleet:
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (27, 27))
        found = doctor(fleet, code=1, preexec_fn=limit)[("", "descriptors")]
        assert found["level"] == "problem" and "at most 27" in found["text"]
        raised = subprocess.run(["sh", "-c", found["fix"]], preexec_fn=limit, capture_output=True,
                                text=True)
        if raised.returncode:
            pytest.skip(f"needs to raise a limit: {raised.stderr.strip()}")
        line = f"{found['fix']} && exec {FLOTILLA} doctor --json -c {fleet.file}"
        done = subprocess.run(["sh", "-c", line], preexec_fn=limit, capture_output=True, text=True)
        levels = {one["check"]: one["level"] for one in json.loads(done.stdout)["findings"]}
        assert levels["descriptors"] == "ok"


def test_022_it_sends_and_changes_nothing(network, seed):
    keys = {**GROUP, "full": "239.192.7.2:26001",
            "decimated": {"to": "10.99.0.2:26002", "factor": 2, "algorithm": "average"}}
    with fleet_file(keys) as fleet:
        network.run("sysctl -qw net.ipv6.conf.pair0.disable_ipv6=1 "
                    "net.ipv6.conf.pair1.disable_ipv6=1")
        state = ("cat /proc/net/dev /proc/net/igmp /proc/net/route /proc/net/arp; "
                 "ip -d link; ip address; ip route show table all")
        files = sorted(fleet.folder.rglob("*"))
        before = network.run(state).stdout
        doctor(fleet, network.inside, code=0)
        assert network.run(state).stdout == before
        assert sorted(fleet.folder.rglob("*")) == files, "no folder, no probe is left"


def test_022_what_is_printed(network, flotilla, seed):
    with fleet_file(dict(GROUP)) as fleet:
        network.run("ip link set pair0 multicast off")
        done = subprocess.run([*network.inside, str(FLOTILLA), "doctor", "-c", str(fleet.file)],
                              capture_output=True, text=True)
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        (at,) = [number for number, line in enumerate(lines) if line.startswith("  problem")]
        assert "multicast" in lines[at] and lines[at + 1].strip() == \
            "-> ip link set pair0 multicast on"
        assert lines[-1].startswith("1 problem, ")
        fleet.file.write_text("channels: {c: {listen: nowhere}}\n")
        broken = flotilla("doctor", "-c", fleet.file)
        assert broken.returncode == 78 and "fleet.yaml:1:" in broken.stderr


def test_022_an_ordinary_user(seed, needs_root):
    """Nothing in it needs root; a folder of somebody else is found."""
    folder = new_folder()
    try:
        folder.chmod(0o755)
        with fleet_file({"listen": Addresses().unicast()}, folder=folder) as fleet:
            found = doctor(fleet, code=1, preexec_fn=drop)
            place = (str(folder / "recordings"), "folder")
            assert found[place]["level"] == "problem" and "Permission denied" in \
                found[place]["text"]
            folder.chmod(0o777)
            assert doctor(fleet, code=0, preexec_fn=drop)[place]["level"] == "ok"
    finally:
        shutil.rmtree(folder)


def test_022_a_port_that_is_taken(seed):
    """The printed command names who has it; once that has gone, it is free, and stays so."""
    address = Addresses().unicast()
    port = int(address.rpartition(":")[2])
    with fleet_file({"listen": address}, laws=False) as fleet:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", port))
            found = doctor(fleet, code=1)[("c", "listen")]
            assert found["level"] == "problem" and address in found["text"], found
            assert found["fix"].startswith(f"ss -ulnp 'sport = :{port}'")
            if shutil.which("ss"):
                named = subprocess.run(["sh", "-c", found["fix"]], check=True, capture_output=True,
                                       text=True)
                assert f"127.0.0.1:{port}" in named.stdout and f"pid={os.getpid()}," in named.stdout
        assert doctor(fleet, code=0)[("c", "listen")]["level"] == "ok"
        # The fleet's own relay is nobody else.
        fleet.start()
        assert doctor(fleet, code=0)[("c", "listen")]["level"] == "ok"


def test_022_the_loopback_interface_is_down(network, seed):
    """One fault, one command, wherever it shows; with no other interface to send by."""
    network.run("ip link delete pair0 && ip link set lo down")
    down = "ip link set lo up"
    for keys in ({"listen": "127.0.0.1:26000", "full": "127.0.0.1:26001"},
                 {"listen": "[::1]:26000", "full": "[::1]:26001"},
                 {"listen": "239.192.7.1:26000", "full": "239.192.7.2:26001"},
                 {"listen": "[ff15::7]:26000", "full": "[ff15::8]:26001"}):
        for interface in ("lo", None):
            named = {"interface": interface} if interface else {}
            with fleet_file({**keys, **named}) as fleet:
                if not interface:
                    fleet.channels["c"].pop("interface", None)
                    fleet.write()
                found = doctor(fleet, network.inside, code=1)
                fixes = {one["fix"] for place, one in found.items()
                         if one["level"] == "problem" and place[0] in ("c", "lo")}
                assert fixes == {down}, found
    network.run(down)
    with fleet_file({"listen": "127.0.0.1:26000", "full": "127.0.0.1:26001",
                     "interface": "lo"}) as fleet:
        doctor(fleet, network.inside, code=0)
        network.run("ip -4 address flush dev lo")
        network.run(doctor(fleet, network.inside, code=1)[("lo", "address")]["fix"])
        doctor(fleet, network.inside, code=0)


def test_022_the_greatest_queue(network, seed):
    """The kernel grants a byte less than 1GiB: that is all there is to have."""
    with fleet_file({**GROUP, "receive_queue": "1GiB"}) as fleet:
        queue = doctor(fleet, network.inside, code=0)[("c", "queue")]
        assert queue["level"] == "ok" and "1GiB is granted" in queue["text"], queue


def test_022_recordings_of_another_user(seed, needs_root):
    """chmod is not for those who do not own it; the printed command, as root, gives it to them."""
    folder = new_folder()
    try:
        folder.chmod(0o755)
        recordings = folder / "recordings"
        recordings.mkdir(mode=0o700)
        place = (str(recordings), "folder")
        with fleet_file({"listen": Addresses().unicast()}, folder=folder) as fleet:
            found = doctor(fleet, code=1, preexec_fn=drop)[place]
            assert found["level"] == "problem" and "cannot be opened: Perm" in found["text"], found
            # sudo as far as it matters here: the user's shell has filled in $(id -u)
            assert found["fix"].startswith('sudo chown "$(id -u)" ')
            as_root = found["fix"].replace("sudo ", "").replace("$(id -u)", "65534")
            subprocess.run(["sh", "-c", as_root], check=True)
            assert doctor(fleet, code=0, preexec_fn=drop)[place]["level"] == "ok"
    finally:
        shutil.rmtree(folder)
