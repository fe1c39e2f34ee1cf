# SPDX-License-Identifier: MIT
"""011-rotation: by size and by age without a gap; a clean stop under load leaves whole files; a
restart between; retention keeps to its bounds and spares what is pinned or open."""
import datetime
import os
import re
import signal
import time

import fastavro
import pytest
from harness import container, signals
from harness.fleet import Fleet, wait_until

BLOCK_BYTES_MAX = 256 << 10


def contiguous(paths):
    """The numbers of all datums in the files, in order, read by fastavro."""
    numbers = []
    for path in paths:
        with open(path, "rb") as file:
            numbers += [record["counter"] for record in fastavro.reader(file)]
    return numbers


def finished_bytes(fleet):
    total = 0
    for path in fleet.files("c", part=False):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # just now
            pass
    return total


def assert_sizes(files, size):
    """At most as large as was asked for; but a block grows on whose first page stands in the file
    already, for as long as a busy machine's disk or processor takes."""
    sizes = sorted(path.stat().st_size for path in files)
    assert sizes[len(sizes) * 3 // 4] <= size and sizes[-1] < size + BLOCK_BYTES_MAX, sizes


def test_011_by_size(seed):
    sent = signals.samples(40000, pad=50)
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"rotate": {"size": "256KiB"}}) as fleet:
        fleet.source("c", sent, rate=10000).finish()
        fleet.settle({"c": len(sent)})
        fleet.stop()
        files = fleet.files("c")
        assert len(files) >= sum(map(len, sent)) // (256 << 10)
        assert container.payload(files) == (b"".join(sent), len(sent))
        assert_sizes(files, 256 << 10)
        numbers = [int(re.search(r"-(\d{6})\.avro$", path.name).group(1)) for path in files]
        assert numbers == list(range(1, len(files) + 1))
        assert [path.name for path in files] == sorted(path.name for path in files)


@pytest.mark.parametrize("direct", ["auto", "off"])
def test_011_by_size_of_a_slow_channel(seed, direct):
    """Every block is first written as a page and rewritten until it is full."""
    sent = signals.samples(4000, pad=60)
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"sync": "20ms", "rotate": {"size": "32KiB"},
                        "direct_io": direct}) as fleet:
        fleet.source("c", sent, rate=800).finish()
        fleet.settle({"c": len(sent)})
        fleet.stop()
        files = fleet.files("c")
        assert container.payload(files) == (b"".join(sent), len(sent))
        assert len(files) >= sum(map(len, sent)) // (32 << 10)
        assert_sizes(files, 32 << 10)


def test_011_by_age(seed):
    sent = signals.samples(6000)
    with Fleet({"c": {"schema": signals.SCHEMA}}, storage={"rotate": {"age": "1s"}}) as fleet:
        fleet.source("c", sent, rate=1000).finish()
        fleet.settle({"c": len(sent)})
        fleet.stop()
        files = fleet.files("c")
        assert 4 <= len(files) <= 9, files
        assert container.payload(files) == (b"".join(sent), len(sent))


def test_011_a_fleet_does_not_rotate_in_step(seed):
    """Channels that begin together end their files at moments of their own, none ever too old."""
    age, names = 1.6, [f"c{number}" for number in range(8)]
    with Fleet({name: {"schema": signals.SCHEMA} for name in names},
               storage={"sync": "100ms", "rotate": {"age": f"{age}s"}}) as fleet:
        loads = [fleet.source(name, signals.samples(700), rate=100) for name in names]
        for load in loads:
            load.finish()
        fleet.settle({name: 700 for name in names})
        fleet.stop()
        phases = []
        for name in names:
            begins = [stamp(path) for path in fleet.files(name)]
            lasts = [after - before for before, after in zip(begins, begins[1:])]
            assert max(lasts) < age + 0.4 and min(lasts) > age / 2 - 0.4, (name, lasts)
            assert len(lasts) >= 3 and abs(lasts[2] - age) < age / 2 - 0.05, "all of it, then"
            phases.append(begins[3] % age)
        assert len({int(phase / age * 16) for phase in phases}) >= 4, sorted(phases)


def stamp(path):
    """Seconds since 1970 in a recording's name."""
    when = re.search(r"-(\d{8}T\d{6}\.\d{6})Z-", path.name).group(1)
    return datetime.datetime.strptime(when + "+0000", "%Y%m%dT%H%M%S.%f%z").timestamp()


def next_files(fleet):
    """What a relay made ahead of its next file."""
    return sorted((fleet.folder / "recordings/c").glob(".opening*"))


def test_011_the_next_file_is_made_ahead(seed):
    """Before it is needed; and what is not needed, at a stop or after a while, does not stay."""
    datums = signals.samples(14000, pad=1000)
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"sync": "200ms", "rotate": {"size": "6MiB"}}) as fleet:
        fleet.source("c", datums[:5600], rate=8000).finish()  # 7/8 of the first file
        wait_until(lambda: next_files(fleet), what="the next file to be made ahead")
        assert len(fleet.files("c")) == 1
        fleet.source("c", datums[5600:8000], rate=8000).finish()
        fleet.settle({"c": 8000})
        assert not next_files(fleet) and len(fleet.files("c")) == 2
        first, second = fleet.files("c")
        started = container.read(second)[0]["flotilla.started"].decode()
        assert abs(datetime.datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()
                   - stamp(second)) <= 1.0
        fleet.source("c", datums[8000:11600], rate=8000).finish()
        wait_until(lambda: next_files(fleet), what="the next file to be made ahead")
        fleet.stop()
        assert not next_files(fleet), "a stop leaves nothing behind"
        payload, count = container.payload(fleet.files("c"))
        assert count == 11600 and payload == b"".join(datums[:11600])
        reserved = [path for path in fleet.files("c")
                    if path.stat().st_blocks * 512 > path.stat().st_size + 65536]
        assert not reserved, "what was reserved is given back"


def test_011_stop_under_load(seed):
    """SIGTERM while datagrams come in: what was received is in whole, closed files, in order."""
    with Fleet({"c": {"schema": signals.SCHEMA, "full": True}}, laws=False) as fleet:
        sink = fleet.sink(fleet.address("c", "full"))
        load = fleet.source("c", signals.samples(100000), rate=10000)
        wait_until(lambda: fleet.channel("c")["datums_recorded"] > 5000)
        fleet.stop()
        load.stop()
        numbers = contiguous(fleet.files("c"))
        assert numbers == list(range(len(numbers))) and len(numbers) > 5000
        assert container.payload(fleet.files("c"))[0] == b"".join(sink.stop()), \
            "recorded is what was re-sent"


def test_011_killed_manager_and_relays(seed):
    """Everything is killed; the next start finishes the old file and opens a new one."""
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("c", signals.samples(500), rate=5000).finish()
        fleet.settle({"c": 500})
        (relay,) = fleet.relay_processes()
        fleet.manager.kill()
        fleet.manager.wait()
        (keeper,) = fleet.processes("flotilla-keeper")
        os.kill(keeper, signal.SIGKILL)
        os.kill(relay, signal.SIGKILL)
        wait_until(lambda: not fleet.relay_processes())
        assert [path.suffix for path in fleet.files("c")] == [".part"]
        fleet.start()
        fleet.source("c", signals.samples(500, start=500), rate=5000).finish()
        fleet.settle({"c": 500})
        fleet.stop()
        assert len(fleet.files("c")) == 2
        assert contiguous(fleet.files("c")) == list(range(1000))


def test_011_a_relay_without_a_manager_goes_on_with_its_file(seed):
    """The manager alone is killed: its relay runs on, and the next manager takes it over."""
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("c", signals.samples(500), rate=5000).finish()
        fleet.settle({"c": 500})
        (relay,) = fleet.relay_processes()
        fleet.kill_manager()
        fleet.source("c", signals.samples(200, start=500), rate=2000).finish()
        time.sleep(0.5)
        assert fleet.relay_processes() == [relay], "relays outlive their manager"
        fleet.start()
        assert fleet.relay_processes() == [relay]
        fleet.source("c", signals.samples(300, start=700), rate=5000).finish()
        fleet.settle({"c": 1000})
        fleet.stop()
        assert len(fleet.files("c")) == 1
        assert contiguous(fleet.files("c")) == list(range(1000))


def test_011_retention_by_size(seed):
    """The oldest finished files go first, never one that is pinned or open."""
    with Fleet({"c": {"schema": signals.SCHEMA}},
               storage={"rotate": {"size": "128KiB"}, "retain": {"size": "1MiB"}}) as fleet:
        first = None
        for number in range(30):
            fleet.source("c", signals.samples(4000, start=4000 * number, pad=60),
                         rate=40000).finish()
            if first is None:
                first = wait_until(lambda: [p for p in fleet.files("c", part=False)])[0]
                (first.parent / (first.name + ".pin")).touch()
        fleet.settle({"c": 120000})
        wait_until(lambda: finished_bytes(fleet) <= 1 << 20, seconds=45,
                   what="retention to bring the channel to 1 MiB")
        fleet.stop()
        left = fleet.files("c")
        assert first in left, "a pinned file was removed"
        numbers = contiguous(path for path in left if path != first)
        assert numbers == list(range(numbers[0], 120000)), "the newest are kept, without a gap"
        (first.parent / (first.name + ".pin")).unlink()
