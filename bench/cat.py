# SPDX-License-Identifier: MIT
"""What `flotilla cat` and `flotilla verify` take: JSON lines beside fastavro with json, CSV beside
polars reading and writing the same file, verify beside a plain read of the disk, each run in turn
with ours: for bench/bench. fastavro is given the first rows of the file, as its rate does not
depend on the length. Relies on build/venv."""
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import formats
from layouts import BUILD

ROWS = 400_000  # that fastavro is given
CSV_BYTES = 300_000_000  # polars holds the whole table
THEIRS = BUILD / "venv/bin/python"
FASTAVRO = """
import itertools, json, sys, time
import fastavro
fastavro.read.LOGICAL_READERS.clear()  # numbers as they are: faster
begun, cpu = time.monotonic(), time.process_time()
done = 0
with open(sys.argv[1], "rb") as file, open(sys.argv[2], "w") as out:
    for row in itertools.islice(fastavro.reader(file), int(sys.argv[3])):
        out.write(json.dumps(row) + "\\n")
        done += 1
print(json.dumps([done, time.monotonic() - begun, time.process_time() - cpu]))
"""
POLARS = """
import sys, polars
polars.read_avro(sys.argv[1]).write_csv(sys.argv[2])
"""


def there(module):
    return subprocess.run([THEIRS, "-c", f"import {module}"], capture_output=True).returncode == 0


def quietly(words):
    """Runs a command whose output goes nowhere: as formats.run."""
    return formats.run(["sh", "-c", 'exec "$@" >/dev/null', "sh", *words])


def json_lines(session, source, rows, pairs):
    runs = []
    for _ in range(pairs):
        done = subprocess.run([THEIRS, "-c", FASTAVRO, source, "/dev/null", str(ROWS)],
                              check=True, capture_output=True, text=True)
        runs.append((json.loads(done.stdout), quietly([BUILD / "flotilla", "cat", source])))
    each = source.stat().st_size / rows
    cpu = statistics.median(ours[1] for _, ours in runs)
    theirs_cpu = statistics.median(one[2] / one[0] for one, _ in runs)
    session.table.row(
        "cat", "cat, JSON lines", each * rows / 1e6 / statistics.median(
            ours[0] for _, ours in runs), "MB/s",
        floor=("fastavro and json", each / 1e6 / statistics.median(
            one[1] / one[0] for one, _ in runs)),
        ratios=[one[1] / one[0] * rows / ours[0] for one, ours in runs], aim=("least", 10),
        of="ratio", digits=0, command=f"build/flotilla cat {source}",
        note=f"{cpu / rows * 1e9:.0f} ns CPU a row, {theirs_cpu * rows / cpu:.0f} times less; "
             f"{statistics.median(ours[2] for _, ours in runs) / 2**20:.0f} MiB")


def comma_separated(session, place, pairs):
    source = Path(place) / "csv.avro"
    rows = formats.recording(source, CSV_BYTES)
    runs = [(formats.run([THEIRS, "-c", POLARS, source, "/dev/null"]),
             quietly([BUILD / "flotilla", "cat", "--csv", source]))
            for _ in range(pairs)]
    size = source.stat().st_size
    middle = [statistics.median(one[side][0] for one in runs) for side in (0, 1)]
    cpu = [statistics.median(one[side][1] for one in runs) / rows * 1e9 for side in (0, 1)]
    session.table.row(
        "cat", "cat --csv", size / 1e6 / middle[1], "MB/s",
        floor=("polars", size / 1e6 / middle[0]),
        ratios=[theirs[0] / ours[0] for theirs, ours in runs], aim=("least", 1), of="ratio",
        digits=0, command=f"build/flotilla cat --csv {source}",
        note=f"{cpu[1]:.0f} ns CPU a row, polars {cpu[0]:.0f}; "
             f"{statistics.median(ours[2] for _, ours in runs) / 2**20:.0f} MiB, polars "
             f"{statistics.median(theirs[2] for theirs, _ in runs) / 2**20:.0f}")


def verify(session, place, size, pairs):
    folder = Path(place) / "ten"
    folder.mkdir()
    subprocess.run([BUILD / "units/bench_recordings", folder, str(size // 2), str(size),
                    "1767225600", "10000", "doubles"], check=True, capture_output=True)
    (source,) = folder.iterdir()
    runs = [(formats.run(["dd", f"if={source}", "of=/dev/null", "bs=1M", "iflag=direct",
                          "status=none"]),
             quietly([BUILD / "flotilla", "verify", source])) for _ in range(2 * pairs)]
    size = source.stat().st_size
    session.table.row(
        "cat", "verify", size / 1e6 / statistics.median(ours[0] for _, ours in runs), "MB/s",
        floor=("dd iflag=direct bs=1M", size / 1e6 / statistics.median(
            theirs[0] for theirs, _ in runs)),
        ratios=[theirs[0] / ours[0] for theirs, ours in runs], aim=("least", 0.9), of="ratio",
        digits=0, command=f"build/flotilla verify {source}",
        note=f"{statistics.median(ours[1] for _, ours in runs):.2f} s CPU, "
             f"{statistics.median(ours[2] for _, ours in runs) / 2**20:.0f} MiB")


def measure(session, size=formats.BYTES, pairs=3):
    with tempfile.TemporaryDirectory(prefix="flotilla-", dir=session.storage) as place:
        if there("fastavro"):
            source = Path(place) / "json.avro"
            rows = formats.recording(source, size)
            session.table.head(f"cat of {source.stat().st_size / 1e9:.1f} GB, {rows:,} rows of 12 "
                               f"fields, beside fastavro with the first {ROWS:,} of them")
            json_lines(session, source, rows, pairs)
            source.unlink()
        if there("polars"):
            comma_separated(session, place, pairs)
        verify(session, place, size // 2, pairs)
