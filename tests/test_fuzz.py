# SPDX-License-Identifier: MIT
"""Each fuzzer of tests/fuzz for some seconds, always with the same inputs, which finds what is
broken outright; in `make test-long` for ten minutes, with others each time. `make fuzz` takes as
long as it is told.

Relies on clang; a finding fails with the end of the fuzzer's words, and leaves its input in
build/fuzz."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/scenario"), str(ROOT / "tests/readers")]

from harness.builds import make  # noqa: E402
from harness.seeds import LONG  # noqa: E402

# So many as five seconds are enough for.
RUNS = {"fuzz_config": 1500, "fuzz_control": 10000, "fuzz_datum": 4000, "fuzz_foxglove": 200000,
        "fuzz_live": 20000, "fuzz_recover": 500, "fuzz_rows": 600, "fuzz_schema": 60000,
        "fuzz_socket": 8000, "fuzz_words": 200000}
FUZZERS = sorted(path.stem for path in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
SECONDS = 600


pytestmark = pytest.mark.xdist_group("fuzz")  # built once


@pytest.fixture(scope="module")
def built():
    make("fuzz-programs")


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzzer(built, fuzzer):
    if fuzzer == "fuzz_socket" and not (ROOT / "build/fuzz/fuzz_socket").exists():
        pytest.skip("built without libmicrohttpd and wslay")
    words = [] if LONG else [str(RUNS[fuzzer])]
    done = subprocess.run(["tests/fuzz/run", fuzzer, str(SECONDS), *words], cwd=ROOT, text=True,
                          capture_output=True, timeout=SECONDS + 120)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    units = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    least = 10 * SECONDS if LONG else RUNS[fuzzer]
    assert units and int(units[1]) >= least, "it hardly ran: " + done.stdout
