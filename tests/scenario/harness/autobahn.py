# SPDX-License-Identifier: MIT
"""The cases of the Autobahn test suite, the field's own for WebSocket, driven against a server.

The suite is Python 2, so nothing of it is installed: tests/setup leaves its source below
build/autobahn, its cases are converted by lib2to3, and a client of ours stands for Twisted's. Bytes
are strings here, a letter a byte, as they were to whom wrote the cases. Cases 12 and 13 are of an
extension, 9.9 of an endless message is not in the suite's own list."""
import codecs
import importlib
import re
import selectors
import socket
import struct
import sys
import tarfile
import time
import types
import warnings

from .fleet import BUILD
from .web_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, request

SOURCE = BUILD / "autobahn"
CONVERTED = SOURCE / "cases"
# Of Twisted's client: how long it waits for the server to end the connection after a clean close.
DROP_SECONDS = 20


# ---- the cases ----

class Utf8Validator:
    def reset(self):
        pass

    def validate(self, text):
        """Whether it is right so far, and whether it ends with a whole letter."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(text.encode("latin-1"))
        except UnicodeDecodeError:
            return False, False, 0, 0
        return True, not decoder.getstate()[0], 0, 0


class WebSocketProtocol:
    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = range(4)
    MESSAGE_TYPE_TEXT, MESSAGE_TYPE_BINARY = TEXT, BINARY
    CLOSE_STATUS_CODE_NORMAL = 1000
    CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1002
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007


def convert():
    """Converts what is not converted yet."""
    from lib2to3.refactor import RefactoringTool, get_fixers_from_package
    (archive,) = SOURCE.glob("autobahntestsuite-*.tar.gz")
    tool = None
    CONVERTED.mkdir(exist_ok=True)
    with tarfile.open(archive) as source:
        for member in source.getmembers():
            found = re.search(r"/case/(case[1-79]_\w+|case10_\w+|case|__init__)\.py$", member.name)
            if not found or found[1] == "case9_9_1":
                continue
            to = CONVERTED / (found[1] + ".py")
            if to.exists():
                continue
            # A letter a byte, whatever the file says of its letters.
            text = source.extractfile(member).read().decode("latin-1").replace("\r\n", "\n")
            text = re.sub(r"coding[:=] ?utf-8", "", text)
            text = re.sub(r"\(object, ?Case, ?\)", "(Case,)", text)
            text = re.sub(r"^from case", "from .case", text, flags=re.M)
            text = text.replace("binascii.b2a_hex(", "ascii(")
            text = text.replace("len(self.payload) / self", "len(self.payload) // self")
            if found[1] == "__init__":
                to.with_name("names").write_text("\n".join(re.findall(
                    r"^Cases(?: \+= \[|\.extend\()(.*?)[\])]$", text, re.M)))
                continue
            tool = tool or RefactoringTool(get_fixers_from_package("lib2to3.fixes"))
            new = str(tool.refactor_string(text + "\n", found[1]))
            part = to.with_suffix(".part")
            part.write_text(new, encoding="utf-8")
            part.rename(to)


def cases():
    """{"1.1.1": class}, in the suite's order; what it leaves out aside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lib2to3, and of escapes that Python 2 let pass
        convert()
        for name, content in (("autobahn", {}), ("autobahn.websocket", {}),
                              ("autobahn.websocket.protocol",
                               {"WebSocketProtocol": WebSocketProtocol}),
                              ("autobahn.websocket.utf8validator",
                               {"Utf8Validator": Utf8Validator})):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__dict__.update(content)
        package = types.ModuleType("autobahn_cases")
        package.__path__ = [str(CONVERTED)]
        sys.modules["autobahn_cases"] = package
        found = {}
        for path in CONVERTED.glob("case*.py"):
            found.update(vars(importlib.import_module(f"autobahn_cases.{path.stem}")))
    found["Case"].compare = lambda self, one, other: one == other
    out = {}
    for line in (CONVERTED / "names").read_text().splitlines():
        for name in line.split(","):
            name = name.strip()
            if name.startswith(("Case12", "Case13")):
                continue
            classes = found[name] if isinstance(found[name], list) else [found[name]]
            for one in classes:
                out[one.__name__.removeprefix("Case").replace("_", ".")] = one
    return out


# ---- the client that they are about ----

class Client(WebSocketProtocol):
    """One connection, one case; what it has is called as the cases call it."""

    def __init__(self, port, case, path="/echo"):
        self.port, self.path = port, path
        self.state = self.STATE_CONNECTING
        self.connectionWasOpen = self.closedByMe = self.failedByMe = self.droppedByMe = False
        self.wasClean = False
        self.remoteCloseCode = self.localCloseReason = None
        self.autoFragmentSize = 0
        self.createWirelog = True
        self.factory = types.SimpleNamespace(isServer=False)
        self.txFrameStats = {}
        self.later = []
        self.buffer = bytearray()
        self.message = None  # (opcode, pieces) of what comes in fragments
        self.frames_begun = 0
        self.case = case(self)

    def run(self):
        """Plays it to its end; returns the case."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as self.socket:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(request(self.port, self.path))
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.socket.recv(1)
            assert head.startswith(b"HTTP/1.1 101 "), head
            self.state, self.connectionWasOpen = self.STATE_OPEN, True
            self.case.onOpen()
            with selectors.DefaultSelector() as selector:
                selector.register(self.socket, selectors.EVENT_READ)
                while self.state != self.STATE_CLOSED:
                    self._turn(selector)
        self.case.onConnectionLost(self.failedByMe)
        return self.case

    def _turn(self, selector):
        self.later.sort(key=lambda one: one[0])
        now = time.monotonic()
        if self.later and self.later[0][0] <= now:
            self.later.pop(0)[1]()
            return
        wait = self.later[0][0] - now if self.later else 60
        if not selector.select(wait):
            return
        try:
            piece = self.socket.recv(1 << 18)
        except ConnectionError:
            piece = b""
        if not piece:
            self.state = self.STATE_CLOSED
            return
        self.buffer += piece
        while self.state != self.STATE_CLOSED and self._take_frame():
            pass

    # ---- what comes ----

    def _take_frame(self):
        if len(self.buffer) < 2:
            return False
        first, length = self.buffer[0], self.buffer[1]
        assert first & 0x70 == 0 and length < 128, "a server neither masks nor extends here"
        at = 2 + {126: 2, 127: 8}.get(length, 0)
        if len(self.buffer) < at:
            return False
        if length >= 126:
            length = int.from_bytes(self.buffer[2:at], "big")
        if len(self.buffer) < at + length:
            return False
        payload = bytes(self.buffer[at:at + length])
        del self.buffer[:at + length]
        self._take(first & 15, first >> 7, payload)
        return True

    def _take(self, opcode, final, payload):
        if opcode == CLOSE:
            self._take_close(payload)
        elif opcode == PING:
            self.case.onPing(payload.decode("latin-1"))
        elif opcode == PONG:
            self.case.onPong(payload.decode("latin-1"))
        else:
            assert (opcode == CONTINUATION) == (self.message is not None), opcode
            kind, pieces = self.message or (opcode, [])
            self.message = (kind, pieces + [payload])
            if final:
                whole = b"".join(self.message[1])
                self.message = None
                if kind == TEXT:
                    whole.decode()
                self.case.onMessage(whole.decode("latin-1"), kind == BINARY)

    def _take_close(self, payload):
        assert len(payload) != 1
        code = struct.unpack(">H", payload[:2])[0] if payload else None
        payload[2:].decode()
        self.remoteCloseCode, self.wasClean = code, True
        if self.state == self.STATE_OPEN:
            self._send(frame(CLOSE, payload[:2]))
        self.state = self.STATE_CLOSING
        self.case.onClose(True, code, payload[2:].decode())
        self.later.append((time.monotonic() + DROP_SECONDS, self._drop))

    def _drop(self):
        self.droppedByMe, self.state = True, self.STATE_CLOSED

    # ---- what the cases say ----

    def _send(self, data, chop=None):
        for at in range(0, len(data), chop or len(data) or 1):
            try:
                self.socket.sendall(data[at:at + chop] if chop else data)
            except ConnectionError:
                return  # its end is read

    def sendFrame(self, opcode, payload="", fin=True, rsv=0, mask=None, payload_len=None,
                  chopsize=None, sync=False):
        if payload_len is not None:
            payload = payload * (payload_len // len(payload) + 1) if payload else ""
            payload = payload[:payload_len]
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1
        data = payload.encode("latin-1")
        self._send(frame(opcode, data, fin=fin, rsv=rsv), chopsize)

    def sendMessage(self, payload, isBinary=False, fragmentSize=None):
        size = fragmentSize or self.autoFragmentSize or max(len(payload), 1)
        for at in range(0, max(len(payload), 1), size):
            self.sendFrame((BINARY if isBinary else TEXT) if at == 0 else CONTINUATION,
                           payload[at:at + size], fin=at + size >= len(payload))

    def beginMessage(self, isBinary=False):
        self.opcode = BINARY if isBinary else TEXT

    def beginMessageFrame(self, length):
        self._send(frame(self.opcode, bytes(length), fin=False, mask=bytes(4))[:-length])
        self.opcode = CONTINUATION

    def sendMessageFrameData(self, payload):
        self._send(payload.encode("latin-1"))

    def endMessage(self):
        self._send(frame(CONTINUATION, b""))

    def sendCloseFrame(self, code=None, reasonUtf8=None, reason=None):
        self.closedByMe, self.state = True, self.STATE_CLOSING
        self.localCloseReason = reasonUtf8 or reason
        payload = struct.pack(">H", code) if code is not None else b""
        self._send(frame(CLOSE, payload + (self.localCloseReason or "").encode("latin-1")))

    def sendClose(self, code=None, reason=None):
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason)

    def continueLater(self, delay, fun, tag=None):
        self.later.append((time.monotonic() + delay, fun))

    def closeAfter(self, delay):
        self.continueLater(delay, self.sendClose)

    def killAfter(self, delay):
        def kill():
            self.failedByMe = True
            self._drop()
        self.continueLater(delay, kill)

    def enableWirelog(self, enable):
        pass
