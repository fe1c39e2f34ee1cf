# SPDX-License-Identifier: MIT
"""One run of one subject under one load, and pairs of runs in turn.

A subject is a program between a source and a sink: a floor (bench_floor), the relay, or another
program that does part of the job. What is taken is CPU time: of all its threads, from before the
load to its end. The kernel's receive path runs in the source's time over veth and loopback, its
send path up to the sink's queue in the subject's; it is the same for all subjects."""
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import layouts
import place as places
from layouts import BUILD

STEAL_MAX = 0.02
REAL_TIME = 10  # priority: before all that is not real-time, behind the kernel's own threads
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, SUBJECT_CORE = CORES[0], CORES[1 % len(CORES)]


@dataclass(frozen=True)
class Load:
    size: int = 1200
    rate: float = 100_000
    seconds: float = 0.5
    train: int = 1  # datagrams that are due at once; more than one are sent coalesced
    doubles: int = 0
    head: bytes = b""
    way: str = ""
    queue: str = "64MiB"  # of the subject: a pause of the machine is not to show as loss
    backlog: bool = False  # all of it waits before the subject goes on: full batches for everybody

    @property
    def count(self):
        return max(self.train, round(self.rate * self.seconds) // self.train * self.train)

    def words(self):
        way = self.way or ("segment" if self.train > 1 else "batch")
        words = ["--size", self.size, "--rate", f"{self.rate:.0f}", "--count", self.count,
                 "--way", way, "--train", self.train]
        words += ["--doubles", self.doubles] if self.doubles else []
        return words + (["--head", self.head.hex()] if self.head else [])

    def told(self):
        return f"{self.size:,} B " + (f"in trains of {self.train}" if self.train > 1 else "plain")


@dataclass
class Run:
    """What one run gave. `steal` and `others` are shares of all the machine's cores: what its host
    took, and what processes that are not of this run used. `line` is the subject's command."""
    cpu_s: float = 0
    source: dict = field(default_factory=dict)
    sink: dict = field(default_factory=dict)
    received: int = 0
    dropped: int = 0
    steal: float = 0
    others: float = 0
    watched: object = None  # what once(watch=...) saw
    source_s: float = 0
    line: str = ""
    said: str = ""

    @property
    def ns(self):
        """CPU nanoseconds a datagram."""
        return self.cpu_s * 1e9 / max(1, self.received)

    @property
    def source_ns(self):
        """CPU nanoseconds of the source a datagram."""
        return self.source_s * 1e9 / max(1, self.source["sent"])

    @property
    def whole(self):
        """Whether nothing was lost in the subject."""
        return self.received == self.source["sent"] and not self.dropped


class Floor:
    relays = True

    def __init__(self, way, records=False):
        self.name = {"one": "recvfrom+sendto", "batch": "recvmmsg+sendmmsg",
                     "offload": "GRO+GSO"}[way]
        self.name += "+a copy+O_DIRECT" if records else ""
        self.way, self.records = way, records

    def command(self, run):
        words = [BUILD / "units/bench_floor", "--listen", run.listen, "--to", run.to,
                 "--interface", run.interface, "--way", self.way, "--queue", run.load.queue]
        return words + (["--record", run.folder / "floor"] if self.records else [])

    def is_ready(self, pid, folder):
        return "ready" in (folder / "out").read_text()

    def result(self, run, out, err):
        report = json.loads(out.splitlines()[-1])
        return report["received"], report["dropped"]


class Relay:
    def __init__(self, name="relay", record=True, relays=True, more=()):
        self.name, self.record, self.relays, self.more = name, record, relays, list(more)

    def command(self, run):
        layout = layouts.compile_layout(run.folder, layouts.schema(
            run.load.size, run.load.doubles, len(run.load.head)))
        words = [BUILD / "flotilla-relay", "--name=bench", f"--layout={layout}",
                 f"--listen={run.listen}", f"--interface={run.interface}",
                 f"--receive-queue={run.load.queue}"]
        words += [f"--full={run.to}"] if self.relays else []
        if self.record:
            (run.folder / "recordings").mkdir()
            words.append(f"--directory={run.folder}/recordings")
        return words + [word.replace("GROUP", run.decimated) for word in self.more]

    def is_ready(self, pid, folder):
        """It is about to receive: all that has to be opened is, and the sandbox is closed."""
        return "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()

    def result(self, run, out, err):
        match = re.search(r"stopped: (\d+) datagrams received, (\d+) rejected, (\d+) dropped by "
                          r"the kernel; (\d+) datums recorded, (\d+) not", err)
        assert match, err
        received, rejected, dropped, recorded, unrecorded = map(int, match.groups())
        assert rejected == 0, err
        # What could not be recorded is lost too, though it was sent.
        lost = unrecorded if self.record else 0
        assert not self.record or recorded + unrecorded == received, err
        return received, dropped + lost


class Other:
    """A program of the distribution; `words` are formatted with the run's addresses. How much it
    received is what the sink got, or what `count` reads from its output or its file."""

    def __init__(self, name, words, relays=True, count=None, stop=signal.SIGTERM):
        self.name, self.words, self.relays, self.count = name, words, relays, count
        self.stop = stop

    def command(self, run):
        host, _, port = run.listen.rpartition(":")
        to_host, _, to_port = run.to.rpartition(":")
        keys = dict(group=host, port=port, to_group=to_host, to_port=to_port, folder=run.folder,
                    interface=run.interface, address=run.place.address("inside"))
        return [word.format(**keys) for word in self.words]

    def result(self, run, out, err):
        if self.count:
            return self.count(run, err), 0
        return None, 0


def cpu_seconds(pid):
    """What all threads of a running process have used so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def waiting(pid, listen):
    """Bytes in the receive queue of the socket bound to an address's port; None if there is none
    (yet). Seen from the process's own namespace."""
    port = f":{int(listen.rpartition(':')[2]):04X}"
    for line in open(f"/proc/{pid}/net/udp").read().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(port):
            return int(words[4].partition(":")[2], 16)
    return None


class Started:
    """A subject that runs, with its sink, in a place; ended with the `with` block."""

    def __init__(self, place, subject, load, groups, storage, pin=True, core=None, urgent=False):
        self.place, self.subject, self.load = place, subject, load
        self.listen, self.to, self.decimated = groups.next(), groups.next(), groups.next()
        self.interface = place.interface("inside")
        self.folder = Path(tempfile.mkdtemp(prefix="flotilla-bench-", dir=storage))
        self.sink = self.child = None
        self._pin, self._core = pin, SUBJECT_CORE if core is None else core
        self._urgent = urgent  # real-time priority for subject, source and sink

    def _open(self, side, words, core, **kw):
        def prepare():
            if self._pin:
                os.sched_setaffinity(0, {core})
            if self._urgent:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REAL_TIME))
        return subprocess.Popen([str(word) for word in self.place.words(side) + words],
                                stdin=subprocess.DEVNULL, preexec_fn=prepare, **kw)

    def __enter__(self):
        try:
            head = ["--head-bytes", len(self.load.head)] if self.load.head else []
            self.sink = self._open("outside", [
                BUILD / "units/bench_sink", "--listen", self.to, "--interface",
                self.place.interface("outside"), "--gro", *head], LOAD_CORE,
                stdout=subprocess.PIPE, text=True)
            assert self.sink.stdout.readline() == "ready\n"
            self.words = [str(word) for word in self.subject.command(self)]
            self._out, self._err = open(self.folder / "out", "w+"), open(self.folder / "err", "w+")
            self.child = self._open("inside", self.words, self._core, stdout=self._out,
                                    stderr=self._err)
            end = time.monotonic() + 30  # on a disk that is thrashed, opening a file takes its time
            told = not isinstance(self.subject, Other)
            while told and not self.subject.is_ready(self.child.pid, self.folder):
                assert self.child.poll() is None and time.monotonic() < end, self._texts()
                time.sleep(0.01)
            time.sleep(0.08 if told else 0.4)
            assert self.child.poll() is None, self._texts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _texts(self):
        for file in (self._out, self._err):
            file.flush()
        return (self.folder / "out").read_text(), (self.folder / "err").read_text()

    def send(self, load):
        return self._open("outside", [BUILD / "units/bench_source", "--to", self.listen,
                                      "--interface", self.place.interface("outside"),
                                      *load.words()], LOAD_CORE, stdout=subprocess.PIPE, text=True)

    def drained(self, seconds=10):
        """Waits until nothing waits in the subject's queue."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (waiting(self.child.pid, self.listen) or 0) > 0:
            time.sleep(0.005)
        time.sleep(0.05)

    def stop(self, before_s):
        """Ends the subject; (CPU seconds since `before_s`, received, dropped, what it said)."""
        self.child.send_signal(getattr(self.subject, "stop", signal.SIGTERM))
        _, status, usage = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        out, err = self._texts()
        received, dropped = self.subject.result(self, out, err)
        self.sink.send_signal(signal.SIGTERM)
        report = json.loads(self.sink.communicate(timeout=60)[0])
        assert not report["dropped"], "the sink was too slow"
        if received is None:
            received = report["received"]
        elif self.subject.relays and report["received"] != received:
            dropped += received - report["received"]
        return usage.ru_utime + usage.ru_stime - before_s, received, dropped, report, err

    def __exit__(self, *_):
        for child in (self.child, self.sink):
            if child is not None and child.returncode is None:
                child.kill()
                child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Bench:
    """What all runs share: the place, addresses, and where recordings go."""

    def __init__(self, place, storage):
        self.place, self.storage, self.groups = place, storage, places.Groups()

    def start(self, subject, load, **kw):
        return Started(self.place, subject, load, self.groups, self.storage, **kw)

    def once(self, subject, load, pin=True, watch=None, urgent=False):
        with self.start(subject, load, pin=pin, urgent=urgent) as started:
            before_s = cpu_seconds(started.child.pid)
            sink_s = cpu_seconds(started.sink.pid)
            ticks = places.processor_times()
            watcher = watch(started.child.pid) if watch else None
            own = resource.getrusage(resource.RUSAGE_CHILDREN)
            if load.backlog:
                started.child.send_signal(signal.SIGSTOP)
            source = started.send(load)
            said = source.communicate(timeout=120)[0]
            started.child.send_signal(signal.SIGCONT)
            own = [after - before for before, after in
                   zip(own[:2], resource.getrusage(resource.RUSAGE_CHILDREN)[:2])]
            assert source.returncode == 0, said
            started.drained()
            watched = watcher.stop() if watcher else None
            ticks = [after - before for before, after in zip(ticks, places.processor_times())]
            ours_s = (cpu_seconds(started.child.pid) - before_s + sum(own)
                      + cpu_seconds(started.sink.pid) - sink_s)
            cpu_s, received, dropped, sink, err = started.stop(before_s)
            others = max(0, ticks[2] - ours_s * TICKS_PER_S)
            return Run(cpu_s=cpu_s, source_s=sum(own), source=json.loads(said), sink=sink,
                       received=received, dropped=dropped, steal=ticks[1] / max(1, ticks[0]),
                       others=others / max(1, ticks[0]), watched=watched,
                       line=" ".join(started.words), said=err)

    def pairs(self, one, other, load, wanted=5, other_load=None):
        """Runs two subjects in turn (A B A B ...); pairs with too much steal are dropped, and at
        most as many again are tried."""
        kept, dropped = [], 0
        for _ in range(2 * wanted):
            if len(kept) == wanted:
                break
            pair = (self.once(one, load), self.once(other, other_load or load))
            if max(run.steal for run in pair) > STEAL_MAX:
                dropped += 1
                continue
            kept.append(pair)
        return Pairs(kept, dropped, load)


class Pairs:
    """Pairs of runs; figures are medians, ratios are of one pair's two runs."""

    def __init__(self, kept, dropped, load):
        self.kept, self.dropped, self.load = kept, dropped, load

    def floor_ns(self):
        return statistics.median(a.ns for a, _ in self.kept)

    def ns(self):
        return statistics.median(b.ns for _, b in self.kept)

    def ratios(self):
        return sorted(b.ns / a.ns for a, b in self.kept)

    def others(self):
        """The largest share of the machine that others had during one run."""
        return max(run.others for pair in self.kept for run in pair)

    def whole(self):
        return all(run.whole for pair in self.kept for run in pair)


class Calls:
    """Counts the system calls of a process that runs, without stopping it: perf's tracepoint."""

    def __init__(self, pid):
        self._child = subprocess.Popen(
            ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)

    def stop(self):
        self._child.send_signal(signal.SIGINT)
        said = self._child.communicate(timeout=10)[1]
        match = re.search(r"^(\d+),", said, re.M)
        assert match, said
        return int(match.group(1))


class Profile:
    """Samples a process that runs, with perf, and says for each system call it is in (or page
    fault, or interrupt, or the program itself) what share of its time that has, in what functions.
    """

    def __init__(self, pid):
        self._folder = tempfile.TemporaryDirectory(prefix="flotilla-profile-")
        self._data = f"{self._folder.name}/perf.data"
        self._child = subprocess.Popen(
            ["perf", "record", "-q", "-F", "4999", "-e", "cpu-clock", "-g", "-o", self._data,
             "-p", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def stop(self):
        self._child.send_signal(signal.SIGINT)
        self._child.wait(30)
        text = subprocess.run(["perf", "script", "-i", self._data, "-F", "ip,sym"],
                              capture_output=True, text=True, timeout=120).stdout
        self._folder.cleanup()
        shares, total = {}, 0
        for sample in text.split("\n\n"):
            frames = [line.split(None, 1)[-1].strip() for line in sample.splitlines() if
                      line.strip()]
            if not frames:
                continue
            total += 1
            where = shares.setdefault(self._place(frames), {})
            where[frames[0]] = where.get(frames[0], 0) + 1
        assert total, "perf saw nothing"
        return {place: {"share": sum(own.values()) / total,
                        "functions": {name: count / total for name, count in
                                      sorted(own.items(), key=lambda one: -one[1])[:6]}}
                for place, own in sorted(shares.items(), key=lambda one: -sum(one[1].values()))}

    @staticmethod
    def _place(frames):
        for frame in reversed(frames):
            if match := re.match(r"__(?:x64|arm64)_sys_(\w+)|do_(pwritev|preadv)", frame):
                return match[1] or match[2]
            if "exc_page_fault" in frame or "el0_da" in frame:
                return "page faults"
            if re.match(r"asm_(sysvec|common_interrupt)|el\d_irq", frame):
                return "interrupts"
        return "the program itself" if not frames[0].startswith("entry_") else "entering"
