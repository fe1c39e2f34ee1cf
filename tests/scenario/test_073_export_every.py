# SPDX-License-Identifier: MIT
"""073-export-every: every Nth datum of each channel; and a row each 10 ms of all channels together,
held against pandas, which joins the same values its own way."""
import math
import random

import h5py
import numpy
import pandas
from harness import avro
from harness.fleet import LONG
from harness.hdf5 import write

STAMP = "20260131T120000.000000Z"
TIME = {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}}


def channel(folder, name, fields, rows, parts=2):
    schema = avro.Schema({"type": "record", "name": "S", "fields": [TIME, *fields]})
    place = folder / name
    place.mkdir(parents=True)
    cut = len(rows) // parts + 1
    for number in range(parts):
        write(place / f"{name}-{STAMP}-{number + 1:06}.avro", schema,
              rows[number * cut:(number + 1) * cut], time="time", start=10**18 + number * 10**9)
    return place


def test_073_every_nth(flotilla, tmp_path):
    rows = [{"time": index, "n": index} for index in range(1000)]
    for name in ("a", "b"):
        channel(tmp_path / "rec", name, [{"name": "n", "type": "int"}], rows)
    for every in (1, 7, 5000):
        flotilla("export", tmp_path / "rec", "-o", tmp_path / "e.h5", "--every", every, check=0)
        with h5py.File(tmp_path / "e.h5") as file:
            for name in ("a", "b"):
                assert file[name]["n"][:].tolist() == list(range(0, 1000, every))


def test_073_minima_and_maxima(flotilla, tmp_path):
    """Of each window of a file two rows, which hold what any of its rows had least and most."""
    rng, kinds = random.Random(73), {"x": "double", "n": "int", "b": "boolean"}
    rows = [{"time": index, "x": rng.gauss(0, 1), "n": rng.randrange(1000),
             "b": rng.random() < 0.1, "l": [rng.gauss(0, 1) for _ in range(3)]}
            for index in range(500)]
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    place = channel(tmp_path / "rec", "a",
                    [*fields, {"name": "l", "type": {"type": "array", "items": "double"}}], rows)
    out, cut = tmp_path / "e.h5", 251  # rows of the first of two files
    for count in (2, 7, 1000):
        flotilla("export", place, "-o", out, "--decimate", f"min-max:{count}", check=0)
        windows = [part[at:at + count] for part in (rows[:cut], rows[cut:])
                   for at in range(0, len(part), count)]
        with h5py.File(out) as file:
            found = {name: file[name][:].tolist() for name in ("time", "x", "n", "b", "l")}
        assert found["time"] == [row["time"] for part in windows for row in (part[0], part[-1])]
        for name in ("x", "n"):
            assert found[name] == [best(row[name] for row in part) for part in windows
                                   for best in (min, max)], name
        assert found["b"][1::2] == [max(row["b"] for row in part) for part in windows]
        for item in range(3):
            assert [one[item] for one in found["l"]] == [
                best(row["l"][item] for row in part) for part in windows for best in (min, max)]
        flotilla("export", place, "-o", tmp_path / "e.csv", "--decimate", f"min-max:{count}",
                 "--fields", "x", check=0)
        assert len((tmp_path / "e.csv").read_text().splitlines()) == 1 + 2 * len(windows)


def test_073_a_grid_of_all_channels(flotilla, tmp_path):
    for number in range(30 if LONG else 3):
        rng = random.Random(f"73 {number}")
        folder, start = tmp_path / f"rec{number}", 1_769_860_800_000_000_000
        frames = {}
        for name, mean in (("fast", 0.7), ("slow", 63.0), ("late", 15.0)):
            at, rows = start + (250_000_000 if name == "late" else 0), []
            for index in range(int(600 / mean)):
                at += int(rng.expovariate(1 / mean) * 1e6)
                rows.append({"time": at, "x": rng.gauss(0, 1),
                             "n": avro.Branch(1, index) if index % 3 else avro.Branch(0, None),
                             "s": f"{name}{index}", "l": list(range(index % 4)),
                             "p": {"q": index}})
            channel(folder, name, [
                {"name": "x", "type": "double"}, {"name": "n", "type": ["null", "int"]},
                {"name": "s", "type": "string"},
                {"name": "l", "type": {"type": "array", "items": "int"}},
                {"name": "p", "type": {"type": "record", "name": "P", "fields": [
                    {"name": "q", "type": "int"}]}}], rows)
            frames[name] = pandas.DataFrame(
                {"time": [row["time"] for row in rows], "row": range(len(rows))}), rows
        out = tmp_path / "e.h5"
        flotilla("export", folder, "-o", out, "--every", "10ms", check=0)
        first = min(frame.time.iloc[0] for frame, _ in frames.values())
        last = max(frame.time.iloc[-1] for frame, _ in frames.values())
        step = 10_000_000
        grid = pandas.DataFrame({"time": range(-(-first // step) * step,
                                               -(-last // step) * step + 1, step)})
        with h5py.File(out) as file:
            assert file["time"][:].tolist() == grid.time.tolist()
            for name, (frame, rows) in frames.items():
                held = pandas.merge_asof(grid, frame, on="time")["row"]
                check(file[name], rows, [None if math.isnan(row) else int(row) for row in held])
        # One channel is joined with nothing, and keeps its names.
        flotilla("export", folder / "slow", "-o", out, "--every", "10ms", check=0)
        with h5py.File(out) as file:
            assert "x" in file and "slow" not in file


def check(group, rows, held):
    there = [row is not None for row in held]
    values = [rows[row] if row is not None else None for row in held]
    for got, value in zip(group["x"][:], values):
        assert got == value["x"] if value else math.isnan(got)
    known = [value is not None and value["n"].value is not None for value in values]
    assert group["n_valid"][:].tolist() == known
    assert [int(got) for got, good in zip(group["n"][:], known) if good] == \
        [value["n"].value for value, good in zip(values, known) if good]
    assert group["s_valid"][:].tolist() == there
    assert [got.decode() for got, good in zip(group["s"][:], there) if good] == \
        [value["s"] for value in values if value]
    counts = [len(value["l"]) if value else 0 for value in values]
    assert group["l_count"][:].tolist() == counts
    assert group["l"][:].tolist() == [item for value in values if value for item in value["l"]]
    assert numpy.array_equal(group["p/q"][:][there], [v["p"]["q"] for v in values if v])


def test_073_what_is_refused(flotilla, tmp_path):
    channel(tmp_path / "rec", "a", [{"name": "n", "type": "int"}], [{"time": 1, "n": 1}])
    out = tmp_path / "e.h5"
    for every in ("0", "-1", "0ms", "10", "x"):
        done = flotilla("export", tmp_path / "rec", "-o", out, "--every", every)
        assert (done.returncode == 0) == (every == "10"), done
    for words in (["min-max:1"], ["rms:5"], ["5"], ["min-max:5", "--every", "5"]):
        done = flotilla("export", tmp_path / "rec", "-o", out, "--decimate", *words)
        assert done.returncode == 2 and "--decimate" in done.stderr, done
    done = flotilla("export", tmp_path / "rec", "-o", tmp_path / "e.mcap", "--every", "10ms")
    assert done.returncode == 2 and "--every takes a number" in done.stderr


def test_073_times_far_apart(flotilla, tmp_path):
    """A wrong clock does not become rows until the disk is full; the last time there is, is one."""
    out, fields = tmp_path / "e.h5", [{"name": "n", "type": "int"}]
    times = {"first": (-2**63, 1 - 2**63), "last": (2**63 - 9, 2**63 - 1), "gap": (0, 17 * 10**17)}
    for name, (one, other) in times.items():
        place = channel(tmp_path / name, name, fields, [{"time": one, "n": 1},
                                                        {"time": other, "n": 2}])
        done = flotilla("export", place, "-o", out, "--every", "10ms", timeout=20)
        if name == "gap":
            assert done.returncode == 1 and "nothing came in for 19675 days" in done.stderr
            continue
        assert done.returncode == 0, done
        with h5py.File(out) as file:
            assert file["n"][-1] == 2 and abs(int(file["time"][-1]) - other) < 10**7
            assert len(file["n"]) < 3
