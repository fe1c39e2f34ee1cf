# SPDX-License-Identifier: MIT
"""074-export-of-others: data that nobody here made up, as HDF5: a drone's flight, a lidar, a
spacecraft. Every value is the row's through h5py, xarray, pandas, netCDF4 and, where it is
installed, Octave."""
import re
import shutil
import subprocess

import h5py
import netCDF4
import numpy
import pytest
import xarray
from harness import avro, hdf5
from harness.fleet import ROOT
from harness.hdf5 import write
from test_006_drone import flight  # noqa: F401 (a fixture)
from test_017_captures import space_packets, udp_payloads

TIME = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}}


def check(path, schema, rows, time):
    with h5py.File(path) as file:
        hdf5.check_hdf5(file, hdf5.columns(schema, rows), len(rows), [(time,)])
        wanted = {name: thing[()] for name, thing in hdf5.datasets(file).items()}
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        for name, values in wanted.items():
            assert hdf5.same(values, file[name][:]), name
    with xarray.open_dataset(path) as opened:
        index = opened.time.to_index()
        for name, values in wanted.items():
            if name == "time":
                assert index.astype("int64").tolist() == values.tolist()
            elif "/" not in name and values.ndim == 1 and len(values) == len(index):
                series = opened[name].to_pandas()
                assert hdf5.same(values, series.to_numpy()), name
                assert series.index.equals(index)


def test_074_drone(flotilla, flight, tmp_path):  # noqa: F811
    """All topics as one file, and each by itself."""
    for name, (schema, rows) in flight.items():
        folder = tmp_path / "rec" / name
        folder.mkdir(parents=True)
        rows = rows[:4000]
        write(folder / f"{name}-20260131T120000.000000Z-000001.avro", schema, rows,
              time="timestamp")
        out = tmp_path / f"{name}.h5"
        flotilla("export", folder, "-o", out, "--gzip", check=0)
        check(out, schema, rows, "timestamp")
        with h5py.File(out) as file:
            assert file["time"][:].tolist() == [row["timestamp"] * 1000 for row in rows]
    flotilla("export", tmp_path / "rec", "-o", tmp_path / "all.h5", check=0)
    with xarray.open_datatree(tmp_path / "all.h5") as tree:
        for name, (schema, rows) in flight.items():
            assert tree[name].sizes["time"] == len(rows[:4000])


def test_074_lidar_and_spacecraft(flotilla, data, tmp_path):
    schema = avro.Schema({"type": "record", "name": "Packet", "fields": [
        TIME, {"name": "port", "type": "int"}, {"name": "header", "type": {
            "type": "fixed", "name": "Header", "size": 6}}, {"name": "payload", "type": "bytes"}]})
    lidar = udp_payloads(data / "ouster-os1-128.pcap")
    space = [(0, packet) for packet in space_packets(data / "ccsds-apid251.tlm")[:4000]]
    for name, packets in (("lidar", lidar), ("space", space)):
        rows = [{"time": index * 1000, "port": port, "header": packet[:6], "payload": packet[6:]}
                for index, (port, packet) in enumerate(packets)]
        write(tmp_path / f"{name}.avro", schema, rows, time="time", datums_a_block=20)
        flotilla("export", tmp_path / f"{name}.avro", "-o", tmp_path / f"{name}.h5", check=0)
        check(tmp_path / f"{name}.h5", schema, rows, "time")
        # A packet out of the middle, as the manual says.
        with h5py.File(tmp_path / f"{name}.h5") as file:
            ends = numpy.cumsum(file["payload_count"])
            at = len(rows) // 2
            packet = file["payload"][ends[at - 1]:ends[at]]
            assert packet.tobytes() == rows[at]["payload"]


def test_074_the_manual(flotilla, tmp_path, monkeypatch):
    """What docs/analysis.md says of HDF5, line by line."""
    (block,) = re.findall(r"^```python hdf5\n(.*?)^```$", (ROOT / "docs/analysis.md").read_text(),
                          re.M | re.S)
    schema = avro.Schema({"type": "record", "name": "S", "fields": [
        TIME, {"name": "speed", "type": "double"}, {"name": "position", "type": {
            "type": "record", "name": "P", "fields": [{"name": "lat", "type": "double"}]}},
        {"name": "samples", "type": {"type": "array", "items": "int"}}]})
    rows = [{"time": index, "speed": index / 2, "position": {"lat": index / 4},
             "samples": list(range(index))} for index in range(9)]
    write(tmp_path / "a.avro", schema, rows, time="time")
    flotilla("export", tmp_path / "a.avro", "-o", tmp_path / "engine.h5", check=0)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block, "docs/analysis.md", "exec"), names)
    assert names["frame"].tolist() == [row["speed"] for row in rows]
    assert names["frame"].index.astype("int64").tolist() == [row["time"] for row in rows]
    assert names["tree"]["position"].lat.values.tolist() == [row["position"]["lat"] for row in rows]
    assert [part.tolist() for part in names["parts"]] == [row["samples"] for row in rows]


OCTAVE = """
pkg load netcdf
function out(x), printf(' %.17g', double(x)); printf("\\n"); end
out(ncread('a.h5', 'x')); out(ncread('a.h5', 'a')); out(ncread('a.h5', 'n'));
printf(' %d', ncread('a.h5', 'time')); printf("\\n");
printf('%s\\n', ncreadatt('a.h5', 'x', 'units'));
"""


def test_074_octave(flotilla, tmp_path):
    if not shutil.which("octave-cli") or subprocess.run(
            ["octave-cli", "--eval", "pkg load netcdf"], capture_output=True).returncode:
        pytest.skip("needs Octave with its package netcdf (octave-netcdf)")
    schema = avro.Schema({"type": "record", "name": "S", "fields": [
        TIME, {"name": "x", "type": ["null", "double"], "unit": "1/min"},
        {"name": "a", "type": {"type": "array", "items": "float"}}, {"name": "n", "type": "long"}]})
    rows = [{"time": 1_769_860_800_000_000_000 + index, "x": avro.Branch(1, index / 3),
             "a": [index, index / 2], "n": 2**53 - index} for index in range(5)]
    write(tmp_path / "a.avro", schema, rows, time="time")
    for words in ([], ["--gzip"]):
        flotilla("export", tmp_path / "a.avro", "-o", tmp_path / "a.h5", *words, check=0)
        (tmp_path / "look.m").write_text(OCTAVE)
        done = subprocess.run(["octave-cli", "--quiet", "look.m"], cwd=tmp_path,
                              capture_output=True, text=True, timeout=120)
        x, a, n, time, unit = done.stdout.splitlines()
        assert [float(word) for word in x.split()] == [row["x"].value for row in rows], done
        assert [float(word) for word in a.split()] == [item for row in rows for item in row["a"]]
        assert [float(word) for word in n.split()] == [row["n"] for row in rows]
        assert [int(word) for word in time.split()] == [row["time"] for row in rows]
        assert unit == "1/min"
