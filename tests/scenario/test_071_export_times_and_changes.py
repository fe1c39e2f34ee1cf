# SPDX-License-Identifier: MIT
"""071-export-times-and-changes: times of every kind, schemas that change between the files of a
channel, clocks that go back, files that are open, empty, damaged, missing or not there."""
import fastavro
import h5py
import numpy
import pytest
import xarray
from harness import avro, hdf5
from harness.hdf5 import write

START = 1_769_860_800_000_000_000
STAMP = "20260131T120000.000000Z"


def record(*fields, name="Sample"):
    return avro.Schema({"type": "record", "name": name, "fields": [
        {"name": key, "type": kind, **(more[0] if more else {})} for key, kind, *more in fields]})


def logical(name):
    return {"type": "long", "logicalType": name}


def channel(folder, name, *files):
    """The recordings of a channel: (schema, values) each."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (schema, values, *more) in enumerate(files, 1):
        path = place / f"{name}-{STAMP}-{number:06}.avro"
        write(path, schema, values, start=START + number * 10**9, **(more[0] if more else {}))
        paths.append(path)
    return place


@pytest.mark.parametrize("kind,attributes,values,ns", [
    (logical("timestamp-millis"), {}, [5, 6], [5_000_000, 6_000_000]),
    (logical("timestamp-micros"), {}, [-5, 6], [-5_000, 6_000]),
    (logical("timestamp-nanos"), {}, [2**62, 6], [2**62, 6]),
    (logical("local-timestamp-micros"), {}, [5, 6], [5_000, 6_000]),
    ("long", {"unit": "us"}, [5, 6], [5_000, 6_000]),
    ("int", {"unit": "ms"}, [5, 6], [5_000_000, 6_000_000]),
    ("double", {}, [1769860800.123456, 1.5], [1769860800123456001, 1_500_000_000]),
    ("double", {"unit": "ms"}, [1.25, -0.5], [1_250_000, -500_000]),
    ("float", {}, [0.25, 2.0], [250_000_000, 2_000_000_000]),
])
def test_071_every_kind_of_time(flotilla, tmp_path, kind, attributes, values, ns):
    schema = record(("at", kind, attributes), ("x", "int"))
    write(tmp_path / "a.avro", schema, [{"at": value, "x": 1} for value in values], time="at")
    flotilla("export", tmp_path / "a.avro", "-o", tmp_path / "a.h5", check=0)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["time"][:].tolist() == ns
        if kind in ("double", "float"):  # what a time in ns may round stays as it is
            assert file["at"][:].tolist() == values
        else:
            assert "at" not in file
    opened = xarray.open_dataset(tmp_path / "a.h5")
    assert opened.time.values.astype("datetime64[ns]").astype(int).tolist() == ns
    assert opened.x.to_pandas().index.astype("int64").tolist() == ns


def test_071_times_that_are_none(flotilla, tmp_path):
    plain = record(("t", "long"), ("x", "int"))
    rows = [{"t": 5, "x": 1}, {"t": 6, "x": 2}]
    path, out = tmp_path / "a.avro", tmp_path / "a.h5"
    # Nobody says what it counts: the arrival, and why, and how to say it.
    write(path, plain, rows, time="t", datums_a_block=1)
    said = flotilla("export", path, "-o", out, check=0).stderr
    assert '"t" counts the time: --time-unit' in said
    with h5py.File(out) as file:
        assert file["time"][:].tolist() == [START, START + 1000]
        assert file["t"][:].tolist() == [5, 6]
    said = flotilla("export", path, "-o", out, "--time", "t", check=1).stderr
    assert "--time-unit" in said
    flotilla("export", path, "-o", out, "--time", "t", "--time-unit", "ms", check=0)
    with h5py.File(out) as file:
        assert file["time"][:].tolist() == [5_000_000, 6_000_000]
    assert 'no field "x.y"' in flotilla("export", path, "-o", out, "--time", "x.y", check=1).stderr
    # A file of others without any: rows have their number.
    with open(tmp_path / "others.avro", "wb") as file:
        fastavro.writer(file, plain.json, rows)
    flotilla("export", tmp_path / "others.avro", "-o", out, check=0)
    with h5py.File(out) as file:
        assert "time" not in file and file["row"].shape == (2,)
        assert file["x"][:].tolist() == [1, 2]
    assert dict(xarray.open_dataset(out).sizes) == {"row": 2}
    # Beyond what nanoseconds can count.
    far = record(("at", logical("timestamp-millis")))
    write(path, far, [{"at": 2**60}, {"at": 5}, {"at": -2**60}, {"at": 6}], time="at")
    said = flotilla("export", path, "-o", out, check=3).stderr
    assert 'datum 1: its time (field "at") is beyond the years 1678 to 2262' in said
    assert "2 datums say a time beyond" in said and "--time arrival" in said
    with h5py.File(out) as file:
        assert file["time"][:].tolist() == [START, 5 * 10**6, 5 * 10**6, 6 * 10**6]
    flotilla("export", path, "-o", out, "--time", "arrival", check=0)
    with h5py.File(out) as file:
        assert file["at"][:].tolist() == [2**60, 5, -2**60, 6]
    # Null, now and then.
    holes = record(("at", ["null", logical("timestamp-nanos")]))
    values = [avro.Branch(0, None), avro.Branch(1, 7), avro.Branch(0, None), avro.Branch(1, 9)]
    write(path, holes, [{"at": value} for value in values], time="at")
    said = flotilla("export", path, "-o", out, check=0).stderr
    assert "2 datums say no time" in said
    with h5py.File(out) as file:
        assert file["time"][:].tolist() == [START, 7, 7, 9]
        assert file["at_valid"][:].tolist() == [0, 1, 0, 1]


def test_071_no_time_of_another_channel(flotilla, tmp_path):
    """Files of two channels in turn: a datum without a time has that of its own channel's last."""
    holes = record(("at", ["null", logical("timestamp-nanos")]))
    none, at = avro.Branch(0, None), lambda ns: avro.Branch(1, ns)
    for name, files in (("a", ([at(5)], [none, at(6)])), ("b", ([at(70)], [at(80)]))):
        channel(tmp_path, name, *((holes, [{"at": value} for value in values], {"time": "at"})
                                  for values in files))
    paths = [tmp_path / name / f"{name}-{STAMP}-{number:06}.avro"
             for number in (1, 2) for name in "ab"]
    flotilla("export", *paths, "-o", tmp_path / "both.h5", check=0)
    with h5py.File(tmp_path / "both.h5") as file:
        assert file["a/time"][:].tolist() == [5, 5, 6]


def test_071_schemas_that_change(flotilla, tmp_path):
    one = record(("time", logical("timestamp-nanos")), ("x", "int"), ("y", "float"))
    two = record(("time", logical("timestamp-nanos")), ("x", "long"), ("new", "string"),
                 ("y", "double"))
    other = record(("time", logical("timestamp-nanos")), ("x", "string"))
    meters = record(("time", logical("timestamp-nanos")), ("x", "int"), ("y", "float",
                                                                        {"unit": "m"}))
    folder = channel(
        tmp_path, "engine",
        (one, [{"time": 1, "x": 1, "y": 0.5}], {"time": "time"}),
        (two, [{"time": 2, "x": 2**40, "new": "a", "y": 0.1}], {"time": "time"}),
        (other, [{"time": 3, "x": "text"}], {"time": "time"}),
        (one, [{"time": 4, "x": 4, "y": 1.5}], {"time": "time"}),
        (meters, [{"time": 5, "x": 5, "y": 2.5}], {"time": "time"}))
    out = tmp_path / "e.h5"
    flotilla("export", folder, "-o", out, check=0)
    with h5py.File(out) as file:
        assert set(file) == {"engine", "engine_2", "engine_3"}
        first = file["engine"]
        assert first["time"][:].tolist() == [1, 2, 4]
        assert first["x"][:].tolist() == [1, 2**40, 4] and first["x"].dtype == "<i8"
        assert first["y"][:].tolist() == [0.5, 0.1, 1.5] and first["y"].dtype == "<f8"
        assert first["new_valid"][:].tolist() == [0, 1, 0]
        assert first["new"][1] == b"a"
        assert file["engine_2/x"][0] == b"text"
        assert file["engine_3/y"][:].tolist() == [2.5]
        assert file["engine_3/y"].attrs["units"] == b"m"
    # Fields that not all files have; one that none has.
    flotilla("export", folder, "-o", out, "--fields", "new", check=0)
    with h5py.File(out) as file:
        assert file["time"].shape == (1,)
    said = flotilla("export", folder, "-o", out, "--fields", "x,nwe", check=1).stderr
    assert 'no field "nwe"; did you mean "new"?' in said
    with h5py.File(out) as file:  # it is as it was
        assert file["time"].shape == (1,)


def test_071_arrays_that_change_their_length(flotilla, tmp_path):
    schema = record(("time", logical("timestamp-nanos")),
                    ("a", {"type": "array", "items": {"type": "record", "name": "R", "fields": [
                        {"name": "v", "type": "double"}, {"name": "s", "type": "string"},
                        {"name": "e", "type": ["null", "int"]},
                        {"name": "l", "type": {"type": "array", "items": "int"}}]}}))

    def item(number):
        return {"v": number / 2, "s": f"s{number}", "l": list(range(number % 3)),
                "e": avro.Branch(1, number) if number % 2 else avro.Branch(0, None)}
    rows = [{"time": index, "a": [item(index + at) for at in range(3 if index < 7_999 else 2)]}
            for index in range(8_001)]
    write(tmp_path / "a.avro", schema, rows, time="time", datums_a_block=1000)
    for words in ([], ["--gzip"]):
        flotilla("export", tmp_path / "a.avro", "-o", tmp_path / "a.h5", *words, check=0)
        with h5py.File(tmp_path / "a.h5") as file:
            assert file["a/v"].ndim == 1
            hdf5.check_hdf5(file, hdf5.columns(schema, rows), len(rows), [("time",)])
        xarray.open_datatree(tmp_path / "a.h5").close()
    write(tmp_path / "a.avro", schema, rows[:7_000], time="time", datums_a_block=1000)
    flotilla("export", tmp_path / "a.avro", "-o", tmp_path / "a.h5", check=0)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["a/v"].shape == (7_000, 3)
        hdf5.check_hdf5(file, hdf5.columns(schema, rows[:7_000]), 7_000, [("time",)])


def test_071_damage_and_gaps(flotilla, tmp_path):
    schema = record(("time", logical("timestamp-nanos")), ("n", "long"))
    rows = [{"time": index, "n": index} for index in range(3000)]
    with_sequence = {"time": "time", "more": [("flotilla.sequence", b"n")]}
    folder = channel(tmp_path, "engine", (schema, rows[:1000], with_sequence),
                     (schema, rows[1000:2000], with_sequence), (schema, [], with_sequence),
                     (schema, rows[2010:], with_sequence))
    files = sorted(folder.iterdir())
    files[3].rename(files[3].with_name(files[3].name.replace("000004", "000009") + ".part"))
    data = bytearray(files[1].read_bytes())
    data[4096 * 4 + 300] ^= 1
    files[1].write_bytes(data)
    (folder / "engine-20260131T120000.000000Z-000003.avro").write_bytes(b"")
    out = tmp_path / "e.h5"
    said = flotilla("export", folder, "-o", out, check=3).stderr
    assert "checksum" in said
    with h5py.File(out) as file:
        kept = file["n"][:].tolist()
        about = {key: value for key, value in file.attrs.items() if key.startswith("flotilla")}
        assert file["time"][:].tolist() == kept
    lost = [row["n"] for row in rows if row["n"] not in set(kept)]
    assert len(lost) == 110 and lost[-10:] == list(range(2000, 2010)), lost
    assert lost[99] - lost[0] == 99
    assert about["flotilla_damaged_places"] >= 1 and about["flotilla_lost_bytes"] > 0
    assert about["flotilla_missing_sequence_numbers"] == 110
    assert b"checksum" in about["flotilla_losses"] and about["flotilla_rows"] == len(kept)
    assert about["flotilla_missing_files"] == 6
    assert about["flotilla_time_span"].tolist() == [0, 2999]
    # Clocks that go back: in the order they were recorded in, and said.
    back = channel(tmp_path, "back", (schema, rows[5:10] + rows[:5], {"time": "time"}))
    said = flotilla("export", back, "-o", out, check=0).stderr
    assert "goes back 1 times" in said
    with h5py.File(out) as file:
        assert file["n"][:].tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
        assert file.attrs["flotilla_times_back"] == 1


def test_071_what_is_refused(flotilla, tmp_path):
    schema = record(("time", logical("timestamp-nanos")), ("n", "long"), ("s", "string"))
    path, out = tmp_path / "a.avro", tmp_path / "a.h5"
    write(path, schema, [{"time": 1, "n": 2, "s": "a\0b"}], time="time")
    said = flotilla("export", path, "-o", out, check=3).stderr
    assert "1 texts hold a NUL" in said
    out.unlink()
    for words, code, text in (
            ([path], 2, "where to?"), (["-o", out], 2, "which FILE"),
            ([path, "-o", "a.xyz"], 2, "which format"),
            ([path, "-o", out, "--every", "0"], 2, "number of datums"),
            ([path, "-o", "-", "--format", "hdf5"], 2, "front to back"),
            ([path, "-o", tmp_path], 2, "which format"),
            ([path, "-o", tmp_path / "no/such/a.h5"], 1, "No such file"),
            ([tmp_path / "none.avro", "-o", out], 1, "No such file"),
            ([path, "-o", out, "--gzip=13"], 2, "from 1 to 12"),
            ([path, "-o", out, "--format", "ods"], 2, "no format"),
            ([path, "-o", out, "--from", "-1h", "--to", "-2h"], 2, "later")):
        done = flotilla("export", *words)
        assert done.returncode == code and text in done.stderr, (words, done)
        assert not out.exists()
    (tmp_path / "folder.h5").mkdir()
    assert flotilla("export", path, "-o", tmp_path / "folder.h5").returncode == 1
    before = path.read_bytes()
    (tmp_path / "b.csv").hardlink_to(path)
    (tmp_path / "c.csv").symlink_to(path)
    for target in (path, tmp_path / "b.csv", tmp_path / "c.csv"):
        said = flotilla("export", path, "-o", target, "--format", "csv", check=1).stderr
        assert "is one of the recordings to export" in said
        assert path.read_bytes() == before and target.exists()


def test_071_several_channels(flotilla, tmp_path):
    schema = record(("time", logical("timestamp-nanos")), ("n", "long"))
    for name in ("engine", "pump"):
        channel(tmp_path / "rec", name, (schema, [{"time": 1, "n": len(name)}], {"time": "time"}))
    out = tmp_path / "all.h5"
    (tmp_path / "s.avsc").write_text('"double"')
    (tmp_path / "fleet.yaml").write_text(
        "runtime: run\nstorage: {directory: rec}\nchannels:\n"
        "  engine: {listen: '127.0.0.1:26001', schema: s.avsc}\n"
        "  pump: {listen: '127.0.0.1:26002', schema: s.avsc}\n"
        "  idle: {listen: '127.0.0.1:26003', schema: s.avsc}\n")
    for words in ([tmp_path / "rec"], [tmp_path / "rec/engine", tmp_path / "rec/pump"],
                  ["engine", "pump"]):
        flotilla("export", *words, "-o", out, check=0, cwd=tmp_path)
        with h5py.File(out) as file:
            assert file["engine/n"][:].tolist() == [6] and file["pump/n"][:].tolist() == [4]
        out.unlink()
    done = flotilla("export", "pmup", "-o", out, check=1, cwd=tmp_path)
    assert 'did you mean "pump"?' in done.stderr
    done = flotilla("export", "idle", "-o", out, check=1, cwd=tmp_path)
    assert "idle" in done.stderr
    flotilla("export", "pump", "-o", out, "-c", tmp_path / "fleet.yaml", check=0)
    assert numpy.array_equal(xarray.open_dataset(out).n.values, [4])
