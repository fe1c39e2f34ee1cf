# SPDX-License-Identifier: MIT
"""`make` for tests that run side by side: one at a time, as they share the build folder."""
import fcntl
import os
import subprocess

from .fleet import ROOT


def make(*words, timeout=900):
    """Runs it quietly; returns what it printed."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "FLOTILLA_TEST_LONG")}
    with open(ROOT / "build/one-at-a-time", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "--no-print-directory", "-s", *map(str, words)], cwd=ROOT,
                              env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, (words, done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout
