# SPDX-License-Identifier: MIT
"""A channel's stream as it arrives: joins its group and decodes datum for datum."""
from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any, AsyncIterator, Iterator

import fastavro

from ._container import FormatError

PREFIX_BYTES = {"datum": 0, "single-object": 10, "confluent": 5}
DATAGRAM_BYTES_MAX = 65535
IP_MULTICAST_ALL = 49  # Linux: else a socket also hears the groups of other programs
SO_RXQ_OVFL = 40  # Linux: how many datagrams the socket's queue had no room for


class Live:
    """An iterator, and an asynchronous one, over the datums of a stream. `dropped` says how many
    datagrams this program was too slow for (None where the system does not tell); `datagrams` how
    many it took. Ends when nothing has come for `timeout` seconds. Close it, or use `with`."""

    def __init__(self, address: str, schema: Any, *, interface: str | None = None,
                 encoding: str = "datum", timeout: float | None = None,
                 receive_bytes: int = 4 << 20):
        if encoding not in PREFIX_BYTES:
            raise ValueError(f"encoding {encoding!r} is none of {', '.join(PREFIX_BYTES)}")
        if isinstance(schema, (str, os.PathLike)):
            schema = json.loads(Path(schema).read_text(encoding="utf-8"))
        self.schema = fastavro.parse_schema(schema)
        self.timeout = timeout
        self.datagrams = 0
        self.dropped: int | None = None
        self._prefix = PREFIX_BYTES[encoding]
        self._waiting: Iterator[dict[str, Any]] = iter(())
        self.socket = self._join(address, interface, receive_bytes)

    @staticmethod
    def _join(address: str, interface: str | None, receive_bytes: int) -> socket.socket:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        if not host or not port.isdigit():
            raise ValueError(f"{address!r} is no ADDRESS:PORT")
        family, _, _, _, where = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM,
                                                    flags=socket.AI_NUMERICHOST)[0]
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            if hasattr(made, "recvmsg") and os.name == "posix" and Path("/proc").is_dir():
                made.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            made.bind(where if os.name == "posix" else ("", int(port)))
            index = socket.if_nametoindex(interface) if interface else 0
            if family == socket.AF_INET and 224 <= int(host.split(".")[0]) < 240:
                if Path("/proc").is_dir():
                    made.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
                group = socket.inet_aton(host) + socket.inet_aton("0.0.0.0")
                made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                group + struct.pack("@i", index))
            elif family == socket.AF_INET6 and host.lower().startswith("ff"):
                group = socket.inet_pton(family, host.split("%")[0])
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                                group + struct.pack("@I", index))
        except BaseException:
            made.close()
            raise
        return made

    def _datums(self, datagram: bytes) -> Iterator[dict[str, Any]]:
        """A datagram holds one datum, or several back to back, each behind its prefix."""
        source = io.BytesIO(datagram)
        while source.tell() < len(datagram):
            source.seek(self._prefix, io.SEEK_CUR)
            try:
                datum = fastavro.schemaless_reader(source, self.schema, None)
            except (EOFError, IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
                raise FormatError(f"a datagram of {len(datagram)} bytes does not fit the schema: "
                                  f"{error or type(error).__name__}") from None
            yield datum  # type: ignore[misc]

    def _take(self) -> bytes | None:
        if not hasattr(self.socket, "recvmsg"):
            return self.socket.recv(DATAGRAM_BYTES_MAX)
        data, ancillary, _, _ = self.socket.recvmsg(DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(4))
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL):
                (self.dropped,) = struct.unpack("@I", value[:4])
        if self.dropped is None and Path("/proc").is_dir():
            self.dropped = 0
        return data

    def __iter__(self) -> Live:
        return self

    def __next__(self) -> dict[str, Any]:
        while True:
            for datum in self._waiting:
                return datum
            self.socket.settimeout(self.timeout)
            try:
                data = self._take()
            except (TimeoutError, socket.timeout):
                raise StopIteration from None
            self.datagrams += 1
            self._waiting = self._datums(data or b"")

    async def _arrived(self, loop: asyncio.AbstractEventLoop) -> bytes | None:
        """As _take: the loop's own way of receiving does not tell what was dropped."""
        if not hasattr(self.socket, "recvmsg"):
            return await loop.sock_recv(self.socket, DATAGRAM_BYTES_MAX)
        while True:
            try:
                return self._take()
            except BlockingIOError:
                readable = asyncio.Event()
            loop.add_reader(self.socket, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self.socket)

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        while True:
            for datum in self._waiting:
                return datum
            self.socket.setblocking(False)
            try:
                data = await asyncio.wait_for(self._arrived(loop), self.timeout)
            except asyncio.TimeoutError:
                raise StopAsyncIteration from None
            self.datagrams += 1
            self._waiting = self._datums(data or b"")

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def live(address: str, schema: Any, *, interface: str | None = None, encoding: str = "datum",
         timeout: float | None = None) -> Live:
    """Joins the group `ADDRESS:PORT` (or receives at an address of this machine) and yields its
    datums as dictionaries, as fastavro decodes them.

    schema     the channel's: a path of its .avsc, or the schema itself
    interface  by name, to join on; without, the one that the routing table has for the group
    encoding   the channel's: datum, single-object or confluent
    timeout    seconds without a datagram after which the iteration ends; None: never
    """
    return Live(address, schema, interface=interface, encoding=encoding, timeout=timeout)
