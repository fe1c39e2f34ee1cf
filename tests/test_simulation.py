# SPDX-License-Identifier: MIT
"""The simulation of the relay's core (tests/sim): with seeds that are always the same, plain and
under sanitizers; and relays broken on purpose, each of which it must find out.

Relies on `make test-programs`. A failure ends with the seed and the episode that show it again:
build/units/simulation --seed N --episode N --trace. In `make test-long` for longer: ten minutes of
a fresh seed."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/scenario"))

from harness.seeds import LONG, seed_of  # noqa: E402

WHOLE, BROKEN = ROOT / "build/units/simulation", ROOT / "build/units/simulation_broken"
SANITIZED = ROOT / "build/sanitized/simulation"
# Runs of so many steps, so that a slow machine does the same as a fast one.
RUNS, STEPS = [2, 3, 5, 31, 47, 692856371], 120_000_000
SANITIZED_RUNS, SANITIZED_STEPS = [1, 692856371], 20_000_000
# Seeds with one of which a mutant must be found, and for how many steps each: most are found with
# the first in less than a second, and many short runs find more than a long one.
SEEDS, STEPS_EACH = range(11, 91), 60_000_000
MUTANTS = [line.split('"')[1] for line in (ROOT / "tests/sim/mutants.c").read_text().split("\n")
           if re.match(r"\s+\[MUTANT_\w+\] = \"", line) and "MUTANT_NONE" not in line]


def simulate(program, *words, timeout):
    assert program.exists(), f"no {program}: run `make test-programs`"
    environment = dict(os.environ, UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
                       ASAN_OPTIONS="detect_stack_use_after_return=0:detect_leaks=0")
    return subprocess.run([program, *map(str, words)], cwd=ROOT, env=environment, text=True,
                          errors="replace",  # a mutant may print what it should not have believed
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)


def check(done, *happened):
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-6000:]
    told = dict(re.findall(r"^  (\w+) +(\d+)$", done.stdout, re.M))
    for what in happened:
        assert int(told[what]) > 0, f"no {what} in this run: it shows nothing of them"
    speed = re.search(r"([\d.]+) million steps a minute", done.stdout)
    assert float(speed[1]) >= 1


# What a run of seconds must have met to mean something.
ALWAYS = ("kills", "kills_in_open", "power_cuts", "fresh_memories", "datums", "syncs",
          "files_ended", "quiet_checks", "open_file_checks", "order_checks", "datums_checked",
          "sent_twice",
          "datagrams_in_flight", "datagrams_dropped", "datagrams_invalid", "datagrams_coalesced",
          "runs_sent", "runs_refused", "settings_changed", "hasty_phases", "garbled_memories",
          "memories_given_up", "slots_given_back", "queue_given_back", "sockets_changed",
          "sockets_drained", "kills_in_drain")
# What is rarer, in a run that is the same however fast the machine is.
RARE = ("renewals", "coalesced_still", "blocks_given_up", "truncate_errors", "torn_pages",
        "unordered_checks")


def test_twenty_million_steps():
    check(simulate(WHOLE, "--seed", 1, "--seconds", 200, "--steps", 20_000_000, timeout=240),
          "kills", "datums_checked", "quiet_checks", "open_file_checks")


def test_same_seed():
    check(simulate(WHOLE, "--seed", 2, "--seconds", 600,
                   "--steps", 3_200_000_000 if LONG else 800_000_000, timeout=900), *ALWAYS, *RARE)


@pytest.mark.parametrize("seed", RUNS)
def test_other_seeds(seed):
    check(simulate(WHOLE, "--seed", seed, "--seconds", 600, "--steps", STEPS, timeout=900),
          "kills", "datums_checked", "quiet_checks", "sockets_drained")


@pytest.mark.parametrize("seed", SANITIZED_RUNS)
def test_sanitized(seed):
    check(simulate(SANITIZED, "--seed", seed, "--seconds", 600, "--steps", SANITIZED_STEPS,
                   timeout=900), "kills", "datums_checked")


@pytest.mark.skipif(not LONG, reason="a fresh seed: FLOTILLA_TEST_LONG")
@pytest.mark.parametrize("program, seconds", [(WHOLE, 600), (SANITIZED, 300)])
def test_fresh_seed(program, seconds):
    seed = seed_of("simulation")
    print("seed", seed)
    check(simulate(program, "--seed", seed, "--seconds", seconds, timeout=900), *ALWAYS)


def test_it_happens_again():
    one, other = (simulate(WHOLE, "--seed", 3, "--episode", 4, "--trace", timeout=120).stdout
                  .rpartition("seed 3: ")[0] for _ in range(2))
    assert one and one == other


@pytest.mark.parametrize("program, steps", [(WHOLE, 20_000_000), (SANITIZED, 6_000_000)])
def test_an_episode_is_the_same_alone_and_after_others(program, steps):
    """It is a function of its seed and number: what fails after others fails alone."""
    after = simulate(program, "--seed", 3, "--seconds", 600, "--steps", steps, "--trace",
                     timeout=900).stdout.rpartition("seed 3: ")[0]
    episodes = re.split(r"^(?=.* episode \d+ 0$)", after, flags=re.M)[1:]
    assert len(episodes) > 4
    for number, episode in enumerate(episodes):
        alone = simulate(program, "--seed", 3, "--episode", number, "--trace", timeout=120).stdout
        assert re.search(r"^.* episode \d+ 0$", alone, re.M), alone
        assert alone[alone.index(episode[:40]):].rpartition("seed 3: ")[0] == episode, number


def test_mutants_are_listed():
    assert len(MUTANTS) >= 15


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant(mutant):
    for seed in SEEDS:
        done = simulate(BROKEN, "--mutant", mutant, "--seed", seed, "--seconds", 300, "--steps",
                        STEPS_EACH, timeout=600)
        if done.returncode == 1 and f"FAILED: seed {seed}, " in done.stdout:
            return
        assert done.returncode == 0, done.stdout[-3000:]
    pytest.fail(f"a relay that is broken ({mutant}) was not found out:\n" + done.stdout[-3000:])


def test_the_broken_build_is_whole_without_a_mutant():
    check(simulate(BROKEN, "--mutant", "none", "--seed", 1, "--seconds", 2, timeout=60), "kills")
