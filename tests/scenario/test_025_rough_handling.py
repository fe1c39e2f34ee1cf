# SPDX-License-Identifier: MIT
"""What people do to a fleet without meaning harm: a log nobody reads, pipes for files, too few
descriptors, files saved in part, sockets removed. The manager serves on, and every word it says
of it is true."""
import json
import os
import pty
import resource
import shutil
import signal
import socket
import subprocess
import time
import tty
from contextlib import contextmanager, suppress

import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, Fleet, flotilla, new_folder, put_in_the_way, wait_until


def one(**keys):
    return {"schema": signals.SCHEMA, **keys}


@contextmanager
def log_that_can_stall(fleet, kind="pipe"):
    """Starts the manager with a pipe, a socket or a terminal for its log; gives both ends."""
    if kind == "pipe":
        reading, writing = os.pipe()
    elif kind == "socket":
        reading, writing = (end.detach() for end in socket.socketpair())
    else:
        reading, writing = pty.openpty()
        tty.setraw(writing)
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


def fill(writing, kind):
    """Fills it without making it non-blocking for those who share its writing end."""
    if kind == "socket":
        with socket.socket(fileno=os.dup(writing)) as own, pytest.raises(BlockingIOError):
            while True:
                own.send(b"\n" * 100, socket.MSG_DONTWAIT)
        return
    own = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(own, b"\n")
    os.close(own)


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_025_a_log_that_nobody_reads_stops_nothing(seed, kind):
    with Fleet({"engine": one(), "other": one()}, run=False) as fleet:
        with log_that_can_stall(fleet, kind) as (reading, writing):
            assert os.get_blocking(writing)
            assert "relay" in drain(reading)
            fill(writing, kind)
            for _ in range(5):  # lines of the manager and of relays, into what is full
                flotilla("restart", "engine", "-c", fleet.file, check=0, timeout=10)
            fleet.file.write_text(fleet.file.read_text() + "nonsense: 1\n")
            flotilla("reload", "-c", fleet.file, check=78, timeout=10)
            fleet.write()
            fleet.source("engine", signals.samples(200)).finish()
            fleet.source("other", signals.samples(200)).finish()
            channels = fleet.settle({"engine": 200, "other": 200})
            assert [c["datums_recorded"] for c in channels.values()] == [200, 200]
            assert os.get_blocking(writing), "it is the user's: its flags stay as they were"
            assert not drain(reading).strip(), "nothing can have gone where no room was"
            flotilla("restart", "engine", "-c", fleet.file, check=0)
            text = wait_until(lambda: drain(reading), what="the log to go on")
            # The relay that ends may be quicker with a line of its own.
            first = next(line for line in text.splitlines() if line.startswith("flotilla:"))
            assert "lines of this log were dropped" in first, text
            # At least: five restarts of three lines each, a refusal of four.
            assert int(first.split()[1]) >= 5, text
            assert "restart asked for" in text
            fleet.stop()


def test_025_a_log_reader_that_has_gone_stops_nothing(seed):
    with Fleet({"engine": one()}, run=False) as fleet:
        with log_that_can_stall(fleet):
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
        fleet.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30)))
        assert "30 open files are allowed, this fleet needs about 48" in fleet.log()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
        here = os.getcwd()
        os.chdir(fleet.folder)
        held = []
        try:
            # Connections that ask nothing take what is left.
            for _ in range(30):
                held.append(socket.socket(socket.AF_UNIX))
                held[-1].connect("run/control.sock")
            wait_until(lambda: "too many open files: the limit is 30" in fleet.log(),
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
    ("", "1:1"), ("# runtime: run\n", "1:1"), ("runt", "1:1"), ("channels: [\n", "2:1"),
    ("storage: {directory: recordings}\n", "1:1")])
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
                assert f"fleet.yaml:{place}: " in done.stderr
                assert "cannot tell which manager is meant" in done.stderr
        assert fleet.channel("engine")["restarts"] == 0


def test_025_a_removed_control_socket_is_made_again(seed):
    """A command that comes meanwhile waits for it; one that cannot have it says who is there."""
    with Fleet({"engine": one()}) as fleet:
        path, pid = fleet.folder / "run/control.sock", fleet.manager.pid
        path.unlink()
        flotilla("status", "-c", fleet.file, check=0)
        assert fleet.channel("engine")["restarts"] == 0
        assert path.stat().st_mode & 0o777 == 0o660
        put_in_the_way(path)
        done = flotilla("status", "-c", fleet.file, check=1)
        assert f"process {pid} manages {fleet.folder}/run, but does not listen at control.sock" \
            in done.stderr, done.stderr
        wait_until(lambda: "cannot look after the control socket" in fleet.log())
        (path / "somebody's").unlink()
        wait_until(path.is_socket, what="the socket in place of an empty folder")
        path.unlink()
        path.write_text("a file")
        wait_until(path.is_socket, what="the socket in place of a file")
        flotilla("status", "-c", fleet.file, check=0)
        assert fleet.log().count("cannot look after the control socket") == 1


def test_025_a_layout_that_was_cut_short_is_written_again(seed):
    with Fleet({"engine": one()}) as fleet:
        path, relay = fleet.folder / "run/engine.layout", fleet.channel("engine")["pid"]
        whole = path.read_bytes()
        for damage in whole[:100], b"", bytes(len(whole)), whole + b"more":
            path.write_bytes(damage)
            os.kill(relay, signal.SIGKILL)
            wait_until(lambda: fleet.channel("engine")["pid"] not in (0, None, relay))
            relay = fleet.channel("engine")["pid"]
            assert path.read_bytes() == whole
        fleet.source("engine", signals.samples(10)).finish()
        assert fleet.settle({"engine": 10})["engine"]["state"] == "running"


TEXT_SCHEMA = {"type": "record", "name": "Words", "fields": [{"name": "text", "type": "string"}]}


def test_025_a_mismatch_is_explained_by_its_commonest_reason(seed):
    with Fleet({"words": one(schema=TEXT_SCHEMA)}) as fleet:
        truncated, not_text, good = b"\x20ab", b"\x04\xff\xfe", b"\x04ab"
        fleet.source("words", [good, truncated, good], rate=100).finish()
        fleet.settle({"words": 3})
        assert fleet.channel("words")["state"] == "running"
        time.sleep(1.2)  # the manager has seen that it was well
        fleet.source("words", [truncated] * 98 + [not_text] * 2, rate=1000).finish()
        channel = fleet.settle({"words": 103})["words"]
        assert channel["state"] == "schema_mismatch"
        assert channel["reason"] == \
            "the last 100 datagrams were all rejected: 98 truncated, 2 utf8"


def test_025_a_clock_set_back_does_not_make_a_silent_channel_run(seed, tmp_path):
    source, library, back = tmp_path / "back.c", tmp_path / "back.so", tmp_path / "back"
    source.write_text("""#define _GNU_SOURCE
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t clock, struct timespec *time)
        {
            int status = syscall(SYS_clock_gettime, clock, time);
            if (clock == CLOCK_REALTIME && access(getenv("CLOCK_BACK"), F_OK) == 0)
                time->tv_sec -= 7200;
            return status;
        }""")
    if subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source]).returncode:
        pytest.skip("needs a C compiler")
    with Fleet({"engine": one()}, run=False) as fleet:
        fleet.start(env={**os.environ, "LD_PRELOAD": str(library), "CLOCK_BACK": str(back)})
        fleet.source("engine", signals.samples(10)).finish()
        fleet.settle({"engine": 10})
        assert fleet.channel("engine")["state"] == "running"
        back.touch()
        wait_until(lambda: fleet.channel("engine")["state"] == "silent", pause=0.2,
                   what="silence to be noticed")


def bytes_held(fleet):
    held = 0
    for path in fleet.files("engine"):
        with suppress(FileNotFoundError):  # renamed or removed meanwhile: seen next time
            held += path.stat().st_size
    return held


def test_025_retention_counts_the_first_look(seed):
    """All that is written comes before the manager has ever seen the name of a recording."""
    with Fleet({"engine": one()}, storage={"rotate": {"size": "256KiB"},
                                           "retain": {"size": "1MiB"}}) as fleet:
        fleet.source("engine", signals.samples(4000, pad=1000)).finish()
        assert fleet.channel("engine")["datagrams_received"]
        wait_until(lambda: bytes_held(fleet) <= 1 << 20, seconds=20, what="the old ones to go")


def test_025_a_full_disk_is_looked_through_at_once(needs_root, tmp_path, seed):
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", mount],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs mounts: {done.stderr.strip()}")
    try:
        folder = mount / "recordings/engine"
        folder.mkdir(parents=True)
        for number in range(1, 5):
            (folder / f"engine-20200101T000000.00000{number}Z-00000{number}.avro").write_bytes(
                bytes(1 << 20))
        with Fleet({"engine": one()},
                   storage={"directory": str(mount / "recordings"), "direct_io": "off",
                            "retain": {"free": "20%"}}) as fleet:
            fleet.source("engine", signals.samples(1)).finish()
            fleet.settle({"engine": 1})
            time.sleep(1.5)  # that file has been looked at, and all was well
            assert len(list(folder.glob("*-20200101*"))) == 4
            with open(mount / "other", "wb") as other, pytest.raises(OSError):
                while True:
                    other.write(bytes(1 << 16))
                    other.flush()
            fleet.source("engine", signals.samples(2000, start=1, pad=1000)).finish()
            # Not after a period of 30 s.
            wait_until(lambda: not list(folder.glob("*-20200101*")), seconds=20, what="room")
            channel = wait_until(
                lambda: (c := fleet.channel("engine"))["state"] == "running"
                and not c["unsynced_datums"] and c, what="recording to go on")
            assert channel["datums_recorded"] == 2001
    finally:
        subprocess.run(["umount", mount], check=True)


def test_025_too_many_clients_are_told_so(seed):
    with Fleet({"engine": one()}) as fleet:
        here = os.getcwd()
        os.chdir(fleet.folder)
        idle = [socket.socket(socket.AF_UNIX) for _ in range(64)]
        try:
            for client in idle:
                client.connect("run/control.sock")
            done = flotilla("status", "-c", fleet.file, check=1)
            assert "flotilla status: busy: " in done.stderr and not done.stdout, done.stderr
            with socket.socket(socket.AF_UNIX) as client:
                client.connect("run/control.sock")
                assert json.loads(client.recv(4096))["error"].startswith("busy")
        finally:
            for client in idle:
                client.close()
            os.chdir(here)
        wait_until(lambda: fleet.status(missing={}).get("channels"), what="an answer")


def test_025_a_schema_with_a_byte_order_mark(seed):
    with Fleet({"engine": one()}, run=False) as fleet:
        schema = fleet.folder / "schemas/engine.avsc"
        schema.write_bytes(b"\xef\xbb\xbf" + schema.read_bytes())
        done = flotilla("check", "-c", fleet.file, check=78)
        assert "engine.avsc: begins with a byte order mark; save it without" in done.stderr
        schema.write_bytes(schema.read_bytes()[3:])
        flotilla("check", "-c", fleet.file, check=0)


def test_025_nothing_under_channels_is_warned_of(seed, tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text("runtime: run\nchannels:\n")
    done = flotilla("check", "-c", file, check=0)
    assert "fleet.yaml:2:1: warning: channels: there is nothing under it" in done.stderr
    file.write_text("runtime: run\nchannels: {}\n")
    assert "warning" not in flotilla("check", "-c", file, check=0).stderr


def table(fleet):
    """The headline, and the rows by heading."""
    head, _, headings, *lines = flotilla("status", "-c", fleet.file, check=0).stdout.splitlines()
    rows = []
    for line in lines:
        if not line:
            break
        rows.append(dict(zip(headings.split(), line.split())))
    return head, rows, "\n".join(lines[len(rows) + 1:])


def test_025_status_says_all_is_well_only_when_it_is(seed):
    with Fleet({name: one() for name in ("a", "b", "c")}) as fleet:
        fleet.source("a", signals.samples(20)).finish()
        fleet.settle({"a": 20})
        head, rows, _ = table(fleet)
        assert f": 3 channels, nothing lost; recordings in {fleet.folder}/recordings" in head
        assert [row["CHANNEL"] for row in rows] == ["a", "b", "c"]
        assert rows[0]["FILE"] == fleet.files("a")[-1].name, "the name alone"
        assert rows[0]["RECORDED"] == "20" and rows[0]["WAITING"] == "0"

        taken, address = blocked_port(fleet)
        with taken:
            fleet.set("d", one(listen=address))
            fleet.write()
            fleet.reload(check=1)
            head, rows, below = table(fleet)
            assert ": 4 channels, 1 in trouble; recordings" in head, head
            assert rows[0]["CHANNEL"] == "d" and rows[0]["STATE"] == "failed"
            assert "d: failed: cannot listen at" in below and "; next try in" in below
        os.kill(fleet.channel("c")["pid"], signal.SIGSTOP)
        fleet.source("b", [b"\xff"] * 2).finish()
        fleet.reload(check=0)
        wait_until(lambda: fleet.channel("c")["reason"], what="the suspended one to be noticed")
        head, rows, below = table(fleet)
        assert ": 4 channels, 1 in trouble, 1 with losses; recordings" in head, head
        assert [row["CHANNEL"] for row in rows] == ["b", "c", "a", "d"]
        assert "is suspended (SIGSTOP or a debugger)" in below
        os.kill(fleet.channel("c")["pid"], signal.SIGCONT)


def test_025_status_shows_what_waits_for_the_disk(seed):
    with Fleet({"engine": one()}, storage={"sync": "60s"}, laws=False) as fleet:
        fleet.source("engine", signals.samples(30)).finish()
        wait_until(lambda: fleet.channel("engine")["datagrams_received"] == 30, what="arrival")
        (row,) = table(fleet)[1]
        assert row["RECORDED"] == "0" and row["WAITING"] == "30"


def test_025_a_backoff_says_when_the_next_try_is(seed):
    with Fleet({"engine": one()}) as fleet:
        for _ in range(8):  # relays that never did anything
            channel = fleet.channel("engine")
            if channel["pid"]:
                with suppress(ProcessLookupError):  # it has ended since, and the next is not there
                    os.kill(channel["pid"], signal.SIGKILL)
            channel = fleet.channel("engine")
            if channel["state"] == "backoff":
                break
        channel = wait_until(lambda: (c := fleet.channel("engine"))["state"] == "backoff" and c,
                             what="backoff")
        assert "was killed by signal 9" in channel["reason"] and "; next try in " in \
            channel["reason"], channel
        fleet.wait_running()


def test_025_an_unknown_channel_names_the_nearest(seed):
    with Fleet({name: one() for name in ("engine", "position", "imu")}) as fleet:
        done = flotilla("restart", "enigne", "-c", fleet.file, check=1)
        assert 'no channel is called "enigne"; did you mean "engine"? 3 channels are there' \
            in done.stderr
        for verb in "send", "listen":
            done = flotilla(verb, "positoin", "-c", fleet.file, check=1)
            assert 'no channel "positoin"; did you mean "position"? it has 3 channels' in \
                done.stderr
        assert "did you mean" not in flotilla("send", "zzzzzz", "-c", fleet.file, check=1).stderr


def test_025_a_send_error_names_the_place(seed, needs_root, tmp_path):
    schema = tmp_path / "one.avsc"
    schema.write_text('"long"')
    # Refused before anything leaves: in a network of its own, whose lo is not up.
    done = subprocess.run(["unshare", "--net", FLOTILLA, "send", "--to", "127.0.0.1:9",
                           "--interface", "lo", "--schema", schema, "--count", "1"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    assert "1 errors (to 127.0.0.1:9 by interface lo: Network is unreachable)" in done.stderr


def test_025_stop_tells_what_each_channel_has_come_to(seed):
    for words in [], ["--json"]:
        with Fleet({"a": one(), "b": one(record=False)}) as fleet:
            fleet.source("a", signals.samples(30) + [b"\xff"] * 2).finish()
            fleet.source("b", signals.samples(5)).finish()
            fleet.settle({"a": 32, "b": 5})
            done = flotilla("stop", *words, "-c", fleet.file, check=0)
            assert fleet.manager.wait(60) == 0
            fleet.manager = None
            if words:
                a, b = json.loads(done.stdout)["channels"]
                assert (a["datums_recorded"], b["datums_unrecorded"]) == (30, 5)
                assert a["state"] == b["state"] == "stopped"
            else:
                assert done.stdout.splitlines() == [
                    "a: 32 received, 2 rejected, 0 dropped, 30 recorded, 0 unrecorded",
                    "b: 5 received, 0 rejected, 0 dropped, 0 recorded, 5 unrecorded"]


def test_025_cat_prints_and_tells_of_a_block_that_was_changed(seed):
    with Fleet({"engine": one()}) as fleet:
        fleet.source("engine", signals.samples(1000)).finish()
        fleet.settle({"engine": 1000})
        (part,) = fleet.files("engine")
        assert len(flotilla("cat", part, check=0).stdout.splitlines()) == 1000
        fleet.stop()
        (path,) = fleet.files("engine")
        data = bytearray(path.read_bytes())
    text = flotilla_cat(data)
    assert text.returncode == 0 and len(text.stdout.splitlines()) == 1000 and not text.stderr
    # A double in a datum in the middle: any value is valid, so only the checksum can tell.
    at = data.index(signals.sample(500)[-13:-5])
    data[at + 3] ^= 1
    text = flotilla_cat(data)
    assert text.returncode == 1 and len(text.stdout.splitlines()) == 1000
    assert "the block's checksum is wrong" in text.stderr
    offset = int(text.stderr.split("offset ")[1].split(":")[0])
    assert offset % 4096 == 0 and offset < at


def flotilla_cat(data):
    folder = new_folder()
    try:
        (folder / "some.avro").write_bytes(data)
        return flotilla("cat", folder / "some.avro")
    finally:
        shutil.rmtree(folder)
