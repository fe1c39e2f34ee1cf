# SPDX-License-Identifier: MIT
"""038-follow: `cat --follow` hands out every datum once, in order: over pages that are rewritten,
rotation, relays and managers that are killed, full disks, files that go; from now, from a time on,
from a file; and ends when it is told to or nobody reads it."""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from harness import signals
from harness.fleet import FLOTILLA, LONG, Fleet, flotilla, wait_until
from recording_file import long, sized, write_block, write_header

COUNT = 1_000_000 if LONG else 150_000


class Follower:
    """`cat --follow` at work; what it has printed goes to a file."""

    def __init__(self, folder, *words):
        self.path = folder / f"followed-{time.monotonic_ns()}"
        with open(self.path, "wb") as out:
            self.child = subprocess.Popen([str(FLOTILLA), "cat", "--follow", *map(str, words)],
                                          stdout=out, stderr=subprocess.PIPE, text=True)

    def lines(self):
        return self.path.read_bytes().count(b"\n")

    def counters(self):
        with open(self.path) as file:
            return [json.loads(line)["counter"] for line in file]

    def wait_for(self, count, seconds=120):
        wait_until(lambda: self.child.poll() is not None or self.lines() >= count, seconds=seconds,
                   what=f"{count} datums followed", pause=0.1)

    def stop(self, code=0):
        """Ends it and returns what it printed."""
        self.child.send_signal(signal.SIGINT)
        err = self.child.communicate(timeout=30)[1]
        assert self.child.returncode == code and (code or err == ""), err
        return self.counters()

    def end(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


@pytest.fixture
def follow(request):
    started = []

    def start(folder, *words):
        started.append(Follower(folder, *words))
        return started[-1]
    yield start
    for one in started:
        one.end()


def once_and_in_order(got, count, first=0):
    assert len(got) == count
    assert got == list(range(first, first + count))


@pytest.mark.parametrize("direct", ["auto", "off"])
def test_038_rotation_kills_and_rewritten_pages(rng, follow, direct):
    """The folder is not there when the first one begins."""
    count = COUNT if direct == "auto" else COUNT // 5
    sizes = [rng.choice([0, 0, 30, 400]) for _ in range(1000)]
    sent = [signals.sample(number, sizes[number % 1000]) for number in range(count)]
    stop, kills = threading.Event(), {"relay": 0, "manager": 0}
    with Fleet({"c": {"schema": signals.SCHEMA}}, run=False,
               storage={"sync": "20ms", "rotate": {"size": "1MiB"}, "direct_io": direct}) as fleet:
        folder = fleet.folder / "recordings/c"
        first = follow(fleet.folder, folder)
        fleet.start()

        def kill():
            while not stop.wait(rng.uniform(0.05, 0.6)):
                victims = rng.choice([("relay",), ("relay",), ("manager",), ("relay", "manager")])
                if "manager" in victims:
                    fleet.kill_manager()
                if "relay" in victims:
                    for pid in fleet.relay_processes():
                        os.kill(pid, signal.SIGKILL)
                for victim in victims:
                    kills[victim] += 1
                if "manager" in victims:
                    fleet.start()

        killer = threading.Thread(target=kill)
        killer.start()
        try:  # slow enough for pages, then fast enough for blocks, and again
            source = fleet.source("c", sent[:2000], rate=500)
            wait_until(lambda: first.lines() > 0, seconds=60, what="a datum followed")
            again = follow(fleet.folder, folder, "--from", "0")
            source.finish()
            for begin in range(2000, count, 50_000):
                fleet.source("c", sent[begin:begin + 50_000], rate=25_000).finish()
        finally:
            stop.set()
            killer.join()
        fleet.settle({"c": count})
        of_file = follow(fleet.folder, fleet.files("c")[0])
        for one in first, again, of_file:
            one.wait_for(count)
            once_and_in_order(one.stop(), count)
        assert len(fleet.files("c")) > 2 and kills["relay"] > 5 and kills["manager"] > 0
        print(f"{count} datums in {len(fleet.files('c'))} files, {kills}")


def test_038_from_a_time_on_and_from_now(rng, follow):
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"sync": "20ms", "rotate": {"size": "64KiB"}}) as fleet:
        folder = fleet.folder / "recordings/c"
        sent = signals.samples(9000, pad=30)
        for last in 2999, 5999:  # a block that fits no page does not stay open
            sent[last] = signals.sample(last, pad=6000)
        fleet.source("c", sent[:3000], rate=3000).finish()
        fleet.settle({"c": 3000})
        time.sleep(0.2)
        now = time.time()
        time.sleep(0.2)
        fleet.source("c", sent[3000:6000], rate=3000).finish()
        fleet.settle({"c": 6000})
        since = follow(fleet.folder, folder, "--from", f"{now:.6f}")
        from_now = follow(fleet.folder, folder)
        few = follow(fleet.folder, folder, "--from", f"{now:.6f}", "--count", 10)
        since.wait_for(3000)
        assert few.child.wait(20) == 0 and few.counters() == list(range(3000, 3010))
        time.sleep(0.3)
        assert from_now.lines() == 0
        fleet.source("c", sent[6000:], rate=3000).finish()
        fleet.settle({"c": 9000})
        since.wait_for(6000)
        from_now.wait_for(3000)
        once_and_in_order(since.stop(), 6000, 3000)
        once_and_in_order(from_now.stop(), 3000, 6000)


def test_038_it_ends_with_its_reader(follow):
    """Also where nothing is recorded that it could fail to write."""
    with Fleet({"c": {"schema": signals.SCHEMA}}, storage={"sync": "20ms"}) as fleet:
        child = subprocess.Popen([FLOTILLA, "cat", "--follow", fleet.folder / "recordings/c"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            fleet.source("c", signals.samples(10), rate=1000).finish()
            assert json.loads(child.stdout.readline())["counter"] == 0
            child.stdout.close()
            assert child.wait(20) == 0 and child.stderr.read() == ""
        finally:
            child.kill()
            child.wait()
        terminated = follow(fleet.folder, fleet.folder / "recordings/c")
        time.sleep(0.3)
        terminated.child.terminate()
        assert terminated.child.wait(20) == 0


class Recording:
    """A recording that this test writes: pages and whole files, as a relay would."""

    schema = json.dumps({"type": "record", "name": "R", "fields": [
        {"name": "counter", "type": "long"}, {"name": "pad", "type": "bytes"}]}).encode()

    def __init__(self, rng, folder, number):
        self.sync, self.offset = rng.randbytes(16), 0
        self.path = folder / f"c-20260101T000000.{number:06}Z-{number:06}.avro.part"
        data = write_header({"avro.schema": self.schema, "avro.codec": b"deflate",
                             "flotilla.channel": b"c", "flotilla.ordered_since": b"1"}, self.sync)
        opening = self.path.with_suffix(".opening")  # it gets its name with its header
        opening.write_bytes(data)
        opening.rename(self.path)
        self.offset = len(data)

    def put(self, offset, data):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def block(self, counters, arrival, grow=False):
        """Writes a block; with `grow` it is still the last one, to be written again."""
        datums = [long(counter) + sized(b"x" * 20) for counter in counters]
        data = write_block(datums, arrival, self.sync, self.offset)
        self.put(self.offset, data)
        self.offset += 0 if grow else len(data)

    def cut(self, offset):
        os.truncate(self.path, offset)

    def end(self):
        self.path = self.path.rename(self.path.with_suffix(""))


def test_038_blocks_that_are_written_again_come_once(rng, tmp_path, follow):
    """A write fails: the file is cut in front of it, and its blocks go to the next one."""
    folder = tmp_path / "c"
    folder.mkdir()
    file = Recording(rng, folder, 1)
    file.block(range(10), 1000)
    one = follow(tmp_path, folder, "--from", "0")
    one.wait_for(10)
    kept = file.offset
    file.block(range(10, 20), 2000)
    file.block(range(20, 25), 3000, grow=True)
    one.wait_for(25)
    file.cut(kept)
    file.end()
    file = Recording(rng, folder, 2)
    file.block(range(10, 20), 2000)
    file.block(range(20, 30), 3000)
    file.block(range(30, 35), 4000, grow=True)
    one.wait_for(35)
    file.block(range(30, 40), 4000)
    file.cut(file.offset - 4096)  # and once more, what was given up does not come again
    file.end()
    file = Recording(rng, folder, 3)
    file.block(range(50, 60), 5000)
    one.wait_for(45)
    assert one.stop() in (list(range(35)) + list(range(50, 60)),
                          list(range(40)) + list(range(50, 60)))


def test_038_from_a_time_on_in_a_file(rng, tmp_path, follow):
    """Of the files from the given one on; one that has gone is told of."""
    folder, second = tmp_path / "c", 1_000_000_000
    folder.mkdir()
    files = [Recording(rng, folder, number) for number in range(1, 5)]
    for index, file in enumerate(files):
        for block in range(2):
            first = 20 * index + 10 * block
            file.block(range(first, first + 10), (first + 1) * second)
        file.end()
    for start, since, first in (2, 1, 40), (1, 31, 30), (0, 71, 70):
        one = follow(tmp_path, files[start].path, "--from", since)
        one.wait_for(80 - first)
        once_and_in_order(one.stop(), 80 - first, first)
    files[1].path.unlink()
    one = follow(tmp_path, files[1].path, "--from", 1)
    one.wait_for(40)
    once_and_in_order(one.stop(code=1), 40, 40)


def test_038_files_that_go_are_told(rng, tmp_path, follow):
    folder = tmp_path / "c"
    folder.mkdir()
    for number in range(1, 7):
        file = Recording(rng, folder, number)
        file.block(range(10 * number, 10 * number + 10), 1000 * number)
        if number < 6:
            file.end()
    one = follow(tmp_path, folder, "--from", "0")
    one.wait_for(60)
    later = Recording(rng, folder, 7)
    later.block(range(70, 80), 7000)
    file.end()
    one.wait_for(70)
    shutil.rmtree(folder)  # and begins again
    folder.mkdir()
    time.sleep(0.3)
    anew = Recording(rng, folder, 1)
    anew.path = anew.path.rename(folder / "c-20260202T000000.000000Z-000001.avro.part")
    anew.block(range(80, 90), 8000)
    one.wait_for(80)
    assert one.stop(code=1) == [*range(10, 70), *range(70, 80), *range(80, 90)]


def test_038_damage_is_told_and_passed(rng, tmp_path, follow):
    folder = tmp_path / "c"
    folder.mkdir()
    file = Recording(rng, folder, 1)
    offsets = []
    for index in range(5):
        offsets.append(file.offset)
        file.block(range(10 * index, 10 * index + 10), 1000 * index + 1)
    file.put(offsets[2] + 300, b"\xff" * 50)
    file.end()
    following = Recording(rng, folder, 2)
    following.block(range(50, 60), 9000)
    one = follow(tmp_path, folder, "--from", "0")
    one.wait_for(50)
    one.child.send_signal(signal.SIGINT)
    err = one.child.communicate(timeout=20)[1]
    assert one.child.returncode == 1
    assert f"{file.path}: offset {offsets[2]}: 4096 bytes are damaged" in err
    assert one.counters() == [*range(20), *range(30, 60)]


@pytest.mark.parametrize("name", ["no channel's", ".hidden"])
def test_038_what_cannot_be_followed(tmp_path, name):
    done = flotilla("cat", "--follow", tmp_path / name, check=1)
    assert "neither a recording nor a channel's folder" in done.stderr
