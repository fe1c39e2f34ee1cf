# SPDX-License-Identifier: MIT
"""The canonical dump every reader prints the digest of, so that readers in four languages can be
compared with what was sent and with each other.

A datum's value, written as bytes, by value and not by type (readers forget which number type or
union branch a value had):
    n;  t;  f;                 null, true, false
    -12;                       an integer, and a real that is a whole number below 2^53
    dHHHHHHHHHHHHHHHH;  nan;   any other real, as the bits of the double; any NaN
    sN:...  bN:...             N bytes of UTF-8 or of an enum's symbol; N bytes of bytes or fixed
    [...]                      an array's items
    {sN:NAME...}               a record's fields or a map's entries, in their order in the bytes
Behind each datum stands a newline. The digest is the dump's length and its CRC-32; a reader prints
FILE<TAB>COUNT<TAB>DIGEST, or FILE<TAB>error<TAB>TEXT."""
import struct
import zlib


def dump(value, out):
    """Appends the dump of a value (plain Python objects) to the bytearray `out`."""
    if value is None:
        out += b"n;"
    elif value is True:
        out += b"t;"
    elif value is False:
        out += b"f;"
    elif isinstance(value, int):
        out += b"%d;" % value
    elif isinstance(value, float):
        if value != value:
            out += b"nan;"
        elif value == value // 1 and abs(value) < 2.0**53 and (value or not is_negative(value)):
            out += b"%d;" % int(value)
        else:
            out += b"d%016x;" % struct.unpack("<Q", struct.pack("<d", value))[0]
    elif isinstance(value, str):
        text = value.encode()
        out += b"s%d:%s" % (len(text), text)
    elif isinstance(value, (bytes, bytearray)):
        out += b"b%d:%s" % (len(value), bytes(value))
    elif isinstance(value, dict):
        out += b"{"
        for name, item in value.items():
            dump(name, out)
            dump(item, out)
        out += b"}"
    elif isinstance(value, (list, tuple)):
        out += b"["
        for item in value:
            dump(item, out)
        out += b"]"
    else:
        raise TypeError(f"no canonical form of {type(value)}")


def is_negative(value):
    return struct.pack(">d", value)[0] & 0x80


def of_values(values):
    """(count, digest) of an iterable of values."""
    out = bytearray()
    count = 0
    for value in values:
        dump(value, out)
        out += b"\n"
        count += 1
    return count, f"{len(out)}-{zlib.crc32(out):08x}"


def without_logical_types(schema):
    """The same schema for readers that would turn numbers into dates and decimals."""
    if isinstance(schema, dict):
        return {key: without_logical_types(part) for key, part in schema.items()
                if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema
