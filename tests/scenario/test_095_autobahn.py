# SPDX-License-Identifier: MIT
"""095-autobahn: every case of the Autobahn test suite for the protocol itself (1 to 7, 9, 10) ends
as the suite expects it, none merely tolerated; in `make test` without most of large messages. And
the driver can fail: a server that looks at nothing does not pass."""
import base64
import hashlib
import re
import socket
import struct
import threading

import pytest
from harness import autobahn
from harness.fleet import LONG
from harness.web_socket import ECHO, echo_gateway

pytest.importorskip("lib2to3", reason="the suite is Python 2; lib2to3 left Python with 3.13")
pytestmark = [
    pytest.mark.skipif(not ECHO.exists(), reason="built without libmicrohttpd and wslay"),
    pytest.mark.skipif(not list(autobahn.SOURCE.glob("*.tar.gz")), reason="tests/setup test"),
    pytest.mark.xdist_group("autobahn"),  # converted once
]
# Of what the specification leaves open.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
# Of 54 with large or many messages, those that others do not have in them.
LARGE = {"9.1.3", "9.2.3", "9.3.4", "9.4.4", "9.5.4", "9.6.4", "9.7.4", "9.8.4"}


def failures(port, names, all_cases):
    out = {}
    for name in names:
        try:
            one = autobahn.Client(port, all_cases[name]).run()
        except (AssertionError, UnicodeDecodeError) as fault:  # what no server may send
            out[name] = repr(fault)
            continue
        wanted = "INFORMATIONAL" if name in INFORMATIONAL else "OK"
        if (one.behavior, one.behaviorClose) != (wanted, wanted):
            out[name] = (one.behavior, one.behaviorClose, one.result[:200], one.resultClose)
    return out


@pytest.fixture(scope="module")
def all_cases():
    return autobahn.cases()


def test_095_autobahn_cases(all_cases, tmp_path):
    assert len(all_cases) == 301 and len([name for name in all_cases if name[:2] == "9."]) == 54
    names = [name for name in all_cases if LONG or name[:2] != "9." or name in LARGE]
    with echo_gateway(tmp_path) as (port, _):
        failed = failures(port, names, all_cases)
    print(f"{len(names)} cases, {len(failed)} failed")
    assert not failed, failed


def careless(one):
    """A server that sends back what comes and sees nothing wrong with it."""
    head = b""
    with one:
        while b"\r\n\r\n" not in head:
            head += one.recv(1)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)[1]
        accept = base64.b64encode(hashlib.sha1(
            key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        one.sendall(b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        stream = one.makefile("rb")
        while front := stream.read(2):
            length = front[1] & 127
            more = stream.read({126: 2, 127: 8}.get(length, 0))
            if more:
                length = int.from_bytes(more, "big")
            mask = stream.read(4)
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(stream.read(length)))
            first = front[0] & 0x8f if front[0] & 15 != 9 else front[0] + 1 & 0x8f
            length = len(payload)
            size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length)
            one.sendall(bytes([first]) + size + payload)
            if first & 15 == 8:
                return


def test_095_autobahn_can_fail(all_cases):
    """A server that checks nothing fails where there is something to check, and only there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            while True:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=lambda one=one: quietly(one), daemon=True).start()

        def quietly(one):
            try:
                careless(one)
            except OSError:
                pass
        threading.Thread(target=serve, daemon=True).start()
        names = ["1.1.1", "1.1.2", "1.2.4", "2.2", "7.1.1", "7.7.3", "3.1", "3.2", "4.1.1", "5.1",
                 "5.9", "6.3.1", "7.3.2", "7.9.3"]
        failed = failures(listener.getsockname()[1], names, all_cases)
        listener.shutdown(socket.SHUT_RDWR)
    assert set(failed) == {"3.1", "3.2", "4.1.1", "5.1", "5.9", "6.3.1", "7.3.2", "7.9.3"}, failed
