# SPDX-License-Identifier: MIT
"""078-formats: data nobody here made up (a drone's flight, a lidar, a spacecraft) in MDF4, MCAP
and CSV, read by readers that are not ours; Parquet by the manual's lines; memory that does not grow
with the file; a disk that is full; files of which nothing, or not all, can be read."""
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import duckdb_extension_avro
import fastavro
import polars
import pytest
import test_075_csv
import test_076_mdf4
import test_077_mcap
from harness import avro, exports
from harness.fleet import FLOTILLA, ROOT
from test_006_drone import flight  # noqa: F401 (a fixture)
from test_017_captures import space_packets, udp_payloads

FORMATS = ("mf4", "mcap", "csv")
MEMORY_MAX = 64 << 20


def write(path, schema, values):
    with open(path, "wb") as file:
        fastavro.writer(file, schema.json, [avro.plain(value) for value in values])


def check_all(flotilla, folder, name, schema, values):
    for extension in FORMATS:
        flotilla("export", f"{name}.avro", "-o", f"{name}.{extension}", cwd=folder, check=0)
    test_075_csv.check((folder / f"{name}.csv").read_bytes(), schema, values)
    test_076_mdf4.check(folder / f"{name}.mf4", name, schema, values)
    test_076_mdf4.check_blocks(folder / f"{name}.mf4")
    test_077_mcap.check(folder / f"{name}.mcap", f"/{name}", schema, values)


def test_078_drone(flotilla, flight, tmp_path):  # noqa: F811
    """Every topic; of the fastest the first minute."""
    for name, (schema, values) in flight.items():
        values = values[:3000]
        write(tmp_path / f"{name}.avro", schema, values)
        check_all(flotilla, tmp_path, name, schema, values)


OPAQUE = avro.Schema({"type": "record", "name": "Datagram", "namespace": "flotilla", "fields": [
    {"name": "received", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
    {"name": "source", "type": "string"}, {"name": "payload", "type": "bytes"}]})


def test_078_lidar_and_spacecraft(flotilla, data, tmp_path):
    """As an opaque channel records them."""
    lidar = [payload for _, payload in udp_payloads(data / "ouster-os1-128.pcap")]
    packets = space_packets(data / "ccsds-apid251.tlm")[:4000]
    for name, payloads in (("lidar", lidar), ("spacecraft", packets)):
        values = [{"received": 1700000000 * 10**9 + index * 1234567, "source": "127.0.0.1:7502",
                   "payload": payload} for index, payload in enumerate(payloads)]
        write(tmp_path / f"{name}.avro", OPAQUE, values)
        check_all(flotilla, tmp_path, name, OPAQUE, values)


def manual_line(word):
    """What stands in quotes behind the word in the manual."""
    text = (ROOT / "man/flotilla.1").read_text()
    (line,) = re.findall(rf'^{word} -c "(.*)"$', text, re.M)
    return line


def test_078_parquet(tmp_path):
    """By the lines of the manual, which have no word of ours in them."""
    schema = avro.Schema({"type": "record", "name": "S", "fields": [
        exports.TIME, {"name": "speed", "type": "double"}, {"name": "name", "type": "string"},
        {"name": "track", "type": {"type": "record", "name": "T", "fields": [
            {"name": "x", "type": "long"}, {"name": "y", "type": ["null", "float"]}]}}]})
    values = [{"time": 10**15 + index, "speed": index / 4, "name": f"n{index % 7}",
               "track": {"x": index, "y": avro.Branch(index % 2, (None, index / 2)[index % 2])}}
              for index in range(5000)]
    write(tmp_path / "engine.avro", schema, values)
    # The extension comes with a package here, where INSTALL fetches it.
    (extension,) = (Path(duckdb_extension_avro.__file__).parent / "extensions").glob(
        f"v{duckdb.__version__}/avro.duckdb_extension")
    install, load, copy = manual_line("duckdb").split("; ")
    assert (install, load) == ("INSTALL avro", "LOAD avro")
    sql = f"""import duckdb; duckdb.execute("LOAD '{extension}'; {copy}")"""
    for script in (manual_line("python3"), sql):
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=60)
        frame = polars.read_parquet(tmp_path / "engine.parquet")
        assert frame["speed"].to_list() == [value["speed"] for value in values]
        assert frame["name"].to_list() == [value["name"] for value in values]
        assert frame["track"].to_list() == [avro.plain(value["track"]) for value in values]
        stamps = frame["time"].cast(polars.Datetime("us")).cast(polars.Int64)
        assert stamps.to_list() == [value["time"] for value in values]
        (tmp_path / "engine.parquet").unlink()


LONG = avro.Schema({"type": "record", "name": "S", "fields": [
    exports.TIME, {"name": "x", "type": "double"}, {"name": "text", "type": ["null", "string"]},
    {"name": "items", "type": {"type": "array", "items": "float"}}]})


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """Blocks of the same 8,000 datums, 100 MB of them."""
    folder = tmp_path_factory.mktemp("long")
    sync = bytes(range(16))
    with open(folder / "long.avro", "wb") as file:
        fastavro.writer(file, LONG.json, [
            {"time": 10**15 + index, "x": index / 8, "text": "x" * (index % 60),
             "items": [0.5] * (index % 5)} for index in range(8000)], sync_marker=sync)
    data = (folder / "long.avro").read_bytes()
    blocks = data[data.index(sync) + 16:]
    with open(folder / "long.avro", "ab") as file:
        while file.tell() < 100 << 20:
            file.write(blocks)
    return folder


@pytest.mark.parametrize("extension, options", [("mf4", ()), ("mf4", ("--gzip",)), ("mcap", ()),
                                                ("csv", ())])
def test_078_memory_is_flat(long_file, extension, options):
    command = [str(FLOTILLA), "export", "long.avro", "-o", f"long.{extension}", *options]
    most = []
    with subprocess.Popen(command, cwd=long_file, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            most += [int(kib) << 10 for kib in re.findall(r"VmHWM:\s*(\d+) kB", status)]
    target = long_file / f"long.{extension}"
    assert process.returncode == 0 and target.stat().st_size > 1 << 20
    target.unlink()
    assert len(most) > 10 and 1 << 20 < max(most) <= MEMORY_MAX


@pytest.mark.parametrize("extension", FORMATS)
def test_078_no_more_may_be_written(long_file, extension):
    """As on a full disk: exit 1, said why, and what stood there stays."""
    target = long_file / f"long.{extension}"
    target.write_bytes(b"before")
    done = subprocess.run(
        [str(FLOTILLA), "export", "long.avro", "-o", target.name], cwd=long_file, text=True,
        capture_output=True, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    assert done.returncode == 1 and done.stderr.startswith("flotilla export: ")
    assert target.read_bytes() == b"before"
    target.unlink()
    assert [path.name for path in long_file.iterdir()] == ["long.avro"]


@pytest.mark.parametrize("extension", FORMATS)
def test_078_nothing_in_it(flotilla, tmp_path, extension):
    """A file without a datum is a table without rows, and no reader minds."""
    write(tmp_path / "empty.avro", LONG, [])
    flotilla("export", "empty.avro", "-o", f"empty.{extension}", cwd=tmp_path, check=0)
    if extension == "csv":
        assert (tmp_path / "empty.csv").read_bytes() == b"time,x,text,items\r\n"
    elif extension == "mcap":
        assert test_077_mcap.messages(tmp_path / "empty.mcap") == []
    else:
        test_076_mdf4.check_blocks(tmp_path / "empty.mf4")
        with test_076_mdf4.asammdf.MDF(tmp_path / "empty.mf4") as file:
            assert [channel.name for channel in file.groups[0].channels][:3] == \
                ["time", "x", "text"]


def test_078_a_name_that_is_no_utf_8(flotilla, tmp_path):
    """Of a file, and so of its table: readers find text."""
    values = [{"time": 1, "x": 0.5, "text": avro.Branch(1, "a"), "items": []}]
    write(tmp_path / "good.avro", LONG, values)
    name = os.fsdecode(b"b\xff\xc3\xa4d\xc3")
    (tmp_path / "good.avro").rename(tmp_path / f"{name}.avro")
    for extension in FORMATS:
        flotilla("export", f"{name}.avro", "-o", f"out.{extension}", cwd=tmp_path, check=0,
                 text=False)
    test_075_csv.check((tmp_path / "out.csv").read_bytes(), LONG, values)
    test_076_mdf4.check(tmp_path / "out.mf4", "b?äd?", LONG, values)
    test_077_mcap.check(tmp_path / "out.mcap", "/b?äd?", LONG, values)
    with open(tmp_path / "out.mcap", "rb") as file:
        (record,) = test_077_mcap.make_reader(file).iter_metadata()
        assert record.metadata["files"] == "b?äd?.avro"


@pytest.mark.parametrize("extension", FORMATS)
def test_078_damage(flotilla, rng, tmp_path, extension):
    """Bytes changed at random: exit 0, 1, 3 or 4 with a word, and a file that its reader reads, or
    none; never a crash."""
    schema, values = exports.drawn(exports.rounds("damage", 1, 0)[0], rows=200)
    exports.write(tmp_path / "good.avro", schema, values)
    good = (tmp_path / "good.avro").read_bytes()
    for _ in range(12):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        (tmp_path / "bad.avro").write_bytes(bad[:rng.choice([len(bad), rng.randrange(len(bad))])])
        target = tmp_path / f"bad.{extension}"
        target.unlink(missing_ok=True)
        done = flotilla("export", "bad.avro", "-o", target.name, cwd=tmp_path)
        assert done.returncode in (0, 1, 3, 4), done.stderr
        assert (done.returncode == 0) == (done.stderr == "")
        assert target.exists() == (done.returncode != 1)
        if not target.exists():
            continue
        if extension == "csv":
            polars.read_csv(target, infer_schema=False)
        elif extension == "mcap":
            test_077_mcap.messages(target)
        else:
            test_076_mdf4.check_blocks(target)
