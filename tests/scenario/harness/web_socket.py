# SPDX-License-Identifier: MIT
"""A WebSocket client that says exactly what it is told to, right or wrong; and the gateway that
echoes."""
import base64
import contextlib
import hashlib
import os
import socket
import struct
import subprocess

from .fleet import BUILD, wait_until
from .gateway import ask, free_port

ECHO = BUILD / "programs/flotilla-gateway-echo"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def request(port, path="/echo", key=None, protocols=("echo",), **fields):
    """The bytes of a handshake; a field that is None is left out, a list is there several times."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    lines = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
             "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
             "Sec-WebSocket-Protocol": ", ".join(protocols) or None,
             **{name.replace("_", "-"): value for name, value in fields.items()}}
    out = f"GET {path} HTTP/1.1\r\n"
    for name, value in lines.items():
        for one in value if isinstance(value, list) else [value]:
            out += "" if one is None else f"{name}: {one}\r\n"
    return (out + "\r\n").encode()


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x12\x34\x56\x78", length=None):
    """One frame; `length` 126 or 127: that form of it."""
    count = len(payload)
    length = length or (count if count < 126 else 126 if count < 65536 else 127)
    out = bytes([fin << 7 | rsv << 4 | opcode, (0x80 if mask else 0) | length])
    out += {126: struct.pack(">H", count & 0xffff), 127: struct.pack(">Q", count)}.get(length, b"")
    if not mask:
        return out + payload
    whole = int.from_bytes(payload, "big") ^ int.from_bytes(
        (mask * (count // 4 + 1))[:count], "big")
    return out + mask + whole.to_bytes(count, "big")


class Refused(Exception):
    def __init__(self, status, head, body):
        super().__init__(f"{status}: {body[:300]}")
        self.status, self.head, self.body = status, head, body


class WebSocket:
    """Each frame as it comes; what is not read waits. `receive_bytes`: how much the kernel takes
    of what nobody reads."""

    def __init__(self, port, path="/echo", early=b"", seconds=60, receive_bytes=None, **fields):
        self.socket = socket.socket()
        self.socket.settimeout(seconds)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.buffer = b""
        try:
            self.socket.connect(("127.0.0.1", port))
            key = base64.b64encode(os.urandom(16)).decode()
            self.socket.sendall(request(port, path, key, **fields) + early)
            self.head = self._until(b"\r\n\r\n").decode()
            status = int(self.head.split()[1])
            self.fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip()
                           for line in self.head.split("\r\n")[1:] if line}
            if status != 101:
                body = self._take(int(self.fields.get("content-length", 0)))
                raise Refused(status, self.head, body)
            accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            assert self.fields["sec-websocket-accept"] == base64.b64encode(accept).decode()
            assert self.fields["upgrade"].lower() == "websocket"
            assert self.fields["connection"].lower() == "upgrade"
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _more(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise EOFError
        self.buffer += piece

    def _until(self, end):
        while end not in self.buffer:
            self._more()
        out, self.buffer = self.buffer.split(end, 1)
        return out

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def send(self, opcode, payload=b"", **how):
        self.socket.sendall(frame(opcode, payload, **how))

    def frame(self):
        """(opcode, payload); EOFError when the other side has ended the connection. A server does
        not fragment here, nor mask."""
        first, second = self._take(2)
        assert first & 0xf0 == 0x80 and second < 128, (first, second)
        length = second
        if second == 126:
            length, = struct.unpack(">H", self._take(2))
            assert length > 125
        elif second == 127:
            length, = struct.unpack(">Q", self._take(8))
            assert length > 65535
        return first & 15, self._take(length)

    def closing(self):
        """What comes up to the other side's close frame, and its code (None: without one)."""
        before = []
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return before, struct.unpack(">H", payload[:2])[0] if payload else None
            before.append((opcode, payload))

    def at_end(self):
        """Whether the connection ends without another frame."""
        try:
            self.frame()
        except (EOFError, ConnectionError):
            return True
        return False


def close_payload(code, reason=b""):
    return struct.pack(">H", code) + reason


@contextlib.contextmanager
def echo_gateway(folder, *words, program=ECHO):
    """(port, process) of a gateway without a fleet."""
    port = free_port()
    with subprocess.Popen([str(program), f"--fleet={folder}", f"--directory={folder}",
                           f"--listen=127.0.0.1:{port}", *words],
                          stderr=subprocess.PIPE, text=True) as one:
        def answers():
            assert one.poll() is None, one.stderr.read()
            try:
                return ask(port, "/").status in (200, 401)
            except OSError:
                return False
        try:
            wait_until(answers, what="the gateway answers")
            yield port, one
            assert one.poll() is None, "it has ended: " + one.stderr.read()
        finally:
            one.terminate()
            one.wait(60)
