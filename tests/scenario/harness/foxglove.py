# SPDX-License-Identifier: MIT
"""A client of Foxglove's protocol that mirrors what PlotJuggler takes: by the specification, not by
the gateway's code. Messages are read by the decoder of the mcap package."""
import json
import struct
import time

from mcap_ros2._dynamic import generate_dynamic

from .web_socket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket

PLAYING, PAUSED, BUFFERING, ENDED = range(4)


def usable(channel):
    """PlotJuggler 3.17 (foxglove_client.cpp, canUseChannel) and 4 (foxglove_protocol.hpp,
    isUsableChannel): all others it leaves out."""
    return (channel["encoding"] == "cdr" and channel["schemaEncoding"] == "ros2msg" and
            bool(channel["schema"]) and bool(channel["schemaName"]) and bool(channel["topic"]))


class Foxglove(WebSocket):
    """What has come, by kind. `messages` is [(topic, time, decoded)]; `raw`: not decoded, so that
    much can come."""

    def __init__(self, port, path="/foxglove", protocols=("foxglove.sdk.v1",), raw=False,
                 **fields):
        super().__init__(port, path, protocols=protocols, **fields)
        self.protocol = self.fields.get("sec-websocket-protocol")
        self.raw = raw
        self.server = None
        self.channels = {}  # by id
        self.gone = []
        self.statuses = []
        self.messages = []
        self.times = []
        self.states = []  # (state, time, speed, did seek, request)
        self.decoders = {}
        self.subscribed = {}  # subscription: channel
        self.requests = 0

    def say(self, **message):
        self.send(TEXT, json.dumps(message).encode())

    def topic(self, name):
        return next((one for one in self.channels.values() if one["topic"] == name), None)

    def subscribe(self, *topics):
        """All where none is named."""
        pairs = []
        for name in topics or [one["topic"] for one in self.channels.values()]:
            number = len(self.subscribed) + 1
            self.subscribed[number] = self.topic(name)
            pairs.append({"id": number, "channelId": self.topic(name)["id"]})
        self.say(op="subscribe", subscriptions=pairs)

    def control(self, play=True, speed=1.0, seek=None):
        """Returns the request's id."""
        self.requests += 1
        request = f"request {self.requests}".encode()
        self.send(BINARY, struct.pack("<BBfBQI", 3, 0 if play else 1, speed, seek is not None,
                                      seek or 0, len(request)) + request)
        return request.decode()

    def take(self):
        """Takes one message in. False: the other side has closed."""
        opcode, payload = self.frame()
        if opcode == TEXT:
            self._take_text(json.loads(payload))
        elif opcode == BINARY:
            self._take_binary(payload)
        elif opcode == PING:
            self.send(PONG, payload)
        return opcode != CLOSE

    def _take_text(self, message):
        op = message.pop("op")
        if op == "serverInfo":
            assert self.server is None and not self.channels
            self.server = message
        elif op == "advertise":
            for channel in message["channels"]:
                assert channel["id"] not in self.channels and usable(channel)
                self.channels[channel["id"]] = channel
                self.decoders[channel["id"]] = generate_dynamic(
                    channel["schemaName"], channel["schema"])[channel["schemaName"]]
        elif op == "unadvertise":
            for number in message["channelIds"]:
                self.gone.append(self.channels.pop(number))
        else:
            assert op == "status" and message["level"] in (0, 1, 2) and message["message"], message
            self.statuses.append(message)

    def _take_binary(self, payload):
        if payload[0] == 1:
            subscription, at = struct.unpack_from("<IQ", payload, 1)
            channel = self.subscribed[subscription]
            assert payload[13:17] == b"\0\1\0\0"
            message = payload[13:] if self.raw else self.decoders[channel["id"]](payload[13:])
            self.messages.append((channel["topic"], at, message))
        elif payload[0] == 2:
            self.times.append(struct.unpack("<Q", payload[1:])[0])
        else:
            opcode, state, at, speed, seek, length = struct.unpack_from("<BBQfBI", payload)
            assert opcode == 5 and seek < 2 and len(payload) == 19 + length
            self.states.append((state, at, speed, bool(seek), payload[19:].decode()))

    def until(self, there, seconds=60, what="something to come"):
        """Takes messages until `there()`; what it returned then."""
        end = time.monotonic() + seconds
        while not (found := there()):
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            assert self.take(), "the gateway has closed"
        return found

    def answer(self, request):
        """The state that answers a request."""
        return self.until(lambda: next((one for one in self.states if one[4] == request), None),
                          what="the answer of a request")

    def of(self, topic):
        return [(at, message) for name, at, message in self.messages if name == topic]
