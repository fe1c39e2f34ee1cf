# SPDX-License-Identifier: MIT
"""003-growing: a recording is opened thousands of times while it is written. No open meets an
error, and none shows fewer datums than status called recorded before it."""
import os
import subprocess
import threading

import pytest
from harness import container, readers, signals
from harness.fleet import LONG, Fleet, wait_until

OPENS = 100000 if LONG else 5000
# name: (datums a second, bytes of padding, rotate size, share of the opens)
RATES = {
    "slow": (50, 0, "1GiB", 0.4),       # the open page is rewritten at every sync
    "brisk": (700, 30, "64KiB", 0.3),   # a page fills up and is closed; files are rotated
    "fast": (6000, 60, "128KiB", 0.3),  # blocks are appended
}
LOOKS = 50  # different states of the file that must be seen, or too little was shown


class Floor:
    """What status last called recorded, looked at all the time by a thread of its own."""

    def __init__(self, fleet, name):
        self.fleet, self.name, self.value, self.error = fleet, name, 0, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _look(self):
        while not self._stop.wait(0.1):
            try:
                self.value = self.fleet.channel(self.name)["datums_recorded"]
            except BaseException as error:
                self.error = error
                return


class Counter:
    """Counts what a reader sees of a channel: every open file is read, a finished one once."""

    def __init__(self, fleet, name):
        self.fleet, self.name, self.finished = fleet, name, {}

    def look(self, count):
        """(datums over all files, files opened). A file renamed under our hands begins again."""
        while True:
            total = opened = 0
            try:
                for path in self.fleet.files(self.name):
                    if path not in self.finished:
                        number = count(path)
                        opened += 1
                        if path.suffix == ".avro":
                            self.finished[path] = number
                        total += number
                    else:
                        total += self.finished[path]
                return total, opened
            except FileNotFoundError:
                continue


def feed(fleet, rate, pad):
    """A source that lasts until it is stopped."""
    return fleet.source("c", signals.samples(rate * 5, pad=pad), rate=rate, count=10**9)


@pytest.mark.parametrize("speed", RATES)
def test_003_thousands_of_opens(seed, speed):
    rate, pad, size, share = RATES[speed]
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"sync": "20ms", "rotate": {"size": size}}) as fleet:
        source = feed(fleet, rate, pad)
        wait_until(lambda: fleet.channel("c")["datums_recorded"] > 0)
        opened, last, counter, seen = 0, 0, Counter(fleet, "c"), set()
        with Floor(fleet, "c") as floor:
            while opened < OPENS * share or len(seen) < LOOKS:
                assert floor.error is None
                least = floor.value
                total, files = counter.look(container.count)
                assert total >= least, f"open {opened}: {total} datums, {least} were synced"
                assert total >= last, f"open {opened}: {total} datums after {last}"
                opened, last = opened + files, total
                seen.add(total)
        print(f"{speed}: {opened} opens, {len(seen)} different counts, {last} datums, "
              f"{len(fleet.files('c'))} files")
        sent = source.stop()["sent"]
        channel = fleet.settle({"c": sent})["c"]
        assert Counter(fleet, "c").look(container.count)[0] == channel["datums_recorded"] == sent


def test_003_a_file_is_readable_as_soon_as_it_is_there(seed):
    """The first look at each of many new files, the moment its name appears."""
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"sync": "20ms", "rotate": {"size": "16KiB"}}) as fleet:
        source = fleet.source("c", signals.samples(60000), rate=10000)
        folder, seen = fleet.folder / "recordings/c", set()
        while source.child.poll() is None:
            for name in os.listdir(folder) if folder.exists() else ():
                if name.endswith(".part") and name not in seen:
                    try:
                        container.count(folder / name)
                    except FileNotFoundError:  # finished already
                        continue
                    seen.add(name)
        assert len(seen) > 30
        fleet.settle({"c": source.finish()["sent"]})


@pytest.mark.parametrize("reader", [*readers.COMMANDS, "avrocat"])
def test_003_other_readers_of_a_growing_file(seed, reader):
    """Each reader in its own process, opens at the slow and at the fast pace, each time while the
    file grows by what comes in a second: a slow reader does not have ever more to read."""
    times = {"python3-avro": 4, "avrocat": 1}.get(reader, 10)
    for speed in ("slow", "fast"):
        rate, pad, _, _ = RATES[speed]
        rate = min(rate, 1000)  # python3-avro reads about 20,000 datums a second
        pool = signals.samples(rate, pad=pad)
        with Fleet({"c": {"schema": signals.SCHEMA}}, storage={"sync": "50ms"}) as fleet:
            last, seen = 0, set()
            for _ in range(6):
                source = fleet.source("c", pool, rate=rate)
                wait_until(lambda: fleet.channel("c")["datums_recorded"] > last)
                least = fleet.channel("c")["datums_recorded"]
                (path,) = fleet.files("c")
                counts = [readers.avrocat_count(path)] if reader == "avrocat" else \
                    many(reader, path, times)
                for count in counts:
                    assert count >= max(least, last), (speed, counts, least, last)
                    last = count
                    seen.add(count)
                source.finish()
            fleet.settle({"c": 6 * rate})
            assert len(seen) >= 6


def many(reader, path, times):
    """Opens one file several times in one process of the reader; the counts."""
    environment = dict(os.environ, NODE_PATH=str(readers.ROOT / "build/node/node_modules"))
    done = subprocess.run([*map(str, readers.COMMANDS[reader]), *[str(path)] * times],
                          capture_output=True, text=True, timeout=600, env=environment)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(lines) == times, (done.stdout, done.stderr)
    assert all(fields[1] != "error" for fields in lines), lines
    return [int(fields[1]) for fields in lines]
