# SPDX-License-Identifier: MIT
"""026-every-call: a relay is killed at the entry and at the exit of each of its system calls in
turn, and each call is made to fail at its n-th time, with every error that the kernel could give.
What became of the datagrams is read from the files with readers of other make."""
import shutil
import time

import pytest
from harness import torture
from harness.fleet import LONG, new_folder
from harness.holder import Holder, make_layout
from harness.torture import BATCH

MISSES = 3  # lives in a row that were over before their n-th call: there is no more
SAMPLE_KILLS, SAMPLE_FAULTS = 60, 40  # drawn by the seed where not all are done

# What the kernel may answer. "short" takes less than it was asked to.
ERRORS = {
    "bind": ("ENOMEM", "EADDRINUSE", "EADDRNOTAVAIL"),
    "capset": ("EPERM",),
    "clone": ("EAGAIN", "ENOMEM"),
    "close": ("EINTR", "EIO"),
    "faccessat2": ("ENOMEM", "EIO", "ENOSYS"),
    "fallocate": ("ENOSPC", "EIO", "EINTR", "EINVAL"),
    "fcntl": ("EINTR", "EMFILE", "ENOMEM"),
    "fdatasync": ("EIO", "ENOSPC", "EINTR"),
    "flock": ("EINTR", "ENOMEM"),
    "fstat": ("ENOMEM", "EIO"),
    "fstatfs": ("ENOMEM", "EIO", "EINTR"),
    "fsync": ("EIO", "ENOSPC", "EINTR"),
    "ftruncate": ("EINTR", "EIO", "ENOSPC"),
    "futex": ("EINTR", "EAGAIN"),
    "getdents64": ("EIO", "ENOMEM"),
    "getrandom": ("EINTR", "EAGAIN", "short"),
    "getsockname": ("ENOBUFS",),
    "getsockopt": ("ENOMEM", "ENOBUFS"),
    "ioctl": ("EIO", "ENODEV"),
    "landlock_add_rule": ("ENOMEM", "EINVAL"),
    "landlock_create_ruleset": ("ENOSYS", "EOPNOTSUPP", "EMFILE", "ENOMEM"),
    "landlock_restrict_self": ("EPERM", "ENOMEM"),
    "lseek": ("EINVAL", "EIO"),
    "madvise": ("ENOMEM", "EAGAIN", "EIO"),
    "memfd_create": ("EMFILE", "ENOMEM"),
    "mkdir": ("ENOSPC", "EIO", "ENOMEM"),
    "mkdirat": ("ENOSPC", "EIO", "ENOMEM"),
    "mmap": ("ENOMEM", "EAGAIN"),
    "mprotect": ("ENOMEM",),
    "munmap": ("ENOMEM",),
    "newfstatat": ("ENOMEM", "EIO"),
    "open": ("EMFILE", "ENFILE", "ENOMEM", "EIO", "EINTR"),
    "openat": ("EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EIO", "EINTR"),
    "pipe": ("EMFILE", "ENFILE"),
    "pipe2": ("EMFILE", "ENFILE"),
    "ppoll": ("EINTR", "ENOMEM"),
    "pread64": ("EIO", "EINTR", "short"),
    "prctl": ("EINVAL", "EPERM"),
    "preadv": ("EIO", "EINTR"),
    "prlimit64": ("EPERM",),
    "pwrite64": ("ENOSPC", "EIO", "EINTR", "EAGAIN", "EDQUOT", "short"),
    "pwritev": ("ENOSPC", "EIO", "EINTR", "EAGAIN", "EDQUOT", "short"),
    "pwritev2": ("ENOSPC", "EIO", "EINTR", "EAGAIN", "EDQUOT", "short"),
    "read": ("EINTR", "EIO", "short"),
    "recvfrom": ("EINTR", "ENOBUFS", "ENOMEM"),
    "recvmmsg": ("EINTR", "EAGAIN", "ENOBUFS", "ENOMEM", "short"),
    "recvmsg": ("EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"),
    "renameat2": ("EIO", "ENOSPC", "ENOMEM"),
    "sched_getparam": ("EPERM",),
    "sched_getscheduler": ("EPERM",),
    "sched_setparam": ("EPERM",),
    "sched_setscheduler": ("EPERM",),
    "seccomp": ("EINVAL", "ENOSYS"),
    "sendmmsg": ("EINTR", "EAGAIN", "ENOBUFS", "ENOMEM", "EPERM", "short"),
    "sendmsg": ("EINTR", "EAGAIN", "ENOBUFS", "ENOMEM", "EPERM"),
    "sendto": ("EINTR", "ENOBUFS", "ENOMEM"),
    "setsockopt": ("ENOMEM", "ENOBUFS"),
    "sigaltstack": ("ENOMEM",),
    "socket": ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"),
    "stat": ("ENOMEM", "EIO"),
    "statx": ("ENOMEM", "EIO", "ENOSYS"),
    "sync_file_range": ("EIO", "ENOSPC"),
    "unlinkat": ("EIO", "ENOMEM"),
    "write": ("EAGAIN", "EINTR", "EIO", "short"),
    "writev": ("EAGAIN", "EINTR", "EIO"),
}
# No kernel fails these, or what follows is not the program's any more.
NEVER = {"arch_prctl", "brk", "capget", "clock_gettime", "exit", "exit_group", "getpid", "gettid",
         "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "set_robust_list", "set_tid_address",
         "tgkill", "tkill", "uname"}


@pytest.fixture(scope="module")
def layout():
    folder = new_folder("flotilla-layout-")
    yield make_layout(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("where", ["entry", "exit"])
def test_026_killed_at_every_system_call(rng, needs_root, layout, where):
    with Holder(layout) as holder:
        first = holder.life()
        assert first.code == 0 and first.stopped(), first.said
        calls = sum(first.calls.values())
        points = iter(range(1, 100 * calls)) if LONG else \
            iter(sorted(rng.sample(range(1, calls + 1), SAMPLE_KILLS)))
        kills = missed = 0
        began, last = time.monotonic(), 0
        for point in points:
            life = holder.life(f"--kill-{where}", point)
            assert not life.hung, (point, life.hit)
            if life.signal == 9:
                kills, missed, last = kills + 1, 0, point
                continue
            # At the exit of the last call there is nobody to kill.
            assert life.code == 0, (point, life.report, life.said)
            missed += life.hit is None
            if missed == MISSES:
                break
        final = holder.life()
        assert final.code == 0, final.said
        received, rejected, dropped, recorded, unrecorded = final.stopped()
        numbers = holder.recorded()
        lost, twice = torture.lost_and_twice(numbers, holder.sent)
        torture.add_row(f"relay SIGKILL at the {where} of each call", repetitions=kills,
                        datagrams=holder.sent, lost=lost, twice=twice,
                        live_twice=holder.live - holder.sent)
        print(f"{final.stopped()}: {kills} kills up to call {last} "
              f"in {time.monotonic() - began:.0f} s")
        assert numbers == list(range(holder.sent)), (lost, twice)
        assert holder.assert_valid() == holder.sent
        assert (received, rejected, dropped, recorded, unrecorded) == \
            (holder.sent + holder.bad, holder.bad, 0, holder.sent, 0)
        assert 0 <= holder.live - holder.sent <= BATCH * kills
        assert kills >= SAMPLE_KILLS * 0.7


class Point:
    """One call, its n-th time, one error; what went wrong is in `wrong`."""

    def __init__(self, layout, call, error, number, kill=None):
        self.text = f"{call} {error} {number}" + (f" after a kill at {kill}" if kill else "")
        self.wrong, self.refused, self.understated = None, False, 0
        harm = ["--short", number] if error == "short" else ["--fail", number, "--error", error]
        with Holder(layout) as holder:
            if kill:
                holder.life("--kill-entry", kill)
            life = holder.life(*harm, "--only", call)
            self.hit = life.hit
            if self.hit is None:
                return
            try:
                self._judge(holder, life, call, kill)
            except (AssertionError, ValueError) as wrong:
                self.wrong = f"{self.text}: {wrong}".split("\nassert")[0]

    def _judge(self, holder, life, call, kill):
        assert not life.hung, f"hung; said: {life.said}"
        assert life.signal is None, f"crashed with signal {life.signal}; said: {life.said}"
        self.refused = life.code != 0
        assert not self.refused or life.said, f"ended with {life.code} and without a word"
        again = holder.life(work=False)
        assert again.code == 0 and again.stopped(), f"the next start did not work: {again.said}"
        received, rejected, dropped, recorded, unrecorded = again.stopped()
        said = f"{again.stopped()} of {holder.sent} and {holder.bad} bad; {life.said}{again.said}"
        numbers = holder.recorded()
        assert numbers == sorted(set(numbers)), f"twice or out of order: {said}"
        assert holder.assert_valid() == len(numbers)
        if "discarded" not in life.said + again.said:
            assert received + dropped == holder.sent + holder.bad, f"received: {said}"
            assert rejected == holder.bad, f"rejected: {said}"
            assert received == rejected + recorded + unrecorded, f"counted: {said}"
            # Never more than is there. Less, where it said that something failed: what could not
            # be synced, or was discarded with a folder that could not be opened, may be there.
            self.understated = len(numbers) - recorded
            assert 0 <= self.understated <= (unrecorded if "cannot" in life.said else 0), \
                f"{len(numbers)} in files: {said}"
        if call != "sendmmsg":
            assert holder.live >= holder.sent, f"{holder.live} sent on: {said}"
        assert holder.live <= holder.sent + (BATCH if kill else 0), f"live: {said}"


def test_026_every_system_call_fails(rng, needs_root, layout):
    with Holder(layout) as holder:
        calls = holder.life().calls
    unknown = set(calls) - set(ERRORS) - NEVER
    assert not unknown, f"what may the kernel answer to {unknown}? ERRORS must know"
    plan = [(call, error) for call in sorted(calls) if call in ERRORS for error in ERRORS[call]]
    wrong, table = [], []
    if LONG:
        for call, error in plan:
            reached = refused = missed = number = understated = 0
            while missed < MISSES:
                number += 1
                kill = rng.randint(1, sum(calls.values())) if rng.random() < 0.3 else None
                point = Point(layout, call, error, number, kill)
                missed = 0 if point.hit else missed + 1
                reached = number if point.hit else reached
                refused += point.refused
                understated += point.understated > 0
                wrong += [point.wrong] if point.wrong else []
            table.append({"call": call, "error": error, "reached": reached, "refused": refused,
                          "note": f"{understated} times more in the files than counted"
                          if understated else ""})
    else:
        for _ in range(SAMPLE_FAULTS):
            call, error = rng.choice(plan)
            kill = rng.randint(1, sum(calls.values())) if rng.random() < 0.3 else None
            point = Point(layout, call, error, rng.randint(1, calls[call]), kill)
            wrong += [point.wrong] if point.wrong else []
    torture.add_calls(table)
    assert not wrong, f"{len(wrong)} faults:\n" + "\n".join(wrong)
