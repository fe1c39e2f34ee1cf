# SPDX-License-Identifier: MIT
"""058-clocks: a wall clock that is wrong, in either direction, removes no recording. How old they
are is counted by the time since the boot, goes on in the next manager, and is asked of the wall
clock only where nobody counted; what is not known for sure is said."""
import json
import os
import re
import time

import pytest
from harness import signals
from harness.fleet import LONG, ROOT, Fleet, flotilla, wait_until

SET_CLOCK = ROOT / "build/units/set_clock.so"
HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
TRIAL = 600  # for so long a clock must have been synchronised and not set
DOUBT = "recordings may be kept for longer than retain.age"


class Clocked(Fleet):
    """A fleet whose manager's clocks the test sets; its relays and files have the real ones."""

    def __init__(self, synchronised=True, **retain):
        assert SET_CLOCK.exists(), f"no {SET_CLOCK}: run `make test-programs`"
        super().__init__({"engine": {"schema": signals.SCHEMA}}, run=False,
                         storage={"retain": retain, "rotate": {"age": "200ms"}})
        self.clocks = self.folder / "clocks"
        self.at, self.passed = 0, 0
        self.set_clock(0, synchronised)

    def set_clock(self, ahead, synchronised=True):
        self.ahead, self.synchronised = ahead, synchronised
        (self.folder / "clocks.new").write_text(f"{ahead} {self.passed} {int(synchronised)}")
        (self.folder / "clocks.new").rename(self.clocks)

    def let_pass(self, seconds):
        self.passed += seconds
        self.set_clock(self.ahead, self.synchronised)

    def begin(self):
        self.start(env={**os.environ, "LD_PRELOAD": str(SET_CLOCK),
                        "FLOTILLA_TEST_CLOCK": str(self.clocks)})

    def begin_again(self):
        self.kill_manager()
        self.manager = None
        self.begin()

    def record(self, until, what):
        """Records, in files of 0.2 s; the end of each has retention look."""
        def come():
            self.source("engine", signals.samples(50, start=self.at), rate=500).finish()
            self.at += 50
            return until()
        wait_until(come, what=what)

    def look(self, files=2):
        """Has that many files more, and retention look at all of them, which are returned."""
        wanted = len(self.files("engine", part=False)) + files
        self.record(lambda: len(self.files("engine", part=False)) >= wanted, "files to end")
        asked, seen = self.folder / "clocks.asked", set(self.files("engine", part=False))
        before = asked.stat().st_size if asked.exists() else 0
        self.record(lambda: asked.exists() and asked.stat().st_size >= before + 2, "two looks")
        return seen

    def goes(self, paths, stay):
        """Those go, and these do not."""
        self.record(lambda: not any(path.exists() for path in paths), "what is old to go")
        assert stay and all(path.exists() for path in stay)

    def look_again(self):
        """Those files that were recorded from now on, up to another look at all of them."""
        before = set(self.files("engine", part=False))
        return self.look() - before

    def old_file(self, days):
        """A finished recording whose time is so long ago; the oldest one first."""
        number = len(self.files("engine")) + 1
        path = self.folder / f"recordings/engine/engine-20200101T000000.000000Z-{number:06}.avro"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"as old as this")
        then = time.time() - days * DAY
        os.utime(path, (then, then))
        return path

    @property
    def kept(self):
        return self.folder / "recordings/.flotilla-ages"

    def doubt(self):
        return self.status()["manager"]["retention_doubt"]


STEPS = {"hours": (2 * HOUR, False), "decades_by_the_next_manager": (20 * YEAR, True)}
if LONG:
    STEPS.update(decades=(20 * YEAR, False), days_by_the_next_manager=(31 * DAY, True))


@pytest.mark.parametrize("step,again", STEPS.values(), ids=STEPS)
def test_058_a_clock_that_is_set_to_and_fro(step, again, seed):
    age = HOUR if step < DAY else 30 * DAY
    with Clocked(age=f"{age}s") as fleet:
        fleet.begin()
        fleet.look()
        for ahead in step, -step, 0:
            fleet.set_clock(ahead)
            if again:
                fleet.begin_again()
            old = fleet.look()
        if not again:
            assert all(f"the clock was set {way} by" in fleet.log() for way in ("forward", "back"))
        assert fleet.doubt() == "" and "removed" not in fleet.log()
        fleet.let_pass(age - HOUR // 4)
        young = fleet.look_again()
        assert "removed" not in fleet.log()
        fleet.let_pass(HOUR // 2)
        fleet.set_clock(-step)  # whatever it says
        if again:
            fleet.begin_again()
        fleet.goes(old, young)


def test_058_what_was_there_before(seed):
    """It counts by the clock once that is beyond doubt; until then, said so, from now on."""
    with Clocked(age="30d", synchronised=False) as fleet:
        old, young = fleet.old_file(days=40), fleet.old_file(days=2)
        fleet.begin()
        fleet.look()
        reason = f"{DOUBT} for now: the clock is not synchronised"
        wait_until(lambda: reason in fleet.log(), what="the doubt")
        assert fleet.doubt() == "the clock is not synchronised"
        assert f"{DOUBT}: the clock is not" in flotilla("status", "-c", fleet.file).stdout
        found = json.loads(flotilla("doctor", "--json", "-c", fleet.file).stdout)["findings"]
        assert any(one["check"] == "retention" and DOUBT in one["text"] for one in found)
        fleet.set_clock(0)
        fleet.look()
        wait_until(lambda: "less than 10 min ago" in fleet.doubt(), what="the trial")
        assert old.exists()
        fleet.let_pass(TRIAL)
        fleet.goes([old], [young])
        assert "the ages of all recordings are known again" in fleet.log() and fleet.doubt() == ""


def test_058_a_clock_of_another_century(seed):
    """Whoever says that it is right: all that was there would go."""
    with Clocked(age="30d") as fleet:
        old = fleet.old_file(days=20)
        fleet.set_clock(20 * YEAR)
        fleet.begin()
        fleet.let_pass(TRIAL)
        fleet.look()
        wait_until(lambda: "all of them would be older" in fleet.doubt(), what="the doubt")
        assert old.exists()
        fleet.set_clock(0)
        fleet.look()
        fleet.let_pass(TRIAL)
        fleet.look()
        assert fleet.doubt() == "" and old.exists()
        fleet.let_pass(11 * DAY)
        fleet.goes([old], fleet.look_again())


def test_058_a_clock_that_begins_in_the_past(seed):
    """1970 at a boot, set minutes later: nothing goes before, and only what is old after."""
    with Clocked(age="30d") as fleet:
        old, young = fleet.old_file(days=40), fleet.old_file(days=2)
        fleet.set_clock(-int(time.time()) + 30, synchronised=False)
        fleet.begin()
        kept = fleet.look() - {old}
        wait_until(lambda: "for now: the clock is not set" in fleet.log(), what="the doubt")
        fleet.set_clock(0)
        fleet.look()
        fleet.let_pass(TRIAL)
        fleet.goes([old], {young, *kept})


@pytest.mark.parametrize("off", [HOUR // 2, 2 * HOUR], ids=["shortly", "longer_than_the_age"])
def test_058_the_machine_was_off(off, seed):
    """So long as the clock says that was beyond doubt before and is again, up to the age."""
    with Clocked(age="1h") as fleet:
        fleet.begin()
        before = fleet.look()
        fleet.let_pass(TRIAL + 60)
        fleet.look()
        fleet.kill_manager()
        fleet.manager = None
        text = fleet.kept.read_text()
        assert "trusted 0 " not in text
        fleet.kept.write_text(re.sub("boot [^ ]*", "boot another", text))
        fleet.set_clock(off)
        fleet.begin()
        young = fleet.look_again()
        wait_until(lambda: "less than 10 min ago" in fleet.doubt(), what="the trial")
        fleet.let_pass(TRIAL + 60)
        fleet.look()
        if off > HOUR:
            wait_until(lambda: "all of them would be older" in fleet.doubt(), what="the doubt")
            assert "removed" not in fleet.log()
            fleet.let_pass(HOUR - 2 * TRIAL - 300)
            fleet.look()
            assert "removed" not in fleet.log()
        else:
            wait_until(lambda: fleet.doubt() == "", what="the end")
            assert "removed" not in fleet.log()
            fleet.let_pass(TRIAL - 120)
        fleet.let_pass(300)
        fleet.goes(before, young if off < HOUR else fleet.look_again())


def test_058_what_is_kept_of_ages_is_lost(seed):
    """Or is no text of ours: then they count from now on, until the clock is beyond doubt."""
    with Clocked(age="1h", synchronised=False) as fleet:
        fleet.begin()
        before = fleet.look()
        fleet.let_pass(HOUR - 60)
        fleet.look()
        fleet.kill_manager()
        fleet.manager = None
        fleet.kept.write_bytes(b"flotilla ages 1 boot \xff\n\0\n")
        fleet.begin()
        fleet.let_pass(HOUR - 60)
        assert before < fleet.look()
        fleet.let_pass(120)
        fleet.goes(before, fleet.look_again())


def test_058_another_folder_for_a_while(seed):
    """As where a disk is unmounted: the ages of what comes back have gone on."""
    with Clocked(age="30d") as fleet:
        fleet.begin()
        old = fleet.look()
        fleet.let_pass(15 * DAY)
        fleet.look()
        there, away, other = (fleet.folder / name for name in ("recordings", "away", "other"))
        there.rename(away)
        fleet.look()
        there.rename(other)
        away.rename(there)
        fleet.let_pass(15 * DAY)
        fleet.goes(old, fleet.look_again())


def test_058_size_and_free_space_need_no_clock(seed):
    with Clocked(age="30d", size="64KiB") as fleet:
        fleet.begin()
        fleet.set_clock(20 * YEAR)
        fleet.record(lambda: "all recordings are to take at most" in fleet.log(), "removals")
        assert "older than 30d" not in fleet.log()
