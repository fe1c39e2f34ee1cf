# SPDX-License-Identifier: MIT
"""Container files as other programs write them, byte for byte as a test wants them: any header, any
codec, any block. Written from the Avro 1.11 specification."""
import bz2
import json
import lzma
import zlib

import cramjam
import zstandard

from .avro import long

SYNC = bytes(range(0xa0, 0xb0))


def counted(data):
    """Avro bytes or a string."""
    data = data.encode() if isinstance(data, str) else data
    return long(len(data)) + data


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
    return b"Obj\x01" + long(len(entries)) + b"".join(
        counted(key) + counted(value) for key, value in entries) + long(0) + sync


def block(count, data, codec=None, sync=SYNC):
    data = PACK.get(codec or "null", bytes)(data)
    return long(count) + long(len(data)) + data + sync
