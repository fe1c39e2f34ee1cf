# SPDX-License-Identifier: MIT
"""068-refused-calls: containers and old kernels that refuse system calls, with EPERM or ENOSYS:
there is another way, or the call is named with what to do about it; never silence, never an endless
stop."""
import errno
import json
import re
import subprocess
from pathlib import Path

import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, RELAY, ROOT, Fleet, flotilla, wait_until

DENY = ROOT / "build/units/deny"
REFUSALS = [errno.EPERM, errno.ENOSYS]
# What there is another way for ...
SPARED = ["pidfd_send_signal", "pidfd_getfd", "statx", "renameat2", "fallocate", "close_range",
          "landlock_create_ruleset", "seccomp", "faccessat2", "adjtimex", "prlimit64", "madvise",
          "lseek", "capset", "waitid", "socketpair"]
# ... and what nothing goes without.
NEEDED = ["pidfd_open", "memfd_create", "recvmmsg", "sendmmsg", "flock", "signalfd4", "getrandom",
          "ppoll", "pwritev", "ftruncate", "epoll_pwait"]


def numbers():
    """The numbers of system calls here, by the compiler."""
    done = subprocess.run(["cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"],
                          capture_output=True, text=True, check=True)
    return {name: int(number) for name, number in
            re.findall(r"^#define __NR_(\w+) (\d+)$", done.stdout, re.M)}


def denied(error, *calls):
    """Words before a command that refuse it system calls."""
    assert DENY.exists(), f"no {DENY}: run `make test-programs`"
    known = numbers()
    words = [str(DENY), str(error), ",".join(str(known[call]) for call in calls)]
    done = subprocess.run([*words, "true"], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip(f"needs seccomp filters: {done.stderr.strip()}")
    return words


class Contained(Fleet):
    """A fleet whose manager, and all that it starts, is refused system calls."""

    def __init__(self, error, *calls):
        super().__init__({"engine": {"schema": signals.SCHEMA, "full": True}}, run=False)
        self.words = denied(error, *calls)

    def start(self, wait=True, **kw):
        with open(self.log_path, "ab") as log:
            self.manager = subprocess.Popen([*self.words, str(FLOTILLA), "run", "-c",
                                             str(self.file)], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder)
        if wait:
            self.wait_running()


@pytest.mark.parametrize("calls", [*SPARED, "renameat2,linkat", "pidfd_send_signal,pidfd_getfd"])
@pytest.mark.parametrize("error", REFUSALS, ids=errno.errorcode.get)
def test_068_there_is_another_way(error, calls, seed):
    datums = signals.samples(200)
    with Contained(error, *calls.split(",")) as fleet:
        fleet.start()
        sink = fleet.sink(fleet.address("engine", "full"))
        fleet.source("engine", datums[:100], rate=1000).finish()
        fleet.settle({"engine": 100})
        flotilla("restart", "engine", "-c", fleet.file, check=0)
        fleet.source("engine", datums[100:], rate=1000).finish()
        channel = fleet.settle({"engine": 200})["engine"]
        assert (channel["datums_recorded"], channel["send_errors"]) == (200, 0)
        assert sink.stop() == datums
        done = subprocess.run([FLOTILLA, "stop", "-c", fleet.file], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0 and "200 recorded, 0 unrecorded" in done.stdout
        assert fleet.manager.wait(60) == 0
        fleet.manager = None
        assert container.payload(fleet.files("engine"))[0] == b"".join(datums)


def assert_named(text, call, error):
    assert f"the system refuses {call}(2), which is needed" in text, text
    assert ("seccomp profile" if error == errno.EPERM else "Linux 5.4") in text


@pytest.mark.parametrize("call", NEEDED)
@pytest.mark.parametrize("error", REFUSALS, ids=errno.errorcode.get)
def test_068_what_is_needed_is_named(error, call, seed, tmp_path):
    """By the manager, by a relay by hand, and by doctor, each before anything is begun."""
    with Contained(error, call) as fleet:
        fleet.start(wait=False)
        assert fleet.manager.wait(60) == 1
        fleet.manager = None
        assert_named(fleet.log(), call, error)
        done = subprocess.run([*fleet.words, FLOTILLA, "doctor", "--json", "-c", fleet.file],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done
        found = json.loads(done.stdout)["findings"]
        (one,) = [one for one in found if one["check"] == "system calls"]
        assert_named(f"{one['text']}; {one['fix']}", call, error)
        if call in ("pidfd_open", "signalfd4", "epoll_pwait"):
            return
        layout = tmp_path / "layout"
        flotilla("schema", fleet.folder / "schemas/engine.avsc", "-o", layout, check=0)
        done = subprocess.run([*fleet.words, RELAY, "--name=engine", f"--layout={layout}",
                               f"--listen={fleet.address('engine')}", "--interface=lo"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 78
        assert_named(done.stderr, call, error)


@pytest.mark.parametrize("error", REFUSALS, ids=errno.errorcode.get)
def test_068_a_relay_that_hangs_is_ended_without_pidfd_send_signal(error, seed):
    """Asked, aborted and killed by its number, while it is its own."""
    with Contained(error, "pidfd_send_signal") as fleet:
        fleet.start()
        first = fleet.channel("engine")["pid"]
        subprocess.run(["kill", "-STOP", str(first)], check=True)
        fleet.source("engine", signals.samples(100), rate=1000).finish()
        wait_until(lambda: fleet.channel("engine")["pid"] not in (first, None), what="another")
        wait_until(lambda: not Path(f"/proc/{first}").exists(), what="the end of the first")
        assert fleet.settle({"engine": 100})["engine"]["datums_recorded"] == 100
