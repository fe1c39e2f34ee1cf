# SPDX-License-Identifier: MIT
"""Fixtures of the scenarios: the command, a printed seed, the captured data, and what needs root.

Every scenario draws from `rng`; its seed (harness/seeds.py) is printed with a failure.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests/readers")]

from harness import closing  # noqa: E402
from harness.browser import chromium, tabs  # noqa: E402, F401
from harness.fleet import flotilla as run_flotilla  # noqa: E402
from harness.seeds import seed_of  # noqa: E402


@pytest.fixture
def flotilla():
    """flotilla(*arguments, **kw) -> subprocess.CompletedProcess of the built command."""
    return run_flotilla


@pytest.fixture
def seed(request):
    value = seed_of(request.node.name)
    print(f"seed {value} (repeat with FLOTILLA_TEST_SEED={value})")
    return value


@pytest.fixture
def rng(seed):
    return random.Random(seed)


@pytest.fixture
def data():
    """The folder of captured real data."""
    folder = Path(os.environ.get("FLOTILLA_TEST_DATA", ROOT / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip("needs captured data: FLOTILLA_TEST_DATA names no folder")
    return folder


@pytest.fixture
def needs_root():
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def tmpfs():
    """A folder on a file system without direct I/O."""
    shared = Path("/dev/shm")
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(shared)], capture_output=True, text=True)
    if kind.stdout.strip() != "tmpfs" or not os.access(shared, os.W_OK):
        pytest.skip("needs a tmpfs that can be written: /dev/shm is none")
    folder = Path(tempfile.mkdtemp(prefix="flotilla-", dir=shared))
    yield folder
    shutil.rmtree(folder)


def pytest_collection_modifyitems(items):
    """Scenarios run in the order of their numbers."""
    items.sort(key=lambda item: (str(item.path), 0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    report.closing = closing.take()
    return report
