# SPDX-License-Identifier: MIT
"""065-every-mend: each thing that `flotilla doctor` finds is provoked, what is printed below it is
run by sh as it stands, and the finding is gone. What cannot be provoked here is named with the
reason. (022 has the plain faults of a network; 066 has /proc.)"""
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from harness import signals
from harness.doctor import PATH, doctor, goes, mend, network  # noqa: F401 (a fixture)
from harness.fleet import FLOTILLA, ROOT, Addresses, Fleet, new_folder, put_in_the_way, wait_until
from harness.network import refuse_netlink

DENY = ROOT / "build/units/deny"
MACHINE = ROOT / "build/units/machine.so"
GROUP = {"listen": "239.192.7.1:26000", "interface": "pair0"}

# Every check of which a warning or problem is told, where it is provoked, and where the mend is not
# run as it stands, why.
PROVOKED = {
    "fleet": ["test_065_the_manager", "test_022_a_manager_that_does_not_answer",
              "test_022_a_fleet_in_another_network"],
    "file size": ["test_065_a_limit_of_file_sizes"],
    "folder": ["test_065_a_folder", "test_022_recordings_of_another_user"],
    "file system": ["test_022_a_read_only_file_system", "test_065_a_file_system_in_memory"],
    "direct I/O": ["test_065_a_file_system_in_memory"],
    "room": ["test_065_a_full_disk"],
    "retention": ["test_022_retention_beyond_the_disk",
                  "test_065_recordings_of_an_age_that_nobody_knows"],
    "listen": ["test_065_a_port_of_a_group", "test_065_an_address_that_is_not_used_yet"],
    "full": ["test_022_a_fault_is_found_and_mended",
             "test_065_the_interface_that_is_down_is_the_one_meant"],
    "state": ["test_065_a_channel_that_failed", "test_065_a_channel_that_does_not_record",
              "test_065_a_schema_mismatch"],
    "membership": ["test_065_a_membership"],
    "queue": ["test_065_the_limit_of_queues"],
    "outage": ["test_065_a_short_queue"],
    "drops": ["test_065_drops"],
    "sources": ["test_022_a_fault_is_found_and_mended"],
    "link": ["test_022_a_fault_is_found_and_mended"],
    "address": ["test_022_a_fault_is_found_and_mended", "test_065_an_address_that_is_not_used_yet"],
    "multicast": ["test_022_a_fault_is_found_and_mended"],
    "mtu": ["test_022_a_fault_is_found_and_mended"],
    "querier": ["test_022_a_fault_is_found_and_mended"],
    "rp_filter": ["test_022_a_fault_is_found_and_mended"],
    "way out": ["test_065_a_slow_way_out"],
    "checksum": ["test_065_checksums"],
    "descriptors": ["test_065_too_few_descriptors", "test_022_too_few_descriptors"],
    "processes": ["test_066_without_proc"],
    "clock": ["test_065_the_clock"],
    "backlog": ["test_065_a_queue_before_all_sockets"],
    "card": ["test_065_a_card_without_room"],
    "sending": ["test_065_what_is_not_sent"],
    "mounted": ["test_065_a_mount_that_is_missing"],
    "memory": ["test_065_no_memory"],
    # A boot mends it, which no test makes: the same machine stands for the one that was booted.
    "sandbox": ["test_065_a_kernel_without_what_holds_a_relay"],
    "limits": ["test_065_limits_that_cannot_be_had", "test_028_limits_are_kept"],
    # A container's rules are not its own to change.
    "system calls": ["test_068_what_is_needed_is_named"],
}


def test_065_nothing_is_found_that_is_not_provoked():
    told, tests = set(), set()
    for name in ("doctor.c", "doctor_network.c"):
        text = (ROOT / "src/cli" / name).read_text()
        for call in re.findall(r"doctor_find\(\s*doctor,(.*?)\);", text, re.S):
            level, _, rest = call.partition(",")
            if "DOCTOR_OK" in level.split("?")[0] or level.strip() == "DOCTOR_UNKNOWN":
                continue
            # The first string that stands by itself is the check; else it is a stream's name.
            alone = re.search(r',\s*"([\w/ ]+)",', call)
            told.add(alone[1] if alone else "full")
    assert told | {"full"} == set(PROVOKED)
    for path in Path(__file__).parent.glob("test_*.py"):
        tests.update(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    assert {one for named in PROVOKED.values() for one in named} <= tests


def fleet_file(keys, **kw):
    return Fleet({"c": {"schema": signals.SCHEMA, **keys}}, run=False, **kw)


def problems(found):
    return {place: one for place, one in found.items() if one["level"] == "problem"}


# ---- names ---------------------------------------------------------------------------------------

def test_065_alternative_names(network, seed):
    """An interface by two of its names is one; its groups are seen under either."""
    if network.run("ip link property add dev pair0 altname enp7s0", check=False).returncode:
        pytest.skip("needs alternative names of interfaces: iproute2 5.4, Linux 5.5")
    network.run("sysctl -qw net.ipv4.conf.pair0.rp_filter=1")
    channels = {"a": {"schema": signals.SCHEMA, "interface": "enp7s0",
                      "listen": "239.192.7.1:26000", "full": "239.192.7.9:26009"},
                "b": {"schema": signals.SCHEMA, "interface": "enp7s0",
                      "listen": "[ff15::7]:26001"},
                "d": {"schema": signals.SCHEMA, "interface": "pair0",
                      "listen": "239.192.7.2:26002", "sources": ["10.99.0.0/24"]}}
    with Fleet(channels, inside=network.inside) as fleet:
        found = doctor(fleet, network.inside, code=0)
        for name in channels:
            assert found[(name, "membership")]["level"] == "ok", found[(name, "membership")]
        assert len([place for place in found if place[1] == "link"]) == 1
        place = ("enp7s0", "rp_filter")
        assert found[place]["level"] == "warning"
        mend(fleet, found[place]["fix"], network.inside)
        goes(fleet, place, network.inside)


@pytest.mark.parametrize("name", ["eth0.7", "a'b;c$d", "$(id)", "-xy"])
def test_065_names_of_interfaces_for_a_shell(network, name, seed):
    """A VLAN's dot is no step of a setting's name; what means something to a shell is quoted."""
    subprocess.run(["ip", "netns", "exec", network.name, "ip", "link", "set", "pair0", "down"],
                   check=True)
    renamed = subprocess.run(["ip", "netns", "exec", network.name, "ip", "link", "set", "dev",
                              "pair0", "name", name], capture_output=True, text=True)
    if renamed.returncode:
        pytest.skip(f"this ip does not take the name: {renamed.stderr.strip()}")
    with fleet_file({"listen": "239.192.7.1:26000", "interface": name}) as fleet:
        place = (name, "link")
        found = doctor(fleet, network.inside)
        assert found[place]["level"] == "problem", found
        mend(fleet, found[place]["fix"], network.inside)
        goes(fleet, place, network.inside)
        setting = f"/proc/sys/net/ipv4/conf/{name}/rp_filter"
        subprocess.run([*network.inside, "sh", "-c", 'echo 1 > "$1"', "sh", setting], check=True)
        found = doctor(fleet, network.inside)[(name, "rp_filter")]
        assert found["level"] == "warning"
        mend(fleet, found["fix"], network.inside)
        goes(fleet, (name, "rp_filter"), network.inside)


@pytest.mark.parametrize("name", ["it's; a $(folder)", "with blanks", '"quoted"'])
def test_065_names_of_folders_for_a_shell(name, seed):
    base = new_folder()
    folder = base / name
    folder.mkdir()
    try:
        with fleet_file({}, folder=folder) as fleet:
            place = (str(folder / "recordings"), "folder")
            (folder / "recordings").write_text("a file in its place")
            found = doctor(fleet, code=1)[place]
            mend(fleet, found["fix"])
            goes(fleet, place)
            # The command names the configuration that the doctor was given.
            fleet.start()
            pid = int((folder / "run" / "manager.pid").read_text())
            fleet.set("d", {"schema": signals.SCHEMA})
            fleet.write()
            found = doctor(fleet)[("d", "state")]
            assert found["level"] == "warning" and pid
            mend_elsewhere = {"cwd": "/", "env": {**os.environ, "PATH": PATH}}
            subprocess.run(["sh", "-c", found["fix"]], check=True, **mend_elsewhere)
            goes(fleet, ("d", "state"))
    finally:
        shutil.rmtree(base)


def test_065_without_root(network, needs_root, seed):
    """An ordinary user sees all that can be seen, and is told of sudo where that is needed."""
    folder = new_folder()
    try:
        folder.chmod(0o777)
        network.run("ip link set pair0 down")
        with fleet_file(dict(GROUP), folder=folder) as fleet:
            found = doctor(fleet, network.inside,
                           before=["setpriv", "--reuid=65534", "--clear-groups"])
            assert found[("pair0", "link")]["fix"] == "sudo ip link set pair0 up"
            root = doctor(fleet, network.inside)
            assert {place: one["level"] for place, one in found.items()
                    if place[1] not in ("queue",)} == \
                {place: one["level"] for place, one in root.items() if place[1] not in ("queue",)}
    finally:
        shutil.rmtree(folder)


# ---- addresses -----------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_065_a_port_of_a_group(network, family, seed):
    """Another program has it for itself alone: found before the start, without joining."""
    listen = "239.192.7.1:26000" if family == 4 else "[ff15::7]:26000"
    code = ("import socket, sys; s = socket.socket(socket.AF_INET%s, socket.SOCK_DGRAM); "
            "s.bind(('', 26000)); print(1, flush=True); sys.stdin.read()")
    with fleet_file({"listen": listen, "interface": "pair0"}) as fleet:
        assert doctor(fleet, network.inside, code=0)[("c", "listen")]["level"] == "ok"
        joined = network.run("cat /proc/net/igmp /proc/net/igmp6").stdout
        other = subprocess.Popen([*network.inside, "python3", "-c",
                                  code % ("" if family == 4 else "6")],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert other.stdout.readline() == b"1\n"
            found = doctor(fleet, network.inside, code=1)[("c", "listen")]
            assert found["level"] == "problem" and "another program" in found["text"], found
            if shutil.which("ss"):
                assert f"pid={other.pid}," in mend(fleet, found["fix"], network.inside)
        finally:
            other.communicate()
        goes(fleet, ("c", "listen"), network.inside)
        assert network.run("cat /proc/net/igmp /proc/net/igmp6").stdout == joined


def test_065_broadcast(network, seed):
    """A network's broadcast address is taken in, and never to become a host's own."""
    network.run("ip address add 10.98.0.1/24 broadcast + dev pair0")
    for listen in ("10.98.0.255:26000", "255.255.255.255:26000"):
        with fleet_file({"listen": listen, "interface": "pair0"}) as fleet:
            assert doctor(fleet, network.inside, code=0)[("c", "listen")]["level"] == "ok"
    with fleet_file({"listen": "10.97.0.255:26000", "interface": "pair0"}) as fleet:
        found = doctor(fleet, network.inside, code=1)[("c", "listen")]
        assert found["fix"] == "ip address add ADDRESS/24 broadcast 10.97.0.255 dev pair0"
        mend(fleet, found["fix"].replace("ADDRESS", "10.97.0.1"), network.inside)
        goes(fleet, ("c", "listen"), network.inside)


@pytest.mark.parametrize("how", ["group", "group of IPv6", "single address"])
def test_065_the_interface_that_is_down_is_the_one_meant(network, how, seed):
    """None is named, and the only one but the loopback interface is switched off: what is printed
    first, and next to it, is to switch it on, and never a way by the loopback interface."""
    network.run("ip link set pair0 down")
    keys = {"group": {"listen": "239.192.7.1:26000", "full": "239.192.7.2:26001"},
            "group of IPv6": {"listen": "[ff15::7]:26000", "full": "[ff15::8]:26001"},
            "single address": {"listen": "10.99.0.1:26000", "full": "10.99.0.2:26001"}}[how]
    with fleet_file({**keys, "interface": "pair0"}) as fleet:
        del fleet.channels["c"]["interface"]
        fleet.write()
        for _ in range(4):
            found = problems(doctor(fleet, network.inside))
            if not found:
                break
            fixes = [one["fix"] for one in found.values()]
            assert not [fix for fix in fixes if " lo" in fix], fixes
            place, first = next(iter(found.items()))
            if first["fix"].startswith("ip link") and "&&" not in first["fix"]:
                assert place == ("pair0", "link") and first["fix"] == "ip link set pair0 up", found
            network.run(first["fix"].replace("ADDRESS", "fd09::1"))
        assert not found, found


def test_065_an_address_that_is_not_used_yet(network, seed):
    """IPv6: for a second or two while it is looked for on the network, which the doctor waits for;
    for good where another host has it, or where nobody could be asked."""
    network.run("sysctl -qw net/ipv6/conf/pair0/accept_dad=1 net/ipv6/conf/pair1/accept_dad=1")
    with fleet_file({"listen": "[fd09::7]:26000", "interface": "pair0"}) as fleet:
        del fleet.channels["c"]["interface"]
        fleet.write()
        network.run("ip address add fd09::7/64 dev pair0")
        assert doctor(fleet, network.inside, code=0)[("c", "listen")]["level"] == "ok"

        network.run("ip address del fd09::7/64 dev pair0")
        far = ["ip", "-n", f"{network.name}.far"]
        subprocess.run(["ip", "netns", "add", far[-1]], check=True)
        try:
            subprocess.run(["ip", "-n", network.name, "link", "set", "pair1", "netns", far[-1]],
                           check=True)
            subprocess.run([*far, "link", "set", "pair1", "up"], check=True)
            subprocess.run([*far, "address", "add", "fd09::7/64", "dev", "pair1", "nodad"],
                           check=True)
            network.run("ip address add fd09::7/64 dev pair0")
            found = doctor(fleet, network.inside, code=1)
            for place in ("c", "listen"), ("pair0", "address"):
                assert "another host has it" in found[place]["text"], found[place]
            fix = found["c", "listen"]["fix"]
            assert fix == found["pair0", "address"]["fix"]
            network.run(fix.replace("ADDRESS", "fd09::8"))
            fleet.channels["c"]["listen"] = "[fd09::8]:26000"
            fleet.write()
            goes(fleet, ("c", "listen"), network.inside, code=0)

            # Nobody can be asked: it stays tentative.
            subprocess.run([*far, "link", "set", "pair1", "down"], check=True)
            network.run("ip address add fd09::9/64 dev pair0")
            fleet.channels["c"]["listen"] = "[fd09::9]:26000"
            fleet.write()
            found = doctor(fleet, network.inside, code=1)["c", "listen"]
            assert "tentative" in found["text"], found
            network.run(found["fix"])
            goes(fleet, ("c", "listen"), network.inside, code=0)
        finally:
            subprocess.run(["ip", "netns", "delete", far[-1]], check=True)


def test_065_a_route_that_refuses(network, seed):
    """Not only one that is missing."""
    keys = {"listen": "10.99.0.1:26000", "full": "10.96.0.1:26001", "interface": "pair0"}
    network.run("ip route add blackhole 10.96.0.1/32")
    with fleet_file(keys) as fleet:
        del fleet.channels["c"]["interface"]
        fleet.write()
        found = doctor(fleet, network.inside, code=1)[("c", "full")]
        mend(fleet, found["fix"], network.inside)
        goes(fleet, ("c", "full"), network.inside)


def test_065_a_kernel_that_is_not_asked(network, seed):
    """Where a container refuses the question, the answer is unknown: nothing is to be mended."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    keys = {"listen": "10.99.0.1:26000", "full": "10.99.0.2:26001", "interface": "pair0"}
    with fleet_file(keys) as fleet:
        before = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=sendto:error=EPERM"]
        found = doctor(fleet, network.inside, before=before, code=0)
        assert found[("c", "listen")]["level"] == found[("c", "full")]["level"] == "unknown"


def test_065_a_membership(network, seed):
    """One that went with its interface, of which another with its name and number took the place
    where nobody tells the manager of such a thing, between two of its looks."""
    inside = ["nsenter", f"--net=/run/netns/{network.name}"]  # `ip` needs netlink
    with Fleet({"c": {"schema": signals.SCHEMA, **GROUP}}, inside=inside, run=False) as fleet:
        fleet.start(preexec_fn=refuse_netlink)
        assert doctor(fleet, network.inside)[("c", "membership")]["level"] == "ok"
        index = network.run("cat /sys/class/net/pair0/ifindex").stdout.strip()
        os.kill(fleet.manager.pid, signal.SIGSTOP)
        try:
            network.run("ip link delete pair0")
            network.make_pair(f"index {index}")
        finally:
            os.kill(fleet.manager.pid, signal.SIGCONT)
        found = doctor(fleet, network.inside)[("c", "membership")]
        assert found["level"] == "problem" and "is not joined on pair0" in found["text"], found
        mend(fleet, found["fix"], network.inside)
        goes(fleet, ("c", "membership"), network.inside)
        fleet.source("c", signals.samples(50), rate=1000, interface="pair0").finish()
        fleet.settle({"c": 50})


def test_065_check_says_what_this_machine_has_not(network, seed):
    """A single address of no interface, before the start and not only by the doctor."""
    line = [*network.inside, str(FLOTILLA), "check", "-c"]
    with fleet_file({"listen": "10.99.0.1:26000", "interface": "pair0"}) as fleet:
        for listen, code in (("10.99.0.77:26000", 78), ("10.99.0.1:26000", 0),
                             ("[fd09::77]:26000", 78), ("[fd09::1]:26000", 0),
                             ("10.97.0.255:26000", 78), ("10.99.0.255:26000", 0),
                             ("0.0.0.0:26000", 0)):
            fleet.channels["c"]["listen"] = listen
            fleet.write()
            done = subprocess.run([*line, fleet.file], capture_output=True, text=True)
            assert done.returncode == code, (listen, done)
            told = f"listen: no interface of this machine has the address of {listen}"
            assert (told in done.stderr) == (code == 78), done.stderr
            offline = subprocess.run([*line, fleet.file, "--offline"], capture_output=True)
            assert offline.returncode == 0, offline


@pytest.mark.parametrize("how", ["group", "address", "routed"])
def test_065_silent_for_want_of_its_interface(network, how, seed):
    """Nothing comes, and status says why; once it is mended, no more."""
    keys = {"group": dict(GROUP), "address": {"listen": "10.99.0.1:26000", "interface": None},
            "routed": {"listen": "[ff15::7]:26000", "interface": None}}[how]
    down, up, says = {
        "group": ("ip link set pair0 down", "ip link set pair0 up", "interface pair0 is down"),
        "address": ("ip link set pair0 down", "ip link set pair0 up", "interface pair0 is down"),
        "routed": ("ip link set pair1 down", "ip link set pair1 up",
                   "interface pair0 has no carrier")}[how]
    with Fleet({"c": {"schema": signals.SCHEMA, **keys}}, run=False) as fleet:
        fleet.channels["c"] = {key: value for key, value in fleet.channels["c"].items()
                               if value is not None}
        fleet.write()
        fleet._inside = network.inside
        fleet.start()
        wait_until(lambda: fleet.channel("c")["state"] == "silent")
        assert fleet.channel("c")["reason"] == ""
        network.run(down)
        wait_until(lambda: fleet.channel("c")["reason"] == says, what=says)
        assert fleet.channel("c")["state"] == "silent"
        network.run(up)
        wait_until(lambda: fleet.channel("c")["reason"] == "")


def test_065_an_idle_manager_asks_nothing_of_routes(network, seed):
    """The system tells of those that change: where the routing table chooses, too."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    with Fleet({"c": {"schema": signals.SCHEMA, "listen": "[ff15::7]:26000"}}, run=False) as fleet:
        del fleet.channels["c"]["interface"]
        fleet.write()
        fleet._inside = network.inside
        fleet.start()
        wait_until(lambda: fleet.channel("c")["state"] == "silent")
        done = subprocess.run(["timeout", "-s", "INT", "3", "strace", "-f", "-p",
                               str(fleet.manager.pid), "-e", "trace=socket,ioctl"],
                              capture_output=True, text=True)
        assert "attached" in done.stderr and "socket(" not in done.stderr, done.stderr


# ---- what is lost --------------------------------------------------------------------------------

def overflow(fleet, count=500):
    """A relay that does not read, and a queue that holds next to nothing."""
    pid = fleet.channel("c")["pid"]
    before = fleet.channel("c")["datagrams_received"] + fleet.channel("c")["datagrams_dropped"]
    os.kill(pid, signal.SIGSTOP)
    fleet.source("c", signals.samples(count), rate=0, interface="pair0").finish()
    os.kill(pid, signal.SIGCONT)
    fleet.settle({"c": before + count})


def test_065_drops(network, seed):
    """They are told until the queue is longer, as printed; and again when that is too short."""
    with Fleet({"c": {"schema": signals.SCHEMA, **GROUP, "receive_queue": "4KiB"}},
               inside=network.inside) as fleet:
        overflow(fleet)
        place = ("c", "drops")
        found = doctor(fleet, network.inside)[place]
        dropped = fleet.channel("c")["datagrams_dropped"]
        assert found["level"] == "warning" and f"dropped {dropped} " in found["text"], found
        assert "sysctl" not in found["fix"], "a limit that is high enough is never lowered"
        mend(fleet, found["fix"], network.inside)
        goes(fleet, place, network.inside)
        assert fleet.channel("c")["datagrams_dropped"] == dropped
        overflow(fleet)
        more = fleet.channel("c")["datagrams_dropped"] - dropped
        found = doctor(fleet, network.inside)[place]
        assert more > 0 and f"dropped {more} " in found["text"], found


WRONG = """
import socket, struct, sys, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
source, to = socket.inet_aton("10.99.0.1"), socket.inet_aton("10.99.0.1")
print(1, flush=True)
while True:
    payload = bytes(int(sys.argv[1]))
    udp = struct.pack("!HHHH", 5000, 26000, 8 + len(payload), 0x1234) + payload
    raw.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, to)
               + udp, ("10.99.0.1", 0))
    time.sleep(0.01)
"""


@pytest.mark.parametrize("size", [20, 1200])
def test_065_checksums(network, size, seed):
    """A sender with wrong checksums is told as that, not as a queue that is full."""
    with Fleet({"c": {"schema": signals.SCHEMA, "listen": "10.99.0.1:26000",
                      "interface": "pair0"}}, inside=network.inside) as fleet:
        sender = subprocess.Popen([*network.inside, "python3", "-c", WRONG, str(size)],
                                  stdout=subprocess.PIPE)
        try:
            sender.stdout.readline()
            wait_until(lambda: doctor(fleet, network.inside).get(("", "checksum"), {})
                       .get("level") == "warning", what="a finding")
            found = doctor(fleet, network.inside)
            drops = found[("c", "drops")]
            assert "full" not in drops["text"] and "rmem_max" not in (drops["fix"] or ""), drops
            assert "tcpdump" in found[("", "checksum")]["fix"]
            if fleet.channel("c")["datagrams_dropped"]:
                assert "checksum" in drops["text"], drops
        finally:
            sender.kill()
            sender.wait()
        goes(fleet, ("", "checksum"), network.inside)


def test_065_a_slow_way_out(network, seed):
    """What the queue in front of an interface refuses is in none of the interface's counts."""
    shaped = network.run("tc qdisc add dev pair0 root tbf rate 100kbit burst 2kb limit 4kb",
                         check=False)
    if shaped.returncode:
        pytest.skip(f"this kernel shapes nothing: {shaped.stderr.strip()}")
    code = ("import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "print(1, flush=True)\nwhile True:\n"
            "    s.sendto(bytes(1000), ('10.99.0.2', 9)); time.sleep(0.001)")
    network.run("ip neighbour add 10.99.0.2 lladdr 02:00:00:00:00:02 dev pair0")
    keys = {"listen": "10.99.0.1:26000", "full": "10.99.0.2:26001", "interface": "pair0"}
    with fleet_file(keys) as fleet:
        place = ("pair0", "way out")
        assert place not in doctor(fleet, network.inside)
        sender = subprocess.Popen([*network.inside, "python3", "-c", code],
                                  stdout=subprocess.PIPE)
        try:
            sender.stdout.readline()
            wait_until(lambda: doctor(fleet, network.inside).get(place, {})
                       .get("level") == "warning", what="a finding")
            fix = doctor(fleet, network.inside)[place]["fix"]
            assert "dropped" in mend(fleet, fix, network.inside)
        finally:
            sender.kill()
            sender.wait()
        goes(fleet, place, network.inside)


def test_065_what_is_not_sent(network, seed):
    """While it rises it is told with a mend; afterwards as a number that may be the past."""
    keys = {"listen": "127.0.0.1:26000", "listen_interface": "lo", "send_interface": "pair0",
            "full": "10.99.0.2:26001"}
    with Fleet({"c": {"schema": signals.SCHEMA, "listen": "127.0.0.1:26000"}}, run=False,
               laws=False) as fleet:
        channel = fleet.set("c", {"schema": signals.SCHEMA, **keys})
        del channel["interface"]
        fleet.write()
        fleet._inside = network.inside
        fleet.start()
        place = ("c", "sending")
        load = fleet.source("c", signals.samples(1000), rate=200, count=100_000)
        wait_until(lambda: fleet.channel("c")["datagrams_received"] > 0)
        assert place not in doctor(fleet, network.inside)
        network.run("ip link set pair0 down")
        wait_until(lambda: doctor(fleet, network.inside).get(place, {}).get("level") == "warning",
                   what="a finding")
        found = doctor(fleet, network.inside)
        mend(fleet, found[("pair0", "link")]["fix"], network.inside)
        mend(fleet, found[place]["fix"], network.inside)
        goes(fleet, place, network.inside)
        load.stop()


def test_065_a_short_queue(seed):
    """What is printed for it bridges what it says."""
    with Fleet({"c": {"schema": signals.SCHEMA, "receive_queue": "64KiB"}}) as fleet:
        load = fleet.source("c", signals.samples(1000, pad=1000), rate=2000, count=200_000)
        wait_until(lambda: fleet.channel("c")["rate"] > 1500, what="a rate")
        found = doctor(fleet)[("c", "outage")]
        assert found["level"] == "warning", found
        mend(fleet, found["fix"])
        goes(fleet, ("c", "outage"))
        load.stop()
        fleet.settle()


# ---- the host ------------------------------------------------------------------------------------

def test_065_the_manager(seed):
    """Something stands where its socket is to be: moved away as printed, it is there again."""
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        put_in_the_way(fleet.folder / "run" / "control.sock")
        found = doctor(fleet, code=1)[("", "fleet")]
        mend(fleet, found["fix"])
        wait_until(lambda: doctor(fleet)[("", "fleet")]["level"] == "ok")


class Machine:
    """Another machine than the one at hand, as far as the doctor asks (tests/tools/machine.c), and
    the programs that mend it: what they are told stands in `told`."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = ["env", f"LD_PRELOAD={MACHINE}", f"FLOTILLA_TEST_MACHINE={folder}"]
        self.told = folder / "told"
        assert MACHINE.exists(), f"no {MACHINE}: run `make test-programs`"
        self.program("sudo", 'exec "$@"')

    def __setitem__(self, name, value):
        (self.folder / name).write_text(f"{value}\n")

    def __getitem__(self, name):
        return (self.folder / name).read_text().strip()

    def program(self, name, line):
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >>{self.told}\n{line}\n')
        path.chmod(0o755)

    def mend(self, fleet, fix):
        return mend(fleet, fix, ["env", f"PATH={self.folder}:{PATH}"])


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def mounts(needs_root):
    """Words in front of a program that has mounts of its own: what `line` makes there first."""
    def words(line):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", line + '; exec "$@"',
                "sh"]
    probe = subprocess.run([*words("mount -t tmpfs tmpfs /mnt"), "true"], capture_output=True,
                           text=True)
    if probe.returncode:
        pytest.skip(f"needs namespaces of mounts: {probe.stderr.strip()}")
    return words


def test_065_the_clock(machine, seed):
    """Nobody keeps it, until what is printed has told systemd to."""
    machine["clock"] = 5  # TIME_ERROR
    machine.program("timedatectl", f'[ "$*" = "set-ntp true" ] && echo 0 >{machine.folder}/clock')
    with fleet_file({}) as fleet:
        found = doctor(fleet, before=machine.environment)[("", "clock")]
        assert found["level"] == "warning", found
        machine.mend(fleet, found["fix"])
        assert doctor(fleet, before=machine.environment)[("", "clock")]["level"] == "ok"
        assert machine.told.read_text().endswith("timedatectl set-ntp true\n")


def test_065_recordings_of_an_age_that_nobody_knows(machine, seed):
    """They were there before anybody counted, and no clock is trusted yet: what is printed has one
    kept. The finding goes when it has been kept for ten minutes (tests/unit/test_ages.c)."""
    machine.program("timedatectl", "true")
    with Fleet({"c": {"schema": signals.SCHEMA}}, run=False,
               storage={"retain": {"age": "1h"}, "rotate": {"age": "200ms"}}) as fleet:
        fleet.start()
        fleet.source("c", signals.samples(10), rate=500).finish()
        fleet.settle({"c": 10})
        fleet.stop()
        (fleet.folder / "recordings/.flotilla-ages").unlink(missing_ok=True)
        (old,) = fleet.files("c", part=False)
        os.utime(old, (time.time() - 7200,) * 2)
        fleet.start()
        found = wait_until(lambda: doctor(fleet).get(("", "retention")), what="a finding")
        assert found["level"] == "warning", found
        assert "kept for longer than retain.age: the clock " in found["text"], found
        machine.mend(fleet, found["fix"])
        assert machine.told.read_text().endswith("timedatectl set-ntp true\n")
        assert old.exists()


def test_065_the_limit_of_queues(machine, mounts, seed):
    """What is printed raises it. A fleet at work has the longer queue once it was told, too."""
    setting = "/proc/sys/net/core/rmem_max"
    raised = mounts(f"mount --bind {machine.folder}/rmem_max {setting}")
    place, wanted = ("c", "queue"), 1 << 20
    with Fleet({"c": {"schema": signals.SCHEMA, "receive_queue": "1MiB"}}, run=False) as fleet:
        for running in (False, True):
            machine["rmem_max"] = 212992
            if running:
                fleet.channels["c"]["receive_queue"] = "64KiB"
                fleet.write()
                fleet.start()
                fleet.channels["c"]["receive_queue"] = "1MiB"
                fleet.write()
            found = doctor(fleet, before=machine.environment)[place]
            assert found["level"] == "warning" and "grants only 208KiB" in found["text"], found
            mend(fleet, found["fix"], raised)
            assert int(machine["rmem_max"]) == wanted
            assert doctor(fleet, before=machine.environment)[place]["level"] == "ok"
        # The fleet's own is what counts: where it could be longer by now, another relay asks.
        machine["rmem_max"] = 2 * wanted
        fleet.channels["c"]["receive_queue"] = "2MiB"
        fleet.write()
        found = doctor(fleet, before=machine.environment)[place]
        assert found["level"] == "warning" and "own is for" in found["text"], found
        mend(fleet, found["fix"])
        found = doctor(fleet, before=machine.environment)[place]
        assert found["level"] == "ok", found


def test_065_too_few_descriptors(machine, seed):
    """The limit is raised by the program that is named, where that is allowed (022: for real)."""
    machine["nofile"] = 27
    with fleet_file({}) as fleet:
        found = doctor(fleet, before=machine.environment, code=1)[("", "descriptors")]
        assert found["level"] == "problem" and "at most 27" in found["text"], found
        mend(fleet, found["fix"].removeprefix("sudo "), machine.environment)
        assert int(machine["nofile"]) > 27
        assert doctor(fleet, before=machine.environment)[("", "descriptors")]["level"] == "ok"


@pytest.mark.parametrize("now", ["no more", "more and more"])
def test_065_a_queue_before_all_sockets(machine, mounts, now, seed):
    """A machine that dropped, or drops, packets there: what is printed makes its queue longer."""
    machine["backlog"] = 1000 if now == "no more" else 10000
    counts, place = machine.folder / "softnet_stat", ("", "backlog")
    rises = threading.Event()

    def count():
        dropped = 7
        while True:
            with open(counts, "w" if dropped == 7 else "r+") as file:
                file.write(f"0000ffff {dropped:08x} 00000000\n" * 2)
            started.set()
            if now == "no more" or rises.wait(0.02) or int(machine["backlog"]) > 10000:
                return
            dropped += 1
    started = threading.Event()
    counter = threading.Thread(target=count)
    counter.start()
    assert started.wait(30)
    before = [*mounts(f"mount --bind {machine.folder}/backlog "
                      "/proc/sys/net/core/netdev_max_backlog"), *machine.environment]
    try:
        with fleet_file({}) as fleet:
            found = doctor(fleet, before=before)[place]
            assert found["level"] == "warning", found
            wanted = 10000 if now == "no more" else 20000
            assert found["fix"] == f"sysctl -w net.core.netdev_max_backlog={wanted}"
            mend(fleet, found["fix"], before)
            assert int(machine["backlog"]) == wanted
            counter.join(30)
            found = doctor(fleet, before=before)[place]
            assert found["level"] == "ok" and f"takes {wanted}" in found["text"], found
    finally:
        rises.set()
        counter.join()


def test_065_a_card_without_room(machine, network, seed):
    """One that could have more room gets it, by what is printed."""
    machine["card"] = "5 64 256"
    machine.program("ethtool", f'[ "$*" = "-G pair0 rx 256" ] && echo 5 256 256 >{machine.folder}'
                    "/card")
    place = ("pair0", "card")
    with fleet_file(dict(GROUP)) as fleet:
        assert place not in doctor(fleet, network.inside)
        found = doctor(fleet, network.inside, before=machine.environment)[place]
        assert found["level"] == "warning", found
        machine.mend(fleet, found["fix"])
        found = doctor(fleet, network.inside, before=machine.environment)[place]
        assert found["level"] == "ok" and "no room for 5 packets" in found["text"], found
        rises = threading.Event()

        def count():
            missed = 5
            while not rises.wait(0.02):
                missed += 1
                (machine.folder / "new").write_text(f"{missed} 256 256\n")
                (machine.folder / "new").rename(machine.folder / "card")
        counter = threading.Thread(target=count)
        counter.start()
        try:
            found = doctor(fleet, network.inside, before=machine.environment)[place]
            assert found["level"] == "warning", found
            assert found["fix"] == "send fewer and larger datagrams, or use a faster card"
        finally:
            rises.set()
            counter.join()
        goes(fleet, place, network.inside, before=machine.environment)


@pytest.mark.parametrize(("number", "says"), [
    (444, "open every file that its user may"), (317, "make every system call")])
def test_065_a_kernel_without_what_holds_a_relay(number, says, seed):
    """It is another kernel that mends it: this one, when nothing is refused."""
    if os.uname().machine != "x86_64" and number == 317:
        pytest.skip("the call has another number here")
    place = ("", "sandbox")
    with fleet_file({}) as fleet:
        if doctor(fleet)[place]["level"] != "ok":
            pytest.skip("this kernel has not got it")
        lacks = doctor(fleet, before=[str(DENY), "38", str(number)], code=0)[place]
        assert lacks["level"] == "warning" and says in lacks["text"], lacks
        assert lacks["fix"].startswith("boot ")
        assert doctor(fleet)[place]["level"] == "ok"


def test_065_limits_that_cannot_be_had(mounts, tmp_path, seed):
    """Where a machine was booted without, and, as printed, with what they need; and a manager that
    was given no group to divide (028 and 029 have one that was)."""
    place = ("c", "limits")
    (tmp_path / "cgroup.controllers").write_text("cpuset hugetlb\n")
    there = mounts(f"mount --bind {tmp_path} /sys/fs/cgroup")
    with Fleet({"c": {"schema": signals.SCHEMA, "limits": {"memory": "256MiB", "cpu": "50%"}}},
               run=False, inside=there) as fleet:
        found = doctor(fleet, there, code=0)[place]
        assert found["level"] == "warning" and "bound to v1, or switched off" in found["text"]
        assert found["fix"].startswith("boot with systemd.unified_cgroup_hierarchy=1 "), found
        (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory\n")
        assert doctor(fleet, there, code=0)[place]["level"] == "ok"
        fleet.start()
        found = doctor(fleet, there, code=0)[place]
        assert found["level"] == "warning" and "no cgroup of its own" in found["text"], found
        assert "Delegate=memory cpu" in found["fix"]
        assert "limits are not applied" in fleet.log(), "its log says more"


def test_065_no_memory(machine, seed):
    """Not even for the list of interfaces; what is printed shows who has it."""
    with Fleet({f"c{i}": {"schema": signals.SCHEMA} for i in range(7)}, run=False) as fleet:
        machine["calloc"] = 7 * 3 + 1
        found = doctor(fleet, before=machine.environment, code=1)
        assert found[("", "memory")]["level"] == "problem"
        assert "Mem:" in mend(fleet, found[("", "memory")]["fix"])
        (machine.folder / "calloc").unlink()
        assert ("", "memory") not in doctor(fleet, before=machine.environment, code=0)


def test_065_a_limit_of_file_sizes(seed):
    """Below what a recording may become it is a warning, below the buffer a problem."""
    with fleet_file({"buffer": "8MiB"}, storage={"rotate": {"size": "64MiB"}}) as fleet:
        for limit, level in ((32 << 20, "warning"), (4 << 20, "problem")):
            def low(limit=limit):
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            found = doctor(fleet, preexec_fn=low)[("", "file size")]
            assert found["level"] == level, found
            line = f"{found['fix']} && exec \"$@\""
            mended = doctor(fleet, before=["sh", "-c", line, "sh"], preexec_fn=low)
            assert ("", "file size") not in mended


def test_065_a_channel_that_failed(seed):
    """Its port was taken when the fleet started: once that is mended, what is printed starts it."""
    address = Addresses().unicast()
    with Fleet({"c": {"schema": signals.SCHEMA, "listen": address},
                "d": {"schema": signals.SCHEMA}}, run=False) as fleet:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
            fleet.start(wait=False)
            fleet.wait_running(["d"])
            wait_until(lambda: fleet.channel("c")["state"] in ("failed", "backoff"))
            found = doctor(fleet, code=1)[("c", "state")]
            assert found["level"] == "problem" and "use" in found["text"], found
        mend(fleet, found["fix"])
        goes(fleet, ("c", "state"))
        assert fleet.channel("d")["restarts"] == 0


# ---- folders -------------------------------------------------------------------------------------

@pytest.fixture
def disk(needs_root):
    """A small file system of its own, in memory, at a folder with a blank."""
    folder = new_folder() / "small disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)],
                          capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(folder.parent)
        pytest.skip(f"needs to mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder.parent)


def test_065_a_full_disk(disk, seed):
    """What is printed shows what takes the room; once that is removed, there is some."""
    big = disk / "big file"
    for size, places in ((400 << 20, ("folder", "room")), (200 << 20, ("room",))):
        with open(big, "wb") as file:
            try:
                file.write(bytes(size))
            except OSError:
                pass
        with fleet_file({}, storage={"directory": str(disk / "rec")}) as fleet:
            found = doctor(fleet, code=1)
            for check in places:
                one = found[(str(disk / "rec"), check)]
                assert one["level"] == "problem", found
                assert "big file" in mend(fleet, one["fix"].replace("du -xh", "du -axh"))
            big.unlink()
            for check in places:
                goes(fleet, (str(disk / "rec"), check))


def test_065_a_file_system_in_memory(tmpfs, seed):
    """Both of what is printed: another folder, or no direct I/O."""
    for mode in ("auto", "required"):
        with fleet_file({}, storage={"directory": str(tmpfs / "rec"), "direct_io": mode}) as fleet:
            place = (str(tmpfs / "rec"), "direct I/O")
            fix = doctor(fleet)[place]["fix"]
            assert fix.endswith("; or storage.direct_io: off")
            fleet.storage["direct_io"] = "off"
            fleet.write()
            goes(fleet, place)
            warned = doctor(fleet)[(str(tmpfs / "rec"), "file system")]
            assert warned["fix"] == "set storage.directory to a folder on a local disk"
            fleet.storage["directory"] = "recordings"
            fleet.write()
            goes(fleet, (str(fleet.folder / "recordings"), "file system"))


def test_065_a_mount_that_is_missing(needs_root, seed):
    """The printed command mounts it, as /etc/fstab has it: one of the test's own, in a namespace
    of mounts of its own."""
    base = new_folder()
    disk = base / "the disk"
    disk.mkdir()
    fstab = base / "fstab"
    fstab.write_text(f"tmpfs {str(disk).replace(' ', chr(92) + '040')} tmpfs size=300m 0 0\n")
    try:
        with fleet_file({}, storage={"directory": str(disk / "rec"),
                                     "mounted": str(disk)}) as fleet:
            place = (str(disk / "rec"), "mounted")
            found = doctor(fleet, code=1)[place]
            line = f'mount --bind {fstab} /etc/fstab && {found["fix"]} && exec "$@"'
            before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", line, "sh"]
            if subprocess.run([*before, "true"], capture_output=True).returncode:
                pytest.skip("needs namespaces of mounts")
            assert doctor(fleet, before=before)[place]["level"] == "ok"
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize("how", ["read-only", "immutable", "of another user", "a file"])
def test_065_a_folder(needs_root, how, seed):
    """What refuses it decides what mends it."""
    with fleet_file({}) as fleet:
        folder = fleet.folder / "recordings"
        folder.mkdir()
        kw, mounted = {}, False
        try:
            if how == "read-only":
                done = subprocess.run(
                    f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}",
                    shell=True, capture_output=True, text=True)
                mounted = True
                if done.returncode:
                    pytest.skip(f"needs to mount: {done.stderr.strip()}")
            elif how == "immutable":
                done = subprocess.run(["chattr", "+i", folder], capture_output=True, text=True)
                if done.returncode:
                    pytest.skip(f"no such attribute here: {done.stderr.strip()}")
            elif how == "a file":
                folder.rmdir()
                folder.write_text("")
            else:
                folder.chmod(0o555)
                kw = {"before": ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-all"]}
                fleet.folder.chmod(0o755)
                os.chown(folder, 65534, 65534)
                kw = {"before": ["setpriv", "--reuid=65533", "--clear-groups"]}
            place = (str(folder), "folder")
            found = doctor(fleet, code=1, **kw)
            assert found[place]["level"] == "problem", found
            fix = found[place]["fix"]
            if kw:  # sudo as far as it matters here: the user's shell has filled in $(id -u)
                fix = fix.removeprefix("sudo ").replace("$(id -u)", "65533")
            mend(fleet, fix)
            goes(fleet, place, **kw)
        finally:
            subprocess.run(["chattr", "-i", folder], capture_output=True)
            if mounted:
                subprocess.run(["umount", folder], capture_output=True)


def test_065_a_channel_that_does_not_record(needs_root, seed):
    """Its folder refuses: what is printed of the folder mends it, and the state with it."""
    with Fleet({"c": {"schema": signals.SCHEMA}}, laws=False) as fleet:
        folder = fleet.folder / "recordings" / "c"
        wait_until(folder.is_dir)
        if subprocess.run(["chattr", "+i", folder], capture_output=True).returncode:
            pytest.skip("no such attribute here")
        try:
            fleet.source("c", signals.samples(100), rate=0).finish()
            wait_until(lambda: fleet.channel("c")["state"] == "not_recording")
            found = doctor(fleet, code=1)
            one = found[(str(folder), "folder")]
            assert one["level"] == "problem", found
            state = found[("c", "state")]
            assert state["level"] == "problem"
            mend(fleet, one["fix"])
            mend(fleet, state["fix"])
            goes(fleet, (str(folder), "folder"))
            goes(fleet, ("c", "state"))
            fleet.settle({"c": 100})
        finally:
            subprocess.run(["chattr", "-i", folder], capture_output=True)


def test_065_a_schema_mismatch(seed):
    """What is printed shows what comes in; once the sender is right, it is gone."""
    with Fleet({"c": {"schema": signals.SCHEMA}}, laws=False) as fleet:
        bad = fleet.source("c", [b"\xff" * 11] * 100, rate=100, count=2000)
        wait_until(lambda: fleet.channel("c")["state"] == "schema_mismatch")
        found = doctor(fleet, code=1)[("c", "state")]
        assert found["level"] == "problem"
        seen = subprocess.Popen(["sh", "-c", found["fix"]], cwd=fleet.folder,
                                env={**os.environ, "PATH": PATH}, stderr=subprocess.PIPE)
        assert b"is not valid" in seen.stderr.readline()
        seen.kill()
        seen.wait()
        bad.stop()
        fleet.source("c", signals.samples(10), rate=0).finish()
        goes(fleet, ("c", "state"))


def test_065_nothing_is_left_behind(seed):
    """Neither by a probe nor by one that was killed in it."""
    with fleet_file({}) as fleet:
        folder = fleet.folder / "recordings"
        folder.mkdir()
        doctor(fleet)
        assert not list(Path(folder).iterdir())
