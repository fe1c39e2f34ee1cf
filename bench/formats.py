# SPDX-License-Identifier: MIT
"""What `flotilla export` to MDF4, MCAP and CSV takes, beside a plain copy of the recording to the
same disk, synced as well, run in turn with it: for bench/bench. Relies on numpy."""
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy
from layouts import BUILD

BYTES = 2_000_000_000
ROWS_A_BLOCK, BLOCKS_A_PART = 2700, 100
SYNC = bytes(range(16))
# A time, a counter and ten doubles with noise: 92 bytes.
SCHEMA = {"type": "record", "name": "Sample", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "counter", "type": "long"},
    *({"name": f"d{index}", "type": "double", "unit": "m"} for index in range(10))]}


def long(value):
    raw, out = value << 1, bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes(out) + bytes([raw])


def longs(values, size):
    """The same of many, each of `size` bytes."""
    raw = values.astype(numpy.uint64) << numpy.uint64(1)
    out = numpy.empty((len(values), size), numpy.uint8)
    for at in range(size):
        out[:, at] = (raw >> numpy.uint64(7 * at)) & numpy.uint64(0x7F)
    out[:, :-1] |= 0x80
    return out


def recording(path, size):
    """Writes a file of about `size` bytes. Returns its rows."""
    schema = json.dumps(SCHEMA).encode()
    noise = numpy.random.default_rng(1).standard_normal((ROWS_A_BLOCK * BLOCKS_A_PART, 10))
    rows = 0
    with open(path, "wb") as file:
        file.write(b"Obj\1" + long(2) + long(11) + b"avro.schema" + long(len(schema)) + schema
                   + long(10) + b"avro.codec" + long(4) + b"null" + b"\0" + SYNC)
        while file.tell() < size:
            index = numpy.arange(rows, rows + len(noise))
            data = numpy.concatenate(
                [longs(1_700_000_000_000_000 + index * 1000, 8), longs((1 << 22) + index, 4),
                 (noise + rows).astype("<f8").view(numpy.uint8).reshape(len(noise), 80)], axis=1)
            for at in range(0, len(noise), ROWS_A_BLOCK):
                block = data[at:at + ROWS_A_BLOCK].tobytes()
                file.write(long(ROWS_A_BLOCK) + long(len(block)) + block + SYNC)
            rows += len(noise)
    return rows


def run(words):
    """(seconds, CPU seconds, most memory in bytes) of a command; its VmHWM, for that of wait4 is
    that of this program where it is more."""
    begun, most = time.monotonic(), 0
    with subprocess.Popen([str(word) for word in words], stderr=subprocess.DEVNULL) as child:
        while True:
            try:
                status = Path(f"/proc/{child.pid}/status").read_text()
                most = max([most, *(int(line.split()[1]) << 10 for line in status.splitlines()
                                    if line.startswith("VmHWM"))])
            except OSError:
                pass
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        took = time.monotonic() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, words
    return took, usage.ru_utime + usage.ru_stime, most


WAYS = [("mdf4", ["-o", "out.mf4"], ("least", 0.9)), ("mdf4 --gzip", ["-o", "out.mf4", "--gzip"],
                                                     None),
        ("mcap", ["-o", "out.mcap"], None), ("csv", ["-o", "out.csv"], None)]


def measure(session, size=BYTES, pairs=3):
    """Rows of bench/bench: each format's speed in bytes of the recording, over the copy's."""
    with tempfile.TemporaryDirectory(prefix="flotilla-", dir=session.storage) as place:
        source = Path(place) / "sample.avro"
        rows = recording(source, size)
        size = source.stat().st_size
        session.table.head(f"export of {size / 1e9:.1f} GB, {rows:,} rows of 12 fields, beside "
                           "`dd bs=1M conv=fsync` of the same file")
        copy = ["dd", f"if={source}", f"of={place}/copy", "bs=1M", "conv=fsync", "status=none"]
        for name, options, aim in WAYS:
            options = [options[0], f"{place}/{options[1]}", *options[2:]]
            command = [BUILD / "flotilla-export", source, *options]
            runs = []
            for _ in range(pairs if aim else 1):
                runs.append((run(copy), run(command)))
                os.unlink(f"{place}/copy")
            ratios = [theirs[0] / ours[0] for theirs, ours in runs]
            cpu, most = (statistics.median(ours[at] for _, ours in runs) for at in (1, 2))
            session.table.row(
                "columns", f"export to {name}",
                size / 1e6 / statistics.median(ours[0] for _, ours in runs), "MB/s",
                floor=("dd", size / 1e6 / statistics.median(theirs[0] for theirs, _ in runs)),
                ratios=ratios, aim=aim, of="ratio", digits=0,
                note=f"{cpu / rows * 1e9:.0f} ns CPU a row; {most >> 20} MiB",
                command=" ".join(map(str, command)))
            os.unlink(options[1])
