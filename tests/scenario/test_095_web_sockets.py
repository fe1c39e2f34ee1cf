# SPDX-License-Identifier: MIT
"""095-web-sockets: what comes in comes back, by a client of others and by one that says what it is
told to; the handshake is judged as any request; who breaks the protocol is closed with the code
that says so; who is slow or does nothing costs a bound of memory and nobody else's time."""
import asyncio
import concurrent.futures
import os
import socket
import struct
import time

import pytest
import websockets
from harness.gateway import ask, raw
from harness.web_socket import (BINARY, CLOSE, CONTINUATION, ECHO, PING, PONG, TEXT, Refused,
                                WebSocket, close_payload, echo_gateway, frame, request)

pytestmark = pytest.mark.skipif(not ECHO.exists(), reason="built without libmicrohttpd and wslay")
TOKEN = "correct/horse+battery=staple=="


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with echo_gateway(tmp_path_factory.mktemp("echo"), "--host=fleet.example",
                      "--origin=https://tools.example") as (port, _):
        yield port


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(TOKEN + "\n")
    with echo_gateway(folder, f"--token-file={folder}/token") as (port, _):
        yield port


# ---- a client of others ----

def test_095_a_client_of_others(port):
    """PyPI's websockets, with whatever it offers (permessage-deflate, which is not taken up)."""
    sizes = [0, 1, 2, 3, 125, 126, 127, 300, 65535, 65536, 65537, 1000000]

    async def talk():
        async with websockets.connect(f"ws://localhost:{port}/echo", subprotocols=["x", "echo"],
                                      max_size=None) as one:
            assert one.subprotocol == "echo"
            assert one.protocol.extensions == []
            for count in sizes:
                data = os.urandom(count)
                await one.send(data)
                assert await one.recv() == data
                text = ("Grüße, 世界 \U0001f680 " * (count // 20 + 1))[:count]
                await one.send(text)
                assert await one.recv() == text
            await one.send(["in ", "three ", "pieces"])
            assert await one.recv() == "in three pieces"
            await asyncio.wait_for(await one.ping(b"there?"), 60)
        assert (one.close_code, one.close_reason) == (1000, "")
        async with websockets.connect(f"ws://127.0.0.1:{port}/close",
                                      subprotocols=["echo"]) as one:
            await one.send("4321")
            assert await one.recv() == "before"
            with pytest.raises(websockets.ConnectionClosedError):
                await one.recv()
            assert (one.close_code, one.close_reason) == (4321, "as told")
    with concurrent.futures.ThreadPoolExecutor(1) as other:  # a browser may have a loop in this one
        other.submit(asyncio.run, talk()).result()


# ---- the handshake ----

def refused(port, **fields):
    with pytest.raises(Refused) as caught:
        WebSocket(port, **fields)
    assert caught.value.head.startswith("HTTP/1.1 ")
    return caught.value


def test_095_handshake(port):
    with WebSocket(port) as one:
        assert one.fields["sec-websocket-protocol"] == "echo"
        assert "sec-websocket-extensions" not in one.fields
    for good in ({"Upgrade": "h2c, WebSocket"}, {"Connection": "keep-alive, upgrade"},
                 {"Connection": ["keep-alive", "Upgrade"]}, {"protocols": ["x", "echo"]},
                 {"Sec_WebSocket_Protocol": ["x", "echo"]}, {"Origin": "https://tools.example"},
                 {"Origin": f"http://localhost:{port}"}, {"Host": "fleet.example"},
                 {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"},
                 {"path": "/live?x=1"}, {"path": "/"}):
        with WebSocket(port, **good) as one:
            one.send(TEXT, b"here")
            assert one.frame() == (TEXT, b"here"), good
    with WebSocket(port, protocols=["echo.2", "echo"]) as one:
        assert one.fields["sec-websocket-protocol"] == "echo"  # what is preferred there
    for status, bad in ((426, {"Upgrade": None}), (426, {"Upgrade": "websockets"}),
                        (426, {"Connection": None}), (426, {"Connection": "close"}),
                        (426, {"Sec_WebSocket_Version": None}),
                        (426, {"Sec_WebSocket_Version": "8"}),
                        (426, {"Sec_WebSocket_Version": ["13", "13"]}),
                        (400, {"Sec_WebSocket_Key": None}), (400, {"Sec_WebSocket_Key": "x"}),
                        (400, {"Sec_WebSocket_Key": "A" * 24}),
                        (400, {"Sec_WebSocket_Key": ["A" * 22 + "=="] * 2}),
                        (400, {"protocols": []}), (400, {"protocols": ["x"]}),
                        (400, {"protocols": ["echo", "a/b"]}), (400, {"protocols": ["echo"] * 2}),
                        (400, {"Sec_WebSocket_Protocol": "echo, " + "x" * 3000}),
                        (400, {"Content_Length": "2"}), (411, {"Transfer_Encoding": "chunked"}),
                        (400, {"Host": None}), (421, {"Host": "evil.example"}),
                        (421, {"Host": f"evil.example:{port}"}),  # a rebound name
                        (403, {"Origin": "https://evil.example"}), (403, {"Origin": "null"}),
                        (403, {"Origin": f"http://evil.example:{port}",
                               "Host": f"127.0.0.1:{port}"}),
                        (404, {"path": "/nothing"}), (404, {"path": "/echo/x"})):
        why = refused(port, **bad)
        assert why.status == status, (bad, why.head, why.body)
        assert ("upgrade: websocket" in why.head.lower()) == (status == 426), why.head
        assert ("sec-websocket-version: 13" in why.head.lower()) == (status == 426)
    assert ask(port, "/echo").status == 426
    assert ask(port, "/echo", "POST").status == 405
    assert ask(port, "/").status == 200  # a route is there as well
    for old in (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0"):
        got = raw(port, request(port).replace(b"HTTP/1.1", old))
        assert b" 101 " not in got, old


def test_095_rebound_page(port):
    """A page that was loaded by a name that leads here: its origin is of the same host."""
    evil = f"evil.example:{port}"
    assert refused(port, Host=evil, Origin=f"http://{evil}").status == 421
    assert refused(port, Host=f"localhost:{port}", Origin=f"http://{evil}").status == 403


def test_095_token(guarded):
    from urllib.parse import quote
    with WebSocket(guarded, Authorization=f"Bearer {TOKEN}") as one:
        one.send(TEXT, b"here")
        assert one.frame() == (TEXT, b"here")
    bearer = "bearer." + quote(TOKEN, safe="")
    for offered in ([bearer, "echo"], ["echo", bearer]):
        with WebSocket(guarded, protocols=offered) as one:
            assert one.fields["sec-websocket-protocol"] == "echo"
            assert TOKEN not in one.head and quote(TOKEN, safe="") not in one.head
    for wrong in (["echo"], ["echo", "bearer."], ["echo", bearer + "x"], ["echo", bearer[:-6]],
                  ["echo", bearer, "bearer.x"], ["echo", bearer.replace("bearer", "Bearer")]):
        assert refused(guarded, protocols=wrong).status == 401, wrong
    assert refused(guarded, protocols=["echo", bearer], Authorization="Bearer x").status == 401
    assert refused(guarded, protocols=["echo"], path=f"/echo?token={quote(TOKEN)}").status == 401
    assert refused(guarded, protocols=[bearer]).status == 400  # that alone is nothing to speak
    assert refused(guarded, protocols=["echo"], path="/").status == 401  # the page needs none
    assert ask(guarded, "/metrics", Sec_WebSocket_Protocol=bearer).status == 401


def test_095_frames_behind_the_request(port):
    """What comes with the handshake, or in pieces of a byte, is not lost."""
    early = b"".join(frame(TEXT, b"%d" % i) for i in range(200))
    with WebSocket(port, early=early) as one:
        one.send(TEXT, b"last")
        assert [one.frame() for _ in range(201)] == [(TEXT, b"%d" % i) for i in range(200)] + [
            (TEXT, b"last")]
    with WebSocket(port, early=early[:5]) as one:
        for byte in early[5:14] + frame(BINARY, bytes(300)):
            one.socket.sendall(bytes([byte]))
        assert [one.frame() for _ in range(3)] == [(TEXT, b"0"), (TEXT, b"1"), (BINARY, bytes(300))]
    whole = request(port) + frame(TEXT, b"one") + frame(CLOSE, close_payload(1000))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
        for byte in whole:
            one.sendall(bytes([byte]))
        got = b""
        while piece := one.recv(65536):
            got += piece
    assert got.startswith(b"HTTP/1.1 101 ") and got.endswith(b"\x81\x03one\x88\x02\x03\xe8"), got


# ---- frames that are wrong ----

LARGE = 64 << 10
WRONG = [
    (1002, "not masked", frame(TEXT, b"x", mask=None)),
    (1002, "a reserved bit", frame(TEXT, b"x", rsv=4)),
    (1002, "another", frame(TEXT, b"x", rsv=1)),
    (1002, "an opcode of nobody", frame(3, b"x")),
    (1002, "a control opcode of nobody", frame(11, b"x")),
    (1002, "a fragmented ping", frame(PING, b"x", fin=False)),
    (1002, "a ping that is too long", frame(PING, bytes(126))),
    (1002, "a fragmented close", frame(CLOSE, b"", fin=False)),
    (1002, "a length in a longer form", frame(TEXT, b"x", length=126)),
    (1002, "in the longest", frame(TEXT, bytes(300), length=127)),
    (1002, "a negative length", b"\x81\xff" + b"\xff" * 8 + bytes(4)),
    (1002, "the end of nothing", frame(CONTINUATION, b"x")),
    (1002, "a message within one", frame(TEXT, b"x", fin=False) + frame(TEXT, b"y")),
    (1002, "a close of one byte", frame(CLOSE, b"x")),
    (1002, "a code that is never sent", frame(CLOSE, close_payload(1006))),
    (1002, "a code of nobody", frame(CLOSE, close_payload(2999))),
    (1007, "a reason that is no text", frame(CLOSE, close_payload(1000, b"\xff"))),
    (1007, "no text", frame(TEXT, b"\xc3\x28")),
    (1007, "half a letter at the end", frame(TEXT, b"ab\xe2\x82")),
    (1007, "half a letter in a fragment", frame(TEXT, b"\xf4\x90", fin=False)),
    (1007, "a surrogate", frame(TEXT, b"\xed\xa0\x80")),
    (1009, "too large", frame(BINARY, bytes(LARGE + 1))),
    (1009, "too large when it comes", frame(BINARY, b"x" * 100)[:2].replace(
        b"\xe4", b"\xff") + struct.pack(">Q", 1 << 40) + bytes(4) + b"x"),
    (1009, "too large in all", frame(BINARY, bytes(LARGE), fin=False) +
     frame(CONTINUATION, b"x", fin=False)),
]


@pytest.mark.parametrize("code,name,data", WRONG, ids=[one[1].replace(" ", "-") for one in WRONG])
def test_095_wrong_frames(port, code, name, data):
    """The code comes, and then the end, also where more was on its way; what came before it was
    answered."""
    with WebSocket(port, path="/live") as one:
        one.send(TEXT, b"before")
        one.socket.sendall(data + frame(TEXT, b"after") + bytes(200000))
        assert one.closing() == ([(TEXT, b"before")], code)
        assert one.at_end()


def test_095_right_frames(port):
    with WebSocket(port, path="/live") as one:
        one.socket.sendall(frame(TEXT, "Grü".encode()[:3], fin=False) + frame(PING, b"within") +
                           frame(CONTINUATION, b"", fin=False) +
                           frame(CONTINUATION, "Grüß".encode()[3:]))
        assert [one.frame(), one.frame()] == [(PONG, b"within"), (TEXT, "Grüß".encode())]
        one.send(BINARY, bytes(LARGE))  # as large as may be
        assert one.frame() == (BINARY, bytes(LARGE))
        one.send(PONG, b"nobody asked")
        one.socket.sendall(b"".join(frame(PING, b"%d" % i) for i in range(500)))
        assert [one.frame() for _ in range(500)] == [(PONG, b"%d" % i) for i in range(500)]
        one.send(CLOSE, close_payload(3000, "genug".encode()))
        assert one.frame() == (CLOSE, close_payload(3000))
        assert one.at_end()
    with WebSocket(port, path="/live") as one:
        one.send(CLOSE)
        assert one.frame() == (CLOSE, b"") and one.at_end()


def test_095_closed_by_the_gateway(port):
    """Nothing comes behind the close frame; who does not answer it is closed all the same."""
    with WebSocket(port, path="/close") as one:
        one.send(TEXT, b"4000")
        assert one.closing() == ([(TEXT, b"before")], 4000)
        one.send(TEXT, b"4001")  # nobody listens
        one.send(CLOSE, close_payload(4000))
        assert one.at_end()
    with WebSocket(port, path="/close") as one:
        one.send(TEXT, b"4000")
        one.closing()
        begun = time.monotonic()
        assert one.at_end()
        assert 4 < time.monotonic() - begun < 50


def test_095_work_beside_it(port):
    """Threads beside the hub: the later errand that is shorter comes first, nobody waits for it,
    and who has gone meanwhile is no harm."""
    with WebSocket(port, path="/work") as one, WebSocket(port) as other:
        for word in (b"2000", b"0", b"100"):
            one.send(TEXT, word)
        other.send(TEXT, b"here")
        assert other.frame() == (TEXT, b"here")
        assert [one.frame() for _ in range(3)] == [(TEXT, b"0"), (TEXT, b"100"), (TEXT, b"2000")]
        with WebSocket(port, path="/work") as gone:
            gone.send(TEXT, b"300")
        for _ in range(80):
            one.send(TEXT, b"30")
        got = [one.frame()[1] for _ in range(80)]
        assert set(got) <= {b"30", b"busy"} and got.count(b"30") >= 60, got
    assert ask(port, "/").status == 200
