# SPDX-License-Identifier: MIT
"""028-sandbox: a relay that somebody has taken over reaches its descriptors and its folder, and
nothing else; one that nobody has taken over never notices. And limits, where they can be had."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, RELAY, ROOT, Fleet, new_folder, wait_until

PROBE = ROOT / "build/units/sandbox_probe"
# Whatever it is that has the relay may do this: with its own sockets, and to itself.
IN_REACH = {"send_to_anybody"}
# What cannot be done here without a sandbox either, as the kernel or the machine is.
MAY_LACK = {"bind_inherited", "link_descriptor", "call_by_x32", "unload_module", "load_bpf", "ring",
            "perf_event", "fault_handler", "set_attribute_of_others", "make_device", "rename_host",
            "read_kernel_log", "mount_over", "take_capabilities", "add_key", "open_by_handle",
            "clone_mount", "call_by_32_bit", "signal_everybody"}


def status(pid, task=None):
    text = Path(f"/proc/{pid}/task/{task or pid}/status").read_text()
    return dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)


def has(what):
    """Whether this kernel has it, by the doctor's word."""
    done = subprocess.run([FLOTILLA, "doctor", "-c", ROOT / "examples/fleet.yaml"],
                          capture_output=True, text=True)
    return f"no {what}" not in done.stdout


@pytest.fixture(scope="module")
def whole():
    if not has("Landlock") or not has("seccomp filter"):
        pytest.skip("needs Landlock and seccomp filters")


def attempt(how, name, *words):
    done = subprocess.run([PROBE, how, name, *map(str, words)], capture_output=True, text=True,
                          timeout=30)
    if done.returncode == 0:
        return done.stdout.strip() or "reached"  # another program ran in its place
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    raise AssertionError((how, name, done))


def lay_out(folder):
    own, other = folder / "own", folder / "other"
    for place in (own, other):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "file").write_text("held")
    (other / "victim").write_text("held")
    (own / "link").symlink_to("/etc/passwd")
    shutil.copy("/bin/true", own / "program")
    return own, other


def test_028_a_relay_that_is_taken_over(whole, needs_root, tmp_path, seed):
    """Every attempt without the sandbox, with its first half, and with all of it, while a real
    manager and its relay are the ones that are attacked."""
    names = subprocess.run([PROBE, "list"], capture_output=True, text=True,
                           check=True).stdout.split()
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        (relay,) = fleet.relay_processes()
        fleet.source("engine", signals.samples(100)).finish()

        def try_all(name):
            row = []
            for how in ("open", "enter", "whole"):
                own, other = lay_out(tmp_path / name)
                row.append(attempt(how, name, own, other, fleet.manager.pid, relay))
            assert {path.name: path.read_text() for path in other.iterdir()} == \
                {"file": "held", "victim": "held"}, name
            assert (other / "file").stat().st_mode & 0o777 == 0o644
            return row
        with ThreadPoolExecutor(4) as pool:
            rows = dict(zip(names, pool.map(try_all, names)))
        assert fleet.settle({"engine": 100})["engine"]["pid"] == relay
        assert fleet.channel("engine")["restarts"] == 0
    for name, (alone, half, shut) in rows.items():
        print(f"{name:28}{alone:18}{half:18}{shut}")
    ended = {name for name, row in rows.items() if row[2] == "SIGSYS"}
    refused = {name for name, row in rows.items() if row[2].startswith("refused")}
    needed = {name for name in names if name.startswith("keep_")}
    crashes = {"crash", "crash_thread"}
    print(f"{len(ended)} end it, {len(refused)} are refused, {len(IN_REACH)} in reach")
    assert {name for name in names if rows[name][2] == "reached"} == needed | IN_REACH
    assert {name for name in names if rows[name][2] == "SIGABRT"} == crashes
    assert ended | refused | needed | crashes | IN_REACH == set(names)
    # The attempts are real: without a sandbox they work. And files do not hang on seccomp alone.
    failing = {name for name, row in rows.items() if row[0].startswith("refused")}
    assert failing <= MAY_LACK, {name: rows[name] for name in failing}
    for name in ("read_passwd", "read_by_symlink", "read_by_dots", "create_in_other",
                 "write_others", "remove_others", "link_others", "run_program", "run_own_file"):
        assert rows[name][1].startswith("refused"), name
    assert {"run_program", "fork_process", "udp_socket", "trace_manager", "ring"} <= ended


def test_028_a_running_relay_has_nothing(whole, seed):
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True},
                "bare": {"schema": signals.SCHEMA, "record": False}}) as fleet:
        for name in ("engine", "bare"):
            pid = fleet.channel(name)["pid"]
            wait_until(lambda: status(pid)["Seccomp"] == "2", what="the sandbox")
            tasks = os.listdir(f"/proc/{pid}/task")
            assert len(tasks) == (2 if name == "engine" else 1)
            for task in tasks:
                found = status(pid, task)
                assert found["NoNewPrivs"] == "1" and found["Seccomp"] == "2"
                sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
                sets += ["CapBnd"] if os.geteuid() == 0 else []
                assert {found[key] for key in sets} == {"0000000000000000"}, found
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max processes +0 +0", limits)
            assert int(re.search(r"Max open files +(\d+)", limits)[1]) < 64
        assert "sandbox" not in fleet.log()


def needs_tracing():
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"]).returncode:
        pytest.skip("needs permission to trace (ptrace)")


def by_hand(fleet, flotilla, log, *flags, trace=None, inject=(), **kw):
    """A relay without a manager, under strace if `trace` or `inject` say so."""
    layout = fleet.folder / "layout"
    flotilla("schema", fleet.folder / "schemas/engine.avsc", "-o", layout, check=0)
    words = [RELAY, "--name=engine", f"--layout={layout}", "--interface=lo",
             f"--listen={fleet.address('engine')}", "--sync=50ms", *flags]
    if trace or inject:
        faults = [word for fault in inject for word in ("-e", f"inject={fault}")]
        words = ["strace", "-f", "-qq", "-o", trace or "/dev/null", *faults, *words]
    child = subprocess.Popen(words, stderr=open(log, "wb"), **kw)
    fleet._children.append(child)
    return child


def of_tracer(child):
    return int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[0])


@pytest.mark.parametrize("direct", ["auto", "off"])
def test_028_nothing_that_is_needed_is_refused(whole, flotilla, tmp_path, seed, direct):
    """A whole life by strace: recorded, decimated, rejected, rotated, rested and stopped."""
    needs_tracing()
    log, trace = tmp_path / "log", tmp_path / "trace"
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        tracer = by_hand(fleet, flotilla, log, f"--directory={tmp_path}/engine",
                         f"--direct-io={direct}", "--rotate-age=300ms", "--rotate-size=64KiB",
                         f"--full={fleet.addresses.group()}", "--factor=3",
                         f"--decimated={fleet.addresses.group()}", "--algorithm=min-max",
                         trace=trace)
        wait_until(lambda: trace.exists() and "seccomp(" in trace.read_text(), what="the relay")
        good = signals.samples(1000, pad=300)
        fleet.source("engine", [b"\xff" * 9 if i % 50 == 0 else good[i] for i in range(1000)],
                     rate=1000).finish()
        time.sleep(0.6)  # memory is given back after a rest
        os.kill(of_tracer(tracer), signal.SIGTERM)
        assert tracer.wait(60) == 0, log.read_text()
        assert "1000 datagrams received, 20 rejected" in log.read_text(), log.read_text()
        assert "980 datums recorded, 0 not" in log.read_text(), log.read_text()
    inside = trace.read_text().partition("seccomp(")[2]
    refusals = ("= -1 EPERM", "= -1 EACCES", "SIGSYS")
    assert not [line for line in inside.splitlines() if any(word in line for word in refusals)]
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", inside, re.M))
    print(dict(calls.most_common()))
    assert {"recvmmsg", "sendmmsg", "pwritev", "renameat2", "ftruncate", "getdents64"} <= set(calls)


@pytest.mark.parametrize("fault, words", [
    ("landlock_create_ruleset:error=ENOSYS", "no Landlock"),
    ("landlock_create_ruleset:error=EOPNOTSUPP", "no Landlock"),
    ("seccomp:error=ENOSYS", "no seccomp filter"),
    ("landlock_restrict_self:error=E2BIG", "the sandbox is not whole: Argument list too long"),
])
def test_028_what_cannot_be_had_is_said_once(whole, flotilla, tmp_path, seed, fault, words):
    needs_tracing()
    log = tmp_path / "log"
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        tracer = by_hand(fleet, flotilla, log, f"--directory={tmp_path}/engine", inject=[fault])
        wait_until(lambda: words in log.read_text(), what="the words")
        fleet.source("engine", signals.samples(100), rate=1000).finish()
        wait_until(lambda: list((tmp_path / "engine").glob("*.part")), what="recording")
        os.kill(of_tracer(tracer), signal.SIGTERM)
        assert tracer.wait(60) == 0
        assert "100 datums recorded, 0 not" in log.read_text()
        assert log.read_text().count("sandbox") == 1, log.read_text()
        if "restrict" in fault:
            return  # only by doing it can that be known
        done = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}",
                               FLOTILLA, "doctor", "-c", fleet.file], capture_output=True,
                              text=True)
        assert re.search(r"^  warning  sandbox ", done.stdout, re.M), done.stdout


def test_028_a_superuser_in_a_folder_of_somebody_else(whole, needs_root, flotilla, tmp_path, seed):
    """What it needs for that, and no more, is kept and said."""
    log, folder = tmp_path / "log", tmp_path / "engine"
    folder.mkdir(0o750)
    os.chown(folder, 65534, 65534)
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        relay = by_hand(fleet, flotilla, log, f"--directory={folder}")
        wait_until(lambda: "CAP_DAC_OVERRIDE" in log.read_text(), what="the words")
        wait_until(lambda: status(relay.pid)["Seccomp"] == "2", what="the sandbox")
        assert int(status(relay.pid)["CapEff"], 16) == 2 and status(relay.pid)["CapBnd"] == "0" * 16
        fleet.source("engine", signals.samples(100)).finish()
        wait_until(lambda: list(folder.glob("*.part")), what="recording")
        relay.terminate()
        assert relay.wait(20) == 0
        assert "100 datums recorded, 0 not" in log.read_text(), log.read_text()


def test_028_an_ordinary_user(whole, needs_root, seed):
    folder = new_folder()
    os.chown(folder, 65534, 65534)
    os.chmod(folder, 0o755)
    inside = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    with Fleet({"engine": {"schema": signals.SCHEMA}}, folder=folder, inside=inside) as fleet:
        pid = fleet.channel("engine")["pid"]
        wait_until(lambda: status(pid)["Seccomp"] == "2", what="the sandbox")
        assert status(pid)["CapEff"] == "0" * 16 and status(pid)["NoNewPrivs"] == "1"
        fleet.source("engine", signals.samples(100)).finish()
        assert fleet.settle({"engine": 100})["engine"]["datums_recorded"] == 100
        assert "sandbox" not in fleet.log()
    shutil.rmtree(folder, ignore_errors=True)


# A folder that has to be opened again ------------------------------------------------------------

def test_028_a_folder_that_comes_back_under_load(seed):
    """The relay goes on until a fresh one is made for it, and ends between two batches: nothing is
    lost, nothing sent or recorded twice."""
    datums = signals.samples(40_000)
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True}}, run=False) as fleet:
        (fleet.folder / "recordings").write_text("a file where the folder belongs")
        fleet.start(wait=False)
        wait_until(lambda: fleet.status(missing={}).get("channels"), what="the manager")
        sink = fleet.sink(fleet.address("engine", "full"))
        source = fleet.source("engine", datums, rate=10_000)
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the state")
        before = fleet.channel("engine")["pid"]
        (fleet.folder / "recordings").unlink()
        wait_until(lambda: fleet.channel("engine")["pid"] not in (0, before), what="a fresh relay")
        source.finish()
        channel = fleet.settle({"engine": 40_000})["engine"]
        assert channel["restarts"] == 0 and channel["datagrams_dropped"] == 0
        assert channel["datums_recorded"] == channel["datagrams_sent_full"] == 40_000
        assert sink.stop() == datums
        fleet.stop()
        assert container.payload(fleet.files("engine")) == (b"".join(datums), 40_000)


def test_028_a_folder_that_only_seems_to_be_possible(seed):
    """Tried anew only so often that it costs nothing."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        (fleet.folder / "recordings").mkdir()
        (fleet.folder / "recordings/engine").symlink_to("nowhere")
        fleet.start(wait=False)
        wait_until(lambda: fleet.status(missing={}).get("channels"), what="the manager")
        fleet.source("engine", signals.samples(10)).finish()
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the state")
        time.sleep(3)
        channel = fleet.channel("engine")
        assert fleet.log().count(" started\n") == 1 and channel["datagrams_received"] == 10
        (fleet.folder / "recordings/engine").unlink()
        channel = fleet.settle({"engine": 10})["engine"]
        assert channel["restarts"] == 0 and channel["datums_recorded"] == 10
        assert fleet.log().count(" started\n") == 2


def test_028_by_hand_it_relays_on(whole, flotilla, tmp_path, seed):
    log, folder = tmp_path / "log", tmp_path / "engine"
    folder.write_text("a file where the folder belongs")
    with Fleet({"engine": {"schema": signals.SCHEMA}}, run=False) as fleet:
        full = fleet.addresses.group()
        sink = fleet.sink(full)
        relay = by_hand(fleet, flotilla, log, f"--directory={folder}", f"--full={full}")
        wait_until(lambda: "relaying without recording" in log.read_text(), what="the words")
        fleet.source("engine", signals.samples(10)).finish()
        folder.unlink()
        wait_until(lambda: "start it anew" in log.read_text(), what="the words")
        fleet.source("engine", signals.samples(10, start=10)).finish()
        time.sleep(1.2)
        assert log.read_text().count("start it anew") == 1 and relay.poll() is None
        relay.terminate()
        assert relay.wait(20) == 0
        assert "0 datums recorded, 20 not" in log.read_text(), log.read_text()
        assert sink.stop() == signals.samples(20)


# Limits ------------------------------------------------------------------------------------------

def own_group():
    """A cgroup v2 folder that a manager could be given, with memory and cpu; made for the test."""
    root = next((path for path in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
                 if (path / "cgroup.controllers").exists()), None)
    if root is None or not {"memory", "cpu"} <= \
            set((root / "cgroup.controllers").read_text().split()):
        pytest.skip("needs memory and cpu in cgroup v2")
    group = root / f"flotilla-test-{os.getpid()}"
    try:
        (root / "cgroup.subtree_control").write_text("+memory +cpu")
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs to make a cgroup: {error}")
    return group


def test_028_limits_are_kept(needs_root, seed):
    group = own_group()
    limits = {"limits": {"memory": "48MiB", "cpu": "25%"}, "buffer": "16MiB"}
    try:
        with Fleet({"engine": {"schema": signals.SCHEMA, **limits},
                    "free": {"schema": signals.SCHEMA}}, run=False) as fleet:
            fleet.start(preexec_fn=lambda: (group / "cgroup.procs").write_text("0"))
            mine = group / "channel-engine"
            pid = fleet.channel("engine")["pid"]
            assert (mine / "cgroup.procs").read_text().split() == [str(pid)]
            assert (mine / "memory.max").read_text().strip() == str(48 << 20)
            assert (mine / "cpu.max").read_text().split() == ["2500", "10000"]
            others = (group / "manager/cgroup.procs").read_text().split()
            assert sorted(map(int, others)) == sorted([fleet.manager.pid,
                                                       fleet.channel("free")["pid"]])
            fleet.source("engine", signals.samples(1000, pad=500), rate=500).finish()
            channel = fleet.settle({"engine": 1000})["engine"]
            assert channel["restarts"] == 0
            assert channel["datums_recorded"] + channel["datagrams_dropped"] == 1000
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: fleet.channel("engine")["pid"] not in (0, pid), what="a successor")
            assert (mine / "cgroup.procs").read_text().split() == \
                [str(fleet.channel("engine")["pid"])]
            del fleet.channels["engine"]
            fleet.write()
            fleet.reload()
            assert not mine.exists(), "the group goes with its channel"
            fleet.stop()
        assert not list(group.glob("*/")), "nothing is left in the manager's group"
    finally:
        for left in (*group.glob("*/"), group):
            wait_until(lambda: not (left / "cgroup.procs").read_text(), what=f"{left} to be empty")
            left.rmdir()


def test_028_limits_that_cannot_be_had(seed):
    """The channel runs all the same, and somebody says why there are none."""
    limits = {"limits": {"memory": "256MiB", "cpu": "50%"}}
    with Fleet({"engine": {"schema": signals.SCHEMA, **limits},
                "other": {"schema": signals.SCHEMA, **limits}}) as fleet:
        fleet.source("engine", signals.samples(10)).finish()
        assert fleet.settle({"engine": 10})["engine"]["datums_recorded"] == 10
        place = Path(f"/proc/{fleet.channel('engine')['pid']}/cgroup").read_text()
        done = subprocess.run([FLOTILLA, "doctor", "-c", fleet.file], capture_output=True,
                              text=True)
        if "/channel-engine" in place:
            assert "applied, by cgroup v2" in done.stdout
        else:
            said = [line for line in fleet.log().splitlines() if "not applied" in line]
            assert len(said) == 1, fleet.log()
            assert len(re.findall(r"warning  limits +not applied: ", done.stdout)) == 2
