# SPDX-License-Identifier: MIT
"""082-points: `cat --points` of random spans against the datums themselves: never more rows than
asked for, the datums where they fit, every peak of the span and none of outside it; with all of an
overview, half of it, none, a damaged one, and of recordings that are gone."""
import json
import re
import shutil
import subprocess

import pytest
from harness import levels
from harness.fleet import LONG, ROOT, flotilla, new_folder
from harness.levels import SECOND

MAKE = ROOT / "build/units/bench_history"
START = 1767225600 * SECOND
RATE = 1000
BYTES = 60_000_000
PEAK = 1e6


class Made:
    """A channel of recordings, with the times of its peaks."""

    def __init__(self, folder):
        self.folder = folder / "engine"
        done = subprocess.run([str(MAKE), str(self.folder), "engine", str(BYTES), str(RATE),
                               "20000000"], check=True, capture_output=True, text=True)
        self.peaks = [int(line) for line in done.stdout.split()]
        self.count = int(done.stderr.split()[0])
        self.end = START + self.count * SECOND // RATE


@pytest.fixture(scope="module")
def made():
    folder = new_folder()
    made = Made(folder)
    levels.build(made.folder)
    yield made
    shutil.rmtree(folder)


@pytest.fixture
def copy(made):
    folder = new_folder()
    shutil.copytree(made.folder, folder / "engine")
    other = Made.__new__(Made)
    other.__dict__.update(made.__dict__, folder=folder / "engine")
    yield other
    shutil.rmtree(folder)


def stamp(ns):
    return f"{ns // SECOND}.{ns % SECOND:09}"


def points(folder, begin, end, count, *words, check=0):
    done = flotilla("cat", "--points", count, folder, "--from", stamp(begin), "--to", stamp(end),
                    "--fields", "time,counter,signal3", *words, check=check)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def look(made, begin, end, count):
    """One answer, and all that must hold of it."""
    rows, said = points(made.folder, begin, end, count)
    first = max(0, -(-(begin - START) * RATE // SECOND))
    last = min(made.count, -(-(end - START) * RATE // SECOND))
    there = max(0, last - first)
    if there <= count:
        assert "single datums" in said
        assert [row["counter"] for row in rows] == list(range(first, last))
        return said
    assert 0 < len(rows) <= 2 * count
    point = (end - begin) / count
    factor = max(map(int, re.findall(r"windows of (\d+)", said)), default=1)
    slack = int(point + 2 * factor * SECOND / RATE)
    times = [row["time"] for row in rows]
    assert all(begin - slack <= time < end + slack for time in times)
    shown = [row["time"] for row in rows if row["signal3"] == PEAK]
    for peak in made.peaks:
        if begin <= peak < end:
            assert any(abs(time - peak) <= slack for time in shown), (peak, shown, said)
        elif not begin - slack <= peak < end + slack:
            assert not any(abs(time - peak) <= slack for time in shown), (peak, said)
    counters = [row["counter"] for row in rows]
    assert counters == sorted(counters)
    assert counters[-1] >= last - 1 - slack * RATE // SECOND
    assert len(rows) >= count // 2  # evenly recorded: most points have something
    return said


def spans(rng, made, count):
    for _ in range(count):
        length = int(min(SECOND * (made.end - START) ** rng.random() / SECOND ** rng.random(),
                         made.end - START))
        length = max(length, 10_000_000)
        begin = rng.randint(START - length // 10, made.end - length // 2)
        yield begin, begin + length, rng.choice([1, 7, 100, 1000])


def test_082_random_spans(rng, made):
    used = set()
    for begin, end, count in spans(rng, made, 200 if LONG else 20):
        used |= set(re.findall(r"windows of (\d+)|(recordings)|(single)",
                               look(made, begin, end, count)))
    for factor in ("2500", "50"):
        assert any(factor in found for found in used)


def test_082_all_there_is(made):
    done = flotilla("cat", "--points", 100, made.folder, "--fields", "signal3", check=0)
    rows = [json.loads(line)["signal3"] for line in done.stdout.splitlines()]
    assert len(rows) <= 200 and max(rows) == PEAK
    assert "windows of 2500" in done.stderr


def test_082_half_an_overview(rng, copy):
    """It ends in the middle: behind it are the recordings."""
    shutil.rmtree(copy.folder / "overview")
    last = sorted(copy.folder.glob("*.avro"))[-2:]
    for path in last:
        path.rename(copy.folder.parent / path.name)
    levels.build(copy.folder)
    for path in last:
        (copy.folder.parent / path.name).rename(path)
    for begin, end, count in spans(rng, copy, 40 if LONG else 6):
        look(copy, begin, end, count)
    assert "of 1 where" in look(copy, START, copy.end, 100)


def test_082_no_overview(rng, copy):
    shutil.rmtree(copy.folder / "overview")
    for begin, end, count in spans(rng, copy, 20 if LONG else 3):
        assert "windows" not in look(copy, begin, end, count)


def test_082_damaged_levels(rng, copy):
    """What cannot be read of a level is taken from below it; nothing is made up."""
    for path in (copy.folder / "overview").glob("*.avro*"):
        data = bytearray(path.read_bytes())
        for _ in range(1 + len(data) // 200_000):
            data[rng.randrange(4096, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    for begin, end, count in spans(rng, copy, 60 if LONG else 10):
        look(copy, begin, end, count)
    levels.build(copy.folder)
    flotilla("verify", copy.folder / "overview", check=0)


def test_082_recordings_that_are_gone(rng, copy):
    """Levels outlive them: what was, is told by those; no build takes it away."""
    for path in sorted(copy.folder.glob("*.avro"))[:2]:
        path.unlink()
    for again in (False, True):
        if again:
            levels.build(copy.folder)
        rows, said = points(copy.folder, START, copy.end, 100)
        shown = [row["time"] for row in rows if row["signal3"] == PEAK]
        assert min(row["time"] for row in rows) <= START + 200 * SECOND
        for peak in copy.peaks:
            assert any(abs(time - peak) <= 300 * SECOND for time in shown), (peak, said)


def test_082_refused(made, tmp_path):
    for words in (["--points", "10", made.folder, made.folder], ["--points", "0", made.folder],
                  ["--points", "10", "--follow", made.folder],
                  ["--points", "10", "--count", "3", made.folder],
                  ["--points", "1000000", made.folder]):
        assert flotilla("cat", *words).returncode == 2, words
    (tmp_path / "empty").mkdir()
    done = flotilla("cat", "--points", 10, tmp_path / "empty")
    assert (done.returncode, done.stderr.count("no recordings")) == (1, 1)
    done = flotilla("cat", "--points", 10, tmp_path / "missing")
    assert done.returncode == 1 and done.stderr
    done = flotilla("cat", "--points", 10, made.folder, "--fields", "sinal3")
    assert done.returncode == 1 and "signal3" in done.stderr
