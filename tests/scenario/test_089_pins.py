# SPDX-License-Identifier: MIT
"""089-pins: a span that is pinned outlives retention by size and by age, also what is recorded into
it later; unpin gives it back; each word that is wrong is told of."""
import contextlib
import json
import time

import fastavro
import pytest
from harness import signals
from harness.fleet import Fleet, wait_until


def when(seconds):
    return f"{seconds:.6f}"


def counters(paths):
    """What is in the files; what retention removes meanwhile is not."""
    found = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            found |= {row["counter"] for row in fastavro.reader(file)}
    return found


@pytest.fixture
def fleet():
    with Fleet({"c": {"schema": signals.SCHEMA}, "d": {"schema": signals.SCHEMA}},
               storage={"rotate": {"size": "128KiB"}}) as made:
        yield made


def record(fleet, count, start, channel="c"):
    fleet.source(channel, signals.samples(count, start=start, pad=60), rate=40000).finish()
    fleet.settle({channel: start + count})


def listed(flotilla, fleet):
    return flotilla("info", fleet.folder / "recordings").stdout


def test_089_pins_and_retention_by_size(flotilla, fleet, seed):
    record(fleet, 8000, 0)
    time.sleep(1.5)  # the clocks of a file server and ours may be a second apart
    begin = time.time()
    record(fleet, 8000, 8000)
    end = time.time()
    done = flotilla("pin", "c", "--from", when(begin), "--to", when(end), "--name", "event", "-c",
                    fleet.file, "--json", check=0)
    told = json.loads(done.stdout)
    assert told["channel"] == "c" and told["pin"] == "event" and told["files"] >= 2, told
    assert "recordings/c: pinned as event: " in listed(flotilla, fleet)
    fleet.storage["retain"] = {"size": "256KiB"}
    fleet.write()
    fleet.reload()
    record(fleet, 80000, 16000)

    def left():
        return fleet.files("c", part=False)
    pinned = [path for path in left() if set(range(8000, 16000)) & counters([path])]
    assert len(pinned) >= 2
    wait_until(lambda: 0 not in counters(left()) and len(left()) <= len(pinned) + 1, seconds=90,
               what="retention to remove all that may go")
    assert set(range(8000, 16000)) <= counters(fleet.files("c"))
    flotilla("unpin", "event", "-c", fleet.file, check=0)
    assert "pinned" not in listed(flotilla, fleet)
    record(fleet, 4000, 96000)  # retention looks when a recording begins
    wait_until(lambda: not set(pinned) & set(left()), seconds=90,
               what="retention to remove what is pinned no more")


def test_089_pins_and_retention_by_age(flotilla, fleet, seed):
    """Also over what is recorded after the pin was made."""
    begin = time.time()
    flotilla("pin", "--from", when(begin), "--to", when(begin + 3600), "--name", "hour", "-c",
             fleet.file, check=0)
    assert flotilla("unpin", "hour", "d", "-c", fleet.file, check=0).stdout == (
        "d: hour is pinned no more\n")
    for channel in "cd":  # of the same age: those of the one go
        record(fleet, 16000, 0, channel)
    before = fleet.files("c", part=False)
    assert len(before) >= 4
    old = fleet.files("d", part=False)
    fleet.storage["retain"] = {"age": "1s"}
    fleet.write()
    fleet.reload()
    recorded = 16000

    def gone():
        nonlocal recorded
        record(fleet, 4000, recorded, "d")  # retention looks when a recording begins
        recorded += 4000
        return not set(old) & set(fleet.files("d", part=False))
    wait_until(gone, seconds=90, what="retention by age to remove what is not pinned", pause=0.5)
    assert set(before) <= set(fleet.files("c", part=False))
    assert flotilla("unpin", "hour", "-c", fleet.file, check=0).stdout == (
        "c: hour is pinned no more\n")
    record(fleet, 4000, 16000)
    wait_until(lambda: not set(before) & set(fleet.files("c", part=False)), seconds=90,
               what="retention by age to go on")


def test_089_what_is_wrong_is_told(flotilla, fleet, tmp_path):
    for words, code, says in (
            (["pin", "c", "--name", "x"], 2, "since when?"),
            (["pin", "c", "--from", "-1h"], 2, "which name?"),
            (["pin", "c", "--from", "-1h", "--name", "a/b"], 2, "which name?"),
            (["pin", "c", "--from", "-1h", "--name", "n" * 65], 2, "which name?"),
            (["pin", "c", "--from", "-1h", "--to", "-2h", "--name", "x"], 2, "ends before"),
            (["pin", "nobody", "--from", "-1h", "--name", "x"], 1, 'no channel "nobody"'),
            (["pin", "c", "nobody", "--from", "-1h", "--name", "x"], 1, 'no channel "nobody"'),
            (["pin", "c", tmp_path / "gone", "d", "--from", "-1h", "--name", "x"], 1,
             "No such file or directory; nothing is pinned"),
            (["pin", tmp_path / "gone", "--from", "-1h", "--name", "x"], 1, "No such file"),
            (["unpin"], 2, "which NAME?"),
            (["unpin", "x"], 1, 'no pin "x" in any of the channels'),
            (["unpin", "x", "d"], 1, 'no pin "x" in d')):
        done = flotilla(*words, "-c", fleet.file)
        assert done.returncode == code and says in done.stderr, (words, done)
    assert not list(fleet.folder.glob("recordings/*/*.pin"))
    none = flotilla("pin", "c", "--from", "-1h", "--name", "x", "-c", tmp_path / "none.yaml")
    assert none.returncode == 78 and none.stderr
    folder = tmp_path / "engine"  # of another machine: no fleet
    folder.mkdir()
    flotilla("pin", folder, "--from", "-1h", "--name", "x", cwd=tmp_path, check=0)
    assert [path.suffix for path in folder.iterdir()] == [".pin"]
    for where in folder, tmp_path:  # also where nothing is recorded yet
        said = flotilla("info", where, cwd=tmp_path)
        assert f"{folder}: pinned as x: " in said.stdout and "no recordings" in said.stderr, said
    flotilla("unpin", "x", folder, cwd=tmp_path, check=0)
    assert not list(folder.iterdir())
