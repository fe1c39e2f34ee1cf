# SPDX-License-Identifier: MIT
"""095-slow-sockets: who reads nothing, asks for ever, or only opens costs a bound of memory and
nobody else's time, and is closed; there is an end to how many there are."""
import contextlib
import os
import socket
import struct
import threading
import time

import pytest
from harness.fleet import wait_until
from harness.gateway import ask
from harness.web_socket import (BINARY, CLOSE, ECHO, PING, PONG, TEXT, Refused, WebSocket,
                                close_payload, echo_gateway, frame, request)

pytestmark = pytest.mark.skipif(not ECHO.exists(), reason="built without libmicrohttpd and wslay")
QUEUE = 1 << 20  # of /flood, /live
STALLED = 40
MESSAGE = 4096


@pytest.fixture
def gateway(tmp_path):
    with echo_gateway(tmp_path) as (port, process):
        yield port, process.pid


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled(pid, seconds=60):
    """What it takes once that does not grow any more."""
    last, end = resident(pid), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.7)
        now = resident(pid)
        if now <= last:
            return now
        last = now
    raise AssertionError(f"it still grows: {last}")


class Reader(threading.Thread):
    """Reads a flood as it comes; what was missing in it, and how late it was at worst."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.one = WebSocket(port, "/flood")
        self.count = self.missing = self.latest = self.pinged = 0
        self.ends = False
        self.start()

    def run(self):
        wanted = 0
        while not self.ends:
            try:
                opcode, payload = self.one.frame()
            except (EOFError, OSError):  # it is seen by its count
                return
            if opcode == PING:  # as it says nothing of its own
                self.one.send(PONG, payload)
                self.pinged += 1
            if opcode != BINARY:
                continue
            number, at, _ = struct.unpack("<QQQ", payload[:24])
            self.missing += number - wanted
            wanted = number + 1
            self.latest = max(self.latest, time.time_ns() - at)
            self.count += 1

    def finish(self):
        self.ends = True
        self.join(60)
        self.one.socket.close()


def test_095_who_reads_nothing(gateway):
    """Forty that read nothing of a flood: each costs its queue, one that reads misses nothing; they
    are closed after half a minute, and all is given back. What the first of them reads then are the
    oldest messages in one piece, up to where there was no room."""
    port, pid = gateway
    reader = Reader(port)
    wait_until(lambda: reader.count > 100)
    before, open_before = settled(pid), descriptors(pid)
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(WebSocket(port, "/flood", receive_bytes=16384))
                   for _ in range(STALLED)]
        began = time.monotonic()
        wait_until(lambda: descriptors(pid) == open_before + STALLED)
        wait_until(lambda: resident(pid) - before > STALLED * QUEUE * 3 / 4, what="they stall")
        during = settled(pid)
        # A queue, and what growing to it has left unused in between.
        assert during - before < STALLED * QUEUE * 3 / 2, (before, during)
        wait_until(lambda: descriptors(pid) == open_before, seconds=90)
        assert time.monotonic() - began > 28
        wanted = 0
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                opcode, payload = stalled[0].frame()
                if opcode == BINARY:
                    assert struct.unpack("<Q", payload[:8])[0] == wanted
                    wanted += 1
        assert wanted * MESSAGE > 64 << 10  # what the kernels had
    reader.finish()
    assert reader.count > 1000 and reader.missing == 0 and reader.pinged >= 1
    assert reader.latest < 5e9, reader.latest
    after = settled(pid)
    print(f"resident: {before >> 10} KiB, {during >> 10} with {STALLED} stalled, {after >> 10} "
          f"after; the reader's latest {reader.latest / 1e6:.1f} ms")
    assert after - before < 16 << 20
    assert ask(port, "/").status == 200


def test_095_who_reads_late(gateway):
    """One that stalls and comes back: told where something was left out, and on it goes."""
    port, pid = gateway
    before = settled(pid)
    with WebSocket(port, "/flood", receive_bytes=16384) as one:
        numbers, rooms = [], 0
        for _ in range(8):  # until something was left out: a full queue is not seen from here
            wait_until(lambda: resident(pid) - before > QUEUE * 3 / 4, what="its queue fills")
            settled(pid)
            told, wanted = rooms, len(numbers) + 600
            while rooms == told or len(numbers) < wanted:
                opcode, payload = one.frame()
                rooms += opcode == TEXT  # "room", once the queue was half empty
                if opcode == BINARY:
                    numbers.append(struct.unpack("<Q", payload[:8])[0])
            if numbers[-1] - numbers[0] >= len(numbers):
                break
        assert numbers == sorted(set(numbers)) and numbers[-1] - numbers[0] >= len(numbers)
        one.send(CLOSE, close_payload(1000))
        while one.frame() != (CLOSE, close_payload(1000)):
            pass
        assert one.at_end()


def test_095_who_asks_for_ever(gateway):
    """Pings without end whose answers nobody reads: they are not even read, at some point, and
    none is lost; echoes that nobody reads end it."""
    port, pid = gateway
    before = settled(pid)
    count = 0
    with WebSocket(port, "/live", receive_bytes=16384) as one:
        one.socket.settimeout(2)
        block = 500
        with pytest.raises(TimeoutError):
            while count < 200_000:
                data = b"".join(frame(PING, b"%120d" % (count + i)) for i in range(block))
                sent = 0
                while sent < len(data):
                    sent += one.socket.send(data[sent:])
                count += block
        assert settled(pid) - before < 4 << 20
        one.socket.settimeout(60)
        for i in range(count):  # all that were sent as a whole
            assert one.frame() == (PONG, b"%120d" % i)
    with WebSocket(port, "/live", receive_bytes=16384) as one:
        end = time.monotonic() + 60
        with pytest.raises(ConnectionError):
            while time.monotonic() < end:
                one.send(BINARY, bytes(60_000))
    assert settled(pid) - before < 8 << 20
    assert ask(port, "/").status == 200


def test_095_a_flood_of_fragments(gateway):
    """A message in pieces of a byte, or of none, costs what its bytes are, not what their frames
    would."""
    port, pid = gateway
    before = settled(pid)
    with WebSocket(port, "/live") as one:
        one.send(TEXT, b"x", fin=False)
        piece = frame(0, b"x", fin=False) * 1000 + frame(0, b"", fin=False) * 1000
        for _ in range(60):
            one.socket.sendall(piece)
        assert resident(pid) - before < 4 << 20
        one.send(0, b"x")
        assert one.frame() == (TEXT, b"x" * 60_002)


def test_095_how_many(gateway):
    """256 at a time, half-open ones and those of HTTP aside; who comes next is told."""
    port, pid = gateway
    before = settled(pid)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
                for _ in range(50)]
        for one in slow:
            one.sendall(request(port)[:-2])
        every = [stack.enter_context(WebSocket(port, "/live")) for _ in range(256)]
        with pytest.raises(Refused) as caught:
            WebSocket(port, "/live")
        assert caught.value.status == 503 and "retry-after: 1" in caught.value.head.lower()
        assert ask(port, "/").status == 200
        for number, one in enumerate(every):
            one.send(TEXT, b"%d" % number)
        assert [one.frame() for one in every] == [(TEXT, b"%d" % i) for i in range(256)]
        print(f"resident: {before >> 10} KiB, {resident(pid) >> 10} with 256 idle")
        assert resident(pid) - before < 256 * (24 << 10)
        for one in every[:16]:
            one.socket.close()  # without a word

        def room():
            try:
                stack.enter_context(WebSocket(port, "/live"))
            except Refused:
                return False
            return True
        wait_until(room, what="there is room again")
    wait_until(lambda: descriptors(pid) < 30, what="all are given back")
    assert ask(port, "/").status == 200
