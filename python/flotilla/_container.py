# SPDX-License-Identifier: MIT
"""Avro container files as blocks of bytes: which there are, when each came in, and some of them put
behind a header of their own, for any reader to decode. Nothing is decoded here.

Sources: Avro 1.11 specification, "Object Container Files"; what Flotilla adds is told by its
docs/internals/file-format.md. Checksums are not looked at, so a value whose bits have flipped is
not seen here: that is what `flotilla verify` is for.
"""
from __future__ import annotations

import io
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Iterator

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
DATUMS_AT = 127  # where the stored datums of a block of Flotilla's begin
FRAME = bytes.fromhex("28b52ffd8040")  # how they begin where it was compacted by zstandard
FRONT_BYTES = 160  # enough of a block to know its size and arrival


class FormatError(ValueError):
    """A file that is no Avro container, or that this package cannot read."""


class DamageWarning(UserWarning):
    """A file ends in, or holds, what is no block; what stands in front of it was read."""


def read_long(source: BinaryIO) -> int:
    """Avro's long: zig-zag, seven bits a byte, the lowest first."""
    value, shift = 0, 0
    while True:
        byte = source.read(1)
        if not byte or shift > 63:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return (value >> 1) ^ -(value & 1)


def write_long(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(frozen=True)
class Block:
    offset: int
    bytes: int  # all of it, its counts and its sync marker included
    count: int  # of datums
    arrival_ns: int | None  # of its first datum, by the recorder's clock; None where it is not said


class Container:
    """One container file, finished or still being written."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        with open(self.path, "rb") as file:
            try:
                self.metadata, self.sync = self._header(file)
            except EOFError:
                raise FormatError(f"{self.path}: is no whole Avro header") from None
            self.begin = file.tell()
        try:
            self.schema: Any = json.loads(self.metadata["avro.schema"])
        except (KeyError, ValueError) as error:
            raise FormatError(f"{self.path}: its schema cannot be read: {error}") from None
        self.codec = self.metadata.get("avro.codec", b"null").decode("ascii", "replace")
        self.ours = "flotilla.crc32c" in self.metadata  # its blocks carry arrival times

    def text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return None if value is None else value.decode("utf-8", "replace")

    @staticmethod
    def _header(file: BinaryIO) -> tuple[dict[str, bytes], bytes]:
        if file.read(4) != MAGIC:
            raise FormatError(f"{file.name}: is no Avro container file")
        metadata: dict[str, bytes] = {}
        while (count := read_long(file)) != 0:
            if count < 0:
                count = -count
                read_long(file)
            for _ in range(count):
                key = file.read(read_long(file))
                metadata[key.decode("utf-8", "replace")] = file.read(read_long(file))
        sync = file.read(SYNC_BYTES)
        if len(sync) < SYNC_BYTES:
            raise EOFError
        return metadata, sync

    def blocks(self) -> Iterator[Block]:
        """Every whole block. What is not there yet of a file that is being written is no fault;
        behind what is no block it goes on at the next sync marker."""
        with open(self.path, "rb", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            offset = self.begin
            while offset < end:
                file.seek(offset)
                front = file.read(FRONT_BYTES)
                source = io.BytesIO(front)
                try:
                    count, size = read_long(source), read_long(source)
                except EOFError:
                    count, size = -1, -1
                length = source.tell() + size + SYNC_BYTES
                whole = count >= 0 and size >= 0 and offset + length <= end
                if whole:
                    file.seek(offset + length - SYNC_BYTES)
                    whole = file.read(SYNC_BYTES) == self.sync
                if whole:
                    arrival = self._arrival(front, source.tell()) if self.ours else None
                    yield Block(offset, length, count, arrival)
                    offset += length
                    continue
                following = self._marker(file, offset)
                if following is None and count >= 0 and size >= 0 and offset + length > end:
                    return  # its end is not written yet
                lost = (end if following is None else following) - offset
                warnings.warn(f"{self.path}: offset {offset}: {lost} bytes are no block and left "
                              "out", DamageWarning, stacklevel=2)
                if following is None:
                    return
                offset = following

    def _marker(self, file: BinaryIO, offset: int) -> int | None:
        """Behind the next sync marker from `offset` on."""
        file.seek(offset)
        kept = b""
        while piece := file.read(1 << 20):
            at = (kept + piece).find(self.sync)
            if at >= 0:
                return offset - len(kept) + at + SYNC_BYTES
            offset += len(piece)
            kept = (kept + piece)[-(SYNC_BYTES - 1):]
        return None

    @staticmethod
    def _arrival(front: bytes, filler_at: int) -> int | None:
        """The 64 lowest of the free bits of the filler between a block's counts and its datums."""
        if front[filler_at:filler_at + len(FRAME)] == FRAME:
            at = filler_at + len(FRAME) + 4 + 3  # behind the size, in the first empty block
            return int.from_bytes(front[at:at + 8 * 4:4], "little")
        filler = DATUMS_AT - filler_at
        if filler <= 0 or len(front) < DATUMS_AT:
            return None
        sixes = filler % 5
        fives = (filler - 6 * sixes) // 5
        value, bits, at = 0, 0, filler_at
        for element in range(fives + sixes):
            if element < fives:
                free, width, step = front[at] >> 3, 5, 5
            else:
                free, width, step = front[at + 1] >> 5, 3, 6
            value |= free << bits
            bits, at = bits + width, at + step
        return value & (1 << 64) - 1

    def with_blocks(self, blocks: list[Block], schema: Any) -> bytes:
        """A container file of those blocks under `schema`, which must decode what they hold."""
        entries = {"avro.schema": json.dumps(schema).encode(), "avro.codec": self.codec.encode()}
        out = bytearray(MAGIC + write_long(len(entries)))
        for key, value in entries.items():
            for part in (key.encode(), value):
                out += write_long(len(part)) + part
        out += b"\x00" + self.sync
        with open(self.path, "rb") as file:
            for block in blocks:
                file.seek(block.offset)
                out += file.read(block.bytes)
        return bytes(out)
