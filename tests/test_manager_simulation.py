# SPDX-License-Identifier: MIT
"""The simulation of the manager (tests/manager_sim): every sequence of three requests and faults,
each some steps after the last; millions of random steps; and managers, holders and relays broken on
purpose, each of which it must find out.

Relies on `make test-programs`. A failure ends with the seed and the episode that show it again:
build/units/manager_simulation --seed N --episode N --trace. Longer, and with a fresh seed, in
`make test-long`."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/scenario"))

from harness.seeds import LONG, seed_of  # noqa: E402

WHOLE = ROOT / "build/units/manager_simulation"
BROKEN = ROOT / "build/units/manager_simulation_broken"
NAMES = (ROOT / "tests/manager_sim/mutants.c").read_text().partition("names[] = {")[2]
MUTANTS = re.findall(r'^    "(\w+)",', NAMES.partition("};")[0], re.M)


def simulate(program, *words):
    assert program.exists(), f"no {program}: run `make test-programs`"
    done = subprocess.run([program, *map(str, words)], cwd=ROOT, text=True, timeout=1800,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout[-6000:])
    return done


def check(done):
    assert done.returncode == 0, done.stdout[-6000:]
    for what, count in re.findall(r"^  (\w.*?) +(\d+)$", done.stdout, re.M):
        assert int(count) > 0, f"no {what} in this run: it shows nothing of them"


def test_every_sequence():
    check(simulate(WHOLE, "--depth", 3, "--steps", 0))


def test_random():
    check(simulate(WHOLE, "--depth", 1, "--seed", seed_of("manager"),
                   "--steps", 300_000_000 if LONG else 5_000_000))


def test_it_happens_again():
    one, other = (simulate(WHOLE, "--seed", 3, "--episode", 4, "--trace").stdout for _ in range(2))
    assert one and one == other


def test_mutants_are_listed():
    assert len(MUTANTS) >= 12 and MUTANTS[0] == "none"


@pytest.mark.parametrize("mutant", MUTANTS[1:])
def test_mutant(mutant):
    done = simulate(BROKEN, "--mutant", mutant, "--depth", 2, "--steps", 3_000_000)
    assert done.returncode == 1 and "FAILED: " in done.stdout, f"{mutant} was not found out"


def test_the_broken_build_is_whole_without_a_mutant():
    check(simulate(BROKEN, "--mutant", "none", "--depth", 2, "--steps", 100_000))
