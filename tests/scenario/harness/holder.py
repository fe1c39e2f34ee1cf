# SPDX-License-Identifier: MIT
"""A small process in the manager's place: it holds a channel's sockets and memory and lets one
relay after another live on them, each under tests/tools/trace_fault, which harms it at its n-th
system call. Every life gets the same work: a few datagrams, one of them bad, then enough for a
large block and another file, then SIGTERM."""
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import time

from . import avro, container, readers, signals
from .fleet import OFFLOAD, RELAY, ROOT, Addresses, flotilla, new_folder, wait_until

TRACER = ROOT / "build/units/trace_fault"
SO_TIMESTAMPNS, SO_RXQ_OVFL, SO_MEMINFO, SO_COOKIE = 35, 40, 55, 57
HANG_SECONDS = 20


def _high(descriptor):
    """The descriptor above those that a relay inherits, out of their way."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(descriptor)
    return moved


def _udp(queue=0):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if queue:
        one.setsockopt(socket.SOL_SOCKET, 33, queue)  # SO_RCVBUFFORCE, needs root
    return socket.socket(fileno=_high(one.detach()))


class Life:
    """What became of one relay."""

    def __init__(self, report, said, hung):
        self.report, self.said, self.hung = report, said, hung
        self.hit = report.get("hit")
        self.code, self.signal = report.get("code"), report.get("signal")
        self.calls = report.get("calls", {})

    def stopped(self):
        """(received, rejected, dropped, recorded, unrecorded) of the relay's last words."""
        words = re.search(r"stopped: (\d+) datagrams received, (\d+) rejected, (\d+) dropped by "
                          r"the kernel; (\d+) datums recorded, (\d+) not", self.said)
        return tuple(map(int, words.groups())) if words else None


class Holder:
    """with Holder(layout) as holder: holder.life("--kill-entry", 7)"""

    memory_bytes = 0  # the relay's own measure, learned once from one that made its memory itself

    def __init__(self, layout, sync="20ms", rotate="16KiB", buffer="64MiB"):
        self.folder = new_folder("flotilla-holder-")
        self.layout = layout
        self.sent = self.bad = self.lives = 0
        self.receive, self.old, self.sender = self._receiver(), None, _udp()
        self.full, self.decimated = _udp(64 << 20), _udp(64 << 20)
        for one in (self.full, self.decimated):
            one.bind(("127.0.0.1", 0))
        self.full.setblocking(False)
        self.sender.connect(self.receive.getsockname())
        self.live = 0
        self.words = [str(RELAY), "--name=engine", f"--layout={layout}",
                      f"--listen=127.0.0.1:{self.receive.getsockname()[1]}", "--interface=lo",
                      f"--full=127.0.0.1:{self.full.getsockname()[1]}",
                      f"--decimated=127.0.0.1:{self.decimated.getsockname()[1]}", "--factor=3",
                      "--algorithm=min-max", f"--directory={self.folder / 'recordings'}",
                      f"--sync={sync}", f"--rotate-size={rotate}", f"--buffer={buffer}"]
        self.words += ["--offload=off"] if OFFLOAD == "off" else []
        self.memory = -1

    @staticmethod
    def _receiver():
        one = _udp(64 << 20)
        one.bind(("127.0.0.1", 0))
        for option in (SO_TIMESTAMPNS, SO_RXQ_OVFL):
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        one.setblocking(False)
        return one

    def __enter__(self):
        if not Holder.memory_bytes:
            Holder.memory_bytes = self._measure()
        self.memory = _high(os.memfd_create("engine", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        os.ftruncate(self.memory, Holder.memory_bytes)
        fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return self

    def __exit__(self, kind, error, trace):
        for one in (self.receive, self.old, self.sender, self.full, self.decimated):
            if one:
                one.close()
        os.close(self.memory)
        if not os.environ.get("FLOTILLA_TEST_KEEP"):
            shutil.rmtree(self.folder)

    # Lives ---------------------------------------------------------------------------------------

    def _spawn(self, words, inherited):
        """posix_spawn, because descriptors must get the very numbers 3, 4 ..."""
        out = str(self.folder / "said")
        actions = [(os.POSIX_SPAWN_OPEN, 2, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
        actions += [(os.POSIX_SPAWN_DUP2, one, 3 + at) for at, (_, one) in enumerate(inherited)]
        names = ":".join(name for name, _ in inherited)
        environment = {"LISTEN_FDS": str(len(inherited)), "LISTEN_FDNAMES": names,
                       "LISTEN_PID": "0", "PATH": os.environ.get("PATH", "")}
        return os.posix_spawn(words[0], words, environment, file_actions=actions)

    def _measure(self):
        """How large a memory the relay makes for these settings when it is given none."""
        pid = self._spawn(self.words[:3] + [f"--listen=127.0.0.1:{Addresses().port()}"]
                          + self.words[4:], [])

        def find():
            for entry in os.listdir(f"/proc/{pid}/fd"):
                try:
                    if "memfd:" in os.readlink(f"/proc/{pid}/fd/{entry}"):
                        return os.stat(f"/proc/{pid}/fd/{entry}").st_size
                except FileNotFoundError:
                    continue
            return None
        try:
            size = wait_until(find, what="the relay's memory")
            # It may not yet have its full size between being made and being sealed.
            return wait_until(lambda: find() if find() == size else None)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def change_address(self):
        """Another socket beside the first, to which nothing comes any more: the next lives get
        both, until the old one is closed."""
        self.old, self.receive = self.receive, self._receiver()
        self.old.connect(("127.0.0.1", 9))
        self.words[3] = f"--listen=127.0.0.1:{self.receive.getsockname()[1]}"
        self.sender.connect(self.receive.getsockname())

    def is_drained(self):
        """Whether a relay has said so in the channel's memory: in its ledger stands the cookie."""
        cookie = self.old.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
        return cookie in os.pread(self.memory, 32768, 0)

    def send(self, count, bad=0):
        for _ in range(bad):
            self.sender.send(b"\xff")
            self.bad += 1
        for _ in range(count):
            self.sender.send(signals.sample(self.sent))
            self.sent += 1

    def life(self, *harm, work=True):
        """One relay from its start to its end."""
        self.lives += 1
        report = self.folder / "report"
        report.unlink(missing_ok=True)
        inherited = [("receive", self.receive.fileno()), ("memory", self.memory)]
        if self.old:
            inherited.append(("draining", self.old.fileno()))
        pid = self._spawn([str(TRACER), *map(str, harm), "--report", str(report), *self.words],
                          inherited)
        code = None

        def ended(seconds):
            nonlocal code
            end = time.monotonic() + seconds
            while code is None:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    code = os.waitstatus_to_exitcode(status)
                elif time.monotonic() > end:
                    break
                else:
                    time.sleep(0.0005)
            return code is not None

        def first_comes():
            """Until a relay that can be stopped is there: one that has sent something."""
            end = time.monotonic() + 2
            before = self.live
            while self.live == before and not ended(0.002) and time.monotonic() < end:
                self.drain()
        self.send(8)
        first_comes()
        if work:
            ended(0.010)
            self.send(8, bad=1)
            ended(0.030)
            self.send(300)
            ended(0.020)
        hung = False
        if code is None:
            os.kill(pid, signal.SIGTERM)
            hung = not ended(HANG_SECONDS)
        if hung:
            os.kill(pid, signal.SIGKILL)  # and the relay with it (PTRACE_O_EXITKILL)
            os.waitpid(pid, 0)
        self.drain()
        text = report.read_text() if report.exists() else "{}"
        return Life(json.loads(text or "{}"), (self.folder / "said").read_text(), hung)

    def drain(self):
        """Counts what came at the live group."""
        while True:
            try:
                self.full.recv(65536)
            except BlockingIOError:
                return
            self.live += 1

    # Judgement -----------------------------------------------------------------------------------

    def files(self):
        folder = self.folder / "recordings"
        return sorted(path for path in folder.iterdir()
                      if ".avro" in path.name and "-rejects" not in path.name)

    def recorded(self):
        """The counters of the datums in the files, in the order of the files and blocks."""
        numbers = []
        for path in self.files():
            for count, body, _, _ in container.read(path)[1]:
                at, before = 0, len(numbers)
                while at < len(body):
                    _, at = avro._read_long(body, at)
                    number, at = avro._read_long(body, at)
                    numbers.append(number)
                    assert body[at + 12] == 0, "the datum has no note"
                    at += 13
                assert len(numbers) - before == count
        return numbers

    def assert_valid(self):
        found = readers.run("libavro", self.files())
        assert not [text for text in found.values() if text.startswith("error")], found
        return sum(int(text.split("\t")[0]) for text in found.values())


def make_layout(folder):
    """The relay's layout of signals.SCHEMA in a file."""
    schema = folder / "sample.avsc"
    schema.write_text(json.dumps(signals.SCHEMA))
    flotilla("schema", schema, "-o", folder / "sample.layout", check=0)
    return folder / "sample.layout"
