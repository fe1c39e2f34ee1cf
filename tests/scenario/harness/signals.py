# SPDX-License-Identifier: MIT
"""Plain telemetry for load: one small schema, and its datums made fast and known by number."""
import struct

from . import avro

SCHEMA = {
    "type": "record", "name": "Sample", "fields": [
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "counter", "type": "long"},
        {"name": "x", "type": "double"},
        {"name": "y", "type": "float"},
        {"name": "note", "type": ["null", "string"]},
    ],
}


def sample(number, pad=0):
    """The bytes of datum `number`; `pad` makes it bigger by about that many bytes."""
    note = b"\x02" + avro.long(pad) + b"n" * pad if pad else b"\x00"
    return (avro.long(1700000000000000 + number * 100) + avro.long(number)
            + struct.pack("<df", number / 7, (number % 1000) / 4) + note)


def samples(count, start=0, pad=0):
    return [sample(number, pad) for number in range(start, start + count)]
