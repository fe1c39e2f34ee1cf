# SPDX-License-Identifier: MIT
"""Reads and writes Flotilla's recordings byte by byte: written from docs/internals/file-format.md
alone, so that the document is shown to be complete. Raises Bad for what the document does not
allow. Needs nothing but Python."""
import struct
import zlib

PAGE = 4096
FRAME = bytes.fromhex("28b52ffd8040")  # of format 3
SYNC = 16
DATA = 132  # where a block's datums begin
STORED = 65535  # datum bytes in one stored block
TRAILER_BITS = 112
EMPTY = b"\x00\x00\xff\xff"  # LEN and NLEN of an empty stored block


class Bad(ValueError):
    pass


def _table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def long(value):
    raw, out = (value << 1 ^ value >> 63) & (1 << 64) - 1, bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes(out) + bytes([raw])


def take_long(data, at):
    raw = shift = 0
    while True:
        if at >= len(data):
            raise Bad(f"ends at {at} in a number")
        raw |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return raw >> 1 ^ -(raw & 1), at
        shift += 7


def sized(data):
    return long(len(data)) + data


# The header --------------------------------------------------------------------------------------

def header_crc(header):
    return b"%08x" % crc32c(header[:-25] + header[-17:])


def write_header(metadata, sync, alignment=PAGE):
    """`metadata`: the entries in front of the padding, in order."""
    front = b"Obj\x01" + long(len(metadata) + 2)
    for key, value in metadata.items():
        front += sized(key.encode()) + sized(value)
    front += sized(b"flotilla.padding")
    behind = sized(b"flotilla.crc32c") + sized(b"........") + b"\0" + sync
    total = -(-(len(front) + 1 + len(behind)) // alignment) * alignment
    while True:  # the padding's own length takes part in it
        for size in range(1, 11):
            padding = total - len(front) - len(behind) - size
            if padding >= 0 and len(long(padding)) == size:
                header = front + long(padding) + b" " * padding + behind
                return header[:-25] + header_crc(header) + header[-17:]
        total += alignment


def read_header(data):
    """(metadata, sync marker, bytes of the header)."""
    if data[:4] != b"Obj\x01":
        raise Bad("no container file")
    metadata, at = {}, 4
    while True:
        count, at = take_long(data, at)
        if count == 0:
            break
        for _ in range(count):
            size, at = take_long(data, at)
            key, at = bytes(data[at:at + size]).decode(), at + size
            size, at = take_long(data, at)
            metadata[key], at = bytes(data[at:at + size]), at + size
    sync, at = bytes(data[at:at + SYNC]), at + SYNC
    codec = b"zstandard" if metadata.get("flotilla.format") == b"3" else b"deflate"
    if at % PAGE or metadata["avro.codec"] != codec:
        raise Bad("no header of Flotilla's")
    if list(metadata)[-1] != "flotilla.crc32c" or \
            metadata["flotilla.crc32c"] != header_crc(bytes(data[:at])):
        raise Bad("the header does not match its checksum")
    return metadata, sync, at


# Blocks ------------------------------------------------------------------------------------------

def filler(size):
    """(elements of 5 bytes, elements of 6), or None."""
    sixes = size % 5
    return None if 6 * sixes > size else ((size - 6 * sixes) // 5, sixes)


def write_filler(size, bits, used):
    """Filler of `size` bytes that carries `bits` from the lowest on; `used` counts them."""
    fives, sixes = filler(size)
    out = b""
    for free, prefix, count in ((5, b"", fives), (3, b"\x02", sixes)):
        for _ in range(count):
            out += prefix + bytes([(bits & (1 << free) - 1) << 8 - free]) + EMPTY
            bits >>= free
            used += free
    return out, used


def place_of(offset):
    return offset // PAGE % 65535 + 1


def block_crc(data, arrival, count, place):
    return crc32c(data + struct.pack("<QQH", arrival, count, place))


def write_block(datums, arrival, sync, offset, alignment=PAGE, placed=True):
    data, count = b"".join(datums), len(datums)
    stored = [data[at:at + STORED] for at in range(0, len(data), STORED)] or [b""]
    body = b"".join(b"\0" + struct.pack("<HH", len(part), len(part) ^ 0xFFFF) + part
                    for part in stored)
    end = DATA - 5 + len(body) + 5 + SYNC
    total = -(-end // alignment) * alignment
    if filler(total - end) is None:
        total += alignment
    front = long(count)
    for size in range(2, 5):
        if len(long(total - SYNC - len(front) - size)) == size:
            front += long(total - SYNC - len(front) - size)
            break
    place = place_of(offset) if placed else 0
    trailer = arrival | block_crc(data, arrival, count, place) << 64 | place << 96
    first, used = write_filler(DATA - 5 - len(front), trailer, 0)
    assert used >= TRAILER_BITS
    last, _ = write_filler(total - end, 0, 0)
    block = front + first + body + last + b"\x01" + EMPTY + sync
    assert len(block) == total
    return block


def take_element(data, at):
    """(bytes behind it, its free bits, how many) of an element of filler."""
    six = data[at] == 0x02
    free, at = (3, at + 1) if six else (5, at)
    if data[at] & (1 << 8 - free) - 1 or data[at + 1:at + 5] != EMPTY:
        raise Bad(f"no filler at {at}")
    return at + 5, data[at] >> 8 - free, free


def read_frame(data, at, block):
    """The same of a block of format 3; `at` is behind its size."""
    content, at = struct.unpack_from("<I", data, at + len(FRAME))[0], at + len(FRAME) + 4
    trailer = b""
    for _ in range(TRAILER_BITS // 8):
        if data[at:at + 3] != b"\x02\0\0":
            raise Bad(f"no empty RLE block at {at}")
        trailer, at = trailer + data[at + 3:at + 4], at + 4
    arrival, crc, place = struct.unpack("<QIH", trailer)
    return block | {"arrival": arrival, "crc": crc, "place": place, "content": content}, at


def read_front(data, at):
    """What the first 132 bytes of a block say."""
    begin, (count, at) = at, take_long(data, at)
    size, at = take_long(data, at)
    block = {"offset": begin, "count": count, "bytes": at - begin + size + SYNC}
    if data[at:at + len(FRAME)] == FRAME:
        return read_frame(data, at, block)[0]
    trailer = used = 0
    while at < begin + DATA - 5:
        at, bits, free = take_element(data, at)
        trailer |= bits << used
        used += free
    if count < 1 or at != begin + DATA - 5 or trailer >> TRAILER_BITS:
        raise Bad(f"no front of a block at {begin}")
    block.update(arrival=trailer & (1 << 64) - 1, crc=trailer >> 64 & 0xFFFFFFFF,
                 place=trailer >> 96)
    return block


def read_stored(data, begin, end):
    """The datums' bytes of a block of format 1."""
    at, out = begin + DATA - 5, b""
    while True:
        size, check = struct.unpack_from("<HH", data, at + 1)
        if data[at] or check != size ^ 0xFFFF:
            raise Bad(f"no stored block at {at}")
        out += data[at + 5:at + 5 + size]
        at += 5 + size
        # A full one is followed by another, unless filler or the end comes.
        if size < STORED or data[at] or data[at + 1:at + 5] == EMPTY:
            break
    while data[at] != 0x01:
        at, bits, _ = take_element(data, at)
        if bits:
            raise Bad(f"a bit is set behind the datums, before {at}")
    if bytes(data[at + 1:end]) != EMPTY:
        raise Bad(f"no end of the datums at {at}")
    return out


def read_deflated(data, begin, end):
    """The same of format 2."""
    return zlib.decompress(data[begin + DATA - 5:end], -15)


def read_compressed(data, begin, end):
    """The same of format 3; needs a package for zstandard."""
    import zstandard
    at = take_long(data, take_long(data, begin)[1])[1]
    block, rest = read_frame(data, at, {})
    behind = False
    while True:  # the datums' blocks, then such as hold nothing, the last one among them
        header = int.from_bytes(data[rest:rest + 3], "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        size, empty = 1 if kind == 1 else size, kind < 2 and size == 0
        if (last and header != 1) or (behind and not empty) or any(data[rest + 3:rest + 3 + size]
                                                                   if empty else b""):
            raise Bad(f"no block as it is written at {rest}")
        behind, rest = empty, rest + 3 + size
        if last:
            break
    out = zstandard.decompress(bytes(data[at:end]))
    if rest != end or len(out) != block["content"]:
        raise Bad(f"no end of the datums at {rest}")
    return out


def read_block(data, begin, sync, form=b"1"):
    """The block at `begin`, all of it judged, with its datums' bytes as `data`."""
    block = read_front(data, begin)
    end = begin + block["bytes"] - SYNC
    if data[end:end + SYNC] != sync:
        raise Bad(f"no sync marker at {end}")
    out = {b"1": read_stored, b"2": read_deflated, b"3": read_compressed}[form](data, begin, end)
    if block_crc(out, block["arrival"], block["count"], block["place"]) != block["crc"]:
        raise Bad(f"the block at {begin} does not match its checksum")
    if block["place"] != place_of(begin):
        raise Bad(f"the block at {begin} was written somewhere else")
    return block | {"data": out}


def read(data):
    """(metadata, sync marker, blocks) of a whole recording."""
    metadata, sync, at = read_header(data)
    blocks = []
    while at < len(data):
        blocks.append(read_block(data, at, sync, metadata.get("flotilla.format", b"1")))
        at += blocks[-1]["bytes"]
    return metadata, sync, blocks


def inflate(block):
    """The same datums, as any reader of deflate sees them: a check of the format itself."""
    _, at = take_long(block, 0)
    _, at = take_long(block, at)
    return zlib.decompress(block[at:-SYNC], -15)


# Search ------------------------------------------------------------------------------------------

def block_at_or_behind(data, sync, at):
    """The front of the first block that begins at the page `at` or behind it; None at the end."""
    while at < len(data):
        if data[at - SYNC:at] == sync:
            try:
                return read_front(data, at)
            except (Bad, IndexError):
                pass
        at += PAGE
    return None


def find(data, instant):
    """The offset of the last block whose first datum had arrived by `instant`, else of the first
    block: by bisection, as fast in a long file as in a short one."""
    _, sync, header = read_header(data)
    low, high = header // PAGE, len(data) // PAGE  # a block at `low` is good enough
    while high - low > 1:
        middle = (low + high) // 2
        block = block_at_or_behind(data, sync, middle * PAGE)
        if block is None or block["arrival"] > instant:
            high = middle
        else:
            low = block["offset"] // PAGE
    return low * PAGE
