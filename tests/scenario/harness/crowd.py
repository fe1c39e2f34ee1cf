# SPDX-License-Identifier: MIT
"""Many clients of the live socket in one process: crowd.py PORT COUNT BIN_NS CHANNEL FIELD ...

Prints "ready" once all are subscribed, reads until SIGTERM and nothing comes, and prints as JSON
what each got: so many messages, the longest wait between two, the last maximum of the last field
(of bins), how much was skipped. Stop the whole process (SIGSTOP), and they are clients that have
hung. Relies on web_socket.py's frames; run by its path."""
import json
import math
import selectors
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

REST_S = 1
FRONT = struct.Struct("<BBHIIIqQ")


class Member:
    """One client: frames as they come, without waiting."""

    def __init__(self, socket):
        self.socket, self.buffer = socket, bytearray(socket.buffer)
        self.messages = self.bytes = self.skipped = 0
        self.longest_s, self.last_s, self.first_s = 0.0, None, None
        self.maximum = -math.inf
        self.ended = None

    def read(self):
        """False: it has ended."""
        from harness.web_socket import PING, PONG
        try:
            piece = self.socket.socket.recv(1 << 18)
        except OSError as error:
            piece, self.ended = b"", str(error)
        if not piece:
            self.ended = self.ended or "the gateway has ended it"
            return False
        self.buffer += piece
        self.bytes += len(piece)
        while (whole := self._frame()) is not None:
            opcode, payload = whole
            if opcode == PING:
                self.socket.socket.setblocking(True)
                self.socket.send(PONG, payload)
                self.socket.socket.setblocking(False)
            elif opcode == 1:
                text = json.loads(payload)
                self.skipped += text.get("datums", 0) if text["op"] == "skipped" else 0
            elif opcode == 2:
                self._columns(payload)
        return True

    def _frame(self):
        if len(self.buffer) < 2:
            return None
        length = self.buffer[1]
        at = 2 + {126: 2, 127: 8}.get(length, 0)
        if at > 2 and len(self.buffer) >= at:
            length = int.from_bytes(self.buffer[2:at], "big")
        if len(self.buffer) < at + (length if len(self.buffer) >= at else 0):
            return None
        if len(self.buffer) < at:
            return None
        out = self.buffer[0] & 15, bytes(self.buffer[at:at + length])
        del self.buffer[:at + length]
        return out

    def _columns(self, payload):
        now = time.monotonic()
        kind, _, fields, _, rows, *_ = FRONT.unpack_from(payload)
        self.messages += 1
        self.first_s = self.first_s or now
        if self.last_s is not None:
            self.longest_s = max(self.longest_s, now - self.last_s)
        self.last_s = now
        if kind != 2 and rows > 0:
            last = struct.unpack_from(f"<{rows}d", payload,
                                      FRONT.size + 8 * rows * (2 * fields - 1))
            self.maximum = max([self.maximum, *(one for one in last if not math.isnan(one))])

    def told(self):
        return {"messages": self.messages, "bytes": self.bytes, "skipped": self.skipped,
                "longest_s": round(self.longest_s, 4), "maximum": self.maximum,
                "ended": self.ended}


def join(port, count, width, channel, fields):
    from harness.web_socket import WebSocket
    words = {"op": "subscribe", "id": 1, "channel": channel, "fields": fields,
             "bin_ns": width, "back_ns": "0"}
    sockets = []
    for _ in range(count):
        one = WebSocket(port, "/api/v1/live", protocols=["flotilla.live.v1"])
        one.send(1, json.dumps(words).encode())
        sockets.append(one)
    for one in sockets:
        while True:
            opcode, payload = one.frame()
            if opcode == 1 and (text := json.loads(payload))["op"] in ("subscribed", "error"):
                assert text["op"] == "subscribed", text
                break
    return [Member(one) for one in sockets]


def main(port, count, width, channel, *fields):
    sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(time.monotonic()))
    members = join(int(port), int(count), width, channel, list(fields))
    with selectors.DefaultSelector() as selector:
        for one in members:
            one.socket.socket.setblocking(False)
            selector.register(one.socket.socket, selectors.EVENT_READ, one)
        print("ready", flush=True)
        # Asked to end, what is on its way is read yet.
        while not over or time.monotonic() - max(
                over[0], *(one.last_s or 0 for one in members)) < REST_S:
            for key, _ in selector.select(0.2):
                if not key.data.read():
                    selector.unregister(key.fileobj)
    print(json.dumps([one.told() for one in members]), flush=True)


class Crowd:
    """The same from outside, as a process that can be stopped."""

    def __init__(self, port, count, channel, fields, width=100_000_000, before=()):
        self.child = subprocess.Popen(
            [*before, sys.executable, __file__, str(port), str(count), str(width), channel,
             *fields], stdout=subprocess.PIPE, text=True)
        try:
            assert self.child.stdout.readline() == "ready\n", "the crowd did not get in"
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def hang(self):
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.child.send_signal(signal.SIGCONT)

    def finish(self):
        self.child.send_signal(signal.SIGTERM)
        return json.loads(self.child.communicate(timeout=60)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
