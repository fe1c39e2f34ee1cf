# SPDX-License-Identifier: MIT
"""094-age-of-levels: what is left of recordings that are gone goes for its age by the time that has
passed, never by a clock that is wrong, however long that is so."""
import json
import os
import re
import shutil
import time

import pytest
from harness import avro, levels
from harness.fleet import ROOT, new_folder, wait_until
from harness.levels import START

SET_CLOCK = ROOT / "build/units/set_clock.so"
DAY, YEAR = 86400, 365 * 86400
SCHEMA = json.dumps({"type": "record", "name": "R", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}}]})


@pytest.fixture
def folder():
    made = new_folder()
    yield made / "c"
    shutil.rmtree(made)


class Service:
    """The service, whose clocks the test sets; `age: 30d`."""

    def __init__(self, folder):
        self.folder, self.ages = folder, folder / "overview/.c.ages"
        self.clocks, self.passed = folder.parent / "clocks", 0

    def at(self, ahead=0):
        """So many seconds ahead is the wall clock."""
        new = self.clocks.with_suffix(".new")
        new.write_text(f"{ahead} {self.passed} 1")
        new.rename(self.clocks)

    def look(self, days=0, ahead=0):
        """Days pass, then it looks at all files and notes their ages."""
        self.passed += days * DAY + 700
        before = self.ages.read_text() if self.ages.exists() else ""
        self.at(ahead)
        wait_until(lambda: self.ages.exists() and self.ages.read_text() != before, what="a look")

    def __enter__(self):
        self.child = levels.serve(self.folder, "--age=30d", env={
            **os.environ, "LD_PRELOAD": str(SET_CLOCK), "FLOTILLA_TEST_CLOCK": str(self.clocks)})
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.said = self.child.communicate(timeout=60)[1]


def test_094_a_clock_that_is_wrong(folder, seed):
    blocks = [(START + at * 10**9, [avro.long(START + at * 10**9)]) for at in range(5000)]
    path = levels.write_recording(folder, SCHEMA, blocks, time=b"time")
    levels.build(folder)
    path.unlink()
    levels.build(folder)  # what is open ends: nothing can make it again
    files = levels.level_files(folder, 50) + levels.level_files(folder, 2500)
    assert len(files) == 2 and all(path.suffix == ".avro" for path in files)
    for path in files:
        os.utime(path, (time.time() - 40 * DAY,) * 2)
    service = Service(folder)
    service.at(20 * YEAR)
    there = lambda: [path for path in files if path.exists()]
    with service:
        for ahead in 20 * YEAR, -20 * YEAR, 20 * YEAR:
            service.look(ahead=ahead)
        service.look(days=20, ahead=20 * YEAR)
        assert there() == files
    text = service.ages.read_text()
    service.ages.write_text(re.sub("boot [^ ]*", "boot another", text))
    with service:  # another boot, 20 days later by the clock: nobody saw them pass
        service.passed += 20 * DAY
        service.look()
        assert there() == files
    with service:  # the same one: also what passes while it does not run
        service.passed += 11 * DAY
        service.at(-20 * YEAR)
        wait_until(lambda: not there(), what="what is old goes")
    assert service.said == ""
