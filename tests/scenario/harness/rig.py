# SPDX-License-Identifier: MIT
"""A source that lives in the present: datums with their own time, sent when it is that time, known
afterwards. For what is looked at while it comes."""
import math
import socket
import struct
import threading
import time

from . import avro

SYMBOLS = ["PARK", "REVERSE", "NEUTRAL", "DRIVE"]
SCHEMA = {
    "type": "record", "name": "Rig", "fields": [
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "counter", "type": "long"},
        {"name": "speed", "unit": "km/h", "doc": "over ground", "type": "double"},
        {"name": "pressure", "unit": "bar", "type": "double"},
        {"name": "gear", "type": {"type": "enum", "name": "Gear", "symbols": SYMBOLS}},
        {"name": "on", "type": "boolean"},
        {"name": "note", "type": "string"},
    ],
}
KEYS = {"schema": SCHEMA, "time": "time", "sequence": "counter", "full": True,
        "decimated": {"to": True, "factor": 4, "algorithm": "min-max"}}


class Rig:
    """with Rig(address, hz) as rig: rig.rows is what was sent: dicts, `time` in ns."""

    def __init__(self, address, hz=100):
        group, port = address.rsplit(":", 1)
        self.to, self.hz, self.rows, self.number = (group, int(port)), hz, [], 0
        self.level = 0.0  # what `pressure` is moved by
        self.skip = 0  # so many sequence numbers are not sent
        self._quiet, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def quiet(self, on):
        (self._quiet.set if on else self._quiet.clear)()

    def row(self, number, now_us):
        seconds = number / self.hz
        return {"time": now_us * 1000, "counter": number,
                "speed": 80 + 20 * math.sin(seconds / 2) + (number * 7919 % 101) / 50,
                "pressure": self.level + (number * 104729 % 89) / 100,
                "gear": int(seconds) % 4, "on": int(seconds) % 6 < 3, "note": f"step {number}"}

    def _run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            due = time.monotonic()
            while not self._end.wait(max(0, due - time.monotonic())):
                due = max(due + 1 / self.hz, time.monotonic() - 0.1)
                if self._quiet.is_set():
                    continue
                while self.skip > 0:
                    self.skip, self.number = self.skip - 1, self.number + 1
                row = self.row(self.number, time.time_ns() // 1000)
                note = row["note"].encode()
                out.sendto(
                    avro.long(row["time"] // 1000) + avro.long(row["counter"])
                    + struct.pack("<dd", row["speed"], row["pressure"]) + avro.long(row["gear"])
                    + (b"\x01" if row["on"] else b"\x00") + avro.long(len(note)) + note, self.to)
                self.rows.append(row)
                self.number += 1

    def within(self, start, end):
        """What was sent in [start, end), ns."""
        return [row for row in list(self.rows) if start <= row["time"] < end]
