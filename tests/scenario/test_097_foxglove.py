# SPDX-License-Identifier: MIT
"""097-foxglove: tools that speak Foxglove's protocol see every value of what is live and of what is
recorded: by a client that takes what PlotJuggler takes, and by the library that Lichtblick connects
with."""
import json
import os
import shutil
import struct
import subprocess
import threading
import time

import pytest
from harness import avro, columns, exports, signals
from harness.fleet import ROOT, wait_until
from harness.foxglove import ENDED, PAUSED, PLAYING, Foxglove
from harness.gateway import GATEWAY, GatewayFleet, free_port
from harness.ros2 import message_is, plain
from harness.web_socket import BINARY, TEXT, Refused

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
CHANNELS = {"engine": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter"},
            "other": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter"}}
S = 10**9


@pytest.fixture(scope="module")
def recorded():
    """Two seconds of two channels."""
    with GatewayFleet(CHANNELS) as fleet:
        loads = [fleet.source(name, signals.samples(2000, start=start), rate=1000)
                 for name, start in (("engine", 0), ("other", 5000))]
        for load in loads:
            load.finish()
        fleet.settle({"engine": 2000, "other": 2000})
        yield fleet


def play(fleet):
    tool = Foxglove(fleet.port, "/foxglove/recordings")
    tool.until(lambda: len(tool.channels) == 2, what="the topics")
    return tool


def ns(time):
    return time["sec"] * S + time["nsec"]


def test_097_recordings_are_played(recorded):
    with play(recorded) as tool:
        assert set(tool.server["capabilities"]) == {"playbackControl", "time"}
        first, last = ns(tool.server["dataStartTime"]), ns(tool.server["dataEndTime"])
        assert 1.5 * S < last - first < 60 * S
        assert [one["topic"] for one in tool.channels.values()] == ["/engine", "/other"]
        tool.subscribe()
        request = tool.control(speed=10)
        assert tool.answer(request)[:4] == (PLAYING, first, 10, False)
        tool.until(lambda: any(state[0] == ENDED for state in tool.states), what="the end")
        assert tool.states[-1] == (ENDED, last, 10, False, "")
        for topic, start in (("/engine", 0), ("/other", 5000)):
            came = tool.of(topic)
            assert [message.counter for _, message in came] == list(range(start, start + 2000))
            for _, message in came:
                number = message.counter
                stamp = message.header.stamp
                assert stamp.sec * S + stamp.nanosec == 1700000000 * S + number * 100_000
                assert message.x == number / 7 and message.y == number % 1000 / 4
                assert message.note == "" and not message.note_valid
        times = [at for _, at, _ in tool.messages]
        assert times == sorted(times) and first == times[0] and times[-1] == last
        assert tool.times == sorted(tool.times) and len(tool.times) >= 2
        assert not [one for one in tool.statuses if one["level"] > 0]
        # At the end play does nothing until somebody seeks.
        assert tool.answer(tool.control())[:2] == (ENDED, last)


def test_097_seek_pause_speed(recorded):
    with play(recorded) as tool:
        first, last = ns(tool.server["dataStartTime"]), ns(tool.server["dataEndTime"])
        middle = first + (last - first) // 2
        tool.subscribe("/engine")
        assert tool.answer(tool.control(play=False, seek=middle))[:4] == (PAUSED, middle, 1, True)
        tool.answer(tool.control(speed=2))
        tool.until(lambda: len(tool.messages) >= 20)
        assert tool.messages[0][1] >= middle
        # All from there on, in order, and nothing of the other.
        counters = [message.counter for _, message in tool.of("/engine")]
        assert counters == list(range(counters[0], counters[0] + len(counters)))
        assert 900 < counters[0] < 1100
        paused = tool.answer(tool.control(play=False))
        assert paused[0] == PAUSED and middle < paused[1] <= last
        assert all(at <= paused[1] for _, at, _ in tool.messages)
        came = len(tool.messages)
        again = tool.answer(tool.control(play=False, speed=0.5))  # it stands still
        assert again[1] == paused[1] and again[2] == 0.5
        assert len(tool.messages) == came
        # Beyond what there is: the ends; no number: the least.
        assert tool.answer(tool.control(play=False, seek=1))[1] == first
        assert tool.answer(tool.control(play=False, seek=2**64 - 1))[1] == last
        assert tool.answer(tool.control(play=False, speed=float("nan")))[2] == \
            pytest.approx(0.01)
        assert tool.answer(tool.control(play=False, speed=1e9))[2] == 100
        # From the end back to the begin, with the other subscribed to meanwhile.
        tool.messages.clear()
        tool.subscribe("/other")
        tool.control(seek=first, speed=100)
        tool.until(lambda: tool.states[-1][0] == ENDED, what="the end")
        assert [message.counter for _, message in tool.of("/engine")] == list(range(2000))
        assert [message.counter for _, message in tool.of("/other")] == list(range(5000, 7000))


def test_097_so_many_may_play(recorded):
    """One more than 8 is told to come later; when one has gone there is room again."""
    tools = []

    def another():
        """Those of tests before this one may be going still."""
        tool = Foxglove(recorded.port, "/foxglove/recordings")
        if tool.take() and tool.server is not None:
            tools.append(tool)
            return True
        tool.socket.close()
        return False
    try:
        for _ in range(8):
            wait_until(another, what="room")
        with Foxglove(recorded.port, "/foxglove/recordings") as more:
            assert more.closing()[1] == 1013
        tools.pop().socket.close()
        wait_until(another, what="room for another")
    finally:
        for tool in tools:
            tool.socket.close()


def test_097_a_slow_client_is_played_to_more_slowly():
    """Nothing of a recording is left out, however slowly it is taken; one that goes in the middle
    is no fault."""
    with GatewayFleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        count = 9000
        fleet.source("engine", signals.samples(count, pad=900), rate=20_000).finish()
        fleet.settle({"engine": count})
        tools = [Foxglove(fleet.port, "/foxglove/recordings", raw=True, receive_bytes=4096)
                 for _ in range(3)]
        for tool in tools:
            tool.until(lambda: tool.channels)
            tool.subscribe()
            tool.control(speed=100)
        tools[1].until(lambda: len(tool.messages) > 100 or len(tools[1].messages) > 100)
        tools[1].socket.close()
        # The first has not been looked at until here; the third while it was.
        for tool in (tools[2], tools[0]):
            tool.until(lambda: tool.states and tool.states[-1][0] == ENDED, what="the end")
            assert [counter_of(message) for _, _, message in tool.messages] == list(range(count))
            assert not tool.statuses
            tool.socket.close()
        assert fleet.service()["restarts"] == 0


def test_097_recordings_of_two_schemas_and_damage():
    """Where the schema becomes another, so does the topic, whichever way it is played; what is
    damaged is told and passed over."""
    fields = [*signals.SCHEMA["fields"], {"name": "more", "type": "int"}]
    with GatewayFleet({"one": {"schema": signals.SCHEMA, "time": "time"}}) as fleet:
        fleet.source("one", signals.samples(2000), rate=20_000).finish()
        fleet.settle({"one": 2000})
        fleet.set("one", {**fleet.channels["one"], "schema": {**signals.SCHEMA, "fields": fields}})
        fleet.write()
        fleet.reload()
        later = [datum + avro.long(7) for datum in signals.samples(2000, start=2000)]
        fleet.source("one", later, rate=20_000).finish()
        fleet.settle({"one": 4000})
        first = fleet.files("one")[0]
        data = bytearray(first.read_bytes())
        data[len(data) // 2] ^= 0xff
        first.write_bytes(data)
        with Foxglove(fleet.port, "/foxglove/recordings") as tool:
            tool.until(lambda: tool.channels)
            assert "more" in tool.topic("/one")["schema"]
            tool.subscribe()
            # What is damaged is passed over before anything is shown, as it stands in front.
            tool.control(speed=0.01)
            tool.until(lambda: any("more" not in one["schema"] for one in tool.channels.values()),
                       what="the older schema")
            assert "more" in tool.gone[-1]["schema"]
            tool.subscribe("/one")
            tool.answer(tool.control(speed=100, seek=ns(tool.server["dataStartTime"])))
            tool.messages.clear()
            tool.until(lambda: tool.topic("/one") and "more" in tool.topic("/one")["schema"],
                       what="the newer schema")
            old = [message.counter for _, message in tool.of("/one")]
            assert old == sorted(set(old)) and 0 < len(old) < 2000
            tool.messages.clear()
            tool.subscribe("/one")
            tool.control(seek=ns(tool.server["dataEndTime"]) - 10**7, speed=0.1)
            tool.until(lambda: tool.messages)
            assert all(message.more == 7 for _, message in tool.of("/one"))
            told = [one for one in tool.statuses if one.get("id") == "faults"]
            assert told and "left out" in told[0]["message"] and ".avro" in told[0]["message"]


def test_097_the_test_s_client_is_right():
    """Against the server of Foxglove's own SDK: what this test reads and says, that reads and says
    so too."""
    foxglove = pytest.importorskip("foxglove")
    from foxglove import websocket as sdk
    asked = []

    class Listener(sdk.ServerListener):
        def on_playback_control_request(self, request):
            asked.append((request.playback_command, request.playback_speed, request.seek_time,
                          request.request_id))
            return sdk.PlaybackState(status=sdk.PlaybackStatus.Paused, current_time=12345,
                                     playback_speed=1.5, did_seek=True,
                                     request_id=request.request_id)
    port = free_port()
    server = foxglove.start_server(host="127.0.0.1", port=port, server_listener=Listener(),
                                   capabilities=[sdk.Capability.PlaybackControl,
                                                 sdk.Capability.Time],
                                   playback_time_range=(5 * S + 6, 7 * S + 8))
    try:
        channel = foxglove.Channel("/here", message_encoding="cdr", schema=foxglove.Schema(
            name="a/msg/B", encoding="ros2msg", data=b"float64 x\n"))
        with Foxglove(port, "/") as tool:
            tool.until(lambda: tool.channels)
            assert (ns(tool.server["dataStartTime"]), ns(tool.server["dataEndTime"])) == \
                (5 * S + 6, 7 * S + 8)
            assert set(tool.server["capabilities"]) == {"playbackControl", "time"}
            tool.subscribe("/here")
            request = tool.control(play=False, speed=0.5, seek=77)
            assert tool.answer(request) == (PAUSED, 12345, 1.5, True, request)
            assert asked == [(sdk.PlaybackCommand.Pause, 0.5, 77, request)]
            request = tool.control(play=True, speed=2)
            tool.answer(request)
            assert asked[1] == (sdk.PlaybackCommand.Play, 2, None, request)
            channel.log(b"\0\1\0\0" + struct.pack("<d", 0.1), log_time=99)
            server.broadcast_time(88)
            tool.until(lambda: tool.messages and tool.times)
            ((topic, at, message),) = tool.messages
            assert (topic, at, message.x, tool.times) == ("/here", 99, 0.1, [88])
    finally:
        server.stop()


# ---- live ----

ROOMY = {"time": "time", "full": True, "receive_queue": "8MiB"}
MODULES = ROOT / "build/node/node_modules"


class Lichtblick:
    """The library that it connects with, in a process of its own."""

    def __init__(self, port, path="/foxglove", protocols="foxglove.websocket.v1"):
        if shutil.which("node") is None or not (MODULES / "@foxglove/ws-protocol").is_dir():
            pytest.skip("needs Foxglove's libraries: make setup")
        self.said = []
        self.process = subprocess.Popen(
            ["node", ROOT / "tests/readers/read_foxglove.js", f"ws://127.0.0.1:{port}{path}",
             protocols], stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, NODE_PATH=str(MODULES)))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def of(self, kind):
        return [words[1:] for words in list(self.said) if words[0] == kind]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.reader.join(30)
        self.process.stdout.close()


def probe(fleet, name, datum, tool, came=None):
    """Sends a datum again and again until who looks has one: the stream is joined."""
    there = came or (lambda: tool.of(f"/{name}"))
    taker = threading.Thread(target=lambda: tool.until(there, what=f"a message of {name}"))
    taker.start()

    def sent():
        fleet.source(name, [datum]).finish()
        return there()
    wait_until(sent, what=f"the first message of {name}")
    taker.join()


def test_097_live_every_value(seed):
    """Random schemas: by a client that takes what PlotJuggler takes, at the root path, and by the
    library that Lichtblick connects with: the same messages, each the datum that was sent."""
    channels, sent = {}, {}
    for index, rng in enumerate(exports.rounds("live", 6, seed)):
        schema, values = exports.drawn(rng)
        channels[f"r{index}"] = {"schema": schema.json, **ROOMY}
        sent[f"r{index}"] = (schema, values, [avro.encode(schema, value, rng=rng)
                                              for value in values])
    with GatewayFleet(channels) as fleet, Lichtblick(fleet.port) as lichtblick, \
            Foxglove(fleet.port, "/") as tool:
        assert tool.protocol == "foxglove.sdk.v1"
        tool.until(lambda: len(tool.channels) == 6, what="the topics")
        assert tool.server["capabilities"] == [] and tool.server["name"].startswith("Flotilla on ")
        tool.subscribe()
        for name, (schema, values, datums) in sent.items():
            def both():
                return tool.of(f"/{name}") and any(
                    words[0] == f"/{name}" for words in lichtblick.of("message"))
            probe(fleet, name, datums[0], tool, both)
            fleet.source(name, datums[1:], rate=2000).finish()
        for name, (schema, values, datums) in sent.items():
            topic, unit = f"/{name}", 1000
            stamps = [value["time"] * unit for value in values]

            def whole():
                came = tool.of(topic)
                return came[-1][1].time == values[-1]["time"] and came[1 - len(values):]
            found = tool.until(whole, what=topic)
            tree = columns.shape(schema)
            for (at, decoded), value, stamp in zip(found, values[1:], stamps[1:]):
                message_is(tree, value, decoded, name)
                if 0 <= stamp < 2**31 * S:
                    assert decoded.header.stamp.sec * S + decoded.header.stamp.nanosec == stamp
                assert abs(at - time.time_ns()) < 600 * S
            wanted = [[topic, str(at), plain(decoded)] for at, decoded in tool.of(topic)]
            wait_until(lambda: [words for words in lichtblick.of("message") if words[0] == topic][
                -len(values) + 1:] == wanted[-len(values) + 1:], what=f"{topic} in Lichtblick")
        assert lichtblick.of("open") == [["foxglove.websocket.v1"]]
        assert {words[0]["topic"]: words[0]["schema"] for words in lichtblick.of("advertise")} == \
            {channel["topic"]: channel["schema"] for channel in tool.channels.values()}
        assert not lichtblick.of("error")
        assert not [one for one in tool.statuses if one["level"] > 0], tool.statuses


def test_097_negotiation():
    """The first of ours that is offered; none: no WebSocket."""
    with GatewayFleet({"engine": {"schema": signals.SCHEMA, **ROOMY}}) as fleet:
        for offered, chosen in (
                (("foxglove.sdk.v1",), "foxglove.sdk.v1"),
                (("foxglove.websocket.v1",), "foxglove.websocket.v1"),
                (("foxglove.websocket.v1", "foxglove.sdk.v1"), "foxglove.sdk.v1"),
                (("other", "foxglove.websocket.v1"), "foxglove.websocket.v1")):
            for path in ("/foxglove", "/", "/foxglove/recordings"):
                with Foxglove(fleet.port, path, offered) as tool:
                    assert tool.protocol == chosen
        for path in ("/foxglove", "/", "/foxglove/recordings"):
            for offered in (("flotilla.live.v1",), ()):
                with pytest.raises(Refused) as refused:
                    Foxglove(fleet.port, path, offered)
                assert refused.value.status == 400, (path, offered)
        assert fleet.ask("/").status == 200  # the page is still there
        with pytest.raises(Refused) as refused:
            Foxglove(fleet.port, Origin="http://evil.test")
        assert refused.value.status == 403
        with Foxglove(fleet.port, "/foxglove/recordings") as tool:  # where there is nothing yet
            tool.until(lambda: tool.statuses)
            assert "nothing is recorded" in tool.statuses[0]["message"]
            assert "dataStartTime" not in tool.server and tool.server["capabilities"] == []


def test_097_channels_come_and_go():
    keys = {"schema": signals.SCHEMA, **ROOMY, "sequence": "counter"}
    with GatewayFleet({"one": keys, "two": keys}) as fleet, Foxglove(fleet.port) as tool:
        tool.until(lambda: len(tool.channels) == 2)
        tool.subscribe()
        before = tool.topic("/one")
        probe(fleet, "one", signals.sample(0), tool)
        # Numbers that did not come are told.
        fleet.source("one", signals.samples(5, start=8)).finish()
        told = tool.until(lambda: [one for one in tool.statuses if "missing" in one["message"]],
                          what="a loss")
        assert "/one" not in told[0]["message"] and told[0]["message"].startswith("one: ")
        assert told[0]["level"] == 1 and " 7 " in told[0]["message"], told
        # Another schema is another topic of the same name; a channel less is a topic less.
        fields = [*signals.SCHEMA["fields"], {"name": "more", "type": "int"}]
        fleet.set("one", {**fleet.channels["one"], "schema": {**signals.SCHEMA, "fields": fields}})
        del fleet.channels["two"]
        fleet.write()
        fleet.reload()
        after = tool.until(lambda: tool.topic("/one") is not None and tool.topic("/one") != before
                           and tool.topic("/one"), what="the new schema")
        assert after["id"] > before["id"] and "int32 more" in after["schema"]
        tool.until(lambda: tool.topic("/two") is None, what="the end of a channel")
        tool.subscribe("/one")
        tool.messages.clear()
        probe(fleet, "one", signals.sample(20) + avro.long(77), tool)
        assert tool.of("/one")[0][1].more == 77


def counter_of(message):
    """Of signals.SCHEMA's, not decoded: behind its front, the header and the time."""
    return struct.unpack_from("<q", message, 4 + 24)[0]


def test_097_slow_client_is_told():
    """Who takes less than comes keeps the newest and is told how many are left out; another that
    keeps up gets all; memory is bounded."""
    with GatewayFleet({"engine": {"schema": signals.SCHEMA, **ROOMY}}) as fleet, \
            Foxglove(fleet.port, raw=True, receive_bytes=4096) as slow, \
            Foxglove(fleet.port, raw=True) as quick:
        for tool in (slow, quick):
            tool.until(lambda: tool.channels)
            tool.subscribe()
            probe(fleet, "engine", signals.sample(0), tool)
        # 9 MB of messages, while one of them does not look.
        count = 9000
        load = fleet.source("engine", signals.samples(count, start=1, pad=900), rate=2500)
        quick.until(lambda: counter_of(quick.messages[-1][2]) == count, what="all of them")
        load.finish()
        came = [counter_of(message) for _, _, message in quick.messages]
        assert came[came.index(1):] == list(range(1, count + 1))
        slow.until(lambda: counter_of(slow.messages[-1][2]) == count, what="the newest")
        counters = [counter_of(message) for _, _, message in slow.messages]
        counters = counters[counters.index(1):]
        assert counters == sorted(set(counters))
        told = slow.until(lambda: [one for one in slow.statuses if "left out" in one["message"]],
                          what="what is left out")
        assert all(one["level"] == 1 and one["id"] == "slow-engine" for one in told)
        assert 0 < int(told[0]["message"].split()[1]) <= count - len(counters)
        assert 1500 < len(counters) < 5000  # what a queue of 2 MiB holds, and the backlog
        assert not [one for one in quick.statuses if "left out" in one["message"]]


def rude():
    """Messages that nobody should send: (text, bytes)."""
    deep = b'{"op":' + b"[" * 5000
    yield from ((True, one) for one in (
        b"", b"{", b"null", b'"subscribe"', deep, b'{"op":"subscribe","subscriptions":null}',
        b'{"op":"subscribe","subscriptions":[{"id":1}]}',
        b'{"op":"subscribe","subscriptions":[{"id":-1,"channelId":1}]}',
        b'{"op":"subscribe","subscriptions":[{"id":1e99,"channelId":1}]}',
        b'{"op":"subscribe","subscriptions":[{"id":1,"channelId":999999}]}',
        b'{"op":"unsubscribe","subscriptionIds":[4294967295]}',
        b'{"op":"advertise","channels":[]}', b'{"op":"\\u0000"}',
        b'{"op":"setParameters","parameters":[{"name":"x","value":1}]}'))
    yield from ((False, one) for one in (
        b"", b"\0", b"\1\0\0\0\0", b"\2", b"\3", b"\3" + bytes(17), b"\3" + b"\xff" * 18,
        struct.pack("<BBfBQI", 3, 0, 1, 0, 0, 2**32 - 1), b"\xff" * 3000))


@pytest.mark.parametrize("path", ["/foxglove", "/foxglove/recordings"])
def test_097_rude_clients(recorded, path):
    """Each wrong message is answered by one status and the connection stays; thousands of
    subscriptions and ids are as many refusals in one."""
    with Foxglove(recorded.port, path) as tool:
        tool.until(lambda: len(tool.channels) == 2)
        before = len(tool.statuses)
        for text, message in rude():
            tool.send(TEXT if text else BINARY, message)
            tool.until(lambda: len(tool.statuses) > before, what=repr(message[:60]))
            before = len(tool.statuses)
        pairs = [{"id": number, "channelId": 10**6 + number} for number in range(4096)]
        tool.say(op="subscribe", subscriptions=pairs)
        tool.until(lambda: len(tool.statuses) > before)
        assert "4095 others are refused" in tool.statuses[-1]["message"]
        tool.say(op="subscribe", subscriptions=pairs + pairs[:1])
        tool.until(lambda: "up to 4096" in tool.statuses[-1]["message"])
        # Twice the same topic, twice the same id.
        first, second = sorted(tool.channels)
        tool.subscribed[5] = tool.channels[first]
        tool.say(op="subscribe", subscriptions=[{"id": 5, "channelId": first},
                                                {"id": 6, "channelId": first},
                                                {"id": 5, "channelId": second}])
        tool.until(lambda: "1 others" in tool.statuses[-1]["message"])
        assert "subscribed to already" in tool.statuses[-1]["message"]
        for _ in range(300):
            tool.say(op="unsubscribe", subscriptionIds=[5])
            tool.say(op="subscribe", subscriptions=[{"id": 5, "channelId": first}])
        tool.say(op="unsubscribe", subscriptionIds=[77])
        tool.until(lambda: "no such subscription" in tool.statuses[-1]["message"])
    assert recorded.ask("/api/v1/health").status == 200
    assert recorded.service()["restarts"] == 0
