# SPDX-License-Identifier: MIT
"""Programs for another machine as if they were this one's: build/emulated/MACHINE has a flotilla,
flotilla-relay and flotilla-keeper that qemu-user runs, so that fleets and verbs go by them
(FLOTILLA_TEST_MACHINE, or Fleet's `prefix`).

A manager starts what lies beside it, and the kernel cannot start what is not for it: so its
neighbours are scripts. Nothing of the system is changed for that (binfmt_misc would be).
What the emulator has not (7.2): seccomp, Landlock, direct I/O, arrival times, drop counts, joining
by MCAST_JOIN_GROUP, IP_UNICAST_IF; it makes vfork a fork."""
import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "packaging/cross"))
from targets import TARGETS  # noqa: E402


def emulator(machine):
    """The emulator's name; skips the test where it is not there."""
    name = TARGETS[machine]["emulator"]
    if shutil.which(name) is None:
        pytest.skip(f"needs {name} (package qemu-user)")
    return name


def built(machine, program):
    """A program for the machine; skips the test where it could not be built."""
    for path in (ROOT / "build/cross" / machine / program,
                 ROOT / "build/cross" / machine / "units" / program):
        if path.is_file():
            return path
    pytest.skip(f"needs {program} for {machine}: `packaging/cross/build {machine} relay units`")


def script(path, machine, program, page):
    """A file that runs a program under the emulator, in the same process, under its own name.
    With room of a fixed size (-R; programs of 32 bits have that anyway) the emulator takes any wish
    where memory is to be mapped, as kernels do; without, it calls one that lies too high ENOMEM."""
    name = TARGETS[machine]["emulator"]
    name += "" if TARGETS[machine]["family"] == "arm" else " -R 64G"
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(f"#!/bin/bash\nexec -a \"$0\" {name} -p {page} -0 \"$0\" "
                         f"{program} \"$@\"\n")
    temporary.chmod(0o755)
    temporary.rename(path)


def programs(machine, page=4096):
    """The folder; skips the test where something lacks. The relay's machine may be another than
    the manager's, who is this machine's then, where only the relay was built."""
    emulator(machine)
    folder = ROOT / "build/emulated" / (machine if page == 4096 else f"{machine}-{page}")
    beside = folder / "beside"
    beside.mkdir(parents=True, exist_ok=True)
    manager = beside / "flotilla"
    temporary = beside / f".flotilla-{os.getpid()}"
    shutil.copy(built(machine, "flotilla"), temporary)
    temporary.rename(manager)
    script(folder / "flotilla", machine, manager, page)
    for name in "flotilla-relay", "flotilla-keeper":
        program = built(machine, name)
        script(beside / name, machine, program, page)
        script(folder / name, machine, program, page)
    return folder


def relay_alone(machine, page=4096):
    """The same with this machine's manager: only relays are the other machine's. Their memory must
    be laid out alike: machines of 64 bits."""
    emulator(machine)
    folder = ROOT / "build/emulated" / f"{machine}-relay-{page}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in "flotilla", "flotilla-keeper":
        temporary = folder / f".{name}-{os.getpid()}"
        shutil.copy(ROOT / "build" / name, temporary)
        temporary.rename(folder / name)
    script(folder / "flotilla-relay", machine, built(machine, "flotilla-relay"), page)
    return folder
