# SPDX-License-Identifier: MIT
"""032: the tools that `make bench` measures with tell the truth: the sink counts what is missing
and takes the times that a reference takes, the source sends what was asked for, and each floor
passes on every datagram as it came, or has recorded it."""
import json
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness.fleet import ROOT, Addresses, new_folder

UNITS = ROOT / "build/units"
WITHIN = 1 / 64  # a bucket's width


def start(*words):
    child = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


def stop(child):
    child.send_signal(signal.SIGTERM)
    report = json.loads(child.communicate(timeout=20)[0])
    assert child.returncode == 0
    return report


def source(to, *words):
    done = subprocess.run([UNITS / "bench_source", "--to", to, *map(str, words)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def ended():
    children = []
    yield children.append
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()


def test_the_sink_counts_gaps_and_takes_times(rng, ended):
    to = Addresses().unicast()
    sink = start(UNITS / "bench_sink", "--listen", to)
    ended(sink)
    wanted = sorted(rng.uniform(0.001, 10) for _ in range(2000))  # seconds ago
    numbers = [number for number in range(2020) if number % 200 != 7][:2000]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, ago in zip(numbers, wanted):
            now = time.time_ns()
            sender.sendto(struct.pack("<QQQ", now - int(ago * 1e9), now, number),
                          ("127.0.0.1", int(to.split(":")[1])))
        sender.sendto(struct.pack("<QQQ", now, now, 3), ("127.0.0.1", int(to.split(":")[1])))
    report = stop(sink)
    assert (report["received"], report["late"], report["dropped"]) == (2001, 1, 0)
    assert report["missing"] == numbers[-1] + 1 - len(numbers)
    for name, share in (("p50_ns", 0.5), ("p95_ns", 0.95), ("p99_ns", 0.99)):
        exact = wanted[int(share * len(wanted))] * 1e9
        assert exact * (1 - WITHIN) - 1e7 <= report["latency"][name] <= \
            exact * (1 + WITHIN) + 1e8, (name, exact, report)
    assert report["passage"]["p50_ns"] < 1e9


@pytest.mark.parametrize("way, train", [("one", 1), ("batch", 1), ("offload", 1),
                                        ("offload", 50)])
def test_a_floor_passes_every_datagram_on(way, train, ended):
    addresses = Addresses()
    listen, to = addresses.group(), addresses.group()
    sink = start(UNITS / "bench_sink", "--listen", to, "--gro")
    ended(sink)
    floor = start(UNITS / "bench_floor", "--listen", listen, "--to", to, "--way", way)
    ended(floor)
    sent = source(listen, "--size", 200, "--count", 5000, "--rate", 20000, "--train", train,
                  "--way", "segment" if train > 1 else "batch")
    assert sent["sent"] == 5000 and sent["seconds"] >= 0.2
    time.sleep(0.2)
    passed, got = stop(floor), stop(sink)
    assert (passed["received"], passed["sent"], passed["errors"]) == (5000, 5000, 0)
    assert (got["received"], got["missing"], got["late"]) == (5000, 0, 0)
    assert got["bytes"] == 5000 * 200
    assert 0 < got["passage"]["p50_ns"] <= got["latency"]["p50_ns"]
    calls = passed["calls"] / 5000
    assert calls >= 2 if way == "one" else calls < (0.5 if train > 1 else 3), calls


def test_a_floor_that_records_has_every_byte(ended, rng):
    addresses, folder = Addresses(), new_folder()
    listen, to = addresses.unicast(), addresses.unicast()
    datagrams = [rng.randbytes(1000) for _ in range(7000)]
    try:
        floor = start(UNITS / "bench_floor", "--listen", listen, "--to", to, "--way", "batch",
                      "--record", folder / "bytes")
        ended(floor)
        host, _, port = listen.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number, datagram in enumerate(datagrams):
                sender.sendto(datagram, (host, int(port)))
                if number % 100 == 0:
                    time.sleep(0.002)
        time.sleep(0.2)
        assert stop(floor)["received"] == len(datagrams)
        whole = 7000 * 1000 // (1 << 20) << 20  # blocks of 1 MiB; the last one stays unwritten
        with open(folder / "bytes", "rb") as file:
            assert file.read(whole) == b"".join(datagrams)[:whole]
    finally:
        shutil.rmtree(folder)
