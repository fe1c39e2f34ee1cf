# SPDX-License-Identifier: MIT
"""The harness can fail: tests that fail, raise and skip on purpose are counted as such, make the
run end with an error, and stand in its last line."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"
TESTS = {
    "test_pass.py": "def test_a():\n    pass\n",
    "test_fail.py": "def test_a():\n    assert 1 == 2\n",
    "test_error.py": "import pytest\n@pytest.fixture\ndef f():\n    raise OSError\n"
                     "def test_a(f):\n    pass\n",
    "test_skip.py": "import pytest\ndef test_a():\n    pytest.skip('needs root: to mount')\n",
    "test_broken.py": "import no_such_module\n",
}


def run(folder, *names, side_by_side=False):
    for name in names:
        (folder / name).write_text(TESTS[name])
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTEST_")}
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                           "--rootdir", str(folder), *side_by_side * ["-n", "2"], str(folder)],
                          env=environment, capture_output=True, text=True)


def last_line(done):
    return done.stdout.rstrip("\n").rpartition("\n")[2]


side_by_side = pytest.mark.parametrize("side_by_side", [False, True],
                                       ids=["in-turn", "side-by-side"])


@side_by_side
def test_a_failure_and_an_error_end_the_run_with_an_error(tmp_path, side_by_side):
    done = run(tmp_path, "test_pass.py", "test_fail.py", "test_error.py", "test_skip.py",
               side_by_side=side_by_side)
    assert done.returncode == 1
    assert last_line(done) == "1 passed, 2 failed, 1 skipped"
    assert "skipped test_skip.py::test_a: needs root: to mount\n" in done.stdout


@side_by_side
def test_a_file_that_cannot_be_loaded_is_a_failure(tmp_path, side_by_side):
    done = run(tmp_path, "test_pass.py", "test_broken.py", side_by_side=side_by_side)
    assert done.returncode != 0
    assert last_line(done).split(", ")[1] == "1 failed"


@side_by_side
def test_success_is_success(tmp_path, side_by_side):
    done = run(tmp_path, "test_pass.py", "test_skip.py", side_by_side=side_by_side)
    assert done.returncode == 0
    assert last_line(done) == "1 passed, 0 failed, 1 skipped"
