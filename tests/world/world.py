# SPDX-License-Identifier: MIT
"""The world itself: network, disks, fleets, sender, sink and judge, the loop in which causes begin
and end, and what is looked at all the time: states, counters, what a process holds."""
import contextlib
import heapq
import itertools
import json
import mmap
import os
import random
import re
import select
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

from harness import disks
from harness.fleet import ROOT, Fleet

import events
import plan
from network import Network, wait_for_own_network

HERE = Path(__file__).resolve().parent
BUILT = ROOT / "build/stepped"
DISK_MIB = 512
SAMPLE_S = 0.5
BATCH = 32 * 64  # datagrams at most in what a relay had in its hands
SETTLE_S = 60
# A manager's memory and descriptors may differ by this from one moment of quiet to another.
SLACK_KIB, SLACK_DESCRIPTORS = 512, 2


class Clock:
    """What the programs take for the machine's clock; see tests/tools/stepped.c."""

    def __init__(self, path):
        path.write_bytes(bytes(65536))
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 65536)
        self._count, self.offset_ns = 0, 0
        os.environ["FLOTILLA_TEST_CLOCK"] = str(path)

    def step(self, offset_ns):
        self.offset_ns = offset_ns
        if self._count < 4095:
            struct.pack_into("<qq", self._memory, 16 + 16 * self._count, time.time_ns(), offset_ns)
            self._count += 1
            struct.pack_into("<Q", self._memory, 0, self._count)


class World:
    def __init__(self, given):
        self.given, self.folder = given, Path(given.folder)
        self.rng = random.Random(given.seed)
        self.channels = plan.channels()
        self.kinds = given.events.split(",")
        self.begun_ns = time.monotonic_ns()
        self.causes, self.open, self.held = [], [], {}
        self._due, self._order = [], itertools.count()
        self.violations = []
        self.relay_deaths = {one.name: 0 for one in self.channels}
        self.attic = 0
        self._commands, self._tools = [], []
        self._last, self._troubled, self._looked_for = {}, {}, []
        self.processes = []  # (seconds, manager's KiB, descriptors) of each moment of quiet
        self.quiets, self._sent_since_ns = 0, 0
        self._said = ""  # by the judge, not a whole line yet
        self._exits = contextlib.ExitStack()
        self._log = open(self.folder / "world.log", "a", buffering=1)

    # ---- making and unmaking ----

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self):
        self.programs = self.folder / "programs"  # whatever is built meanwhile
        shutil.copytree(BUILT, self.programs)
        self.clock = Clock(self.folder / "clock")
        python = sys.executable
        self.sender = self._tool("unshare", "--net", python, HERE / "sender.py", self.folder,
                                 self.given.rate)
        wait_for_own_network(self.sender.pid)
        self.network = Network(self.sender.pid)
        for link in plan.LINKS:
            self.network.make(link)
        self.sink = self._tool("nsenter", f"--net=/proc/{self.sender.pid}/ns/net", python,
                               HERE / "sink.py", self.folder)
        self._make_disks()
        self._make_fleets()
        self.judge = self._tool(python, HERE / "judge.py", self.folder, self.programs / "flotilla",
                                self.given.seed, *(self.pool(name) for name in self.disks),
                                *(self.folder / "under" / name for name in self.fleets))

    def _tool(self, *words):
        errors = open(self.folder / "tools.log", "ab")
        tool = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=errors, text=True)
        self._tools.append(tool)
        return tool

    def _make_disks(self):
        pool = self.folder / "pool"
        pool.mkdir()
        self.disks = {name: self._exits.enter_context(disks.Disk(pool, DISK_MIB, kind, name))
                      for name, kind in {**plan.DISKS, "spare": "ext4"}.items()}

    def pool(self, disk):
        """Where a disk is mounted all the time, whatever is mounted where a fleet looks."""
        return self.disks[disk].at

    def _make_fleets(self):
        keys = subprocess.run([self.programs / "flotilla", "check", "--keys"], capture_output=True,
                              text=True).stdout
        self.fleets = {}
        for name in plan.STORAGE:
            folder, storage = self.folder / name, dict(plan.STORAGE[name])
            (folder / "disk").mkdir(parents=True)
            under = self.folder / "under" / name
            under.mkdir(parents=True)
            subprocess.run(["mount", "--bind", folder / "disk", under], check=True)
            if name in plan.MOUNTED and re.search(r"storage\.mounted\b", keys):
                storage["mounted"] = True
            mine = {one.name: one.keys for one in self.channels if one.fleet == name}
            fleet = Fleet(mine, storage={**storage, "directory": "disk/rec"}, folder=folder,
                          run=False, prefix=self.programs)
            self.fleets[name] = fleet
            self.mount(name)
            fleet.write()
            fleet.start(wait=False)
        for fleet in self.fleets.values():
            fleet.wait_running()

    def __exit__(self, kind, error, trace):
        for tool in self._tools:
            tool.kill()
            tool.wait()
        for name, fleet in getattr(self, "fleets", {}).items():
            with contextlib.suppress(Exception):
                fleet._clean()
            for _ in range(50):
                if subprocess.run(["umount", "--lazy", fleet.folder / "disk"],
                                  capture_output=True).returncode:
                    break
            subprocess.run(["umount", self.folder / "under" / name], capture_output=True)
        self._exits.close()

    # ---- what events do ----

    def of(self, name):
        return next(one for one in self.channels if one.name == name)

    def free(self, holds):
        now = time.monotonic()
        return not any(self.held.get(one, 0) > now for one in holds)

    def hold(self, holds, seconds):
        for one in holds:
            self.held[one] = time.monotonic() + seconds

    def at(self, seconds, action):
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))

    def each(self, seconds, lasts, action):
        for number in range(int(lasts / seconds) + 1):
            self.at(number * seconds, action)

    def mount(self, fleet, disk=None):
        subprocess.run(["mount", "--bind", self.pool(disk or fleet),
                        self.fleets[fleet].folder / "disk"], check=True)

    def unmount(self, fleet):
        subprocess.run(["umount", "--lazy", self.fleets[fleet].folder / "disk"], check=True)

    def fill(self, fleet, path):
        """Takes all the room there is."""
        room = os.statvfs(self.pool(fleet))
        with open(path, "wb") as file:
            blocks = room.f_bfree
            while blocks > 16:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size,
                                       blocks * room.f_bsize)
                except OSError:
                    blocks //= 2

    def command(self, fleet, *words):
        about = self.fleets[fleet]
        log = open(self.folder / "commands.log", "ab")
        self._commands.append((words, subprocess.Popen(
            [self.programs / "flotilla", *words, "-c", about.file], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log)))

    def kill_manager(self, fleet):
        self.fleets[fleet].kill_manager()
        self.fleets[fleet].manager = None

    def start_manager(self, fleet):
        """Returns when it answers: until then its absence lasts."""
        self.fleets[fleet].start(wait=False)
        end = time.monotonic() + SETTLE_S
        while not self.status(fleet):
            if time.monotonic() > end:
                self.wrong("a manager does not answer", fleet=fleet)
                return
            time.sleep(0.02)

    # ---- telling ----

    def since(self, at_ns=None):
        return ((at_ns or time.monotonic_ns()) - self.begun_ns) / 1e9

    def note(self, text):
        self._log.write(f"{self.since():9.3f} {text}\n")

    def wrong(self, what, **about):
        about = {"violation": what, "at_s": round(self.since(), 2), **about}
        self.violations.append(about)
        self.note(f"VIOLATION {json.dumps(about)}")
        print(json.dumps(about), flush=True)

    # ---- the loop ----

    def run(self):
        self._ask_sender("go")
        end = time.monotonic() + self.given.seconds
        sample, quiet = time.monotonic() + 2, time.monotonic() + self.given.quiet
        event = time.monotonic() + 1
        while time.monotonic() < end:
            now = time.monotonic()
            self._do_due()
            self._hear_judge()
            if now >= event:
                event = now + self.rng.expovariate(1 / self.given.pace)
                self._begin()
            if now >= sample:
                sample = now + SAMPLE_S
                self._sample()
            if now >= quiet:
                self._quiet()
                self._ask_sender("go")
                quiet = time.monotonic() + self.given.quiet
            due = min(event, sample, self._due[0][0] if self._due else event)
            time.sleep(max(0.001, min(0.05, due - time.monotonic())))

    def _begin(self):
        cause = events.begin(self, self.rng, self.kinds)
        if cause is None:
            return
        self.note(f"{cause.kind}: {cause.text}")
        self.causes.append(cause)
        if cause.undo is None:
            self._ended(cause)
            return
        self.open.append(cause)
        self.hold(cause.holds, cause.lasts_s + 3600)
        self.at(cause.lasts_s, lambda: self._undo(cause))

    def _undo(self, cause):
        try:
            self.hold(cause.holds, 0)
            cause.undo()
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            self.wrong("the world itself", text=cause.text, error=repr(error),
                       said=str(getattr(error, "stderr", "")))
        self.open.remove(cause)
        self._ended(cause)
        self.note(f"over: {cause.text}")

    def _ended(self, cause):
        cause.end_ns = time.monotonic_ns()
        if cause.kind == "folder":
            self._looked_for.append((cause.end_ns, set(cause.concerns)))

    def _do_due(self):
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    # ---- what is looked at all the time ----

    def status(self, fleet):
        done = subprocess.run([self.programs / "flotilla", "status", "--json", "-c",
                               self.fleets[fleet].file], capture_output=True, text=True)
        if done.returncode:
            return {}
        return {one["name"]: one for one in json.loads(done.stdout)["channels"]}

    def _excused(self, name, now_ns):
        back_ns = self.given.back * 1e9
        if now_ns - self._sent_since_ns < back_ns:
            return True
        return any(name in one.concerns and (not one.end_ns or now_ns - one.end_ns < back_ns)
                   for one in reversed(self.causes[-200:]))

    def _sample(self):
        now_ns = time.monotonic_ns()
        for fleet, about in self.fleets.items():
            if about.manager is None:
                continue
            found = self.status(fleet)
            mine = {one.name for one in self.channels if one.fleet == fleet}
            if set(found) != mine and not any(self._excused(name, now_ns) for name in mine):
                self.wrong("status does not tell of all", fleet=fleet, told=sorted(found))
            for name, channel in found.items():
                self._look_at(name, channel, now_ns)
        self._look_for_files(now_ns)
        for words, command in [one for one in self._commands if one[1].poll() is not None]:
            self._commands.remove((words, command))

    def _look_at(self, name, channel, now_ns):
        last = self._last.get(name, {})
        for key in "datagrams_received", "datums_accepted", "datums_recorded":
            if channel[key] < last.get(key, 0):
                self.wrong("a counter went back", channel=name, counter=key,
                           was=last[key], now=channel[key])
        self._last[name] = channel
        well = channel["state"] == "running"
        if well or self._excused(name, now_ns):
            if well and name in self._troubled:
                self.note(f"{name} is back after {self.since() - self._troubled.pop(name):.1f} s "
                          "beyond what was its due")
        elif name not in self._troubled:
            self._troubled[name] = self.since()
            self.wrong("not back in time", channel=name, state=channel["state"],
                       reason=channel.get("reason"), causes=self._recent(name))

    def _recent(self, name):
        return [f"{self.since(one.begin_ns):.1f}-"
                + (f"{self.since(one.end_ns):.1f}" if one.end_ns else "")
                + f" {one.text}" for one in self.causes if name in one.concerns][-4:]

    def _look_for_files(self, now_ns):
        """After a change of folders, recording goes on where the configuration says."""
        for one in list(self._looked_for):
            ended_ns, names = one
            if now_ns - ended_ns < self.given.back * 1e9:
                continue
            for name in list(names):
                channel = self.of(name)
                folder = self.fleets[channel.fleet].folder / "disk/rec" / name
                if not channel.recorded or list(folder.glob("*.part")) or \
                        self._excused(name, now_ns):
                    names.discard(name)
                elif now_ns - ended_ns > self.given.back * 1e9 + 2e9:
                    self.wrong("does not record where it is to", channel=name,
                               causes=self._recent(name))
                    names.discard(name)
            if not names:
                self._looked_for.remove(one)

    def _hear_judge(self):
        """Takes what the judge says by itself: violations."""
        while self._judge_says(0):
            pass

    def _judge_says(self, seconds):
        """Waits so long for something from the judge. Its last whole line that is no violation;
        True for violations alone, None for nothing."""
        if not select.select([self.judge.stdout], [], [], seconds)[0]:
            return None
        self._said += os.read(self.judge.stdout.fileno(), 1 << 16).decode() or "\n"
        *lines, self._said = self._said.split("\n")
        answers = [said for said in map(self._heard, lines) if said is not None]
        return answers[-1] if answers else True

    def _heard(self, line):
        if not line:
            raise RuntimeError("the judge has ended: see tools.log")
        said = json.loads(line)
        if "violation" in said:
            self.wrong(said.pop("violation"), **said)
            return None
        if "note" in said:
            self.note(json.dumps(said))
            return None
        return said

    def _ask_judge(self, path):
        self.judge.stdin.write(f"{path}\n")
        self.judge.stdin.flush()
        while True:
            said = self._judge_says(SETTLE_S)
            if said not in (True, None):
                return said

    def _ask_sender(self, word):
        if word == "go":
            self._sent_since_ns = time.monotonic_ns()
        self.sender.stdin.write(word + "\n")
        self.sender.stdin.flush()
        return json.loads(self.sender.stdout.readline())

    # ---- quiet ----

    def _quiet(self):
        """Nothing is sent, every cause has ended: all is counted and nothing has grown."""
        self.note("quiet")
        self._ask_sender("pause")
        while self.open or self._due:
            self._do_due()
            time.sleep(0.01)
        time.sleep(events.SETTLED_S)
        for name, fleet in self.fleets.items():
            if self._settle(name):
                self._measure(name, fleet)
        self.quiets += 1
        self._troubled.clear()

    def _settle(self, fleet):
        """Until what was accepted is recorded and nothing changes any more; then the laws."""
        end, last = time.monotonic() + SETTLE_S, None
        while True:
            found = self.status(fleet)
            figures = {name: [value for value in one.values() if isinstance(value, int)]
                       for name, one in found.items()}
            if figures and figures == last and not any(one["unsynced_datums"]
                                                       for one in found.values()):
                break
            if time.monotonic() > end:
                self.wrong("no quiet", fleet=fleet, unsynced={
                    name: one["unsynced_datums"] for name, one in found.items()},
                    states={name: one["state"] for name, one in found.items()})
                return False
            last = figures
            time.sleep(0.1)
        for name, one in found.items():
            self._last[name] = one
            if one["datagrams_received"] != one["datagrams_accepted"] + one["datagrams_rejected"] \
                    or one["datums_accepted"] != one["datums_recorded"] + one["datums_unrecorded"]:
                self.wrong("the laws", channel=name, **{
                    key: one[key] for key in one if key.startswith("dat")})
            if one["datagrams_dropped"]:
                self.wrong("the queue was full", channel=name, dropped=one["datagrams_dropped"])
        return True

    def _measure(self, name, fleet):
        """Processes, one of each kind that is to be there, and what they hold."""
        relays, keepers = fleet.relay_processes(), fleet.processes("flotilla-keeper")
        if len(relays) != len(fleet.channels) or len(keepers) != 1:
            self.wrong("stray processes", fleet=name, relays=len(relays), keepers=len(keepers))
        memory = _memory_kib(fleet.manager.pid)
        descriptors = {"manager": _descriptors(fleet.manager.pid),
                       "keeper": max(map(_descriptors, keepers), default=0),
                       "relay": max(map(_descriptors, relays), default=0)}
        self.processes.append({"at_s": round(self.since()), "fleet": name,
                               "manager_pid": fleet.manager.pid, "manager_kib": memory,
                               **descriptors})
        mine = [one for one in self.processes if one["fleet"] == name]
        for what in descriptors:
            if mine[-1][what] > mine[0][what] + SLACK_DESCRIPTORS:
                self.wrong("descriptors grow", fleet=name, of=what, first=mine[0][what],
                           now=mine[-1][what])
        same = [one for one in mine if one["manager_pid"] == fleet.manager.pid]
        # The first moments of a manager's life are not counted: it takes what it needs.
        if len(same) > 3 and same[-1]["manager_kib"] > same[2]["manager_kib"] + SLACK_KIB:
            self.wrong("memory grows", fleet=name, then=same[2]["manager_kib"],
                       now=same[-1]["manager_kib"])

    def end(self):
        """Stops all, has all judged; the report."""
        self._quiet()
        counters = dict(self._last)
        for name, fleet in self.fleets.items():
            self._stop(name, fleet)
        sent = self._ask_sender("end")
        self.sink.stdin.close()
        sunk = json.loads(self.sink.stdout.readline())
        for name, one in sunk.items():
            if one["dropped"] or one["strange"]:
                self.wrong("at the sink", channel=name, **one)
        about = {"causes": [one.told() for one in self.causes], "counters": counters,
                 "relay_deaths": {name: self._deaths(name) for name in self.relay_deaths},
                 "back_ns": int(self.given.back * 1e9), "begun_ns": self.begun_ns, "batch": BATCH}
        (self.folder / "causes.json").write_text(json.dumps(about))
        verdict = self._ask_judge(self.folder / "causes.json")
        kinds = {}
        for one in self.causes:
            kinds[one.kind] = kinds.get(one.kind, 0) + 1
        return {"seed": self.given.seed, "seconds": round(self.since()), "events": kinds,
                "sent": sent, **verdict, "quiets": self.quiets, "processes": self.processes,
                "violations": self.violations}

    def _deaths(self, name):
        """How often a relay of the channel may have been killed."""
        hits = sum(name in one.concerns and one.kind in ("kill", "hang") for one in self.causes)
        return self.relay_deaths[name] + hits

    def _stop(self, name, fleet):
        done = subprocess.run([self.programs / "flotilla", "stop", "-c", fleet.file],
                              capture_output=True, text=True)
        code = fleet.manager.wait(60)
        fleet.manager = None
        if done.returncode or code:
            self.wrong("stop", fleet=name, code=done.returncode, manager=code,
                       said=done.stdout + done.stderr)
        for program in "flotilla-relay", "flotilla-keeper":
            end = time.monotonic() + 15
            while fleet.processes(program) and time.monotonic() < end:
                time.sleep(0.05)
            if fleet.processes(program):
                self.wrong("a process is left", fleet=name, program=program)
        for path in (self.pool(name) / "rec").rglob("*"):
            if path.name.endswith(".part") or path.name.startswith(".opening"):
                self.wrong("a file is left open", file=str(path))
        if name in plan.MOUNTED and "mounted" in fleet.storage and \
                list((self.folder / "under" / name).rglob("*")):
            self.wrong("recorded below a mount point", fleet=name)

    def summary(self, report):
        lines = [f"{report['seconds']} s, {sum(report['events'].values())} causes "
                 f"({', '.join(f'{n} {kind}' for kind, n in sorted(report['events'].items()))}), "
                 f"{report['quiets']} times quiet, {report['files']} files"
                 f", {report['left_open']} left open where no relay looks"]
        for name, row in report["table"].items():
            lines.append(f"  {name:6} " + ", ".join(f"{key.replace('_', ' ')} {value}"
                                                    for key, value in row.items()))
        lines.append(f"  retention: {report['removed']} files removed, at most so many seconds too "
                     f"late: {report['overstay_s']}")
        for fleet in self.fleets:
            mine = [one for one in report["processes"] if one["fleet"] == fleet]
            if mine:
                lines.append(f"  {fleet}: manager {mine[0]['manager_kib']} to "
                             f"{mine[-1]['manager_kib']} KiB, descriptors of manager "
                             f"{mine[0]['manager']} to {mine[-1]['manager']}, keeper "
                             f"{mine[0]['keeper']} to {mine[-1]['keeper']}, relay "
                             f"{mine[0]['relay']} to {mine[-1]['relay']}")
        lines.append(f"{len(report['violations'])} violations; seed {report['seed']}")
        return "\n".join(lines)


def _descriptors(pid):
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def _memory_kib(pid):
    """What a process has for itself."""
    with contextlib.suppress(OSError):
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found.group(1)) if found else 0
    return 0
