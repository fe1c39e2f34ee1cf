# SPDX-License-Identifier: MIT
"""095-churn: visitors of every kind that come, ask for odd things, change their minds and go, in
the middle of a word or without one, while channels restart and are reloaded: under the sanitizers,
which say of each of them whether anything was touched after it had gone."""
import json
import os
import struct

import pytest
from harness import signals
from harness.fleet import LONG, ROOT, flotilla, wait_until
from harness.gateway import ask
from harness.web_socket import BINARY, CLOSE, PING, TEXT, Refused, WebSocket, echo_gateway, frame

SANITIZED = ROOT / "build/sanitized/flotilla-gateway"
PROGRAM = os.environ.get("FLOTILLA_TEST_GATEWAY", SANITIZED)  # another one to be tried so
ACTS = 6000 if LONG else 500
VISITORS = 12
KINDS = [("/api/v1/live", "flotilla.live.v1"), ("/api/v1/live", "flotilla.live.v1"),
         ("/foxglove", "foxglove.sdk.v1"), ("/", "foxglove.websocket.v1"),
         ("/foxglove/recordings", "foxglove.sdk.v1")]
CHANNELS = {"engine": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter",
                       "full": True, "decimated": {"to": True, "factor": 50,
                                                   "algorithm": "min-max"}},
            "other": {"schema": signals.SCHEMA, "full": True}}
ODD = [None, True, -1, 0, 1.5, 1 << 40, "", "x", [], {}, "9" * 400, "\u0000", ["x"] * 300,
       {"sec": 1, "nsec": 2}]


def word_of_live(rng):
    nanoseconds = rng.choice(["0", "1000000", "100000000", "1000000000", "3", "-5", 7, None])
    word = {"op": rng.choice(["subscribe", "subscribe", "history", "unsubscribe", "cancel", "x"]),
            "id": rng.choice([1, 2, 3, 4, 5]), "channel": rng.choice(["engine", "other", "nobody"]),
            "fields": rng.choice([["x"], ["x", "y", "counter"], ["time"], ["x[0]"], ["note"], []]),
            "bin_ns": nanoseconds, "back_ns": rng.choice(["0", "60000000000", "1000"]),
            "latest": rng.choice([True, False]), "from": rng.choice(["0", "1700000000000000000"]),
            "to": rng.choice(["1700000001000000000", "9223372036854775807"]),
            "points": rng.choice([1, 100, 1000, 40000])}
    return word


def word_of_foxglove(rng):
    ids = [rng.randrange(6) for _ in range(rng.randrange(4))]
    return rng.choice([
        {"op": "subscribe", "subscriptions": [{"id": one, "channelId": rng.randrange(4)}
                                              for one in ids]},
        {"op": "unsubscribe", "subscriptionIds": ids},
        {"op": "advertise", "channels": []},
    ])


def playback(rng):
    """A request of playback control: play or pause, speed, a seek or none."""
    at = rng.choice([0, 1_700_000_000_000_000_000, 1_700_000_002_000_000_000, 2 ** 64 - 1])
    speed = rng.choice([1.0, 0.01, 100.0, 0.0, -1.0, float("nan"), float("inf")])
    name = b"n" * rng.choice([0, 3, 100])
    data = struct.pack("<BBfBQI", 3, rng.randrange(2), speed, rng.randrange(2), at,
                       rng.choice([len(name), len(name), 1 << 30])) + name
    return data[:rng.choice([len(data), len(data), rng.randrange(len(data) + 1)])]


def act(rng, visitor):
    """Says something; False: it has gone."""
    kind, one = visitor
    word = word_of_live(rng) if kind == "/api/v1/live" else word_of_foxglove(rng)
    if rng.random() < 0.2:
        word[rng.choice(list(word))] = rng.choice(ODD)
    text = json.dumps(word).encode()
    choice = rng.random()
    if choice < 0.65:
        one.send(TEXT, text)
    elif choice < 0.75:
        one.send(BINARY, playback(rng))
    elif choice < 0.8:
        one.socket.sendall(frame(TEXT, text[:5], fin=False) + frame(PING) + frame(0, text[5:]))
    elif choice < 0.85:  # what has come, if anything
        one.socket.settimeout(0.01)
        try:
            for _ in range(200):
                one.frame()
        except TimeoutError:
            pass
        one.socket.settimeout(60)
    elif choice < 0.89:
        one.send(TEXT, bytes(rng.randrange(1, 128) for _ in range(20)))
    else:
        if choice < 0.92:
            one.send(CLOSE)
        elif choice < 0.95:
            one.socket.sendall(frame(TEXT, text)[:rng.randrange(12)])
        one.socket.close()
        return False
    return True


@pytest.mark.skipif(not os.path.exists(PROGRAM), reason="no gateway among the sanitized programs")
def test_095_churn(rng, monkeypatch):
    from harness.fleet import Fleet
    monkeypatch.setenv("ASAN_OPTIONS", "abort_on_error=1")
    monkeypatch.setenv("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    monkeypatch.setenv("TSAN_OPTIONS", "halt_on_error=1")
    with Fleet(CHANNELS) as fleet:
        for name in CHANNELS:
            fleet.source(name, signals.samples(3000), rate=30_000).finish()
        sources = [fleet.source(name, signals.samples(400_000, start=3000), rate=2000)
                   for name in CHANNELS]
        with echo_gateway(fleet.folder / "run", f"--directory={fleet.folder}/recordings",
                          program=PROGRAM) as (port, process):
            visitors, refused = [], 0
            for number in range(ACTS):
                assert process.poll() is None, process.stderr.read()
                if len(visitors) < VISITORS:
                    kind, spoken = rng.choice(KINDS)
                    try:
                        visitors.append((kind, WebSocket(port, kind, protocols=[spoken])))
                    except Refused:
                        refused += 1
                chosen = rng.randrange(len(visitors))
                try:
                    stays = act(rng, visitors[chosen])
                except (EOFError, OSError):  # it was closed, for what it had said
                    stays = False
                if not stays:
                    visitors.pop(chosen)[1].socket.close()
                if number % 100 == 50:
                    flotilla("restart", "-c", fleet.file, rng.choice(list(CHANNELS)), check=0)
                if number % 250 == 200:
                    more = {"full": True} if rng.random() < 0.5 else {}
                    fleet.set("other", {"schema": signals.SCHEMA, **more,
                                        "listen": fleet.address("other")})
                    fleet.write()
                    fleet.reload()
            for _, one in visitors:
                one.socket.close()
            wait_until(lambda: ask(port, "/api/v1/channels").status == 200)
            with WebSocket(port, "/api/v1/live", protocols=["flotilla.live.v1"]) as last:
                last.send(TEXT, json.dumps({"op": "subscribe", "id": 1, "channel": "engine",
                                            "fields": ["x"], "bin_ns": "100000000",
                                            "back_ns": "0"}).encode())
                while last.frame()[0] != BINARY:  # it is served what comes in
                    pass
            assert refused == 0
        for source in sources:
            source.stop()
