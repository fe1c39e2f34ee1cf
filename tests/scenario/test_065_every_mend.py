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
from pathlib import Path

import pytest
from harness import signals
from harness.doctor import PATH, doctor, goes, mend, network  # noqa: F401 (a fixture)
from harness.fleet import FLOTILLA, ROOT, Addresses, Fleet, new_folder, put_in_the_way, wait_until
from harness.networks import refuse_netlink

GROUP = {"listen": "239.192.7.1:26000", "interface": "pair0"}

# Every check of which a warning or problem is told, and where it is provoked: here, in 022 or 066;
# else why not.
PROVOKED = {
    "fleet": "test_065_the_manager", "file size": "test_065_a_limit_of_file_sizes",
    "folder": "test_065_a_folder", "file system": "test_022_a_read_only_file_system",
    "direct I/O": "test_065_a_file_system_in_memory", "room": "test_065_a_full_disk",
    "retention": "test_022_retention_beyond_the_disk", "listen": "test_065_a_port_of_a_group",
    "full": "022", "decimated": "022, with full", "state": "test_065_a_channel_that_failed",
    "membership": "test_065_a_membership", "queue": "022; the limit is the whole machine's",
    "outage": "test_065_a_short_queue", "drops": "test_065_drops", "sources": "022",
    "link": "022", "address": "022", "multicast": "022", "mtu": "022", "querier": "022",
    "rp_filter": "022", "way out": "test_065_a_slow_way_out", "checksum": "test_065_checksums",
    "descriptors": "022", "processes": "066", "clock": "test_065_the_clock",
    "backlog": "skipped: the queue in front of all sockets is the whole machine's",
    "card": "skipped: no card here counts what it had no room for",
    "sandbox": "skipped: what a kernel was built without cannot be mended while it runs",
    "limits": "skipped: controllers are given out when a machine boots",
    "sending": "test_065_what_is_not_sent",
    "mounted": "test_065_a_mount_that_is_missing",
    "system calls": "068; a container's rules are not its own to change",
    "memory": "skipped: to run out of memory would end other programs",
}


def test_065_nothing_is_found_that_is_not_provoked():
    told = set()
    for name in ("doctor.c", "doctor_network.c"):
        text = (ROOT / "src/cli" / name).read_text()
        for call in re.findall(r"doctor_find\(\s*doctor,(.*?)\);", text, re.S):
            level, _, rest = call.partition(",")
            if "DOCTOR_OK" in level.split("?")[0] or level.strip() == "DOCTOR_UNKNOWN":
                continue
            # The first string that stands by itself is the check; else it is a stream's name.
            alone = re.search(r',\s*"([\w/ ]+)",', call)
            told.add(alone[1] if alone else "full")
    assert told | {"full", "decimated"} == set(PROVOKED)


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


def test_065_the_clock(seed):
    """Provoked by what the kernel would say; what sets it right is the machine's, and not run."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    with fleet_file({}) as fleet:
        for state, level in ((5, "warning"), (0, "ok")):  # TIME_ERROR, TIME_OK
            before = ["strace", "-qq", "-o", "/dev/null", "-e",
                      f"inject=adjtimex,clock_adjtime:retval={state}"]
            found = doctor(fleet, before=before)[("", "clock")]
            assert found["level"] == level, found
            assert found["fix"] == ("timedatectl set-ntp true" if os.geteuid() == 0 else
                                    "sudo timedatectl set-ntp true") or level == "ok"


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
