# SPDX-License-Identifier: MIT
"""105-machines: what is built for other machines: small, refused where it cannot be, with the
units run by an emulator; and a relay there keeps to the list of system calls that its sandbox would
hold it to.

The emulator has no seccomp: that a list is right is told by what the relay called after it would
have been in force. A booted machine (tests/systemd/arm-vm, in `make test-long`) has a kernel that
holds it to that, Landlock, and direct I/O."""
import concurrent.futures
import io
import json
import os
import re
import signal
import socket
import subprocess
import time

import fastavro
import pytest
from harness import builds, emulated, signals
from harness.fleet import LONG, ROOT, flotilla, wait_until

RELAY_BYTES_MAX = 200_000
MACHINES = ["aarch64", "armv7"] + (["armv6", "riscv64"] if LONG else [])
WITH_UNITS = ["armv7"] + (["aarch64", "armv6", "riscv64"] if LONG else [])
# Not run: test_cgroup tells a child by memory that it shares, and the emulator makes vfork a fork.
UNITS_LEFT_OUT = {"test_cgroup"}
# Those that take an emulator more than some seconds are for `make test-long`.
UNITS_LONG = {"test_ages", "test_block", "test_datum", "test_datum_json", "test_digits",
              "test_recording_name", "test_rows", "test_scan", "test_units"}
SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
DATUMS = 2000


def make(target):
    return subprocess.run(["make", "--no-print-directory", "cross", f"TARGET={target}"], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("target,words", [
    ("aarch64-macos", "does not run on macOS yet"), ("x86_64-macos", "does not run on macOS yet"),
    ("x86_64-windows", "does not run on Windows yet"), ("vax", "no such machine"),
    ("", "no such machine")])
def test_105_what_is_not_there_is_refused_in_words(target, words):
    done = make(target)
    assert done.returncode != 0 and words in done.stderr and "armv7" in done.stderr, done


@pytest.mark.parametrize("machine", MACHINES)
def test_105_small_static_and_alone(machine):
    for name in "flotilla-relay", "flotilla-keeper":
        program = emulated.built(machine, name)
        assert program.stat().st_size <= RELAY_BYTES_MAX, name
        head = program.read_bytes()
        assert b"/lib/ld-" not in head, f"{name} wants a library"
    said = subprocess.run([emulated.emulator(machine), emulated.built(machine, "flotilla-relay"),
                           "--version"], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0 and said.stdout.startswith("flotilla-relay "), said


@pytest.mark.parametrize("target,words", [
    ("powerpc64-linux-musl", "little-endian machines only"),
    ("mipsel-linux-musleabihf", "no atomic operations of 64 bits"),
    ("arm-linux-gnueabihf.2.36", "times end in 2038")])
def test_105_machines_that_cannot_be_are_refused_by_the_compiler(target, words, tmp_path):
    found = list((ROOT / "build/cross/zig").glob("lib/python3*/site-packages/ziglang/zig"))
    if not found:
        pytest.skip("needs zig (tests/setup cross)")
    file = "src/os/posix/clock.c" if "2038" in words else "src/channel/staging.c"
    done = subprocess.run([found[0], "cc", "-target", target, "-std=c11", "-Isrc", "-c", file, "-o",
                           tmp_path / "none.o"], cwd=ROOT, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode != 0 and words in done.stderr, done.stderr[-2000:]


@pytest.mark.parametrize("machine", WITH_UNITS)
def test_105_units(machine):
    name = emulated.emulator(machine)
    emulated.built(machine, "test_thread")
    folder = ROOT / "build/cross" / machine / "units"
    programs = sorted(path for path in folder.glob("test_*") if path.is_file() and
                      path.name not in UNITS_LEFT_OUT | (set() if LONG else UNITS_LONG))
    assert len(programs) > 15

    def run(program):
        return subprocess.run([name, program], cwd=ROOT, capture_output=True, text=True,
                              timeout=600)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for program, done in zip(programs, pool.map(run, programs)):
            assert done.returncode == 0, (program.name, done.stdout[-2000:], done.stderr[-3000:])


def test_105_a_program_of_32_bits_refuses_what_it_cannot_hold(tmp_path):
    """Sizes of 32 bits wrapped: 4 GiB were taken for a handful of slots."""
    folder = emulated.programs("armv7")
    relay = [folder / "flotilla-relay", "--name=engine", "--layout=l", "--listen=127.0.0.1:7"]
    for size in "4GiB", "16GiB", "2GiB":
        done = subprocess.run([*relay, f"--buffer={size}"], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 64 or done.returncode == 2 or done.returncode == 78, done
        assert "--buffer: " in done.stderr and "1GiB" in done.stderr, done.stderr
    (tmp_path / "s.avsc").write_text(json.dumps(signals.SCHEMA))

    def check(channels, buffer):
        lines = [f"  c{i}: {{listen: 127.0.0.1:{7000 + i}, schema: s.avsc, buffer: {buffer}}}"
                 for i in range(channels)]
        (tmp_path / "fleet.yaml").write_text("runtime: run\nstorage: {directory: rec}\nchannels:\n"
                                             + "\n".join(lines) + "\n")
        return subprocess.run([folder / "flotilla", "check", "-c", tmp_path / "fleet.yaml"],
                              capture_output=True, text=True, timeout=60)
    assert check(20, "64MiB").returncode == 0
    few = check(1, "4GiB")
    assert few.returncode == 78 and "1GiB" in few.stderr, few
    many = check(40, "64MiB")
    assert many.returncode == 78 and "a manager of 32 bits has room for 2GiB" in many.stderr, many


def allowed_calls():
    """The system calls that the sandbox lets through, whatever it asks of their arguments."""
    text = (ROOT / "src/os/linux/sandbox.c").read_text()
    found = set(re.findall(r"\{SYS_(\w+), CALL_(?:ALLOW|IF|IF_NULL|REFUSE|END_AT),", text))
    assert "recvmmsg" in found and "socket" not in found
    return found


def udp():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    one.setblocking(False)
    return one


@pytest.mark.parametrize("machine", MACHINES)
def test_105_a_relay_keeps_to_its_list_of_calls(machine, tmp_path):
    relay, name = emulated.built(machine, "flotilla-relay"), emulated.emulator(machine)
    (tmp_path / "s.avsc").write_text(json.dumps(signals.SCHEMA))
    flotilla("schema", tmp_path / "s.avsc", "-o", tmp_path / "s.layout", check=0)
    (tmp_path / "rec").mkdir()
    with udp() as receive, udp() as full, udp() as out:
        for one in receive, full:
            one.bind(("127.0.0.1", 0))
        for option in SO_TIMESTAMPNS, SO_RXQ_OVFL:  # handed down, as by the manager or systemd
            receive.setsockopt(socket.SOL_SOCKET, option, 1)
        high = os.dup(receive.fileno())
        words = [name, "-strace", str(relay), "--name=engine",
                 f"--layout={tmp_path}/s.layout",
                 f"--listen=127.0.0.1:{receive.getsockname()[1]}",
                 f"--full=127.0.0.1:{full.getsockname()[1]}", f"--directory={tmp_path}/rec",
                 "--sync=50ms"]
        script = f'exec 3<&{high}; LISTEN_PID=$$ exec "$@"'
        with open(tmp_path / "trace", "wb") as trace:
            child = subprocess.Popen(["bash", "-c", script, "bash", *words], pass_fds=[high],
                                     env=dict(os.environ, LISTEN_FDS="1",
                                              LISTEN_FDNAMES="receive"), stderr=trace)
        try:
            def said():
                return (tmp_path / "trace").read_text(errors="replace")
            wait_until(lambda: "no seccomp filter" in said(), what="the relay's sandbox")
            sent, heard = signals.samples(DATUMS), []
            for at in range(0, DATUMS, 20):
                for one in sent[at:at + 20]:
                    out.sendto(one, receive.getsockname())
                time.sleep(0.002)

            def hear():
                while True:
                    try:
                        heard.append(full.recv(65536))
                    except BlockingIOError:
                        return len(heard) >= DATUMS
            wait_until(hear, what="what it sends on")
            wait_until(lambda: "MADV_REMOVE) = 0" in said(), what="memory to be given back")
            child.send_signal(signal.SIGTERM)
            assert child.wait(60) == 0, said()[-3000:]
        finally:
            child.kill()
            child.wait()
            os.close(high)
    assert heard == sent
    assert f"{DATUMS} datums recorded, 0 not" in said()
    (path,) = (tmp_path / "rec").glob("*.avro")
    with open(path, "rb") as file:
        got = list(fastavro.reader(file))
    parsed = fastavro.parse_schema(signals.SCHEMA)
    assert got == [fastavro.schemaless_reader(io.BytesIO(one), parsed) for one in sent]
    assert flotilla("verify", path).returncode == 0
    sealed = said().partition("no seccomp filter")[2]
    calls = set(re.findall(r"^\d+ (\w+)\(", sealed, re.M))
    assert {"recvmmsg", "sendmmsg", "pwritev", "fdatasync", "renameat2"} <= calls, calls
    assert calls <= allowed_calls(), f"not on the sandbox's list: {calls - allowed_calls()}"


@pytest.mark.parametrize("arch,machine", [("arm64", "aarch64"), ("armhf", "armv7")])
def test_105_packages(arch, machine):
    if not LONG:
        pytest.skip("builds all programs of another machine: make test-long")
    emulated.built(machine, "flotilla-relay")
    path = ROOT / builds.make("deb", f"ARCH={arch}").splitlines()[-1]
    said = subprocess.run(["dpkg-deb", "-f", path, "Architecture", "Depends"], check=True,
                          capture_output=True, text=True).stdout
    assert said == f"{arch}\n" or said == f"Architecture: {arch}\n", said
    tarball = next((ROOT / "build/cross").glob(f"flotilla-*-{machine}.tar.xz"))
    names = subprocess.run(["tar", "-tf", tarball], check=True, capture_output=True,
                           text=True).stdout.split()
    names = {name.partition("/")[2] for name in names}
    assert {"bin/flotilla", "bin/flotilla-relay", "bin/flotilla-keeper", "bin/flotilla-overview",
            "bin/flotilla-export", "share/man/man1/flotilla.1",
            "lib/systemd/system/flotilla.service", "share/doc/flotilla/licences/jansson"} <= names
    said = subprocess.run([emulated.emulator(machine), emulated.built(machine, "flotilla-export"),
                           "--version"], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0 and said.stdout.startswith("flotilla-export ")


@pytest.mark.parametrize("machine", ["aarch64", "armv7"])
def test_105_a_booted_machine(machine):
    """A kernel with seccomp, Landlock and a disk: the relays' sandbox is whole, a relay and its
    manager are killed, all is recorded past the page cache; and a relay taken over gets nowhere."""
    if not LONG:
        pytest.skip("takes minutes: make test-long")
    programs = [emulated.built(machine, name) for name in
                ("flotilla", "flotilla-relay", "flotilla-keeper", "sandbox_probe")]
    done = subprocess.run([ROOT / "tests/systemd/arm-vm", machine, ROOT / "tests/systemd/check_arm",
                           *programs], capture_output=True, text=True, timeout=1200)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip()[-200:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for words in ("sealed: both relays", "600 of 600", "none twice", "the sandbox is whole",
                  "attempts are refused or end it"):
        assert words in done.stdout
