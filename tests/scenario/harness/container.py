# SPDX-License-Identifier: MIT
"""Reads Avro container files in the test's own process, for what libraries do not tell: the bytes
of each datum, blocks and metadata. Written from the Avro 1.11 specification; strict: anything
wrong raises ValueError. The values themselves are left to the independent readers."""
import io
import zlib
from pathlib import Path

import fastavro
import zstandard

from . import avro


def _take(data, at, size):
    if at + size > len(data):
        raise ValueError(f"cut short at {at}")
    return bytes(data[at:at + size]), at + size


def _take_long(data, at):
    try:
        return avro._read_long(data, at)
    except IndexError:
        raise ValueError(f"cut short at {at}") from None


def read(path):
    """(metadata, [(count, datum bytes of the block, offset, end)])."""
    data = Path(path).read_bytes()
    magic, at = _take(data, 0, 4)
    if magic != b"Obj\x01":
        raise ValueError("no container file")
    metadata = {}
    while True:
        count, at = _take_long(data, at)
        if count == 0:
            break
        if count < 0:
            _, at = _take_long(data, at)
        for _ in range(abs(count)):
            size, at = _take_long(data, at)
            key, at = _take(data, at, size)
            size, at = _take_long(data, at)
            metadata[key.decode()], at = _take(data, at, size)
    sync, at = _take(data, at, 16)
    blocks, header = [], at
    while at < len(data):
        begin = at
        count, at = _take_long(data, at)
        size, at = _take_long(data, at)
        body, at = _take(data, at, size)
        end, at = _take(data, at, 16)
        if end != sync:
            raise ValueError(f"no sync marker at {at - 16}")
        if count <= 0:
            raise ValueError(f"a block of {count} datums at {begin}")
        if metadata["avro.codec"] in (b"deflate", b"zstandard"):
            inflater = (zlib.decompressobj(-15) if metadata["avro.codec"] == b"deflate" else
                        zstandard.ZstdDecompressor().decompressobj())
            body = inflater.decompress(body)
            if not inflater.eof or inflater.unused_data:
                raise ValueError(f"packed data that does not end with its block at {begin}")
        blocks.append((count, body, begin, at))
    metadata["header_bytes"] = header
    return metadata, blocks


def payload(paths):
    """All datums' bytes of several files, one behind the other, and how many there are."""
    out, total = bytearray(), 0
    for path in paths:
        for count, body, _, _ in read(path)[1]:
            out += body
            total += count
    return bytes(out), total


def count(path):
    """How many datums fastavro reads, all of them decoded."""
    with open(path, "rb") as file:
        return sum(1 for _ in fastavro.reader(file))


def count_bytes(data):
    return sum(1 for _ in fastavro.reader(io.BytesIO(data)))


def all_recorded(fleet, source, pool):
    """Ends the sender and the fleet: what was sent of `pool` is recorded, all of it and in its
    order. The channel as it was then."""
    sent = source.stop()["sent"]
    channel = fleet.settle({"engine": sent})["engine"]
    assert channel["datums_recorded"] == sent and channel["datagrams_dropped"] == 0
    fleet.stop()
    assert payload(fleet.files("engine")) == (b"".join(pool[:sent]), sent)
    return channel
