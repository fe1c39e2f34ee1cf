# SPDX-License-Identifier: MIT
"""058-clocks: a wall clock that is wrong for a while, in either direction, removes no recording; it
is said, and removing goes on by itself."""
import json
import os
import time

import pytest
from harness import signals
from harness.fleet import ROOT, Fleet, flotilla, wait_until

SET_CLOCK = ROOT / "build/units/set_clock.so"
DAY, YEAR = 86400, 365 * 86400
FORWARD = "nothing is removed by age for now: the clock was set forward by"


class Clocked(Fleet):
    """A fleet whose manager's wall clock the test sets; its relays and files have the real one."""

    def __init__(self, **retain):
        assert SET_CLOCK.exists(), f"no {SET_CLOCK}: run `make test-programs`"
        super().__init__({"engine": {"schema": signals.SCHEMA}}, run=False,
                         storage={"retain": retain, "rotate": {"age": "200ms"}})
        self.ahead = self.folder / "ahead"
        self.at = 0

    def set_clock(self, seconds):
        (self.folder / "ahead.new").write_text(str(seconds))
        (self.folder / "ahead.new").rename(self.ahead)

    def begin(self):
        self.start(env={**os.environ, "LD_PRELOAD": str(SET_CLOCK),
                        "FLOTILLA_TEST_CLOCK": str(self.ahead)})

    def record(self, files=2):
        """Records until there are so many more finished files: each has retention look."""
        wanted = len(self.files("engine", part=False)) + files

        def recorded():
            self.source("engine", signals.samples(50, start=self.at), rate=500).finish()
            self.at += 50
            return len(self.files("engine", part=False)) >= wanted
        wait_until(recorded, what="files to end")

    def old_file(self, days):
        """A finished recording whose time is so long ago."""
        path = self.folder / "recordings/engine/engine-20200101T000000.000000Z-000001.avro"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"as old as this")
        then = time.time() - days * DAY
        os.utime(path, (then, then))
        return path

    def doubt(self):
        return self.status()["manager"]["retention_doubt"]


@pytest.mark.parametrize("step", [2 * 3600, 31 * DAY, 20 * YEAR], ids=["hours", "days", "decades"])
def test_058_a_clock_that_is_ahead_for_a_while(step, seed):
    with Clocked(age="1h" if step < DAY else "30d") as fleet:
        fleet.begin()
        fleet.record(files=4)
        before = set(fleet.files("engine", part=False))
        fleet.set_clock(step)
        fleet.record(files=4)
        wait_until(lambda: FORWARD in fleet.log(), what="the doubt")
        fleet.record(files=4)
        kept = set(fleet.files("engine", part=False))
        assert before < kept and len(kept) >= 12 and "removed" not in fleet.log().replace(
            FORWARD, "")
        assert fleet.log().count(FORWARD) == 1, "once"
        assert "the clock was set forward by" in fleet.doubt()
        assert "nothing is removed by age" in flotilla("status", "-c", fleet.file).stdout
        found = json.loads(flotilla("doctor", "--json", "-c", fleet.file).stdout)["findings"]
        assert any(one["check"] == "retention" and "set forward" in one["text"] for one in found)
        fleet.set_clock(0)
        fleet.record()
        wait_until(lambda: "recordings are removed by age again" in fleet.log(), what="the end")
        assert fleet.doubt() == ""
        old = fleet.old_file(days=40)
        fleet.record()
        wait_until(lambda: not old.exists(), what="what is old to go")
        assert kept <= set(fleet.files("engine", part=False))


def test_058_a_clock_that_is_ahead_from_the_first(seed):
    """All recordings would be too old by it: none goes, also none that is."""
    with Clocked(age="30d") as fleet:
        old = fleet.old_file(days=40)
        fleet.set_clock(20 * YEAR)
        fleet.begin()
        fleet.record(files=4)
        wait_until(lambda: "even the newest recording is older" in fleet.log(), what="the doubt")
        assert old.exists() and len(fleet.files("engine", part=False)) >= 4
        fleet.set_clock(0)
        fleet.record()
        wait_until(lambda: not old.exists(), what="what is old to go")
        assert "removed by age again" in fleet.log()


def test_058_a_clock_that_begins_in_the_past(seed):
    """1970 at a boot, set minutes later: nothing goes before, and only what is old after."""
    with Clocked(age="30d") as fleet:
        old = fleet.old_file(days=40)
        fleet.set_clock(-int(time.time()) + 30)
        fleet.begin()
        fleet.record(files=4)
        wait_until(lambda: "by age for now: the clock is not set" in fleet.log(), what="the doubt")
        assert old.exists()
        fleet.set_clock(0)
        fleet.record(files=2)
        wait_until(lambda: not old.exists(), what="what is old to go")
        assert len(fleet.files("engine", part=False)) >= 6


def test_058_size_and_free_space_need_no_clock(seed):
    with Clocked(age="30d", size="64KiB") as fleet:
        fleet.begin()
        fleet.set_clock(20 * YEAR)
        fleet.record(files=4)
        for _ in range(60):
            if "all recordings are to take at most" in fleet.log():
                break
            fleet.record(files=2)
        assert "all recordings are to take at most" in fleet.log()
        assert "older than 30d" not in fleet.log()
