# SPDX-License-Identifier: MIT
"""A fleet of real processes in a folder of its own: Fleet writes the configuration, runs
`flotilla run`, and on the way out asserts the conservation laws and ends only what it started.

All traffic stays on the loopback interface. The folder is below /var/tmp (a disk, where /tmp may
be memory) unless FLOTILLA_TEST_FOLDER names another. FLOTILLA_TEST_OFFLOAD decides for all channels
that do not say it themselves: "auto" as in the release, "off", or "refused": a build whose every
segmented message is refused when it is sent, although the probe found that it works.
FLOTILLA_TEST_MACHINE has the programs of another machine run (harness/emulated.py)."""
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from . import signals
from .seeds import LONG  # noqa: F401, as of the fleet

ROOT = Path(__file__).resolve().parents[3]
OFFLOAD = os.environ.get("FLOTILLA_TEST_OFFLOAD") or "auto"
BUILD = {"auto": ROOT / "build", "off": ROOT / "build", "refused": ROOT / "build/refused"}[OFFLOAD]
EMULATED = os.environ.get("FLOTILLA_TEST_MACHINE")
if EMULATED:
    BUILD = ROOT / "build/emulated" / EMULATED
FLOTILLA = BUILD / "flotilla"
RELAY = BUILD / "flotilla-relay"
SOURCE = ROOT / "build/units/udp_source"
SINK = ROOT / "build/units/udp_sink"
# So long a queue that a machine which is busy with other things loses nothing.
QUEUE = "128MiB" if os.geteuid() == 0 else None
LAWS = [
    ("datagrams_received", ("datagrams_accepted", "datagrams_rejected")),
    ("datums_accepted", ("datums_recorded", "datums_unrecorded")),
]


def new_folder(stem="flotilla-"):
    return Path(tempfile.mkdtemp(prefix=stem, dir=os.environ.get("FLOTILLA_TEST_FOLDER",
                                                                 "/var/tmp")))


def flotilla(*arguments, check=None, timeout=60, **kw):
    """Runs the command; with `check`, asserts the exit code and shows what it said."""
    kw.setdefault("capture_output", True)
    kw.setdefault("text", True)
    done = subprocess.run([str(FLOTILLA), *map(str, arguments)], timeout=timeout, **kw)
    if check is not None:
        assert done.returncode == check, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def wait_until(condition, *, seconds=60, what="", pause=0.02):
    """Waits for a true result and returns it; the time is a limit, never a guess: a busy machine
    takes many times what a quiet one does."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(pause)


def copy_programs(folder, manager=FLOTILLA):
    """Programs of the test's own, to be moved away."""
    shutil.copy(manager, folder / "flotilla")
    for name in "flotilla-relay", "flotilla-keeper":
        shutil.copy(BUILD / name, folder / name)


def copied_sockets(pid):
    """A copy of each socket that the process has, open until the next one is asked for."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(pid)
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:"):
                    continue
            except FileNotFoundError:  # it was open for a moment
                continue
            copy = libc.syscall(438, handle, int(entry), 0)  # pidfd_getfd
            if copy >= 0:
                with socket.socket(fileno=copy) as one:
                    yield one
    finally:
        os.close(handle)


def half_recorded(fleet):
    """3000 datums, of which the disk has none yet: `sync` is long."""
    pool = signals.samples(3000)
    fleet.source("engine", pool, rate=10_000).finish()
    wait_until(lambda: fleet.channel("engine")["datums_accepted"] == 3000)
    assert fleet.channel("engine")["datums_recorded"] < 3000
    return pool


def put_in_the_way(path, empty=False):
    """A folder where a file or socket of the fleet's is to be; it cannot be removed just so."""
    if path.exists():
        path.unlink()
    path.mkdir()
    if not empty:
        (path / "somebody's").write_text("")


# Which of the processes of this run, and of how many.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


class Addresses:
    """Groups and ports nobody else uses: groups at random in 239.192.0.0/14 and ff15::/16 (several
    test runs may share a machine), ports that could be bound a moment ago, of a part that no other
    process of this run takes from."""

    def __init__(self):
        self._random = random.Random()  # not the test's seed: two runs must not meet
        self._taken = set()

    def port(self):
        while True:
            port = self._random.randrange(20000 + WORKER, 32000, WORKERS)  # none is ephemeral
            if port in self._taken:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind(("", port))
                except OSError:
                    continue
            self._taken.add(port)
            return port

    def group(self, port=None):
        octets = [self._random.randint(192, 195), *self._random.choices(range(1, 255), k=2)]
        return "239." + ".".join(map(str, octets)) + f":{port or self.port()}"

    def group6(self, port=None):
        words = [f"{word:x}" for word in self._random.choices(range(1, 65536), k=4)]
        return f"[ff15::{':'.join(words)}]:{port or self.port()}"

    def unicast(self):
        return f"127.0.0.1:{self.port()}"


def to_yaml(value, indent=0):
    """Block YAML of dicts, lists and scalars: enough for a fleet.yaml, and easy to read in a
    failure's output."""
    blanks = "  " * indent
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if isinstance(item, dict) and item:
                lines.append(f"{blanks}{key}:\n{to_yaml(item, indent + 1)}")
            else:
                lines.append(f"{blanks}{key}: {to_yaml(item)}")
        return "\n".join(lines) if lines else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(to_yaml(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return json.dumps(text) if text != text.strip() or set(text) & set("[]{}#&*!|>'\"%@`,") or \
        ": " in text or not text else text


class Fleet:
    """with Fleet({"engine": {"schema": {...}, "full": True}}) as fleet: ...

    A channel's keys are those of fleet.yaml, but `schema` may be the schema itself (written to a
    file), `listen` may be left out, and `listen`, `full` and `decimated.to` may be True for a free
    group. `storage` and `top` add to the file; `inside` are words in front of every command that
    touches the network; `prefix` is a folder with other builds of the programs. With `unicast`,
    as where programs are emulated, that join no groups and choose no interfaces, a free group is a
    free port of this machine, and no interface is named. Everything is
    stopped and checked on the way out; with laws=False the final check is left to the test."""

    def __init__(self, channels, *, storage=None, top=None, laws=True, folder=None, run=True,
                 addresses=None, inside=(), prefix=None, unicast=bool(EMULATED)):
        self.unicast = unicast
        self.addresses = addresses or Addresses()
        self.folder = Path(folder) if folder else new_folder()
        self._own_folder = folder is None
        self.file = self.folder / "fleet.yaml"
        self.storage = {"directory": "recordings", "sync": "100ms", **(storage or {})}
        self.top = {"runtime": "run", **(top or {})}
        self.channels = {}
        self.laws = laws
        self._inside = [str(word) for word in inside]
        self._run = run
        self.program = Path(prefix) / "flotilla" if prefix else FLOTILLA
        self.manager = None
        self.log_path = self.folder / "manager.log"
        self._children = []
        for name, keys in channels.items():
            self.set(name, keys)

    # The file --------------------------------------------------------------------------------

    def set(self, name, keys):
        """Adds or changes a channel in the file-to-be; write() writes it."""
        keys = dict(keys)
        if keys.get("schema", "") is None:  # opaque channels have none
            del keys["schema"]
        elif not isinstance(keys.get("schema"), (str, Path)):
            schema = keys["schema"]
            path = self.folder / "schemas" / f"{name}.avsc"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(getattr(schema, "json", schema)))
            keys["schema"] = f"schemas/{name}.avsc"
        free = self.addresses.unicast if self.unicast else self.addresses.group
        for key in ("listen", "full"):
            if keys.get(key) is True or (key == "listen" and key not in keys):
                keys[key] = free()
        if "decimated" in keys and keys["decimated"].get("to", True) is True:
            keys["decimated"] = {**keys["decimated"], "to": free()}
        if not self.unicast:
            keys.setdefault("interface", "lo")
        if QUEUE:
            keys.setdefault("receive_queue", QUEUE)
        if OFFLOAD == "off":
            keys.setdefault("offload", "off")
        self.channels[name] = keys
        return keys

    def write(self):
        self.file.write_text(to_yaml({**self.top, "storage": self.storage,
                                      "channels": self.channels}) + "\n")

    def address(self, name, stream="listen"):
        keys = self.channels[name]
        return keys["decimated"]["to"] if stream == "decimated" else keys[stream]

    # The manager -----------------------------------------------------------------------------

    def __enter__(self):
        try:
            self.write()
            if self._run:
                self.start()
        except BaseException:
            self._clean()
            raise
        return self

    def start(self, wait=True, **kw):
        with open(self.log_path, "ab") as log:
            self.manager = subprocess.Popen([*self._inside, str(self.program), "run", "-c",
                                             str(self.file)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder, **kw)
        if wait:
            self.wait_running()

    def kill_manager(self):
        """SIGKILL; the relays are left to themselves. start() puts another in its place."""
        self.manager.kill()
        self.manager.wait()

    def wait_running(self, names=None, seconds=60):
        """Waits until the named channels (all of the file) have a relay that works."""
        names = set(self.channels if names is None else names)

        def up():
            if self.manager.poll() is not None:
                raise AssertionError(f"the manager ended with {self.manager.returncode}:\n"
                                     + self.log())
            states = {c["name"]: c["state"] for c in self.status(missing={}).get("channels", [])}
            return names <= {n for n, s in states.items() if s in ("running", "silent")}
        wait_until(up, seconds=seconds, what=f"channels running; log:\n{self.log()}")

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def status(self, missing=None):
        done = flotilla("status", "--json", "-c", self.file)
        if done.returncode and missing is not None:
            return missing
        assert done.returncode == 0, (done.stdout, done.stderr, self.log())
        return json.loads(done.stdout)

    def channel(self, name):
        return next(c for c in self.status()["channels"] if c["name"] == name)

    def by_name(self):
        return {c["name"]: c for c in self.status()["channels"]}

    def reload(self, check=0):
        return flotilla("reload", "-c", self.file, check=check)

    def settle(self, received=None, seconds=90):
        """Waits for quiet: what was said to arrive has arrived (channel -> datagrams, the kernel's
        drops included), everything accepted is synced, and nothing changes between two looks.
        Returns the channels by name."""
        last = [None]

        def quiet():
            now = self.by_name()
            for name, count in (received or {}).items():
                if now[name]["datagrams_received"] + now[name]["datagrams_dropped"] < count:
                    return None
            for channel in now.values():
                if channel["unsynced_datums"]:
                    return None
            figures = {name: [value for key, value in channel.items() if isinstance(value, int)]
                       for name, channel in now.items()}
            if figures != last[0]:
                last[0] = figures
                return None
            return now
        try:
            return wait_until(quiet, seconds=seconds, pause=0.05)
        except AssertionError:
            raise AssertionError(f"no quiet within {seconds} s, wanted {received}:\n"
                                 + json.dumps(self.by_name(), indent=1) + self.log()) from None

    def assert_laws(self, channels=None):
        for channel in (channels or self.by_name()).values():
            for whole, parts in LAWS:
                assert channel[whole] == sum(channel[part] for part in parts), channel

    def stop(self):
        """Quiet, the laws, then SIGTERM: it must end with 0 and leave no open file behind."""
        channels = None
        if self.laws:
            channels = self.settle()
            self.assert_laws(channels)
        self.manager.send_signal(signal.SIGTERM)
        code = self.manager.wait(60)
        assert code == 0, f"the manager ended with {code}:\n{self.log()}"
        self.manager = None
        assert not list(self.folder.glob("recordings/*/*.part")), "a file was left open"
        return channels

    def __exit__(self, kind, error, trace):
        try:
            if kind is None and self.manager is not None:
                self.stop()
        finally:
            if kind is not None:
                print(f"--- {self.file}\n{self.file.read_text()}--- log\n{self.log()[-8000:]}")
            self._clean()

    def _clean(self):
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
        if self.manager is not None:
            self.manager.kill()
            self.manager.wait()
        # They outlive their manager by design; the ones of this folder are ours to end.
        for pid in (self.relay_processes() + self.processes("flotilla-keeper")
                    + self.processes("flotilla-overview") + self.processes("flotilla-gateway")):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
        if self._own_folder and not os.environ.get("FLOTILLA_TEST_KEEP"):
            wait_until(lambda: not self.relay_processes(), what="relays to end")
            shutil.rmtree(self.folder, ignore_errors=True)

    def _find(self, program):
        """The processes of a program that have this fleet's folder in their arguments or work in
        it, by /proc: {pid: words}."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        words = file.read().decode(errors="replace").split("\0")
                    if not words[0].endswith(program):
                        continue
                    with open(f"/proc/{entry}/stat", encoding="latin-1") as file:
                        state = file.read().rpartition(")")[2].split()[0]
                    at = os.readlink(f"/proc/{entry}/cwd")
                except OSError:
                    continue
                folder = str(self.folder)
                if state != "Z" and (at == folder or any(folder + "/" in word for word in words)):
                    found[int(entry)] = words
        return found

    def processes(self, program):
        return list(self._find(program))

    def relay_processes(self):
        return self.processes("flotilla-relay")

    def relays(self):
        """{channel: pid} of the relays at work, without a question to the manager."""
        return {word.removeprefix("--name="): pid
                for pid, words in self._find("flotilla-relay").items()
                for word in words if word.startswith("--name=")}

    # Files -----------------------------------------------------------------------------------

    def files(self, name, part=True):
        """The channel's recordings in their order, the open one last."""
        folder = self.folder / self.storage["directory"] / name
        # The open ones first: one renamed between the two looks is then in both, not in none.
        open_ones = sorted(path for path in folder.glob(f"{name}-*.avro.part")
                           if not path.name.endswith("-rejects.avro.part")) if part else []
        found = sorted(folder.glob(f"{name}-*.avro"), key=lambda path: path.name)
        found = [path for path in found if not path.name.endswith("-rejects.avro")]
        return found + [path for path in open_ones if path.with_suffix("") not in found]

    # Load ------------------------------------------------------------------------------------

    def source(self, name, datagrams, rate=0, count=None, **keys):
        """Starts a paced sender of `datagrams` (bytes objects, or a file that write_datagrams
        made) to the channel's input. Ended with the fleet; finish() gives what it did."""
        return self._source(self.address(name), datagrams, rate, count, **keys)

    def _source(self, to, datagrams, rate=0, count=None, interface="lo", sender=None,
                segment=None):
        if not isinstance(datagrams, (str, Path)):
            path = self.folder / f"datagrams-{len(self._children)}"
            write_datagrams(path, datagrams)
            datagrams = path
        command = [SOURCE, "--to", to, "--file", datagrams, "--rate", rate, "--interface",
                   interface]
        command += ["--count", count] if count is not None else []
        command += ["--from", sender] if sender else []
        command += ["--segment", segment] if segment else []
        child = subprocess.Popen(self._inside + [str(word) for word in command],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._children.append(child)
        return Load(child)

    def listening(self, *arguments):
        """Starts `flotilla listen` and waits until it has joined: it has no other socket."""
        child = subprocess.Popen([str(FLOTILLA), "listen", "-c", str(self.file), *arguments],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._children.append(child)

        def has_socket():
            with open(f"/proc/{child.pid}/net/udp") as file:
                inodes = {line.split()[9] for line in file.readlines()[1:]}
            links = subprocess.run(["ls", "-l", f"/proc/{child.pid}/fd"], capture_output=True,
                                   text=True).stdout
            return any(f"socket:[{inode}]" in links for inode in inodes)
        wait_until(has_socket, what="listen to join")
        return child

    def sink(self, address, interface="lo", arrivals=False):
        """Starts a receiver of an address and waits until it is bound; with `arrivals` it keeps
        the kernel's time of each arrival as well."""
        path = self.folder / f"sink-{len(self._children)}"
        more = ["--arrivals", f"{path}.arrivals"] if arrivals else []
        child = subprocess.Popen([*self._inside, str(SINK), "--listen", address, "--file",
                                  str(path), "--interface", interface, *more],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._children.append(child)
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        return Sink(child, path)


class Load:
    """A sender at work."""

    def __init__(self, child):
        self.child = child

    def finish(self, timeout=120):
        """Waits for its end and returns its report; every datagram was taken by the kernel."""
        out, err = self.child.communicate(timeout=timeout)
        assert self.child.returncode == 0, (out, err)
        return json.loads(out)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        return self.finish()


class Sink:
    """A receiver at work; stop() gives the datagrams in their order, end() leaves them in the file
    `path` (and their arrivals in `path`.arrivals)."""

    def __init__(self, child, path):
        self.child = child
        self.path = path
        self.report = None

    def end(self):
        self.child.send_signal(signal.SIGTERM)
        out, err = self.child.communicate(timeout=120)
        assert self.child.returncode == 0, (out, err)
        self.report = json.loads(out)
        assert self.report["dropped"] == 0, "the test's own receiver was too slow"

    def stop(self):
        self.end()
        return read_datagrams(self.path)


def write_datagrams(path, datagrams):
    with open(path, "wb") as file:
        file.write(b"".join(struct.pack("<I", len(one)) + one for one in datagrams))


def read_datagrams(path):
    data, at, found = Path(path).read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4:at + 4 + size])
        at += 4 + size
    return found
