# SPDX-License-Identifier: MIT
"""What scenarios do to a fleet that is at work, and to its disk."""
import subprocess

from .fleet import FLOTILLA


def slow_disk(seconds):
    """What a manager is started with, so that each fdatasync of its relays takes so long."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e",
            "trace=fdatasync", "-e", f"inject=fdatasync:delay_enter={int(seconds * 1e6)}"]


def flotilla_stop(fleet, program=FLOTILLA):
    return subprocess.run([program, "stop", "-c", fleet.file], check=True, capture_output=True,
                          text=True, timeout=60)


def stop_under(sender, fleet, seconds):
    """All that comes until the stop is received and recorded; how many that were."""
    done = flotilla_stop(fleet)
    assert fleet.manager.wait(seconds) == 0
    fleet.manager = None
    taken = sender.stop()
    assert f"engine: {taken} received, 0 rejected, 0 dropped, {taken} rec" in done.stdout
    return taken
