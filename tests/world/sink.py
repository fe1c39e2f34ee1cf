# SPDX-License-Identifier: MIT
"""Receives the full streams in the peer's network and counts how often each datagram came, in
FOLDER/came.CHANNEL (one byte a number) at the end of standard input. It joins again whenever a
link is another than before. Prints per channel how much its own queue lost."""
import json
import os
import select
import socket
import struct
import sys
import time

import fastavro
import io

import plan

LOOK_S = 0.05
SO_RXQ_OVFL, SO_RCVBUFFORCE = 40, 33


class Sink:
    def __init__(self, channel):
        self.channel, (self.host, self.port) = channel, plan.split(channel.full)
        self.six = ":" in self.host
        self.link, self.index = "peer" + channel.link[-1], None
        self.came = bytearray(1 << 20)
        self.strange = self.dropped = self.dropped_before = 0
        self.socket = self._open()

    def _open(self):
        opened = socket.socket(socket.AF_INET6 if self.six else socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        opened.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        opened.bind(("::" if self.six else "", self.port))
        opened.setblocking(False)
        return opened

    def _join(self, index):
        """By another socket each time: one has only so many groups, also of links that are gone."""
        joined = self._open()
        try:
            if self.six:
                joined.setsockopt(
                    socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                    socket.inet_pton(socket.AF_INET6, self.host) + struct.pack("@i", index))
            else:
                joined.setsockopt(
                    socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                    struct.pack("@4s4si", socket.inet_aton(self.host), b"", index))
        except OSError:  # it is gone again
            joined.close()
            return
        self.take()
        self.dropped_before += self.dropped
        self.dropped = 0
        self.socket.close()
        self.socket, self.index = joined, index

    def look(self):
        try:
            index = socket.if_nametoindex(self.link)
        except OSError:
            return
        if index != self.index and (self.host.startswith("239.") or self.host.startswith("ff")):
            self._join(index)

    def take(self):
        for _ in range(1000):
            try:
                data, notes, _, _ = self.socket.recvmsg(65535, 64)
            except BlockingIOError:
                return
            for level, kind, value in notes:
                if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
                    self.dropped = struct.unpack("=I", value[:4])[0]
            try:
                datum = fastavro.schemaless_reader(io.BytesIO(data), PARSED)
                number = datum["number"] // self.channel.packs
                right = datum["channel"] == self.channel.number
            except (EOFError, ValueError, IndexError):
                right = False
            if not right:
                self.strange += 1
                continue
            while number >= len(self.came):
                self.came.extend(bytes(len(self.came)))
            self.came[number] = min(255, self.came[number] + 1)


PARSED = fastavro.parse_schema(plan.SCHEMA)


def main():
    folder = sys.argv[1]
    sinks = [Sink(channel) for channel in plan.channels() if channel.full]
    look = 0
    while True:
        now = time.monotonic()
        if now >= look:
            look = now + LOOK_S
            for one in sinks:
                one.look()
        sockets = {one.socket.fileno(): one for one in sinks}
        ready = select.select([0, *sockets], [], [], LOOK_S)[0]
        for descriptor in ready:
            if descriptor in sockets:
                sockets[descriptor].take()
        if ready == [0]:  # nothing waits any more
            break
    for one in sinks:
        with open(os.path.join(folder, f"came.{one.channel.name}"), "wb") as file:
            file.write(one.came)
    print(json.dumps({one.channel.name: {"dropped": one.dropped_before + one.dropped,
                                         "strange": one.strange} for one in sinks}))


if __name__ == "__main__":
    main()
