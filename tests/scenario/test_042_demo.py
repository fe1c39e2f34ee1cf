# SPDX-License-Identifier: MIT
"""042-demo: what `make demo DURATION=N` runs, with its own account of sent, accepted, recorded and
read; and that the account can be unequal. It uses the addresses of examples/fleet.yaml."""
import re
import subprocess

import pytest
from harness.fleet import ROOT
from harness.readers import SYSTEM_PYTHON

DEMO = ROOT / "examples/demo"
pytestmark = pytest.mark.xdist_group("demo")  # it has addresses of its own


def run(*words):
    done = subprocess.run([SYSTEM_PYTHON, *map(str, words)], capture_output=True, text=True,
                          timeout=60)
    if "is running already" in done.stderr or "Address already in use" in done.stderr:
        pytest.skip("needs the demo's addresses: another demo is running")
    return done


def test_042_demo_ends_by_itself_with_equal_counts(seed, tmp_path):
    done = run(DEMO, "--duration", "3", "--folder", tmp_path / "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+) +(\d+)$", done.stdout, re.M)
    assert {name: [int(n) for n in rest] for name, *rest in rows} == {
        "imu": [3000] * 4, "engine": [300] * 4, "position": [30] * 4, "housekeeping": [3] * 4}


def test_042_demo_fails_where_counts_differ(seed, tmp_path):
    """The same program with an independent reader that misses one datum."""
    text = DEMO.read_text()
    assert "    return count\n" in text
    changed = tmp_path / "demo"
    changed.write_text(text.replace("    return count\n", "    return count - 1\n")
                       .replace("Path(__file__).resolve().parent.parent", f"Path({str(ROOT)!r})"))
    done = run(changed, "--duration", "1", "--folder", tmp_path / "run")
    assert done.returncode == 1 and "NOT EQUAL" in done.stdout, done.stdout + done.stderr
