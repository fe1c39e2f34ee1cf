# SPDX-License-Identifier: MIT
"""A client of flotilla.live.v1 (docs/internals/live.md), by PyPI's websockets and numpy."""
import json
import struct
import time

import numpy
from websockets.sync.client import connect

FRONT = struct.Struct("<BBHIIIqQ")
COARSE, FIRST, LAST = 1, 2, 4


class Message:
    """A binary message; `low` and `high` (bins) or `values` (single datums): a row a field."""

    def __init__(self, data):
        self.kind, self.flags, fields, self.id, self.rows, zero, self.start, self.width = \
            FRONT.unpack_from(data)
        assert zero == 0 and self.kind in (1, 2, 3)
        body = numpy.frombuffer(data, "<f8", offset=FRONT.size)
        if self.kind == 2:
            assert self.width == 0 and len(body) == self.rows * (fields + 1)
            self.seconds = body[:self.rows]
            self.values = body[self.rows:].reshape(fields, self.rows)
        else:
            assert self.width > 0 and len(body) == self.rows * fields * 2
            assert self.start % self.width == 0
            pairs = body.reshape(fields, 2, self.rows)
            self.low, self.high = pairs[:, 0], pairs[:, 1]


class Answer:
    """What came for one id."""

    def __init__(self):
        self.messages = []
        self.texts = []

    def of(self, op):
        return [text for text in self.texts if text["op"] == op]

    def bins(self, width, kinds=(1, 3), coarse=False):
        """{bin: (minima, maxima)}, merged as a client merges them."""
        bins = {}
        for message in self.messages:
            if message.kind not in kinds or message.width != width or \
                    bool(message.flags & COARSE) != coarse:
                continue
            for row in range(message.rows):
                low, high = message.low[:, row], message.high[:, row]
                if numpy.isnan(low).all():
                    continue
                number = message.start // width + row
                if number in bins:
                    low = numpy.fmin(low, bins[number][0])
                    high = numpy.fmax(high, bins[number][1])
                bins[number] = (low, high)
        return bins

    def datums(self):
        """[(ns, values)] of the messages of kind 2."""
        return [(message.start + round(float(message.seconds[i]) * 1e9), message.values[:, i])
                for message in self.messages if message.kind == 2 for i in range(message.rows)]


class Live:
    def __init__(self, port, subprotocols=("flotilla.live.v1",), **kw):
        self._open = connect(f"ws://127.0.0.1:{port}/api/v1/live",
                             subprotocols=list(subprotocols), max_size=None, compression=None,
                             open_timeout=60, **kw)
        self.socket = self._open.__enter__()
        self.by_id = {}
        self.texts = []
        self.channels = "none yet"
        self._parts = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._open.__exit__(*error)

    def send(self, op, **words):
        self.socket.send(json.dumps({"op": op, **words}))

    def subscribe(self, id, channel, fields, width=100_000_000, back=0, **more):
        self.by_id[id] = Answer()
        self.send("subscribe", id=id, channel=channel, fields=fields, bin_ns=str(width),
                  back_ns=str(back), **more)
        return self.by_id[id]

    def history(self, id, channel, fields, start, end, points=1000):
        self.by_id[id] = Answer()
        self.send("history", id=id, channel=channel, fields=fields, **{"from": str(start)},
                  to=str(end), points=points)
        return self.by_id[id]

    def take(self, timeout=60):
        """One message; False: none came."""
        try:
            data = self.socket.recv(timeout)
        except TimeoutError:
            return False
        if isinstance(data, bytes):
            message = Message(data)
            self.by_id.setdefault(message.id, Answer()).messages.append(message)
            return True
        text = json.loads(data)
        self.texts.append(text)
        if text["op"] == "channels":
            self._parts = self._parts * (text.get("part", 0) > 0) + (text["channels"] or [])
            if text.get("part", 0) + 1 == text.get("parts", 1):
                self.channels = None if text["channels"] is None else self._parts
        if text.get("id") is not None:
            self.by_id.setdefault(text["id"], Answer()).texts.append(text)
        return True

    def until(self, condition, what="", seconds=60):
        """Takes messages until it holds."""
        end = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < end, f"not within {seconds} s: {what}; {self.texts[-5:]}"
            self.take(min(1, max(0.01, end - time.monotonic())))
        return result

    def ask(self, id, *arguments, **kw):
        """History, to its end."""
        answer = self.history(id, *arguments, **kw)
        self.until(lambda: answer.of("history_end") or answer.of("error"), "the history's end")
        return answer
