# SPDX-License-Identifier: MIT
"""Each fuzzer of tests/fuzz for some seconds, which finds what is broken outright; with
`make test-long` (FLOTILLA_TEST_LONG) for ten minutes. `make fuzz` takes as long as it is told.

Relies on clang; a finding fails with the end of the fuzzer's words, and leaves its input in
build/fuzz."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/scenario"), str(ROOT / "tests/readers")]

from harness.builds import make  # noqa: E402

FUZZERS = sorted(path.stem for path in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
SECONDS = 600 if os.environ.get("FLOTILLA_TEST_LONG") else 5


pytestmark = pytest.mark.xdist_group("fuzz")  # built once


@pytest.fixture(scope="module")
def built():
    make("fuzz-programs")


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzzer(built, fuzzer):
    done = subprocess.run(["tests/fuzz/run", fuzzer, str(SECONDS)], cwd=ROOT, capture_output=True,
                          text=True, timeout=SECONDS + 120)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    units = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    assert units and int(units[1]) > 10 * SECONDS, "it hardly ran: " + done.stdout
