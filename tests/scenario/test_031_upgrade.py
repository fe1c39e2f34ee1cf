# SPDX-License-Identifier: MIT
"""031-upgrade: the programs are replaced under load by a version whose channel memory looks
different, and back: `flotilla restart --all` takes the fleet over, channel by channel, and not a
datagram is lost, recorded twice or forgotten in the counts."""
import os
import shutil
import time

from harness import container, signals
from harness.fleet import LONG, ROOT, Fleet, flotilla

BUILD = ROOT / "build"
PROGRAMS = ("flotilla", "flotilla-relay", "flotilla-keeper")
TURNS = 20 if LONG else 3


def install(prefix, version):
    """As a package does: beside, then renamed over what runs."""
    for name in PROGRAMS:
        source = BUILD / name
        if version == "next":
            source = BUILD / "next" / ("programs" if name == "flotilla" else "relay") / name
        shutil.copy(source, prefix / f"{name}.new")
        os.rename(prefix / f"{name}.new", prefix / name)


def test_031_another_version_takes_over_under_load(seed, tmp_path):
    install(tmp_path, "this")
    keys = {"schema": signals.SCHEMA, "full": True, "sequence": "counter"}
    names = ("one", "two", "three")
    with Fleet({name: keys for name in names}, prefix=tmp_path) as fleet:
        pool = signals.samples(1_000_000 if LONG else 200_000)
        loads = {name: fleet.source(name, pool, rate=10_000) for name in names}
        for turn in range(TURNS):
            time.sleep(0.5)
            install(tmp_path, "this" if turn % 2 else "next")
            before = fleet.by_name()
            done = flotilla("restart", "--all", "-c", fleet.file, check=0)
            assert "and 3 channels" in done.stdout
            after = fleet.by_name()
            assert all(after[name]["pid"] != before[name]["pid"] for name in names)
        sent = {name: load.stop()["sent"] for name, load in loads.items()}
        channels = fleet.settle(sent)
        for name in names:
            channel = channels[name]
            assert channel["datagrams_received"] == channel["datums_recorded"] == sent[name]
            assert channel["sequence_gaps"] == channel["datagrams_dropped"] == 0
            assert channel["restarts"] == 0
        running = [fleet.manager.pid, fleet.status()["manager"]["keeper"],
                   *(channel["pid"] for channel in channels.values())]
        for pid in running:
            assert not os.readlink(f"/proc/{pid}/exe").endswith("(deleted)")
        assert fleet.log().count("its buffer is another version's") == TURNS * len(names)
        fleet.stop()
        for name in names:
            payload, count = container.payload(fleet.files(name))
            assert count == sent[name] and payload == b"".join(pool[:sent[name]])


def test_031_nothing_is_restarted_without_a_program(seed, tmp_path):
    install(tmp_path, "this")
    with Fleet({"one": {"schema": signals.SCHEMA}}, prefix=tmp_path) as fleet:
        before = fleet.channel("one")["pid"]
        os.rename(tmp_path / "flotilla-relay", tmp_path / "away")
        done = flotilla("restart", "--all", "-c", fleet.file, check=1)
        assert "nothing was restarted" in done.stderr and "flotilla-relay" in done.stderr
        good = fleet.file.read_text()
        os.rename(tmp_path / "away", tmp_path / "flotilla-relay")
        fleet.file.write_text(good + "nonsense: 1\n")
        done = flotilla("restart", "--all", "-c", fleet.file, check=78)
        assert "fleet.yaml:" in done.stderr
        fleet.file.write_text(good)
        # One that runs, but not for long.
        os.rename(tmp_path / "flotilla-relay", tmp_path / "away")
        (tmp_path / "flotilla-relay").write_text("#!/bin/sh\nexit 1\n")
        os.chmod(tmp_path / "flotilla-relay", 0o755)
        done = flotilla("restart", "--all", "-c", fleet.file, check=1)
        assert "--version ended with exit code 1" in done.stderr
        # One that seems to work, and does not come up: the rest go on with what they have.
        (tmp_path / "flotilla-relay").write_text('#!/bin/sh\n[ "$1" = --version ]\n')
        done = flotilla("restart", "--all", "-c", fleet.file, check=1)
        assert "did not come up" in done.stderr
        os.rename(tmp_path / "away", tmp_path / "flotilla-relay")
        flotilla("reload", "-c", fleet.file)
        assert fleet.channel("one")["pid"] not in (before, None)
