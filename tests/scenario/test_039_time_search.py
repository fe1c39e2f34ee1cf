# SPDX-License-Identifier: MIT
"""039-time-search: `cat`, `info` and `send` of a span of time give what a reader gives that looks
at everything: over clocks that are set back, equal times, open, damaged, empty and joined files and
those of other programs; and read little of a large file.

The recordings are written by tests/readers/recording_file.py, and the rows of a span are chosen
from what was written."""
import json
import re
import socket
import subprocess

import fastavro
import pytest
from harness.fleet import FLOTILLA, ROOT, Addresses, Fleet, flotilla, new_folder
from recording_file import (Bad, long, read, read_block, sized, take_long, write_block,
                            write_header)

START = 1_767_225_600_000_000_000  # 2026-01-01
SECOND = 1_000_000_000
DISORDER = SECOND // 10
SCHEMA = {"type": "record", "name": "Sample", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "counter", "type": "long"}, {"name": "pad", "type": "bytes"}]}


class Channel:
    """A channel's recordings, made as its relay makes them."""

    def __init__(self, rng, folder, *, timed=True, queues=True):
        self.rng, self.folder, self.timed, self.queues, self.name = rng, folder, timed, queues, "c"
        self.paths, self.number, self.since = [], 0, 0
        # (file, order it is in, first arrival, first counter, [how much later each came in])
        self.blocks = []
        self.counter = 0
        self.now, self.latest = START, 0
        folder.mkdir(parents=True, exist_ok=True)

    def block(self, sync, offset, count, step, pad, placed=True):
        """`count` datums, each `step` ns behind the one before, the source's clock far off."""
        first, datums, late = self.now, [], []
        for index in range(count):
            at = first + index * step
            datums.append(long((at + 7_200 * SECOND) // 1000) + long(self.counter)
                          + sized(b"x" * pad))
            self.counter += 1
            late.append((at // 1000 - first // 1000) * 1000)  # as the field has it
        self.blocks.append((self.number, self.since, first, self.counter - count, late))
        self.latest = max(self.latest, first)
        self.now = first + count * step
        return write_block(datums, first, sync, offset, placed=placed)

    def file(self, blocks, part=False, gap=None, count=None, step=None, pad=None):
        """One more file of so many blocks; where the clock was set back, with a new order."""
        rng = self.rng
        self.number += 1
        if self.now + DISORDER < self.latest or self.since == 0:
            self.since, self.latest = self.number, 0
        sync = rng.randbytes(16)
        metadata = {"avro.schema": json.dumps(SCHEMA).encode(), "avro.codec": b"deflate",
                    "flotilla.channel": self.name.encode(), "flotilla.host": b"h",
                    "flotilla.started": b"2026-01-01T00:00:00Z", "flotilla.version": b"0",
                    "flotilla.ordered_since": str(self.since).encode()}
        if self.timed:
            metadata["flotilla.time"] = b"time"
        data = write_header(metadata, sync)
        for _ in range(blocks):
            data += self.block(sync, len(data), count or rng.randint(1, 40),
                               rng.choice([0, 1_000_000, 50_000_000]) if step is None else step,
                               rng.choice([0, 10, 400]) if pad is None else pad)
            self.now += rng.choice([0, 0, SECOND // 50, SECOND]) if gap is None else gap
            if self.queues and rng.random() < 0.1:  # as from several queues of a network card
                self.now = max(self.now - DISORDER // 2, self.latest - DISORDER // 2)
        path = self.folder / (f"{self.name}-20260101T000000.000000Z-{self.number:06}.avro"
                              + (".part" if part else ""))
        path.write_bytes(data)
        self.paths.append(path)
        self.tell_rows()
        return path

    def tell_rows(self):
        """(when it came in, counter) of all: no later than the next block in the same order."""
        self.rows = []
        for (_, since, first, counter, late), after in zip(self.blocks,
                                                           [*self.blocks[1:], (0, 0, 0)]):
            limit = max(first, after[2]) if after[1] == since else float("inf")
            for index, more in enumerate(late):
                self.rows.append((min(first + more, limit) if self.timed else first,
                                  counter + index))

    def remove(self, number):
        self.paths[number - 1].unlink()
        self.blocks = [block for block in self.blocks if block[0] != number]
        self.tell_rows()

    def step_back(self, seconds):
        self.now -= int(seconds * SECOND)

    def spans(self, count):
        """Spans of all lengths; some begin or end exactly where a row came in."""
        times = sorted(at for at, _ in self.rows)
        low, high = times[0] - SECOND, times[-1] + SECOND
        for _ in range(count):
            ends = [self.rng.choice([self.rng.choice(times), self.rng.randint(low, high)])]
            ends.append(self.rng.choice([self.rng.choice(times), self.rng.randint(low, high),
                                         ends[0] + self.rng.randint(0, SECOND)]))
            yield tuple(sorted(ends))
        yield low, low + 1
        yield high, high + SECOND

    def wanted(self, begin, end):
        return [counter for at, counter in self.rows if begin <= at < end]


def instant(ns):
    return f"{ns // SECOND}.{ns % SECOND:09}"


def cat(*paths, span=None, code=0):
    words = ["--from", instant(span[0]), "--to", instant(span[1])] if span else []
    done = flotilla("cat", *paths, *words, check=code)
    return [json.loads(line)["counter"] for line in done.stdout.splitlines()]


def check_all(channel, spans=60):
    paths = [channel.folder]
    assert cat(*paths) == [counter for _, counter in channel.rows]
    for span in channel.spans(spans):
        assert cat(*paths, span=span) == channel.wanted(*span), span


@pytest.mark.parametrize("timed", [True, False])
def test_039_clocks_set_back_and_equal_times(rng, tmp_path, timed):
    channel = Channel(rng, tmp_path / "c", timed=timed)
    for back in 0, 0, 3, 0, 0.5, 30, 0, 0.11, 0:
        channel.step_back(back)
        channel.file(rng.randint(1, 40))
    channel.file(25, gap=0, step=0)  # all at one instant, over two files
    channel.file(25, gap=0, step=0)
    channel.step_back(-5)
    channel.file(8, part=True)
    check_all(channel)


@pytest.mark.parametrize("timed", [True, False])
def test_039_clocks_set_by_hours_and_decades(rng, tmp_path, timed):
    """A rollover, a battery that is empty, a server that is wrong: there and back again."""
    channel, year = Channel(rng, tmp_path / "c", timed=timed), 365 * 86400
    for back in 0, -7200, 0, 7200, 0, -20 * year, 0, 20 * year, 0, 50 * year, 0, -50 * year, 0:
        channel.step_back(back)
        channel.file(rng.randint(1, 20))
    channel.file(8, part=True)
    check_all(channel)


def test_039_a_file_that_is_not_in_order_and_says_so_by_its_end(rng, tmp_path):
    """As datums that a change of schema has left behind may make it: from where the clock goes back
    its blocks note no place, and the next file begins a new order."""
    channel = Channel(rng, tmp_path / "c", timed=False, queues=False)
    channel.file(20, gap=SECOND, count=5)
    path = channel.file(20, gap=SECOND, count=5)
    data = path.read_bytes()
    sync = read(data)[1]
    for back in 50, -80:  # to the first file's time, and on behind all
        channel.step_back(back)
        for _ in range(5):
            data += channel.block(sync, len(data), 5, 0, 10, placed=False)
            channel.now += SECOND
    path.write_bytes(data)
    channel.since = 0  # the next file begins an order
    channel.file(10, gap=SECOND, count=5)
    check_all(channel)


def test_039_files_one_by_one_and_some_that_went(rng, tmp_path):
    channel = Channel(rng, tmp_path / "c")
    for back in 0, 0, 2, 0, 0, 0, 1, 0:
        channel.step_back(back)
        channel.file(rng.randint(1, 12))
    for span in channel.spans(20):
        assert cat(*channel.paths, span=span) == channel.wanted(*span), span
        assert cat(*reversed(channel.paths), span=span) == \
            [counter for path in reversed(channel.paths) for counter in cat(path, span=span)]
    for number in 3, 4, 7:
        channel.remove(number)
    check_all(channel, 30)


def test_039_open_empty_and_cut_files(rng, tmp_path):
    channel = Channel(rng, tmp_path / "c")
    channel.file(10)
    channel.file(0)  # nothing came before it was ended
    whole = channel.file(30).read_bytes()
    channel.file(1)
    channel.file(12, part=True)
    check_all(channel, 25)
    cut = channel.paths[2]
    _, sync, blocks = read(whole)
    counted = {counter for block in blocks for counter in counters(block)}
    for keep in [rng.randint(0, len(whole)) for _ in range(12)] + [0, blocks[0]["offset"]]:
        cut.write_bytes(whole[:keep])
        left = {counter for block in blocks if block["offset"] + block["bytes"] <= keep
                for counter in counters(block)}
        for span in channel.spans(4):
            done = flotilla("cat", channel.folder, "--from", instant(span[0]), "--to",
                            instant(span[1]))
            got = [json.loads(line)["counter"] for line in done.stdout.splitlines()]
            wanted = [c for c in channel.wanted(*span) if c not in counted or c in left]
            # Of the block that is cut, what is whole may be shown, as without a span.
            assert [c for c in got if c not in counted or c in left] == wanted, (keep, span)
            assert set(got) <= set(channel.wanted(*span))


def counters(block):
    """The counters of a block's datums."""
    data, at = block["data"], 0
    for _ in range(block["count"]):
        _, at = take_long(data, at)
        counter, at = take_long(data, at)
        size, at = take_long(data, at)
        at += size
        yield counter


def test_039_damage(rng, tmp_path):
    """What is intact and of the span is found, wherever the damage is; nothing else is shown. (The
    block behind damage does not say when it came in, which would tell the end of the one before.)
    """
    channel = Channel(rng, tmp_path / "c", queues=False)
    channel.file(50)
    path = channel.paths[0]
    whole = path.read_bytes()
    _, sync, blocks = read(whole)
    for _ in range(25):
        data = bytearray(whole)
        kind, hit = rng.choice(["flip", "zeros", "marker"]), rng.choice(blocks)
        end = hit["offset"] + hit["bytes"]
        if kind == "flip":
            data[rng.randrange(hit["offset"] + 132, end - 16)] ^= 1 << rng.randrange(8)
        elif kind == "zeros":
            data[hit["offset"]:hit["offset"] + 4096 * rng.randint(1, 3)] = bytes(4096)
            data = data[:len(whole)]
        else:
            data[end - 16:end] = rng.randbytes(16)
        path.write_bytes(data)
        intact = set()
        for block in blocks:
            try:
                if data[block["offset"] - 16:block["offset"]] == sync or block is blocks[0]:
                    intact |= set(counters(read_block(data, block["offset"], sync)))
            except (Bad, IndexError):
                pass
        shown = set(cat_any(channel.folder))
        for span in channel.spans(4):
            got = cat_any(channel.folder, span=span)
            wanted = set(channel.wanted(*span))
            # A bit that flips may make another counter, in the damaged block.
            assert kind == "flip" or (got == sorted(got) and set(got) <= wanted)
            assert set(got) >= intact & shown & wanted, (kind, hit, span)


def cat_any(*paths, span=None):
    words = ["--from", instant(span[0]), "--to", instant(span[1])] if span else []
    done = flotilla("cat", *paths, *words)
    return [json.loads(line)["counter"] for line in done.stdout.splitlines()]


def test_039_joined_files_and_those_of_others(rng, tmp_path):
    """Files joined end to end are looked at as a whole, also where the second is older."""
    channel = Channel(rng, tmp_path / "c")
    channel.file(30)
    channel.step_back(20)
    channel.file(rng.choice([1, 30]))
    channel.step_back(-40)
    channel.file(5)
    first, second, third = channel.paths
    joined = first.read_bytes() + second.read_bytes()
    second.unlink()
    first.write_bytes(joined)
    check_all(channel, 30)
    other = tmp_path / "other.avro"
    with open(other, "wb") as file:
        fastavro.writer(file, SCHEMA, [{"time": 1, "counter": 1, "pad": b""}])
    span = (START, START + 3600 * SECOND)
    done = flotilla("cat", other, third, "--from", instant(span[0]), "--to", instant(span[1]),
                    check=1)
    assert f"{other}: does not say when its datums came in" in done.stderr
    assert len(done.stdout.splitlines()) == len(cat(third))
    assert "does not say when" in flotilla("info", other, "--from", "0.5", check=1).stderr


def test_039_info_counts_blocks_of_the_span(rng, tmp_path):
    channel = Channel(rng, tmp_path / "c")
    for back in 0, 2, 0, 0:
        channel.step_back(back)
        channel.file(rng.randint(1, 30))
    fronts = {path: read(path.read_bytes())[2] for path in channel.paths}
    for begin, end in channel.spans(30):
        done = flotilla("info", "--json", channel.folder, "--from", instant(begin), "--to",
                        instant(end), check=0)
        told = {one["file"]: (one["blocks"], one["datums"])
                for one in map(json.loads, done.stdout.splitlines())}
        wanted = {}
        for path, blocks in fronts.items():
            inside = [block for block in blocks if begin <= block["arrival"] < end]
            if inside:
                wanted[str(path)] = len(inside), sum(block["count"] for block in inside)
        assert told == wanted


def test_039_send_sends_the_span(rng, tmp_path):
    channel = Channel(rng, tmp_path / "c")
    channel.file(20)
    channel.file(20)
    begin, end = sorted(rng.sample([at for at, _ in channel.rows], 2))
    to = Addresses().unicast()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        host, _, port = to.partition(":")
        sink.bind((host, int(port)))
        sink.settimeout(5)
        flotilla("send", "--to", to, "--interface", "lo", "--from", channel.folder, "--from",
                 instant(begin), "--to", instant(end), "--rate", 5000, check=0)
        got = []
        for _ in channel.wanted(begin, end):
            data = sink.recv(65536)
            got.append(take_long(data, take_long(data, 0)[1])[0])
    assert got == channel.wanted(begin, end)
    assert "--from T and --to T choose" in flotilla("send", "--to", to, "--schema", "x", "--from",
                                                    "-1min", check=2).stderr


def test_039_a_slow_channel_by_its_time_field():
    """All that a relay has recorded is in one page; its time field tells the datums apart."""
    schema = {"type": "record", "name": "Slow", "fields": [
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "counter", "type": "long"}]}
    with Fleet({"c": {"schema": schema, "time": "time", "sequence": "counter"}},
               storage={"sync": "50ms"}) as fleet:
        flotilla("send", "c", "-c", fleet.file, "--rate", 50, "--count", 150, check=0)
        fleet.settle({"c": 150})
        path, = fleet.files("c")
        assert json.loads(flotilla("info", "--json", path).stdout)["blocks"] == 1
        rows = [json.loads(line) for line in flotilla("cat", path).stdout.splitlines()]
        times = [row["time"] * 1000 for row in rows]
        cut = (times[50] + times[51]) // 2
        early = cat(path, span=(0, cut))
        late = cat(path, span=(cut, cut + 3600 * SECOND))
        assert early + late == list(range(150))
        assert 25 <= len(early) <= 51  # the first one came in late, perhaps, on a busy machine


@pytest.mark.parametrize("words,what", [
    (["cat", "x", "--from", "yesterday"], '--from needs a time .*, not "yesterday"'),
    (["cat", "x", "--to", "-10m"], '--to needs a time .*, not "-10m"'),
    (["info", "x", "--from", "2026-02-30T00:00:00Z"], 'not "2026-02-30T00:00:00Z"'),
    (["info", "x", "--from", "-1h", "--count"], "--count is for whole files"),
    (["cat", "--follow", "x", "--to", "now"], "--follow takes one FILE"),
    (["cat", "--follow", "x", "y"], "--follow takes one FILE"),
    (["send", "c", "--to", "tomorrow"], "a CHANNEL says where to send"),
    (["send", "--to", "tomorrow", "--schema", "x"], 'or a time .*, not "tomorrow"'),
    (["send", "c", "--from", "x", "--from", "y"], '--from needs one file .*, not also "y"'),
    (["send", "c", "--from", "x", "--to", "1", "--to", "2"], '--to needs one time, not also "2"'),
    (["send", "c", "--from", "x", "--from", "2", "--to", "1"], "--from is later than --to"),
    (["cat", "x", "--from", "2", "--to", "1"], "--from is later than --to"),
    (["info", "x", "--from", "2", "--to", "1"], "--from is later than --to"),
    (["cat", "x", "--schema", "--fields", "a"], "--schema prints no datums"),
    (["cat", "x", "--schema", "--count", "1"], "--schema prints no datums"),
])
def test_039_what_is_not_heeded_is_told(words, what):
    assert re.search(what, flotilla(*words, check=2).stderr)


def bytes_read(*words):
    """What a command read, and its lines."""
    child = subprocess.Popen(["strace", "-f", "-e", "trace=pread64,read", "-o", "/dev/fd/2",
                              FLOTILLA, *map(str, words)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    calls = [line for line in err.splitlines() if re.search(r"\b(pread64|read)\(", line)]
    got = [line.rpartition("= ")[2] for line in calls]
    return sum(int(one) for one in got if one.isdigit()), len(out.splitlines())


def test_039_little_of_much_is_read(rng):
    """A second out of 300 MB: what is read is the second and some places."""
    folder = new_folder()
    try:
        made = subprocess.run([ROOT / "build/units/bench_recordings", folder / "c", "300000000",
                               str(32 << 20), "1767225600", "1000"], capture_output=True,
                              text=True, timeout=120)
        assert made.returncode == 0, made.stderr
        seconds = int(made.stdout) / 1000
        for _ in range(5):
            begin = rng.uniform(1, seconds - 2)
            read_bytes, lines = bytes_read(
                "cat", folder / "c", "--from", f"{1767225600 + begin:.6f}", "--to",
                f"{1767225600 + begin + 1:.6f}")
            assert 999 <= lines <= 1001
            assert read_bytes < 5_000_000
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
