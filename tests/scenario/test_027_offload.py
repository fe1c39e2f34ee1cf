# SPDX-License-Identifier: MIT
"""027-offload: coalesced datagrams in and out. What is relayed and recorded is byte for byte and in
order what it is without; so are rejects, decimation and the counters. On the loopback interface,
which coalesces only what the sender did, and on a pair of interfaces, where the kernel does."""
import contextlib
import io
import math
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

import fastavro
import numpy
import pytest
from harness import container, signals
from harness.fleet import LONG, OFFLOAD, ROOT, Addresses, Fleet, copied_sockets, wait_until
from test_014_disk import needs_tracing

UDP_GRO = 104
BATCH = 32  # messages
FIXED = {"type": "record", "name": "Fixed", "fields": [
    {"name": "number", "type": {"type": "fixed", "name": "Eight", "size": 8}},
    {"name": "values", "type": {"type": "record", "name": "Values", "fields": [
        {"name": f"v{i}", "type": "double"} for i in range(24)]}}]}


def fixed(number):
    return struct.pack("<q24d", number, *(number + i / 8 for i in range(24)))


def mixed(rng, count):
    """Datums of a few sizes in runs of every length, so that messages hold one, some or many."""
    found = []
    while len(found) < count:
        pad = rng.choice((0, 20, 150, 1200))
        found += [signals.sample(len(found) + i, pad) for i in range(rng.choice((1, 2, 3, 20, 70)))]
    return found[:count]


def coalesces(pid):
    """Whether the relay's socket asks for coalesced datagrams."""
    for one in copied_sockets(pid):
        with contextlib.suppress(OSError):
            if one.getsockopt(socket.IPPROTO_UDP, UDP_GRO):
                return True
    return False


@pytest.mark.parametrize("listen", ["group", "unicast"])
@pytest.mark.parametrize("offload", ["auto", "off", "refused"])
@pytest.mark.parametrize("segment", [None, 64], ids=["plain", "coalesced"])
def test_027_bytes_and_order(rng, segment, offload, listen):
    sent = mixed(rng, 20_000)
    addresses = Addresses()
    refused = {"prefix": ROOT / "build/refused"} if offload == "refused" else {}
    with Fleet({"engine": {"schema": signals.SCHEMA, "sequence": "counter",
                           "offload": "off" if offload == "off" else "auto",
                           "listen": getattr(addresses, listen)(),
                           "full": getattr(addresses, listen)(),
                           "decimated": {"to": True, "factor": 7}}}, addresses=addresses,
               **refused) as fleet:
        full = fleet.sink(fleet.address("engine", "full"))
        few = fleet.sink(fleet.address("engine", "decimated"))
        assert coalesces(fleet.channel("engine")["pid"]) == (offload != "off")
        fleet.source("engine", sent, rate=40_000, segment=segment).finish()
        channel = fleet.settle({"engine": len(sent)})["engine"]
        assert channel["datagrams_received"] == channel["datums_recorded"] == len(sent)
        assert channel["datagrams_sent_full"] == len(sent) and channel["send_errors"] == 0
        assert channel["sequence_gaps"] == 0 and channel["datagrams_dropped"] == 0
        assert channel["datums_sent_decimated"] == len(sent) // 7
        assert "latency" not in channel
        assert full.stop() == sent
        assert few.stop() == sent[6::7]
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(sent), len(sent))


@pytest.mark.parametrize("algorithm", ["min-max", "average"])
def test_027_decimation_of_coalesced_input(seed, algorithm):
    """The same decimated datagrams as without offload, of a layout of one size."""
    heard = {}
    sent = [fixed(number) for number in range(6000)]
    for offload in ("auto", "off"):
        with Fleet({"c": {"schema": FIXED, "full": True, "offload": offload,
                          "decimated": {"to": True, "factor": 10,
                                        "algorithm": algorithm}}}) as fleet:
            full, few = (fleet.sink(fleet.address("c", s)) for s in ("full", "decimated"))
            fleet.source("c", sent, rate=40_000, segment=50).finish()
            fleet.settle({"c": len(sent)})
            assert full.stop() == sent
            heard[offload] = few.stop()
            fleet.stop()
            assert container.payload(fleet.files("c")) == (b"".join(sent), len(sent))
    assert heard["auto"] == heard["off"] and len(heard["off"]) in (600, 1200)
    value = fastavro.schemaless_reader(io.BytesIO(heard["off"][0]), FIXED)["values"]["v0"]
    assert value == (0.0 if algorithm == "min-max" else 4.5)


def test_027_rejects_inside_a_message(seed):
    """Each datagram is judged alone: what is wrong with one is told with its own offset."""
    good = [fixed(number) for number in range(300)]
    sent, bad = list(good), {}
    for at, (cut, reason, offset) in {60: (199, "truncated", 8 + 23 * 8), 120: (5, "truncated", 0),
                                      200: (0, "empty", 0)}.items():
        sent.insert(at, good[0][:cut])
        bad[len(bad)] = (cut, reason, offset)
    with Fleet({"c": {"schema": FIXED, "full": True}}) as fleet:
        full = fleet.sink(fleet.address("c", "full"))
        fleet.source("c", sent, segment=64, rate=20_000).finish()
        channel = fleet.settle({"c": len(sent)})["c"]
        assert channel["rejected"] == {"truncated": 2, "empty": 1}
        assert channel["datums_recorded"] == 300 and full.stop() == good
        fleet.stop()
        assert container.payload(fleet.files("c")) == (b"".join(good), 300)
        (path,) = (fleet.folder / "recordings/c").glob("*-rejects.avro")
        with open(path, "rb") as file:
            found = [(len(one["bytes"]), one["reason"], one["offset"])
                     for one in fastavro.reader(file)]
        assert found == list(bad.values())


@pytest.mark.parametrize("encoding", ["single-object", "opaque"])
def test_027_encodings(rng, encoding, flotilla):
    from test_016_encodings import FINGERPRINT
    plain = mixed(rng, 3000)
    prefix = b"\xc3\x01" + FINGERPRINT if encoding == "single-object" else b""
    sent = [prefix + one for one in plain]
    if encoding == "opaque":
        sent += [b""] * 3 + [b"x"] * 100 + [rng.randbytes(30_000)] * 5 + [rng.randbytes(65_507)]
    keys = {"schema": signals.SCHEMA} if prefix else {"schema": None}
    with Fleet({"c": {**keys, "encoding": encoding, "full": True, "latency": "on"}}) as fleet:
        full = fleet.sink(fleet.address("c", "full"))
        fleet.source("c", sent, rate=20_000, segment=64).finish()
        channel = fleet.settle({"c": len(sent)})["c"]
        assert channel["datums_recorded"] == len(sent) and channel["rejected"] == {}
        assert full.stop() == sent
        latency = channel["latency"]
        assert latency["count"] == len(sent)
        assert 0 < latency["p50_us"] <= latency["p95_us"] <= latency["p99_us"]
        assert latency["p99_us"] <= latency["p999_us"] <= latency["max_us"] < 5_000_000
        shown = flotilla("status", "-c", fleet.file, check=0).stdout
        assert f"c: from arrival to sending: p50 {latency['p50_us']} us" in shown
        fleet.stop()
        if encoding == "opaque":
            (path,) = fleet.files("c")
            with open(path, "rb") as file:
                assert [one["payload"] for one in fastavro.reader(file)] == sent
        else:
            assert container.payload(fleet.files("c")) == (b"".join(plain), len(plain))


def test_027_sources(seed):
    mine = [fixed(number) for number in range(1000)]
    with Fleet({"c": {"schema": FIXED, "sources": "127.0.0.2/31"}}) as fleet:
        fleet.source("c", mine[::-1], rate=20_000, segment=50, sender="127.0.0.9:0").finish()
        fleet.source("c", mine, rate=20_000, segment=50, sender="127.0.0.2:0").finish()
        channel = fleet.settle({"c": 2000})["c"]
        assert channel["rejected"] == {"source": 1000} and channel["datums_recorded"] == 1000
        fleet.stop()
        assert container.payload(fleet.files("c"))[0] == b"".join(mine)


def test_027_switched_off_and_on_under_load(seed, flotilla):
    """The socket outlives the relay that coalesced: what is queued in it is taken as it came."""
    pool = [fixed(number) for number in range(200_000)]
    with Fleet({"c": {"schema": FIXED, "full": True}}) as fleet:
        source = fleet.source("c", pool, rate=20_000, segment=50)
        for turn in range(6):
            offload = ("off", "auto")[turn % 2]
            fleet.set("c", {**fleet.channels["c"], "offload": offload})
            fleet.write()
            fleet.reload()
            wait_until(lambda: coalesces(fleet.channel("c")["pid"]) == (offload == "auto"))
        sent = source.stop()["sent"]
        channel = fleet.settle({"c": sent})["c"]
        assert channel["datagrams_received"] == channel["datums_recorded"] == sent
        assert channel["datagrams_dropped"] == 0
        fleet.stop()
        assert container.payload(fleet.files("c")) == (b"".join(pool[:sent]), sent)


def live_steps_back(path, cycle, sent):
    """In what was received of `fixed` numbers that go round: every one of them is there, in order,
    but that the stream goes back now and then. By how many datagrams, each time."""
    size = 4 + len(fixed(0))
    framed = numpy.fromfile(path, dtype=numpy.uint8).reshape(-1, size)
    numbers = framed[:, 4:12].copy().view("<i8")[:, 0]
    steps = (numpy.diff(numbers) + cycle // 2) % cycle - cycle // 2
    assert numbers[0] == 0 and steps.max() == 1, "none is missing"
    assert steps.sum() + 1 == sent
    return [int(1 - step) for step in steps[steps != 1]]


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_027_kills_under_coalesced_load(rng, offload):
    kills_wanted = 300 if LONG else 25
    pool = [fixed(number) for number in range(100_000)]
    with Fleet({"c": {"schema": FIXED, "full": True, "offload": offload, "latency": "on",
                      "receive_queue": "64MiB",
                      "decimated": {"to": True, "factor": 10, "algorithm": "min-max"}}},
               storage={"sync": "20ms", "rotate": {"size": "4MiB"}}) as fleet:
        sink = fleet.sink(fleet.address("c", "full"))
        source = fleet.source("c", pool, rate=50_000, count=20_000_000, segment=50)
        kills, life, done = 0, None, 0
        while kills < kills_wanted and source.child.poll() is None:
            time.sleep(rng.uniform(0.002, 0.06))
            channel = fleet.channel("c")
            if channel["pid"] != life:
                life, done = channel["pid"], channel["datagrams_received"]
            elif life and channel["datagrams_received"] > done:
                # One that has done nothing would be started again only after a pause.
                os.kill(life, signal.SIGKILL)
                kills += 1
                done = math.inf
        sent = source.stop()["sent"]
        channel = fleet.settle({"c": sent}, seconds=60)["c"]
        sink.end()
        back = live_steps_back(sink.path, len(pool), sent)
        print(f"{kills} kills, {sent} datagrams, {channel['restarts']} restarts; live twice: "
              f"{sum(back)}, at most {max(back, default=0)} at once")
        assert len(back) <= kills and max(back, default=0) <= BATCH * 64, "one batch for each kill"
        assert kills >= kills_wanted - 1 and channel["restarts"] >= kills // 2
        assert channel["datagrams_dropped"] == 0
        assert channel["datagrams_received"] == channel["datums_recorded"] == sent
        assert channel["latency"]["count"] == sent, "each datagram is measured once"
        fleet.stop()
        payload, count = container.payload(fleet.files("c"))
        whole, rest = divmod(sent, len(pool))
        assert count == sent, "each once"
        assert payload == b"".join(pool) * whole + b"".join(pool[:rest]), "in order"


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_027_drops_are_counted_by_the_datagram(seed, offload):
    """The queue overflows while the relay is stopped: what came and what was dropped make up what
    was sent, though the kernel counts a coalesced message that it drops as one."""
    pool = [fixed(number) for number in range(20_000)]
    with Fleet({"c": {"schema": FIXED, "receive_queue": "256KiB", "offload": offload}}) as fleet:
        fleet.source("c", pool[:50], segment=50).finish()
        fleet.settle({"c": 50})
        pid = fleet.channel("c")["pid"]
        # The manager as well: it would kill a relay that leaves datagrams waiting.
        for one in fleet.manager.pid, pid:
            os.kill(one, signal.SIGSTOP)
        fleet.source("c", pool, segment=50).finish()
        for one in pid, fleet.manager.pid:
            os.kill(one, signal.SIGCONT)
        channel = fleet.settle({"c": 20_050})["c"]
        assert channel["datagrams_dropped"] > 1000
        assert channel["datagrams_received"] + channel["datagrams_dropped"] == 20_050
        fleet.source("c", pool[:50], segment=50).finish()
        channel = fleet.settle({"c": 20_100})["c"]
        assert channel["datagrams_received"] + channel["datagrams_dropped"] == 20_100


@pytest.fixture
def pair(needs_root):
    """Two networks of our own, joined by a pair of interfaces that coalesce: the near one is where
    the fleet lives, the far one where it is heard and fed from."""
    if not shutil.which("ip") or not shutil.which("ethtool"):
        pytest.skip("needs iproute2 and ethtool")
    near, far = (f"flotilla-{side}-{os.getpid()}" for side in ("near", "far"))

    def run(*words):
        return subprocess.run(words, check=True, capture_output=True)
    made = []
    try:
        for name in (near, far):
            try:
                run("ip", "netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"needs network namespaces: {error.stderr.decode().strip()}")
            made.append(name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "veth0", "netns", near, "type", "veth", "peer", "name", "veth1",
            "netns", far)
        for name, link, address in ((near, "veth0", "10.27.0.1/24"),
                                    (far, "veth1", "10.27.0.2/24")):
            run("ip", "-n", name, "addr", "add", address, "dev", link)
            run("ip", "-n", name, "link", "set", link, "up")
            run("ip", "-n", name, "route", "add", "224.0.0.0/4", "dev", link)
            run("ip", "netns", "exec", name, "ethtool", "-K", link, "gro", "on")
        wait_until(lambda: b"state UP" in run("ip", "-n", near, "link", "show", "veth0").stdout)
        yield near, far, run
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.parametrize("segment", [None, 50], ids=["plain", "coalesced"])
def test_027_between_interfaces(pair, rng, segment):
    near, far, _ = pair
    sent = mixed(rng, 20_000)
    with Fleet({"c": {"schema": signals.SCHEMA, "sequence": "counter", "full": True,
                      "interface": "veth0"}}, inside=["ip", "netns", "exec", near]) as fleet:
        fleet._inside = ["ip", "netns", "exec", far]
        full = fleet.sink(fleet.address("c", "full"), interface="veth1")
        fleet.source("c", sent, rate=40_000, interface="veth1", segment=segment).finish()
        channel = fleet.settle({"c": len(sent)})["c"]
        assert channel["datums_recorded"] == channel["datagrams_sent_full"] == len(sent)
        assert channel["send_errors"] == channel["sequence_gaps"] == 0
        assert full.stop() == sent
        fleet.stop()
        assert container.payload(fleet.files("c")) == (b"".join(sent), len(sent))


@pytest.mark.parametrize("how", ["mtu", "device", "queue"])
def test_027_refused(pair, seed, how):
    """A path that takes no segmented message of this size (its MTU is smaller, while plain ones
    are fragmented), and a device that takes none at all: the same datagrams go plain at once, and
    it is not asked again. A queue that is full: the datagrams are counted, and it is."""
    needs_tracing()
    if OFFLOAD == "refused":
        pytest.skip("a build that refuses by itself: there is nothing for the tracer to see")
    near, far, run = pair
    if how == "mtu":
        run("ip", "-n", near, "link", "set", "veth0", "mtu", "1000")
    inject = {"mtu": [], "device": ["-e", "inject=sendmmsg:error=EIO:when=1"],
              "queue": ["-e", "inject=sendmmsg:error=ENOBUFS:when=1"]}[how]
    # Fed over the loopback interface, which coalesces; sent over the pair.
    sent = signals.samples(20_000, pad=1200)
    addresses = Addresses()
    with Fleet({"c": {"schema": signals.SCHEMA, "full": f"10.27.0.2:{addresses.port()}",
                      "offload": "auto",
                      "listen": addresses.unicast(), "interface": "veth0",
                      "receive_queue": "64MiB"}},
               inside=["ip", "netns", "exec", near], addresses=addresses) as fleet:
        pid = fleet.channel("c")["pid"]
        log = fleet.folder / "trace"
        tracer = subprocess.Popen(["strace", "-qq", "-f", "-e", "trace=sendmmsg", *inject, "-o",
                                   log, "-p", str(pid)])
        try:
            wait_until(lambda: "TracerPid:\t0\n" not in open(f"/proc/{pid}/status").read())
            fleet._inside = ["ip", "netns", "exec", far]
            full = fleet.sink(fleet.address("c", "full"), interface="veth1")
            fleet._inside = ["ip", "netns", "exec", near]
            for part in (sent[:10_000], sent[10_000:]):
                # As fast as it goes: so the first message, which meets the fault, holds 50.
                fleet.source("c", part, segment=50).finish()
                fleet.settle()
            channel = fleet.settle({"c": len(sent)})["c"]
        finally:
            tracer.terminate()
            tracer.wait()
        sends = log.read_text().splitlines()
        refused = [line for line in sends if " = -1 E" in line]
        segmented = [line for line in sends if "cmsg_type=0x67" in line or "UDP_SEGMENT" in line]
        heard = full.stop()
        assert channel["datums_recorded"] == len(sent)
        if how == "queue":
            lost = channel["send_errors"]
            assert lost > 1 and channel["datagrams_sent_full"] == len(sent) - lost
            assert heard == sent[lost:] and len(refused) == 1 and len(segmented) > 1
        else:
            assert channel["datagrams_sent_full"] == len(sent) and channel["send_errors"] == 0
            assert heard == sent
            assert segmented == refused and 1 <= len(refused) <= 8
