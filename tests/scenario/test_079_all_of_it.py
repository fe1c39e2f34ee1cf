# SPDX-License-Identifier: MIT
"""079-all-of-it: an export has every row of files that are joined end to end, whatever the schemas
behind the first; every format with a place for it says which numbers of the sequence are missing;
what is shown on a terminal while it goes on is fit for one."""
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
import threading

import h5py
import pytest
import recording_file as files
from asammdf import MDF
from harness import avro
from harness.fleet import FLOTILLA
from mcap.reader import make_reader

TIME = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}}
START = 1_769_860_800_000_000_000
SYNC = bytes(range(16))


def part(kind, values, more=()):
    """A recording's bytes: `values` of a field v, one a block."""
    schema = avro.Schema({"type": "record", "name": "S",
                          "fields": [TIME, {"name": "v", "type": kind}]})
    out = files.write_header(dict([("avro.schema", json.dumps(schema.json).encode()),
                                   ("avro.codec", b"deflate"), ("flotilla.time", b"time"), *more]),
                             SYNC)
    for index, value in enumerate(values):
        datum = avro.encode(schema, {"time": START + index, "v": value})
        out += files.write_block([datum], START + index, SYNC, len(out))
    return out


def rows(path):
    """The values of v of all tables, in order of their names."""
    if path.suffix == ".h5":
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, thing: found.update({name: thing[()].tolist()})
                            if name.rpartition("/")[2] == "v" else None)
        return [value for _, values in sorted(found.items()) for value in values]
    if path.suffix == ".mf4":
        with MDF(path) as file:
            return [value for group in range(len(file.groups))
                    for value in file.get("v", group=group, raw=True).samples.tolist()]
    with open(path, "rb") as file:
        told = [int(record.metadata["rows"]) for record in make_reader(file).iter_metadata()]
        file.seek(0)
        assert sum(told) == make_reader(file).get_summary().statistics.message_count
        return list(range(sum(told)))


@pytest.mark.parametrize("extension", ["h5", "mf4", "mcap"])
def test_079_joined_files(flotilla, tmp_path, extension):
    """Behind a file of another schema stands one of a schema whose table has ended by then."""
    engine = tmp_path / "engine"
    engine.mkdir()
    one, other = list(range(5)), [f"text {index}" for index in range(5)]
    (engine / "engine-20260131T120000.000000Z-000001.avro").write_bytes(part("int", one))
    (engine / "engine-20260131T120100.000000Z-000002.avro").write_bytes(
        part("string", other) + part("int", one))
    target = tmp_path / f"all.{extension}"
    flotilla("export", engine, "-o", target, check=0)
    found = rows(target)
    assert len(found) == 15
    if extension != "mcap":
        texts = [value.decode() for value in found if isinstance(value, bytes)]
        assert sorted(value for value in found if isinstance(value, int)) == sorted(one + one)
        assert texts == other


def test_079_missing_numbers_of_the_sequence(flotilla, tmp_path):
    source = tmp_path / "engine.avro"
    source.write_bytes(part("long", [1, 2, 5, 6, 10], [("flotilla.sequence", b"v")]))
    for extension in ("h5", "mf4", "mcap"):
        flotilla("export", source, "-o", tmp_path / f"engine.{extension}", check=0)
    with h5py.File(tmp_path / "engine.h5") as file:
        assert file.attrs["flotilla_missing_sequence_numbers"] == 5
    assert b"\n5 numbers of the sequence are not there" in (tmp_path / "engine.mf4").read_bytes()
    with open(tmp_path / "engine.mcap", "rb") as file:
        (metadata,) = make_reader(file).iter_metadata()
    assert metadata.metadata["missing_sequence_numbers"] == "5"


def test_079_progress_on_a_terminal(tmp_path):
    """A window wider than a line ever gets; a name with what would steer it."""
    name = "\x1b[31m" + "x" * 200 + ".avro"
    schema = avro.Schema({"type": "record", "name": "S", "fields": [TIME]})
    block = files.write_block([avro.encode(schema, {"time": START})] * 20000, START, SYNC, 0,
                              placed=False)
    with open(tmp_path / name, "wb") as file:  # enough for some tenths of a second
        file.write(files.write_header({"avro.schema": json.dumps(schema.json).encode(),
                                       "avro.codec": b"deflate"}, SYNC) + block * 300)
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 230, 0, 0))
    shown = bytearray()

    def read():
        while data := os.read(main, 4096):
            shown.extend(data)
            if b"\x04" in data:
                return

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run([str(FLOTILLA), "export", name, "-o", "/dev/null", "--format", "csv"],
                          cwd=tmp_path, stderr=terminal, timeout=120)
    os.write(terminal, b"\x04")
    reader.join()
    os.close(main)
    os.close(terminal)
    assert done.returncode == 0
    assert b" % " in shown and b"\x1b[31m" not in shown
