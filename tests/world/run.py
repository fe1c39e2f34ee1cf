# SPDX-License-Identifier: MIT
"""A world that changes at random under three fleets, and a judge who knows every datagram's fate:

    build/venv/bin/python tests/world/run.py --seconds 3600 [--seed N] [--events kill,link,...]

In namespaces of its own (network, mounts, processes), on disks of its own, by a clock of its own
(tests/tools/stepped.c); all of it goes with the process. A seed repeats what happens, and when, as
far as the machine's scheduling lets it. Exits with 1 if any law was broken, and leaves its folder
then; the log there says what was done when. See events.py for what happens, judge.py for the laws.

Relies on root, unshare, iproute2, loop devices, mkfs.ext4 and mkfs.xfs, and the blkio controller of
version 1 for the disks' speed. Known limit: nothing here asks for a switch that knows groups."""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scenario")]

from harness import disks  # noqa: E402

EVENTS = ("kill", "hang", "command", "link", "address", "folder", "disk", "clock")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--events", default=",".join(EVENTS))
    parser.add_argument("--rate", type=float, default=1000, help="datagrams a second and channel")
    parser.add_argument("--back", type=float, default=2,
                        help="seconds in which a channel must be back after a cause")
    parser.add_argument("--pace", type=float, default=1.5, help="seconds between events")
    parser.add_argument("--quiet", type=float, default=100,
                        help="seconds between two moments of quiet, when all is counted")
    parser.add_argument("--retain", type=int, default=240,
                        help="seconds after which retention removes a fleet's files; 0: never")
    parser.add_argument("--folder", help="where the world is made")
    parser.add_argument("--keep", action="store_true", help="leave the folder in any case")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.events.split(",")) - set(EVENTS)
    if unknown:
        parser.error(f"no such events: {', '.join(unknown)}; there are {', '.join(EVENTS)}")
    if given.seed is None:
        given.seed = random.SystemRandom().getrandbits(32)
    return given


def why_not():
    for program in "unshare", "nsenter", "ip":
        if not shutil.which(program):
            return f"needs {program}"
    return disks.why_not("ext4") or disks.why_not("xfs")


def outside(given):
    """Makes folder and control group, runs the world in its namespaces, and takes all away."""
    reason = why_not()
    if reason:
        print(f"skipped: {reason}")
        return 77
    folder = Path(given.folder or f"/var/tmp/flotilla-world-{os.getpid()}")
    folder.mkdir(parents=True)
    group = disks.throttle_group() / folder.name
    group.mkdir()
    words = [sys.executable, str(HERE / "run.py"), "--inside", "--folder", str(folder),
             "--seconds", given.seconds, "--seed", given.seed, "--events", given.events,
             "--rate", given.rate, "--back", given.back, "--pace", given.pace,
             "--quiet", given.quiet]
    os.environ["FLOTILLA_WORLD_RETAIN_S"] = str(given.retain)
    # The first process in there is a shell, which waits for whoever is left to it.
    child = subprocess.Popen(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
         "--propagation", "private", "sh", "-c", '"$@"; exit $?', "sh", *map(str, words)],
        preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.kill()
        code = child.wait()
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:  # its processes are still ending
                subprocess.run(["sleep", "0.1"], check=True)
    left = subprocess.run(["losetup", "--list", "--noheadings", "--output", "back-file"],
                          capture_output=True, text=True).stdout
    if str(folder) in left:
        print("a loop device is left")
        code = code or 1
    if code == 0 and not given.keep:
        shutil.rmtree(folder)
    else:
        print(f"what it was is in {folder}")
    return code


def inside(given):
    from world import World
    print(f"seed {given.seed}", flush=True)
    with World(given) as world:
        world.run()
        report = world.end()
    (Path(given.folder) / "report.json").write_text(json.dumps(report, indent=1))
    print(world.summary(report), flush=True)
    return 1 if report["violations"] else 0


if __name__ == "__main__":
    options = arguments()
    sys.exit(inside(options) if options.inside else outside(options))
