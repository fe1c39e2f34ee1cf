# SPDX-License-Identifier: MIT
"""087-replay: recordings sent again. A copy of what was sent again equals the original, datum for
datum, of every encoding and of many channels together; what leaves when is what the recordings say,
over files, clocks that were set back and pauses; and whatever cannot be played is said.

The recordings of known times are written by tests/readers/recording_file.py."""
import json
import os
import pty
import signal
import socket
import subprocess
import time

import fastavro
import pytest
from harness import signals
from harness.fleet import (FLOTILLA, Addresses, Fleet, flotilla, new_folder,  # noqa: F401
                           wait_until)
from recording_file import long, write_block, write_header

START = 1_767_225_600_000_000_000  # 2026-01-01
SECOND = 1_000_000_000
TIMED = {"type": "record", "name": "S", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "n", "type": "long"}]}
PLAIN = {"type": "record", "name": "S", "fields": [{"name": "n", "type": "long"}]}


def lines(fleet, name):
    return flotilla("cat", *fleet.files(name), check=0).stdout


def rows(path, blocks, *, channel="c", schema=TIMED, first=0, timed=True):
    """Writes a recording: `blocks` are (arrival, [how much later each datum is]) in nanoseconds;
    datums are numbered from `first` on. Returns the next number."""
    sync = b"0123456789abcdef"
    metadata = {"avro.schema": json.dumps(schema).encode(), "avro.codec": b"deflate",
                "flotilla.channel": channel.encode(), "flotilla.host": b"h",
                "flotilla.started": b"2026-01-01T00:00:00Z", "flotilla.version": b"0"}
    if timed:
        metadata["flotilla.time"] = b"time"
    data = write_header(metadata, sync)
    for arrival, late in blocks:
        datums = []
        for more in late:
            # The source's clock is two hours off.
            field = long((arrival + more + 7200 * SECOND) // 1000) if timed else b""
            datums.append(field + long(first))
            first += 1
        data += write_block(datums, arrival, sync, len(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return first


def name_of(folder, number, channel="c", part=False):
    return folder / f"{channel}-20260101T000000.000000Z-{number:06}.avro{'.part' if part else ''}"


@pytest.fixture
def away():
    """A receiver on its own, without a fleet: (its address, its end)."""
    with Fleet({}, run=False, laws=False) as fleet:
        yield fleet, fleet.addresses.unicast()


def replay(*words, **keys):
    return flotilla("replay", *words, **keys)


# ---- recorded again ----

CHANNELS = {
    "timed": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter"},
    "single": {"schema": signals.SCHEMA, "time": "time", "encoding": "single-object"},
    "confluent": {"schema": signals.SCHEMA, "encoding": "confluent", "schema_id": 7},
    "opaque": {"schema": None, "encoding": "opaque"},
}


def test_087_recorded_again_it_is_the_same(seed):
    """Every encoding, several files each, one still open; at once, twice as fast."""
    with Fleet(CHANNELS, storage={"rotate": {"size": "32KiB"}}) as old:
        sends = [subprocess.Popen([FLOTILLA, "send", name, "--rate", "1kHz", "--count", "1500",
                                   "-c", old.file], stderr=subprocess.DEVNULL)
                 for name in CHANNELS if name != "opaque"]
        load = old.source("opaque", [os.urandom(n % 90) for n in range(1, 700)], 500)
        assert [one.wait(60) for one in sends] == [0, 0, 0]
        load.finish()
        before = {name: 699 if name == "opaque" else 1500 for name in CHANNELS}
        old.settle(before)
        assert all(len(old.files(name)) >= 2 for name in ("timed", "single"))
        was = {name: lines(old, name) for name in CHANNELS}
        with Fleet(CHANNELS) as new:
            folder = old.folder / old.storage["directory"]
            done = replay(folder, "--speed", "2", "--json", "-c", new.file, check=0)
            said = json.loads(done.stdout)
            assert said["datums"] == said["datagrams_sent"] == sum(before.values())
            assert 0.6 < said["seconds"] and said["recorded_seconds"] > 1.2
            new.settle(before)
            for name in CHANNELS:
                copy, wanted = lines(new, name), was[name]
                if name == "opaque":  # it came at another time, from another source
                    copy, wanted = [[json.loads(line)["payload"] for line in text.splitlines()]
                                    for text in (copy, wanted)]
                assert copy == wanted


def test_087_twenty_channels_in_one_order(away, tmp_path):
    """Their datums leave in the order of their times, whichever file they are in."""
    fleet, to = away
    for number in range(20):
        blocks = [(START + at * SECOND // 10 + number * 1_000_000,
                   [step * 20_000_000 for step in range(5)]) for at in range(5)]
        channel = f"c{number:02}"
        rows(name_of(tmp_path / channel, 1, channel), blocks[:3], channel=channel)
        rows(name_of(tmp_path / channel, 2, channel), blocks[3:], channel=channel, first=15)
    sink = fleet.sink(to)
    said = json.loads(replay(tmp_path, "--to", to, "--interface", "lo", "--json", check=0).stdout)
    assert said["channels"] == 20 and said["datums"] == 500
    assert abs(said["recorded_seconds"] - 0.499) < 0.001 and said["seconds"] > 0.49
    found = [number for number, _ in map(take_row, taken(sink, 500))]
    assert found == sorted(found) and len(set(found)) == 500


def take_row(datagram):
    """(time, n) of a datagram of TIMED, and nothing behind it."""
    out, at = [], 0
    for _ in range(2):
        raw = shift = 0
        while True:
            raw |= (datagram[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if datagram[at - 1] < 0x80:
                break
        out.append(raw >> 1 ^ -(raw & 1))
    assert at == len(datagram)
    return tuple(out)


def taken(sink, count):
    """What it received, which is so much."""
    found = sink.stop()
    assert len(found) == count
    return found


# ---- what is sent when ----

def arrivals(sink):
    sink.end()
    data = open(f"{sink.path}.arrivals", "rb").read()
    return [int.from_bytes(data[at:at + 8], "little") for at in range(0, len(data), 8)]


@pytest.mark.parametrize("timed", [True, False])
def test_087_spaced_as_it_came(away, tmp_path, timed):
    """By the time field, and where there is none evenly over each block; over a file's end."""
    fleet, to = away
    late = [index * SECOND // 100 for index in range(50)]
    for number in range(2):
        rows(name_of(tmp_path, number + 1), [(START + number * SECOND + half * SECOND // 2, late)
                                             for half in range(2)],
             schema=TIMED if timed else PLAIN, timed=timed, first=number * 100)
    for left in reversed(range(5)):  # where processors are busy a whole play may come in bunches
        sink = fleet.sink(to, arrivals=True)
        said = json.loads(replay(tmp_path, "--to", to, "--interface", "lo", "--json",
                                 check=0).stdout)
        at = arrivals(sink)
        assert len(at) == 200 and abs(said["recorded_seconds"] - 1.99) < 0.0001
        steps = sorted(after - before for before, after in zip(at, at[1:]))
        off = abs((at[-1] - at[0]) / SECOND - 1.99), abs(steps[len(steps) // 2] / SECOND - 0.01)
        if off[0] < 0.3 and off[1] < 0.002:
            break
        assert left, off
    assert said["spacing_error"]["p50_us"] <= said["spacing_error"]["p99_us"] <= \
        said["spacing_error"]["most_us"]


def test_087_clocks_and_pauses(away, tmp_path):
    """A clock that was set back costs no time, a long pause none where it is to be passed over,
    speed divides, and a time field astray is held against when its block came in."""
    fleet, to = away
    next_ = rows(name_of(tmp_path, 1), [(START, [0, SECOND // 10])])
    next_ = rows(name_of(tmp_path, 2), [(START - 3600 * SECOND, [0, SECOND // 10])], first=next_)
    next_ = rows(name_of(tmp_path, 3), [(START + 1800 * SECOND, [0, 10 ** 6 * SECOND]),
                                        (START + 1801 * SECOND, [0])], first=next_)
    sink = fleet.sink(to)
    done = replay(tmp_path, "--to", to, "--interface", "lo", "--skip-gaps", "30s", "--speed", "4",
                  "--json", check=0)
    said = json.loads(done.stdout)
    assert said["datums"] == 7 and said["gaps_skipped"] == 1
    assert 0.2 < said["seconds"] < 20
    assert [n for _, n in map(take_row, taken(sink, 7))] == list(range(7))
    run = subprocess.Popen([FLOTILLA, "replay", tmp_path, "--to", to, "--interface", "lo"],
                           stderr=subprocess.PIPE, text=True)
    assert "nothing was recorded for" in run.stderr.readline()  # and is waited for
    run.send_signal(signal.SIGINT)
    assert "4 datums of 1 channel" in run.stderr.read() and run.wait(10) == 0


def test_087_spans_counts_and_loops(away, tmp_path):
    fleet, to = away
    rows(name_of(tmp_path, 1), [(START, [n * SECOND // 100 for n in range(100)])])
    where = ["--to", to, "--interface", "lo", "--json"]

    def count(*words):
        return json.loads(replay(tmp_path, *where, *words, check=0).stdout)
    sink = fleet.sink(to)
    assert count("--from", "2026-01-01T00:00:00.5Z", "--to", "2026-01-01T00:00:00.7Z")[
        "datums"] == 20
    assert count("--loop", "--count", "250", "--max")["loops"] == 2
    looped = count("--loop", "--count", "150", "--speed", "10")
    assert looped["datums"] == 150 and 0.1 < looped["seconds"] < 10
    found = [n for _, n in map(take_row, taken(sink, 420))]
    assert found == [*range(50, 70), *range(100), *range(100), *range(50), *range(100), *range(50)]


def test_087_one_at_a_key(away, tmp_path):
    fleet, to = away
    rows(name_of(tmp_path, 1), [(START, [n * 3600 * SECOND for n in range(5)])])
    sink = fleet.sink(to)
    run = subprocess.Popen([FLOTILLA, "replay", tmp_path, "--to", to, "--interface", "lo",
                            "--step"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(3):
        run.stdin.write("\n")
        run.stdin.flush()
    run.stdin.close()
    assert "3 datums of 1 channel" in run.stderr.read() and run.wait(20) == 0
    assert len(taken(sink, 3)) == 3


@pytest.mark.parametrize("closed", ["<&-", "0>/dev/null", "</dev/null"])
def test_087_a_step_without_an_input_ends(away, tmp_path, closed):
    _, to = away
    rows(name_of(tmp_path, 1), [(START, [0])])
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", FLOTILLA, "replay", tmp_path,
                           "--to", to, "--interface", "lo", "--step"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and "0 datums of 1 channel" in done.stderr, done


class Keyboard:
    """A replay at a terminal of its own."""

    def __init__(self, *words):
        self.master, self.slave = pty.openpty()
        self.before = self.settings()
        self.seen = bytearray()
        self.run = subprocess.Popen([FLOTILLA, "replay", *words, "--json"], stdin=self.slave,
                                    stdout=subprocess.PIPE, stderr=self.slave,
                                    start_new_session=True,
                                    preexec_fn=lambda: take_terminal(self.slave))

    def settings(self):
        return subprocess.run(["stty", "-g"], stdin=self.slave, capture_output=True,
                              text=True).stdout

    def press(self, keys):
        os.write(self.master, keys)

    def shown(self, what):
        def look():
            os.set_blocking(self.master, False)
            try:
                self.seen.extend(os.read(self.master, 65536))
            except BlockingIOError:
                pass
            return what in bytes(self.seen)
        wait_until(look, what=what)
        self.seen.clear()

    def end(self):
        """What it says; the terminal is as it was."""
        out, _ = self.run.communicate(timeout=30)
        assert self.run.returncode == 0 and self.settings() == self.before
        os.close(self.master)
        os.close(self.slave)
        return json.loads(out)


def test_087_the_keyboard_over_clocks_that_were_set_back(away, tmp_path):
    """What is sought is where it stands as it is played, not what a clock said."""
    fleet, to = away
    for number, start in enumerate((START, START - 3600 * SECOND, START - 3560 * SECOND)):
        rows(name_of(tmp_path, number + 1), [(start + n * SECOND, [0]) for n in range(100)],
             first=number * 100)
    sink = fleet.sink(to)
    keyboard = Keyboard(tmp_path, "--to", to, "--interface", "lo")
    keyboard.shown(b"x1, ")
    keyboard.press(b" ")
    keyboard.shown(b"paused")
    for keys, clock in ((b"\x1b[C" * 15, b"00:02:3"), (b"\x1b[D" * 7, b"00:01:2"),
                        (b"\x1b[C" * 15, b"00:03:5")):
        keyboard.press(keys)
        keyboard.shown(clock)
        keyboard.press(b".")
        keyboard.shown(clock)
    keyboard.press(b"q")
    count = keyboard.end()["datums"]
    numbers = [n for _, n in map(take_row, taken(sink, count))]
    there, back, on = numbers[-3:]
    # Two files begin at the moment that the one before ends at.
    assert 150 <= there <= 155 and 80 <= back <= 85 and 231 <= on <= 237, numbers


def test_087_the_keyboard(away, tmp_path):
    """Stop, one datum, ten seconds on, faster, the end; the terminal is left as it was."""
    fleet, to = away
    rows(name_of(tmp_path, 1), [(START, [n * SECOND for n in range(3600)])])
    sink = fleet.sink(to)
    keyboard = Keyboard(tmp_path, "--to", to, "--interface", "lo")
    shown = keyboard.shown
    shown(b"x1, ")
    keyboard.press(b" ")
    shown(b"paused")
    keyboard.press(b"...")  # three more
    keyboard.press(b"\x1b[C" * 6)  # a minute on
    shown(b"00:01:0")
    keyboard.press(b"+" * 8)
    keyboard.press(b" ")
    shown(b"x256")
    shown(b"00:0")
    keyboard.press(b"\x1b[D")
    keyboard.press(b"q")
    said = keyboard.end()
    assert 4 < said["datums"] < 3600
    numbers = [n for _, n in map(take_row, taken(sink, said["datums"]))]
    assert numbers[:2] == [0, 1] and max(numbers) > 60
    assert not set(range(20, 50)) & set(numbers)  # passed over


def take_terminal(slave):
    import fcntl
    import termios
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def test_087_as_fast_as_it_is_taken(tmp_path):
    """Nothing is lost at a relay that reads, whatever the rate."""
    with Fleet({"c": {"schema": TIMED, "receive_queue": "256KiB"}}) as fleet:
        count = 60_000
        blocks = [(START + at * SECOND, [n * 100 for n in range(10_000)]) for at in range(6)]
        rows(name_of(tmp_path, 1), blocks)
        replay(name_of(tmp_path, 1), "--max", "-c", fleet.file, check=0)
        status = fleet.settle({"c": count})["c"]
        assert status["datums_accepted"] == count and status["datagrams_dropped"] == 0


def test_087_no_faster_than_it_is_taken(tmp_path):
    """A receiver with the system's own small queue, slower than what is sent, loses nothing; one
    that does not read at all ends nothing."""
    rows(name_of(tmp_path, 1), [(START, [n * 1000 for n in range(20_000)])])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as slow:
        slow.bind(("127.0.0.1", 0))
        where = ["--to", f"127.0.0.1:{slow.getsockname()[1]}", "--interface", "lo", "--max"]
        slow.settimeout(60)
        run = subprocess.Popen([FLOTILLA, "replay", tmp_path, *where], stderr=subprocess.PIPE)
        for wanted in range(20_000):
            assert take_row(slow.recv(100))[1] == wanted
            if wanted % 1000 == 0:
                time.sleep(0.02)
        assert run.wait(30) == 0
        run.stderr.close()
        replay(tmp_path, *where, "--count", "300", check=0)


# ---- what cannot be played ----

def test_087_left_out_and_damaged(away, tmp_path):
    """Files of another schema, of other programs and damaged ones: each is told, the rest is
    played, exit 3; an open file is played as far as it goes."""
    fleet, to = away
    next_ = rows(name_of(tmp_path / "c", 1), [(START, [0]), (START + SECOND // 10, [0]),
                                              (START + SECOND // 5, [0])])
    whole = name_of(tmp_path / "c", 1).read_bytes()
    name_of(tmp_path / "c", 1).write_bytes(whole[:8192 + 140] + b"\xff" + whole[8192 + 141:])
    rows(name_of(tmp_path / "c", 2, part=True), [(START + SECOND // 2, [0, 1000])], first=next_)
    foreign = tmp_path / "foreign.avro"
    with open(foreign, "wb") as file:
        fastavro.writer(file, TIMED, [{"time": 1, "n": 2}])
    where = ["--to", to, "--interface", "lo"]
    sink = fleet.sink(to)
    done = replay(tmp_path / "c", foreign, *where)
    assert done.returncode == 3
    assert "offset 8192" in done.stderr and "does not say when its datums came in" in done.stderr
    assert [n for _, n in map(take_row, taken(sink, 4))] == [0, 2, 3, 4]
    with Fleet({"c": {"schema": PLAIN}}) as other:
        done = replay(tmp_path / "c", "-c", other.file)
        assert done.returncode == 3 and done.stderr.count("does not fit the schema of channel") == 2
        done = replay(foreign, "-c", other.file)
        assert done.returncode == 1 and "does not say which channel it is of" in done.stderr
        done = replay("d", "-c", other.file)
        assert done.returncode == 1 and 'has no channel "d"' in done.stderr


def test_087_a_channel_that_receives_is_left_alone(tmp_path):
    with Fleet({"c": {"schema": TIMED}}) as fleet:
        rows(name_of(tmp_path, 1), [(START, [0])])
        load = fleet.source("c", [long(7) + long(8)], rate=100, count=100_000)
        wait_until(lambda: fleet.channel("c")["rate"] > 50)
        done = replay(tmp_path, "-c", fleet.file)
        assert done.returncode == 1 and "channel c is receiving now" in done.stderr
        replay(tmp_path, "--mix", "-c", fleet.file, check=0)
        load.stop()
        fleet.settle()
        assert '"n": 0}' in lines(fleet, "c")
        done = replay("c", "--count", "1", "--mix", "-c", fleet.file, check=0)  # its own
        assert "1 datums of 1 channel" in done.stderr
        fleet.settle()


@pytest.mark.parametrize("words, error", [
    ([], "which CHANNEL, FILE or FOLDER?"),
    (["a.avro", "--to", "nowhere"], "--to needs ADDRESS:PORT"),
    (["a.avro", "--interface", "lo"], "--interface and --ttl are for --to"),
    (["a.avro", "--max", "--step"], "one of --speed, --max and --step"),
    (["a.avro", "--speed", "0"], "--speed is from"),
    (["a.avro", "--speed", "100Hz"], '--speed needs a number (2, 0.5), not "100Hz"'),
    (["a.avro", "--skip-gaps", "0"], "--skip-gaps is from"),
    (["a.avro", "--speed", "9e9"], "--speed is from"),
    (["a.avro", "--ttl", "999", "--to", "1.2.3.4:5"], "--ttl is at most 255"),
])
def test_087_usage(words, error):
    done = replay(*words)
    assert done.returncode == 2 and error in done.stderr


def test_087_killed_it_leaves_nothing(away, tmp_path):
    fleet, to = away
    rows(name_of(tmp_path, 1), [(START, [n * SECOND // 100 for n in range(3000)])])
    for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):
        before = sorted(os.listdir(tmp_path))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind((to.rsplit(":", 1)[0], int(to.rsplit(":", 1)[1])))
            receiver.settimeout(60)
            run = subprocess.Popen([FLOTILLA, "replay", tmp_path, "--to", to, "--interface", "lo",
                                    "--loop"], stderr=subprocess.PIPE, text=True)
            assert receiver.recv(1000)  # it plays
        run.send_signal(number)
        assert run.wait(10) == code
        assert ("datums of 1 channel" in run.stderr.read()) == (code == 0)
        assert sorted(os.listdir(tmp_path)) == before
