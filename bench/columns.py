# SPDX-License-Identifier: MIT
"""What `flotilla export` to HDF5 takes, beside fastavro and h5py doing the same as well as Python
can, chunk by chunk: for bench/bench. Theirs is run over the first rows of the file, in turn with
ours over all of it: its rate does not depend on the length. Relies on build/venv."""
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import formats
from layouts import BUILD

ROWS = 400_000  # that fastavro and h5py are given
THEIRS = BUILD / "venv/bin/python"
SCRIPT = """
import itertools, json, sys, time
import fastavro, h5py, numpy
fastavro.read.LOGICAL_READERS.clear()  # numbers as they are: faster
path, out, limit, gzip = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
begun, cpu = time.monotonic(), time.process_time()
with open(path, "rb") as file, h5py.File(out, "w", libver=("earliest", "v108")) as target:
    reader = fastavro.reader(file)
    names = [field["name"] for field in reader.writer_schema["fields"]]
    kinds = ["i8", "i8"] + ["f8"] * (len(names) - 2)
    how = {"shuffle": True, "compression": "gzip", "compression_opts": gzip} if gzip else {}
    sets = [target.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(16384,), **how)
            for name, kind in zip(names, kinds)]
    rows = itertools.islice(reader, limit)
    done = 0
    while part := list(itertools.islice(rows, 16384)):
        for name, kind, into in zip(names, kinds, sets):
            column = [row[name] for row in part]
            into.resize((done + len(part),))
            into[done:] = numpy.array(column, kind)
        done += len(part)
print(json.dumps([done, time.monotonic() - begun, time.process_time() - cpu]))
"""


def theirs(source, place, gzip):
    done = subprocess.run([THEIRS, "-c", SCRIPT, source, f"{place}/theirs.h5", str(ROWS),
                           str(gzip)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(session, size=formats.BYTES, pairs=3):
    if subprocess.run([THEIRS, "-c", "import fastavro, h5py"], capture_output=True).returncode:
        session.table.head("export to HDF5 is left out: tests/setup test installs h5py")
        return
    with tempfile.TemporaryDirectory(prefix="flotilla-", dir=session.storage) as place:
        source = Path(place) / "sample.avro"
        rows = formats.recording(source, size)
        each = source.stat().st_size / rows
        session.table.head(f"export of {each * rows / 1e9:.1f} GB, {rows:,} rows of 12 fields, to "
                           f"HDF5, beside fastavro and h5py with the first {ROWS:,} of them")
        for name, gzip, aim in (("hdf5", 0, 15), ("hdf5 --gzip", 1, 8)):
            command = [BUILD / "flotilla-export", source, "-o", f"{place}/ours.h5",
                       *(["--gzip"] if gzip else [])]
            runs = []
            for _ in range(pairs):
                count, took, cpu = theirs(source, place, gzip)
                runs.append(((took / count, cpu / count), formats.run(command)))
            ratios = [one[0] * rows / ours[0] for one, ours in runs]
            cpu_ratio = statistics.median(one[1] * rows / ours[1] for one, ours in runs)
            cpu, most = (statistics.median(ours[at] for _, ours in runs) for at in (1, 2))
            session.table.row(
                "columns", f"export to {name}",
                each * rows / 1e6 / statistics.median(ours[0] for _, ours in runs), "MB/s",
                floor=("fastavro and h5py",
                       each / 1e6 / statistics.median(one[0] for one, _ in runs)),
                ratios=ratios, aim=("least", aim), of="ratio", digits=0,
                note=f"{cpu / rows * 1e9:.0f} ns CPU a row, {cpu_ratio:.0f} times less; "
                     f"{most / 2**20:.0f} MiB",
                command=" ".join(map(str, command)))
