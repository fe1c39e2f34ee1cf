# SPDX-License-Identifier: MIT
"""What is written for one processor only, on another: the checksum's aarch64 instructions under
qemu-user, against what this machine makes of the same bytes (which the units hold against a
reference). Needs a cross compiler and qemu-user; says so where they are missing."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"


def digests(command):
    """What each way makes of the same bytes, by its name."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())


def test_checksum_on_aarch64(tmp_path):
    for program, package in ((COMPILER, "gcc-aarch64-linux-gnu"), (EMULATOR, "qemu-user")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (package {package})")
    program = tmp_path / "checksum"
    sources = ["bench/checksum.c", "src/base/crc32c.c", "src/base/log.c", "src/os/linux/clock.c",
               "src/os/linux/processor.c"]
    subprocess.run([COMPILER, "-O2", "-static", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                    "-Isrc", "-o", program, *sources], cwd=ROOT, check=True)
    here = digests([ROOT / "build/units/bench_checksum", "--digest"])
    there = digests([EMULATOR, program, "--digest"])
    assert set(there) == {"three streams", "by table"}
    assert set(there.values()) == set(here.values()) == {here["by table"]}
