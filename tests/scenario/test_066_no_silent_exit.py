# SPDX-License-Identifier: MIT
"""066-no-silent-exit: every verb of the three programs, in surroundings that lack what programs
usually have. Whatever fails says why on standard error; output that does not arrive is a failure;
what the system names need not be UTF-8."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from harness import signals
from harness.doctor import network  # noqa: F401 (a fixture)
from harness.fleet import FLOTILLA, LONG, Addresses, Fleet, flotilla, new_folder, wait_until

RELAY, KEEPER = FLOTILLA.parent / "flotilla-relay", FLOTILLA.parent / "flotilla-keeper"
OVERVIEW = FLOTILLA.parent / "flotilla-overview"
SAMPLE_FAULTS = 40  # drawn by the seed where not all are done
USER = 54321  # nobody has this number
STARTED = "managing"  # what a manager says once it is up

# What is asked of each verb: all of `flotilla --help`, which the test compares. A.avro is there
# where there is a configuration.
WORDS = {
    "run": [["run"]],
    "check": [["check"], ["check", "--json"], ["check", "--print"], ["check", "--keys"],
              ["check", "--help"]],
    "status": [["status"], ["status", "--json"], ["status", "--watch"]],
    "reload": [["reload"], ["reload", "--json"]],
    "channel": [["channel"], ["channel", "c"], ["channel", b"\xe9t\xe9"],
                ["channel", "c", "--remove"], ["channel", "d", "--add", "A.avro"],
                ["channel", "c", "--change", "."]],
    "restart": [["restart", "c"], ["restart", "--all"], ["restart", b"\xe9t\xe9"]],
    "doctor": [["doctor"], ["doctor", "--json"]],
    "stop": [["stop"], ["stop", "--json"]],
    "send": [["send", "c", "--count", "1", "--rate", "0"],
             ["send", "c", "--count", "1", "--rate", "0", "--json"], ["send", b"\xe9t\xe9"]],
    "replay": [["replay", "A.avro", "--max"], ["replay", "A.avro", "--to", "127.0.0.1:9", "--json"],
               ["replay", "c", "--step"], ["replay", b"\xe9"], ["replay", "."]],
    "listen": [["listen", "c", "--count", "1", "--timeout", "50ms"], ["listen", b"\xe9t\xe9"]],
    "cat": [["cat", "A.avro"], ["cat", "--schema", "A.avro"], ["cat", b"\xe9"], ["cat", "."]],
    "info": [["info", "A.avro"], ["info", "--json", "A.avro"], ["info", "."]],
    "verify": [["verify", "A.avro"], ["verify", "--json", "A.avro"], ["verify", b"\xe9"]],
    "recover": [["recover", "A.avro"], ["recover", "--json", "A.avro", "-o", "B.avro"]],
    "export": [["export", "A.avro", "-o", "A.h5"], ["export", "--help"], ["export", b"\xe9"],
               ["export", ".", "-o", b"\xe9.h5"]],
    "overview": [["overview"], ["overview", "--json"], ["overview", "."],
                 ["overview", ".", "--rebuild"], ["overview", b"\xe9"]],
    "pin": [["pin", "c", "--from", "-1h", "--name", "x"], ["pin", "--from", "-1h", "--name", "x"],
            ["pin", b"\xe9/", "--from", "-1h", "--name", "x"]],
    "unpin": [["unpin", "x"], ["unpin", "x", "./"], ["unpin", b"\xe9"]],
    "units": [["units"], ["units", "-o", "."]],
    "schema": [["schema", "s.avsc"], ["schema", "--json", "s.avsc"],
               ["schema", "s.avsc", "-o", "s.layout"]],
    "": [[], ["--help"], ["--version"], ["help"], ["no-such-verb"], ["check", "--no-such-option"]],
}
OTHERS = [[RELAY], [RELAY, "--help"], [RELAY, "--version"], [RELAY, "--name", "c"], [KEEPER],
          [KEEPER, "--version"], [KEEPER, "run"], [OVERVIEW], [OVERVIEW, "--help"]]


def all_words():
    return [[FLOTILLA, *words] for forms in WORDS.values() for words in forms] + OTHERS


def test_066_no_verb_is_left_out(flotilla):
    table = flotilla("--help", check=0).stdout.partition("Verbs:\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"^  (\w+) ", table, re.M)) == set(WORDS) - {""}


@pytest.fixture
def folder():
    made = new_folder()
    yield made
    shutil.rmtree(made)


def configure(folder):
    """A good configuration with a recording beside it, and nothing that runs."""
    (folder / "s.avsc").write_text(json.dumps(signals.SCHEMA))
    port = Addresses().port()
    (folder / "fleet.yaml").write_text(
        "runtime: run\nstorage: {directory: rec, retain: {free: 1%}}\nchannels:\n  c: {listen: "
        f"'127.0.0.1:{port}', full: '127.0.0.1:{Addresses().port()}', schema: s.avsc, "
        "interface: lo}\n")


def record(folder):
    """A recording, made once, as A.avro."""
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("c", signals.samples(50), rate=0).finish()
        fleet.settle({"c": 50})
        fleet.stop()
        shutil.copy(fleet.files("c")[0], folder / "A.avro")


class Done:
    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err

    def __repr__(self):
        return f"{self.words}: {self.code}, out {self.out[-200:]!r}, err {self.err[-400:]!r}"


def end_left(folder):
    """Ends relays and keepers that a manager left at work: they outlive it by design."""
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == str(folder) and \
                    "flotilla-" in Path(f"/proc/{entry}/comm").read_text():
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            continue


def run(words, folder, before=(), out=subprocess.PIPE, **kw):
    """Runs it to its end; a manager that has come up is told to end, and what watches, too."""
    said = folder / ".said"  # not a pipe: relays that are left have it open, too
    with open(said, "wb") as err:
        child = subprocess.Popen([*before, *words], cwd=folder, stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=err, env={}, start_new_session=True, **kw)
    try:
        if "run" in words:
            patience = time.monotonic() + 10  # the line itself may be what could not be written
            wait_until(lambda: child.poll() is not None or STARTED in said.read_text() or
                       time.monotonic() > patience and (folder / "run/control.sock").is_socket(),
                       what="the manager to start or to end")
        elif "--watch" in words:
            time.sleep(0.2)
        if child.poll() is None and ("run" in words or "--watch" in words):
            os.killpg(child.pid, signal.SIGTERM)
        printed = child.communicate(timeout=60)[0]
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if "run" in words:
            end_left(folder)
    return Done(words, child.returncode, printed or b"", said.read_bytes())


def judge(done, watched=False):
    """A failure has a line that says why, and nothing dies of it."""
    assert done.code >= 0 or (watched and done.code == -signal.SIGTERM), done
    if done.code > 0:
        assert re.search(rb"[a-z]{3}[^\n]*\n", done.err), done
    return done


def every_verb(folder, **kw):
    for words in all_words():
        judge(run(words, folder, **kw))


def in_namespace(line):
    """A prefix that runs `line` in a namespace of mounts of its own, then the words."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
            f'{line} && exec "$@"', "sh"]


def needs_mounts(needs_root):
    probe = subprocess.run(in_namespace("true") + ["true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"needs namespaces of mounts: {probe.stderr.strip()}")


@pytest.fixture
def mounts(needs_root):
    needs_mounts(needs_root)


@pytest.mark.parametrize("configured", [False, True])
def test_066_nothing_in_the_environment(folder, configured, seed):
    if configured:
        configure(folder)
        record(folder)
    every_verb(folder)


def test_066_without_proc(folder, mounts, seed):
    """The fleet's manager says what it lacks and how to have it; doctor has it as a problem, whose
    printed command mends it."""
    configure(folder)
    record(folder)
    without = in_namespace("umount -l /proc")
    every_verb(folder, before=without)
    ran = run([FLOTILLA, "run"], folder, before=without)
    assert ran.code == 1 and b"mount -t proc proc /proc" in ran.err, ran
    told = run([FLOTILLA, "doctor", "--json"], folder, before=without)
    found = {one["check"]: one for one in json.loads(told.out)["findings"]}
    assert found["processes"]["level"] == "problem", told
    mended = in_namespace(f"umount -l /proc && {found['processes']['fix']}")
    told = run([FLOTILLA, "doctor", "--json"], folder, before=mended)
    found = {one["check"]: one for one in json.loads(told.out)["findings"]}
    assert found["processes"]["level"] == "ok", told
    assert run([FLOTILLA, "run"], folder, before=mended).code == 0


def test_066_without_dev(folder, mounts, seed):
    configure(folder)
    record(folder)
    without = in_namespace("mount -t tmpfs tmpfs /dev")
    every_verb(folder, before=without)
    assert run([FLOTILLA, "run"], folder, before=without).code == 0


def test_066_nobody_with_no_right(folder, needs_root, seed):
    """An unknown user, in a folder that is not hers, and in one that she may not even enter."""
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv of util-linux")
    configure(folder)
    record(folder)
    user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    for mode in (0o755, 0o000):
        folder.chmod(mode)
        every_verb(folder, before=user)


def test_066_a_folder_that_cannot_be_written(folder, mounts, seed):
    configure(folder)
    record(folder)
    every_verb(folder, before=in_namespace(
        f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && cd {folder}"))


def test_066_a_folder_that_has_gone(folder, seed):
    """The working folder was removed under the shell that starts it."""
    inside = folder / "gone"
    inside.mkdir()
    before = ["sh", "-c", f'cd {inside} && mkdir -p {inside} && rmdir {inside} && exec "$@"', "sh"]
    for words in all_words():
        inside.mkdir(exist_ok=True)
        judge(run(words, folder, before=before))


@pytest.mark.parametrize("what", ["a folder", "empty", "broken", "not UTF-8", "unreadable"])
def test_066_a_configuration_that_is_none(folder, what, seed):
    path = folder / "fleet.yaml"
    if what == "a folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "broken": b"channels: {c: {listen: nowhere}}\n",
                          "not UTF-8": b"runtime: \xe9t\xe9\nchannels: {}\n",
                          "unreadable": b"channels: {}\n"}[what])
    if what == "unreadable":
        path.unlink()
        path.symlink_to("/proc/self/mem")
    for verb in ("run", "check", "doctor", "units", "status", "reload", "stop"):
        judge(run([FLOTILLA, verb], folder))


def closing_output(folder, words, **kw):
    """Where it prints anything, that it could not do so is its failure."""
    plain = judge(run(words, folder))
    for made in ("B.avro", "s.layout"):
        (folder / made).unlink(missing_ok=True)
    if words[1:] == ["unpin", "x"]:
        run([FLOTILLA, "pin", "c", "--from", "-1h", "--name", "x"], folder)
    done = judge(run(words, folder, **kw), watched=True)
    if plain.out and "--watch" not in words:
        assert done.code not in (0, 3) and done.code > 0, (done, plain)
        if plain.code == 0:
            assert b"could not write all of the output" in done.err, done
    return done


def test_066_output_to_a_full_disk(folder, seed):
    configure(folder)
    record(folder)
    for words in all_words():
        if words[1:] == ["recover", "A.avro"]:
            continue  # the second one finds the first one's file
        with open("/dev/full", "wb") as full:
            closing_output(folder, words, out=full)
        for made in ("B.avro", "s.layout"):
            (folder / made).unlink(missing_ok=True)


def test_066_output_to_nobody(folder, seed):
    """A pipe whose reader has gone, where the signal for that is ignored, as under systemd."""
    configure(folder)
    record(folder)
    for words in all_words():
        if "recover" in words:
            continue
        read, write = os.pipe()
        os.close(read)
        closing_output(folder, words, out=write,
                       preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN))
        os.close(write)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_066_standard_descriptors_closed(folder, closed, seed):
    """Nothing that is opened gets their numbers: neither a recording nor a socket has a line of
    the log, and output to nowhere fails."""
    configure(folder)
    record(folder)
    before = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    files = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for words in all_words():
        if "recover" in words or "-o" in words:
            continue
        done = run(words, folder, before=before) if "run" not in words or "2>" not in closed \
            else None
        if done is None:
            continue  # the manager is the next test's
        if "2>" in closed:
            assert done.code >= 0, done
        else:
            judge(done)
        if "1>" in closed and done.code == 0 and "run" not in words:
            assert not judge(run(words, folder)).out, done
    assert all(path.read_bytes() == data for path, data in files.items())


def test_066_a_fleet_without_standard_descriptors(seed):
    """Manager, relay and keeper; and what is logged, also when a relay is killed, is nowhere in
    what they write."""
    with Fleet({"c": {"schema": signals.SCHEMA}}, run=False) as fleet:
        child = subprocess.Popen(["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", str(FLOTILLA),
                                  "run", "-c", str(fleet.file)], cwd=fleet.folder)
        fleet.manager = child
        fleet.wait_running()
        processes = [child.pid, *fleet.processes("flotilla-keeper"), *fleet.relay_processes()]
        assert len(processes) == 3
        for pid in processes:
            for number in range(3):
                assert os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null", (pid, number)
        os.kill(fleet.channel("c")["pid"], signal.SIGKILL)
        wait_until(lambda: fleet.channel("c")["restarts"] == 1)
        fleet.source("c", signals.samples(200), rate=0).finish()
        fleet.settle({"c": 200})
        flotilla("restart", "c", "-c", fleet.file, check=0)
        fleet.stop()
        for path in fleet.folder.rglob("*"):
            if path.is_file() and path.suffix != ".yaml":
                assert b"flotilla[" not in path.read_bytes() and \
                    b"flotilla: " not in path.read_bytes(), path


def test_066_no_answer_is_empty_over_a_name(seed):
    """A working folder in Latin-1: each answer is an object, in which the byte that is no UTF-8 is
    U+FFFD, as it is in what people see the byte itself."""
    base = new_folder()
    folder = Path(os.fsdecode(os.fsencode(base) + b"/donn\xe9es"))
    folder.mkdir()
    try:
        with Fleet({"c": {"schema": signals.SCHEMA}}, folder=folder,
                   top={"runtime": str(base / "run")}) as fleet:
            fleet.source("c", signals.samples(20), rate=0).finish()
            fleet.settle({"c": 20})
            fleet.channels["c"]["ttl"] = 3
            fleet.write()
            for words in (["check", "--json"], ["doctor", "--json"], ["status", "--json"],
                          ["reload", "--json"], ["restart", "c", "--json"]):
                done = subprocess.run([FLOTILLA, *words, "-c", fleet.file], capture_output=True)
                assert done.returncode in (0, 1), done
                told = json.loads(done.stdout)
                if words[0] in ("check", "doctor"):
                    assert told["file"].endswith("donn\ufffdes/fleet.yaml"), told["file"]
            assert "donn\ufffdes" in fleet.status()["manager"]["recordings"]
            fleet.stop()
            (file,) = fleet.files("c")
            shutil.copy(file, folder / os.fsdecode(b"\xff\xfe.avro"))
            for words in (["info", "--json", file], ["verify", "--json", file],
                          ["recover", "--json", folder / os.fsdecode(b"\xff\xfe.avro")],
                          ["schema", "--json", folder / "schemas" / "c.avsc"]):
                done = subprocess.run([FLOTILLA, *words], capture_output=True)
                assert done.returncode == 0, done
                assert "donn\ufffdes" in json.loads(done.stdout)["file"]
            done = subprocess.run([FLOTILLA, "restart", b"\xe9", "-c", fleet.file],
                                  capture_output=True)
            assert done.returncode == 1 and b"no manager runs" in done.stderr
    finally:
        shutil.rmtree(base)


def test_066_an_interface_whose_name_is_no_utf8(network, seed):
    """No configuration can name it, but the routing table may choose it."""
    made = subprocess.run([*network.inside, "ip", "link", "add", b"\xe9t\xe9", "type", "veth",
                           "peer", "name", "other"], capture_output=True)
    if made.returncode:
        pytest.skip(f"this ip does not take the name: {made.stderr}")
    subprocess.run([*network.inside, "sh", "-c", 'ip address add 10.98.0.1/24 dev "$1" && '
                    'ip link set "$1" up && ip link set other up', "sh", b"\xe9t\xe9"], check=True)
    with Fleet({"c": {"schema": signals.SCHEMA, "listen": "10.98.0.1:26000",
                      "full": "10.98.0.2:26001"}}, run=False) as fleet:
        del fleet.channels["c"]["interface"]
        fleet.write()
        for words in (["doctor", "--json"], ["check", "--json"]):
            done = subprocess.run([*network.inside, FLOTILLA, *words, "-c", fleet.file],
                                  capture_output=True)
            told = json.loads(done.stdout)
            assert done.returncode == 0, done
        found = subprocess.run([*network.inside, FLOTILLA, "doctor", "--json", "-c", fleet.file],
                               capture_output=True)
        told = json.loads(found.stdout)["findings"]
        assert any(one["name"] == "\ufffdt\ufffd" for one in told), told


# ---- each call fails -----------------------------------------------------------------------------

# What follows is not the program's any more, or cannot fail so.
NEVER = {"exit_group", "exit", "execve", "rt_sigreturn", "set_robust_list", "set_tid_address",
         "rseq", "arch_prctl", "vfork", "clone", "clone3", "restart_syscall", "getpid", "gettid",
         "clock_gettime", "getrandom", "brk", "rt_sigprocmask"}
FAULTED = [["check"], ["check", "--json"], ["doctor"], ["doctor", "--json"], ["units"], ["status"],
           ["stop"], ["schema", "s.avsc"], ["cat", "A.avro"], ["info", "A.avro"],
           ["verify", "A.avro"], ["run"]]
ERRORS = ["EPERM", "ENOMEM", "ENOSYS", "EIO"]


def traced(folder, words, *more):
    return run([FLOTILLA, *words], folder,
               before=["strace", "-qq", "-o", str(folder / "trace"), *more])


def calls_of(folder, words):
    """How often it makes each call; what loads the libraries is not counted as its own."""
    traced(folder, words)
    lines = (folder / "trace").read_text(errors="replace").splitlines()
    own = next(i for i, line in enumerate(lines) if "fcntl(0" in line)  # main's first
    loading, counts = {}, {}
    for i, line in enumerate(lines):
        call = line.partition("(")[0]
        if re.fullmatch(r"\w+", call) and call not in NEVER:
            counts[call] = counts.get(call, 0) + 1
            if i < own:
                loading[call] = counts[call]
    return {call: (loading.get(call, 0) + 1, count) for call, count in counts.items()}


def test_066_every_call_of_every_verb_fails(folder, rng, seed):
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    configure(folder)
    record(folder)
    points = []
    for words in FAULTED:
        for call, (first, last) in calls_of(folder, words).items():
            points += [(words, call, number, error) for number in range(first, last + 1)
                       for error in ERRORS]
    assert len(points) > 1000
    wrong = []
    for words, call, number, error in points if LONG else rng.sample(points, SAMPLE_FAULTS):
        done = traced(folder, words, "-e", f"inject={call}:error={error}:when={number}")
        try:
            judge(done)
        except AssertionError:
            trace = (folder / "trace").read_text(errors="replace")
            if re.search(r"^write\(2,.*INJECTED", trace, re.M):
                continue  # the line itself could not be written
            wrong.append((words, call, number, error, done))
    assert not wrong, wrong
