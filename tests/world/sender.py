# SPDX-License-Identifier: MIT
"""Sends each channel's numbered datagrams on an absolute schedule from the peer's network, and
notes in FOLDER/sent.CHANNEL what the kernel took, when: records of NOTE (the first number, how
many, the monotonic time before and after). A number whose sending fails is sent again.

Beside them the witness: an empty datagram every 20 ms to each way into the host, by which anybody
can find out whether that works. Commands by line on standard input: pause, go, end; each is
answered with a line of JSON, the number of datagrams sent so far by channel."""
import json
import os
import select
import socket
import struct
import sys
import time

import plan

NOTE = struct.Struct("<QQqq")
TICK_S = 0.02


class Way:
    """A socket to one address by one link, opened anew when the link is."""

    def __init__(self, link, address):
        self.link, (self.host, self.port) = "peer" + link[-1], plan.split(address)
        self.family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.socket, self.index = None, None

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def _open(self):
        self.index = socket.if_nametoindex(self.link)
        opened = socket.socket(self.family, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        if self.family == socket.AF_INET:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                              struct.pack("@4s4si", b"", b"", self.index))
        else:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.index)
        self.socket = opened

    def send(self, datagrams):
        """How many were taken before one was not."""
        sent = 0
        try:
            if self.socket is None:
                self._open()
            for one in datagrams:
                self.socket.sendto(one, (self.host, self.port))
                sent += 1
        except OSError:
            self.close()
        return sent


class Stream:
    def __init__(self, channel, rate, folder):
        self.channel, self.rate = channel, rate * channel.rate
        self.way = Way(channel.link, channel.listen)
        self.next, self.owed = 0, 0.0
        self.notes = open(os.path.join(folder, f"sent.{channel.name}"), "wb", buffering=1 << 16)

    def tick(self, seconds):
        # What the network did not take is not made up for: at most a tenth of a second of it.
        self.owed = min(self.owed + self.rate * seconds, self.rate * 0.1 + 1)
        count = int(self.owed)
        self.owed -= count
        now_us = time.time_ns() // 1000
        batch = [plan.datagram(self.channel, self.next + i, now_us) for i in range(count)]
        before = time.monotonic_ns()
        sent = self.way.send(batch)
        if sent:
            self.notes.write(NOTE.pack(self.next, sent, before, time.monotonic_ns()))
        self.next += sent


def witnesses():
    """All ways into the host: by each link a group of each family and the addresses there."""
    for link in plan.LINKS:
        for address in (f"239.10.0.99:{plan.WITNESS_PORT}", f"[ff15::99]:{plan.WITNESS_PORT}"):
            yield Way(link, address)
        host = plan.MOVING[link]
        yield Way(link, f"[{host}]:{plan.WITNESS_PORT}" if ":" in host
                  else f"{host}:{plan.WITNESS_PORT}")


def main():
    folder, rate = sys.argv[1], float(sys.argv[2])
    streams = [Stream(channel, rate, folder) for channel in plan.channels()]
    ways = list(witnesses())
    due = last = time.monotonic()
    sending = False
    while True:
        wait = max(0.0, due - time.monotonic())
        if select.select([0], [], [], wait)[0]:
            word = sys.stdin.readline().strip()
            if word in ("end", ""):
                sending = False
            else:
                sending, last = word == "go", time.monotonic()
            for stream in streams:
                stream.notes.flush()
            print(json.dumps({one.channel.name: one.next for one in streams}), flush=True)
            if word in ("end", ""):
                return
            continue
        now = time.monotonic()
        due = max(due + TICK_S, now)
        for way in ways:
            way.send([b""])
        if sending:
            for stream in streams:
                stream.tick(now - last)
        last = now


if __name__ == "__main__":
    main()
