# SPDX-License-Identifier: MIT
"""The relay on another processor: built for aarch64 with a cross compiler, and run under qemu-user.
The checksum's own instructions against what this machine makes of the same bytes (which the units
hold against a reference); and a whole relay, from datagrams to a file that fastavro reads.

The emulator has no seccomp: that the list of system calls is right for aarch64 is told by what the
relay called after it would have been in force. Needs a cross compiler and qemu-user; says so where
they are missing."""
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import fastavro
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/scenario"), str(ROOT / "tests/readers")]

from harness import signals  # noqa: E402
from harness.fleet import flotilla, wait_until  # noqa: E402

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
COMPILE = [COMPILER, "-std=c11", "-static", "-DFLOTILLA_VERSION=\"aarch64\"",
           "-Wall", "-Wextra", "-Werror", "-Isrc"]
SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
DATUMS = 3000


@pytest.fixture(autouse=True)
def tools():
    for program, package in ((COMPILER, "gcc-aarch64-linux-gnu"), (EMULATOR, "qemu-user")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (package {package})")


def digests(command):
    """What each way makes of the same bytes, by its name."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())


def test_checksum_on_aarch64(tmp_path):
    program = tmp_path / "checksum"
    sources = ["bench/checksum.c", "src/base/crc32c.c", "src/base/log.c", "src/os/posix/clock.c",
               "src/os/linux/processor.c"]
    subprocess.run([*COMPILE, "-O2", "-o", program, *sources], cwd=ROOT, check=True)
    here = digests([ROOT / "build/units/bench_checksum", "--digest"])
    there = digests([EMULATOR, program, "--digest"])
    assert set(there) == {"three streams", "by table"}
    assert set(there.values()) == set(here.values()) == {here["by table"]}


def relay_sources():
    """The relay's files, as meson.build lists them."""
    text = (ROOT / "meson.build").read_text()
    lists = [re.search(rf"^{name} = files\((.*?)\)", text, re.S | re.M)[1] for name in
             ("hot", "small", "sandbox", "hot_relay", "small_relay", "relay_main")]
    return [name for one in lists for name in re.findall(r"'(src/[^']+)'", one)]


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


@pytest.mark.parametrize("page", [4096, 65536])
def test_relay_on_aarch64(tmp_path, page):
    """Pages are of 4, 16 or 64 KiB there: memory goes back by whole ones."""
    relay = tmp_path / "flotilla-relay"
    subprocess.run([*COMPILE, "-Os", "-o", relay, *relay_sources(), "-lm"], cwd=ROOT, check=True)
    (tmp_path / "s.avsc").write_text(json.dumps(signals.SCHEMA))
    flotilla("schema", tmp_path / "s.avsc", "-o", tmp_path / "s.layout", check=0)
    (tmp_path / "rec").mkdir()
    with udp() as receive, udp() as full, udp() as out:
        for one in receive, full:
            one.bind(("127.0.0.1", 0))
        for option in SO_TIMESTAMPNS, SO_RXQ_OVFL:  # handed down, as by the manager or systemd
            receive.setsockopt(socket.SOL_SOCKET, option, 1)
        high = os.dup(receive.fileno())
        words = [EMULATOR, "-p", str(page), "-strace", str(relay), "--name=engine",
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
            given_back = re.compile(r"madvise\((0x[0-9a-f]+),(\d+),MADV_REMOVE\) = (-?\d+)")
            wait_until(lambda: given_back.search(said()), what="memory to be given back")
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0, said()[-3000:]
        finally:
            child.kill()
            child.wait()
            os.close(high)
    assert heard == sent
    for at, count, result in given_back.findall(said()):
        assert int(at, 0) % page == int(count) % page == int(result) == 0, said()[-3000:]
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
