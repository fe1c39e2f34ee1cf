# SPDX-License-Identifier: MIT
"""What people do to a fleet without meaning harm: a log nobody reads, pipes for files, too few
descriptors, files saved in part, sockets removed. The manager serves on, and every word it says
of it is true."""
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest
from harness import signals
from harness.fleet import FLOTILLA, Fleet, flotilla, wait_until


def one(**keys):
    return {"schema": signals.SCHEMA, **keys}


@contextmanager
def log_in_a_pipe(fleet):
    """Starts the manager with a pipe for its log; gives the pipe's reading end, and reads what is
    there at the end, so that nothing waits for the pipe."""
    reading, writing = os.pipe()
    try:
        fleet.manager = subprocess.Popen([str(FLOTILLA), "run", "-c", str(fleet.file)],
                                         stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
                                         cwd=fleet.folder)
        fleet.wait_running()
        yield reading, writing
    finally:
        os.close(writing)
        os.close(reading)


def drain(reading):
    os.set_blocking(reading, False)
    text = b""
    try:
        while more := os.read(reading, 65536):
            text += more
    except BlockingIOError:
        pass
    return text.decode()


def fill(writing):
    """Fills a pipe without making it non-blocking for those who share its writing end."""
    own = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(own, b"\n")
    os.close(own)


def test_025_a_log_that_nobody_reads_stops_nothing(seed):
    with Fleet({"engine": one(), "other": one()}, run=False) as fleet:
        with log_in_a_pipe(fleet) as (reading, writing):
            assert os.get_blocking(writing)
            assert "relay" in drain(reading)
            fill(writing)
            for _ in range(5):  # lines of the manager and of relays, into a full pipe
                flotilla("restart", "engine", "-c", fleet.file, check=0, timeout=10)
            fleet.file.write_text(fleet.file.read_text() + "nonsense: 1\n")
            flotilla("reload", "-c", fleet.file, check=78, timeout=10)
            fleet.write()
            fleet.source("engine", signals.samples(200)).finish()
            fleet.source("other", signals.samples(200)).finish()
            channels = fleet.settle({"engine": 200, "other": 200})
            assert [c["datums_recorded"] for c in channels.values()] == [200, 200]
            assert os.get_blocking(writing), "the pipe is the user's: its flags stay as they were"
            assert not drain(reading).strip(), "into a full pipe nothing can have gone"
            flotilla("restart", "engine", "-c", fleet.file, check=0)
            text = wait_until(lambda: drain(reading), what="the log to go on")
            first = text.splitlines()[0]
            assert first.startswith("flotilla") and "lines of this log were dropped" in first, text
            # At least: five restarts of three lines each, a refusal of four.
            assert int(first.split()[1]) >= 5, text
            assert "restart asked for" in text
            fleet.stop()


def test_025_a_log_reader_that_has_gone_stops_nothing(seed):
    with Fleet({"engine": one()}, run=False) as fleet:
        with log_in_a_pipe(fleet):
            pass  # both ends are closed now
        flotilla("restart", "engine", "-c", fleet.file, check=0)
        fleet.source("engine", signals.samples(50)).finish()
        assert fleet.settle({"engine": 50})["engine"]["datums_recorded"] == 50


def test_025_a_pipe_is_no_schema_and_no_configuration(seed):
    with Fleet({"engine": one(), "odd": one()}, run=False) as fleet:
        pipe = fleet.folder / "schemas/odd.avsc"
        text = pipe.read_text()
        pipe.unlink()
        os.mkfifo(pipe)
        done = flotilla("check", "-c", fleet.file, check=78, timeout=10)
        assert "schemas/odd.avsc: not a regular file" in done.stderr, done.stderr
        pipe.unlink()
        pipe.write_text(text)
        fleet.start()
        fleet.file.unlink()
        os.mkfifo(fleet.file)
        os.kill(fleet.manager.pid, signal.SIGHUP)
        wait_until(lambda: "fleet.yaml: not a regular file" in fleet.log(), what="the refusal")
        done = flotilla("status", "-c", fleet.file, check=78, timeout=10)
        assert "not a regular file" in done.stderr
        fleet.file.unlink()
        fleet.write()
        assert {c["state"] for c in fleet.by_name().values()} <= {"running", "silent"}
        os.mkfifo(fleet.folder / "pipe.yaml")
        done = flotilla("run", "-c", fleet.folder / "pipe.yaml", check=78, timeout=10)
        assert "pipe.yaml: not a regular file" in done.stderr


def test_025_check_takes_what_another_program_prints(seed):
    with Fleet({"engine": one(schema=signals.SCHEMA)}, run=False) as fleet:
        text = fleet.file.read_text().replace("schemas/", str(fleet.folder / "schemas") + "/")
        text = text.replace("runtime: run", f"runtime: {fleet.folder}/run")
        text = text.replace("recordings", str(fleet.folder / "recordings"))
        done = flotilla("check", "-c", "/dev/stdin", input=text, check=0)
        assert "engine" in done.stdout
        done = flotilla("run", "-c", "/dev/stdin", input=text, check=78)
        assert "not a regular file" in done.stderr


def test_025_too_few_descriptors_are_told_and_lived_with(seed):
    names = [f"c{i}" for i in range(6)]
    with Fleet({name: one() for name in names}, run=False) as fleet:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        fleet.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (36, 36)))
        assert "36 open files are allowed, this fleet needs about 42" in fleet.log()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
        here = os.getcwd()
        os.chdir(fleet.folder)
        held = []
        try:
            # Connections that ask nothing take what is left.
            for _ in range(30):
                held.append(socket.socket(socket.AF_UNIX))
                held[-1].connect("run/control.sock")
            wait_until(lambda: "too many open files: the limit is 36" in fleet.log(),
                       what="the shortage to be told")
            spent = cpu_ticks(fleet.manager.pid)
            time.sleep(1.5)
            # A listener that is asked again and again would burn 150 of them.
            assert cpu_ticks(fleet.manager.pid) - spent < 40
            fleet.source("c0", signals.samples(100)).finish()
        finally:
            for client in held:
                client.close()
            os.chdir(here)
        assert fleet.settle({"c0": 100})["c0"]["datums_recorded"] == 100
        assert fleet.log().count("too many open files: the limit") == 1
        # Where the interface cannot be asked for, that is what is said.
        assert "No such device" not in fleet.log()


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def blocked_port(fleet):
    """A port that somebody else holds."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    return taken, f"127.0.0.1:{taken.getsockname()[1]}"


def test_025_reload_and_restart_tell_what_did_not_come_up(seed):
    with Fleet({"good": one()}) as fleet:
        taken, address = blocked_port(fleet)
        with taken:
            fleet.set("bad", one(listen=address))
            fleet.write()
            done = fleet.reload(check=1)
            assert "added 1: bad" in done.stdout and "unchanged 1" in done.stdout
            assert f"bad: failed: cannot listen at {address}" in done.stderr, done.stderr
            assert "good" not in done.stderr
            done = flotilla("reload", "--json", "-c", fleet.file, check=1)
            (failed,) = json.loads(done.stdout)["failed"]
            assert failed["channel"] == "bad" and "in use" in failed["reason"]
            done = flotilla("restart", "bad", "-c", fleet.file, check=1)
            assert "bad: failed: cannot listen" in done.stderr
            flotilla("restart", "good", "-c", fleet.file, check=0)
            status = fleet.channel("bad")
            assert status["state"] == "failed"
            assert "next try in " in status["reason"], status
        assert not fleet.reload(check=0).stderr
        assert fleet.channel("bad")["pid"]


def test_025_reload_tells_of_a_relay_that_cannot_record(seed):
    """It is spawned, and fails on its own."""
    with Fleet({"engine": one()}, run=False) as fleet:
        fleet.start()
        fleet.storage["direct_io"] = "required"
        fleet.storage["directory"] = "/dev/shm/" + fleet.folder.name
        try:
            fleet.write()
            done = fleet.reload(check=1)
            assert "engine: failed: relay" in done.stderr and "78" in done.stderr, done.stderr
        finally:
            shutil.rmtree("/dev/shm/" + fleet.folder.name, ignore_errors=True)
        fleet.storage.update(direct_io="auto", directory="recordings")
        fleet.write()
        assert not fleet.reload(check=0).stderr


@pytest.mark.parametrize("text, place", [
    ("", "fleet.yaml:1:1: "), ("# runtime: run\n", "fleet.yaml:1:1: "), ("runt", "fleet.yaml:1:1: "),
    ("storage: {directory: recordings}\n", "fleet.yaml:1:1: "), ("channels: [\n", "fleet.yaml:2:1: ")])
def test_025_half_a_file_points_at_no_fleet(seed, text, place):
    """The default runtime folder is another fleet's: it is not asked, and not stopped."""
    with Fleet({"engine": one()}, run=False) as fleet:
        runtime = fleet.folder / "user"
        fleet.top["runtime"] = f"{runtime}/flotilla"
        fleet.write()
        fleet.start()
        other = fleet.folder / "other"
        other.mkdir()
        (other / "fleet.yaml").write_text(text)
        settings = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
        for verb in ["status"], ["reload"], ["restart", "engine"], ["stop"]:
            for where in [], ["-c", other / "fleet.yaml"]:
                done = flotilla(*verb, *where, cwd=other, env=settings, check=78)
                assert place in done.stderr and "cannot tell which manager" in done.stderr
        assert fleet.channel("engine")["restarts"] == 0


def test_025_a_removed_control_socket_is_told_and_made_again(seed):
    with Fleet({"engine": one()}) as fleet:
        path = fleet.folder / "run/control.sock"
        path.unlink()
        done = flotilla("status", "-c", fleet.file, check=1)
        pid = fleet.manager.pid
        assert f"process {pid} manages {fleet.folder}/run, but its control socket is gone; " \
               f"kill -HUP {pid} makes it again" in done.stderr, done.stderr
        os.kill(pid, signal.SIGHUP)
        wait_until(path.exists, what="the socket")
        assert fleet.channel("engine")["restarts"] == 0
        assert path.stat().st_mode & 0o777 == 0o660
