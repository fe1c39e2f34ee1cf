# SPDX-License-Identifier: MIT
"""033-chaos: under load, at random instants and in random order, relays, keeper and manager are
killed or suspended, the runtime folder or a file in it is removed, or a folder put in that file's
place for a while, other managers are started, and every command is given at the same time. What
holds a channel's memory is hit again only once the others can hold it anew. In the end one manager
and one keeper are there, and every datum is recorded once, in order. Long; a failure ends with the
seed, and says in the log when each blow fell."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, LONG, Fleet, wait_until

ROUNDS = 20
SECONDS = 18
SETTLED_S = 2.6  # until whoever keeps has been followed, or found hanging, and has all again
LIGHT = ("kill", "restart", "all", "reload", "sync", "second")
HEAVY = ("two kills", "folder", "file", "in the way", "keeper", "keeper stopped", "manager")
FILES = ("control.sock", "manager.lock", "manager.pid", "a.layout", "b.layout")


class Storm:
    def __init__(self, fleet, rng):
        self.fleet, self.rng = fleet, rng
        self.managers, self.commands = [fleet.manager], []
        self.heavy_from = 0
        self.obstacle, self.obstacle_until = None, 0
        self.begun = time.monotonic()

    def note(self, what):
        """Among what the fleet says, for whoever has to find out what came of what."""
        with open(self.fleet.log_path, "a") as log:
            log.write(f"--- {time.monotonic() - self.begun:.2f} s: {what}\n")

    def command(self, *words):
        self.commands.append(subprocess.Popen(
            [str(FLOTILLA), *words, "-c", str(self.fleet.file)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def start_manager(self):
        self.fleet.start(wait=False)
        self.managers.append(self.fleet.manager)

    def clear_way(self):
        if self.obstacle:
            self.note(f"{self.obstacle.name} is free again")
            shutil.rmtree(self.obstacle, ignore_errors=True)
        self.obstacle = None

    def put_in_the_way(self, path):
        self.note(f"{path.name} is taken")
        path.unlink(missing_ok=True)
        path.mkdir()
        self.obstacle, self.obstacle_until = path, time.monotonic() + self.rng.uniform(0, 4)
        (path / "something").write_text("")

    def strike(self):
        if time.monotonic() >= self.obstacle_until:
            self.clear_way()
        what = self.rng.choice(LIGHT + LIGHT[:1] + HEAVY)
        if what in HEAVY:
            if time.monotonic() < self.heavy_from:
                return
            self.heavy_from = time.monotonic() + SETTLED_S
        self.note(what)
        fleet, rng, run = self.fleet, self.rng, self.fleet.folder / "run"
        relays = fleet.relay_processes()
        keepers = fleet.processes("flotilla-keeper")
        with contextlib.suppress(OSError):  # whoever was to be hit has ended
            if what in ("kill", "two kills") and relays:
                os.kill(rng.choice(relays), signal.SIGKILL)
            if what == "two kills":
                time.sleep(rng.uniform(0, 0.01))
                for pid in fleet.relay_processes():
                    os.kill(pid, signal.SIGKILL)
            elif what == "restart":
                self.command("restart", rng.choice("ab"))
            elif what == "all":
                self.command("restart", "--all")
            elif what in ("reload", "sync"):
                if what == "sync":
                    fleet.storage["sync"] = rng.choice(["20ms", "50ms", "200ms"])
                fleet.channels["a"]["ttl"] = rng.randint(1, 9)
                fleet.write()
                self.command("reload")
            elif what == "folder":
                shutil.rmtree(run, ignore_errors=True)
            elif what == "file":
                (run / rng.choice(FILES)).unlink()
            elif what == "in the way" and not self.obstacle:
                self.put_in_the_way(run / rng.choice(FILES))
            elif what.startswith("keeper") and keepers:
                os.kill(rng.choice(keepers),
                        signal.SIGKILL if what == "keeper" else signal.SIGSTOP)
            elif what == "manager":
                self.managers = self.living() or self.managers
                fleet.manager = self.managers[0]
                fleet.kill_manager()
                self.start_manager()
            elif what == "second":
                self.start_manager()

    def living(self):
        return [manager for manager in self.managers if manager.poll() is None]

    def end(self):
        """All commands have come back, and one manager is left."""
        self.clear_way()
        for command in self.commands:
            command.wait(60)
        wait_until(lambda: len(self.living()) <= 1, what="one manager to stay")
        if not self.living():
            self.start_manager()
        (self.fleet.manager,) = self.living()
        time.sleep(SETTLED_S)


@pytest.mark.parametrize("turn", range(ROUNDS) if LONG else ["long"])
def test_033_chaos(rng, turn):
    if not LONG:
        pytest.skip(f"{ROUNDS} storms of {SECONDS} s: make test-long")
    pool = signals.samples(400_000)
    keys = {"schema": signals.SCHEMA, "receive_queue": "64MiB"}
    storage = {"sync": "20ms", "rotate": {"size": "64KiB"}} if turn % 2 else {"sync": "50ms"}
    with Fleet({"a": {**keys, "full": True}, "b": keys}, storage=storage) as fleet:
        sources = {name: fleet.source(name, pool, rate=8000) for name in "ab"}
        storm = Storm(fleet, rng)
        try:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                time.sleep(rng.uniform(0.02, 0.3))
                storm.strike()
            storm.end()
            sent = {name: source.stop()["sent"] for name, source in sources.items()}
            fleet.wait_running()
            for name, channel in fleet.settle(sent).items():
                assert channel["datagrams_received"] == channel["datums_recorded"] == sent[name]
                assert channel["datagrams_dropped"] == channel["datums_unrecorded"] == 0
            # One that was suspended just now is followed first.
            wait_until(lambda: len(fleet.processes("flotilla-keeper")) == 1,
                       what="one keeper")
            assert len(fleet.relay_processes()) == 2
            fleet.stop()
        finally:
            for child in [*storm.commands, *storm.managers]:
                if child.poll() is None:
                    child.kill()
                    child.wait()
        for name in "ab":
            files = fleet.files(name)
            assert container.payload(files) == (b"".join(pool[:sent[name]]), sent[name]), name
            assert all(path.suffix == ".avro" for path in files)
