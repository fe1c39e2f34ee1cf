# SPDX-License-Identifier: MIT
"""Container files as other programs write them, byte for byte as a test wants them: any header, any
codec, any block. Written from the Avro 1.11 specification."""
import bz2
import json
import lzma
import zlib

import cramjam
import zstandard

SYNC = bytes(range(0xa0, 0xb0))


def number(value):
    """An Avro int or long."""
    value = value << 1 ^ value >> 63
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def counted(data):
    """Avro bytes or a string."""
    data = data.encode() if isinstance(data, str) else data
    return number(len(data)) + data


def _deflate(data):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _snappy(data):
    return bytes(cramjam.snappy.compress_raw(data)) + zlib.crc32(data).to_bytes(4, "big")


PACK = {
    "null": bytes, "deflate": _deflate, "snappy": _snappy, "bzip2": bz2.compress,
    "zstandard": lambda data: zstandard.ZstdCompressor().compress(data), "xz": lzma.compress,
}


def header(schema, codec=None, more=(), sync=SYNC):
    """`more`: entries besides, in their order; they may be there twice."""
    schema = schema if isinstance(schema, (str, bytes)) else json.dumps(schema)
    entries = [("avro.schema", schema)]
    if codec is not None:
        entries.append(("avro.codec", codec))
    entries += more
    return b"Obj\x01" + number(len(entries)) + b"".join(
        counted(key) + counted(value) for key, value in entries) + number(0) + sync


def block(count, data, codec=None, sync=SYNC):
    data = PACK.get(codec or "null", bytes)(data)
    return number(count) + number(len(data)) + data + sync
