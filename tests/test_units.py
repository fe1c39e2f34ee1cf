# SPDX-License-Identifier: MIT
"""Runs the unit programs (cmocka), each plain and under ASan and UBSan.

Relies on `make test-programs` having built build/units and build/sanitized; which units there are
is asked of the build, so that none can be forgotten."""
import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILDS = {"plain": ROOT / "build/units", "sanitized": ROOT / "build/sanitized"}


def units(build):
    listed = BUILDS[build] / "meson-info/intro-tests.json"
    if not listed.exists():
        return []
    return [(test["name"], test["cmd"]) for test in json.loads(listed.read_text())]


CASES = [pytest.param(command, id=f"{name}-{build}")
         for build in BUILDS for name, command in units(build)]


@pytest.mark.parametrize("build", BUILDS)
def test_units_are_built(build):
    assert units(build), f"no units in build/{build}: run `make test-programs`"


@pytest.mark.parametrize("command", CASES)
def test_unit(command):
    environment = dict(os.environ, UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
                       ASAN_OPTIONS="detect_leaks=1:abort_on_error=0")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
