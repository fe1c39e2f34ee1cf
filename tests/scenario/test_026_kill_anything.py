# SPDX-License-Identifier: MIT
"""026-kill-anything: relays and managers killed, stopped and replaced under load, and after it
every datagram is in the files once, in its order, and came at the live group with at most a batch
twice a crash. One table of it all at the end of the run (harness/torture.py)."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

import numpy
import pytest
from harness import container, signals, torture
from harness.fleet import FLOTILLA, LONG, Fleet, flotilla, new_folder, read_datagrams, wait_until
from harness.pinger import Pinger
from harness.torture import BATCH, Storm

RATE = 100_000  # of 64-byte datums
SLOWER = 100_000 if LONG else 20_000
POOL = 3_000_000 if LONG else 1_000_000
pytestmark = [pytest.mark.usefixtures("needs_root"),  # for queues beyond the system's limit
              # The long ones are as fast as the machine: not two of them at a time.
              *LONG * [pytest.mark.xdist_group("storm")]]


@pytest.fixture(scope="module")
def pool():
    folder = new_folder("flotilla-ticks-")
    yield torture.write_ticks(folder / "ticks", POOL)
    shutil.rmtree(folder)


def test_026_the_judges_can_tell(seed, tmp_path):
    """Of datums with one lost, one there twice and one changed; of a silence after a fault."""
    rows = torture.ticks(0, 100)
    numbers = torture.tick_numbers(rows)
    assert torture.lost_and_twice(numbers, 100) == (0, 0)
    numbers[7] = numbers[50]
    assert torture.lost_and_twice(numbers, 100) == (1, 1)
    rows[3, 40] ^= 1
    with pytest.raises(AssertionError, match="bytes were changed"):
        torture.tick_numbers(rows)
    torture.write_ticks(tmp_path / "ticks", 3)
    assert read_datagrams(tmp_path / "ticks") == [bytes(row) for row in torture.ticks(0, 3)]
    arrivals = numpy.array([0, 1, 2, 3, 9, 10, 11, 12]) * 1_000_000
    assert torture.recovery_times(arrivals, [3_500_000]) == [5_500_000]
    assert torture.longest_silences(arrivals, [1_500_000]) == [6_000_000]


def named(fault, offload):
    return f"{fault}, offload {offload}"


def new_manager(fleet):
    """Starts one as a service manager would, at once, and waits until it has the fleet."""
    fleet.start(wait=False)

    def has_it():
        status = fleet.status(missing={})
        return status.get("manager", {}).get("pid") == fleet.manager.pid and all(
            one["state"] in ("running", "silent") for one in status["channels"])
    wait_until(has_it, what=f"the new manager to have its channels:\n{fleet.log()}")


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("turn", range(25 if LONG else 1))
def test_026_a_relay_killed_at_random(rng, pool, offload, turn):
    with Fleet({"engine": torture.tick_channel(offload=offload)}) as fleet:
        storm = Storm(fleet, rng, pool, RATE)
        storm.each(storm.kill_relay, 40 if LONG else 30, (0.005, 0.3 if LONG else 0.2))
        storm.end(named("relay SIGKILL", offload), live_bound=BATCH)


@pytest.mark.parametrize("turn", range(10 if LONG else 1))
def test_026_lives_of_a_blink(rng, pool, turn):
    """Killed again so soon that the manager waits a tenth of a second now and then (child.h)."""
    with Fleet({"engine": torture.tick_channel()}) as fleet:
        storm = Storm(fleet, rng, pool, RATE)
        storm.each(storm.kill_relay, 20 if LONG else 12, (0.001, 0.05))
        storm.end("relay SIGKILL, lives of a blink", live_bound=BATCH)


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("turn", range(10 if LONG else 1))
def test_026_a_relay_stopped(rng, pool, offload, turn):
    with Fleet({"engine": torture.tick_channel(offload=offload)}) as fleet:
        storm = Storm(fleet, rng, pool, SLOWER)

        def stop_relay():
            pid = fleet.relays()["engine"]
            os.kill(pid, signal.SIGSTOP)
            instant = time.time_ns()
            wait_until(lambda: fleet.relays().get("engine", pid) != pid,
                       what="the hung relay to be replaced")
            return instant
        storm.each(stop_relay, 10 if LONG else 4, (0.05, 0.5))
        times = storm.end(named("relay SIGSTOP", offload), live_bound=BATCH)
        assert sorted(times)[len(times) // 2] < 1.5e9, "found and replaced in about half a second"


def test_026_a_relay_stopped_as_it_hands_over(rng, pool):
    """Asked to end, and suspended before it has: it waits for no datagram, and never will."""
    with Fleet({"engine": torture.tick_channel()}) as fleet:
        storm = Storm(fleet, rng, pool, SLOWER)

        def stop_relay():
            pid, asked = fleet.relays()["engine"], fleet.log().count("restart asked for")
            restart = subprocess.Popen([FLOTILLA, "restart", "engine", "-c", fleet.file],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while fleet.log().count("restart asked for") == asked:
                assert restart.poll() is None or restart.returncode == 0
            time.sleep(rng.uniform(0, 0.004))
            instant = time.time_ns()
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: fleet.relays().get("engine", pid) != pid,
                       what="the relay to be replaced")
            assert restart.wait() == 0
            return instant
        storm.each(stop_relay, 60 if LONG else 20, (0.01, 0.1))
        storm.end("relay SIGSTOP as it hands over", live_bound=BATCH)


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("turn", range(20 if LONG else 1))
def test_026_a_manager_killed(rng, pool, offload, turn):
    with Fleet({"engine": torture.tick_channel(offload=offload)}) as fleet:
        relays, times = fleet.relays(), []
        storm = Storm(fleet, rng, pool, SLOWER)

        def kill_manager():
            fleet.kill_manager()
            instant = time.time_ns()
            new_manager(fleet)
            times.append(time.time_ns() - instant)
            assert fleet.relays() == relays, "relays go on when their manager dies"
            return instant
        storm.each(kill_manager, 10, (0.01, 0.2))
        # Nobody of those who send was killed.
        storm.end(named("manager SIGKILL", offload), live_bound=0, recover=lambda *_: times)


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("turn", range(20 if LONG else 1))
def test_026_relay_and_manager_killed_together(rng, pool, offload, turn):
    with Fleet({"engine": torture.tick_channel(offload=offload)}) as fleet:
        storm = Storm(fleet, rng, pool, SLOWER)

        def kill_both():
            # One that was killed may be taken over before it is gone.
            relay = wait_until(lambda: fleet.relays().get("engine"), what="a relay")
            first, second = rng.sample([relay, fleet.manager.pid], 2)
            os.kill(first, signal.SIGKILL)
            os.kill(second, signal.SIGKILL)
            instant = time.time_ns()
            fleet.manager.wait()
            new_manager(fleet)
            return instant
        storm.each(kill_both, 10, (0.01, 0.2))
        storm.end(named("relay and manager SIGKILL", offload), live_bound=BATCH)


@pytest.mark.parametrize("turn", range(5 if LONG else 1))
def test_026_manager_and_keeper_killed_together(rng, pool, turn):
    """What the keeper held is held by the relay as well: both may die while it lives."""
    with Fleet({"engine": torture.tick_channel()}) as fleet:
        storm = Storm(fleet, rng, pool, SLOWER)

        def kill_both():
            (keeper,) = fleet.processes("flotilla-keeper")
            os.kill(keeper, signal.SIGKILL)
            fleet.kill_manager()
            instant = time.time_ns()
            new_manager(fleet)
            wait_until(lambda: fleet.processes("flotilla-keeper"), what="another keeper")
            return instant
        storm.each(kill_both, 5, (0.01, 0.2))
        storm.end("manager and keeper SIGKILL", live_bound=BATCH)


@pytest.mark.parametrize("offload", ["auto", "off"])
@pytest.mark.parametrize("turn", range(10 if LONG else 1))
def test_026_a_changed_key_reloaded(rng, pool, offload, turn):
    with Fleet({"engine": torture.tick_channel(offload=offload)}) as fleet:
        storm = Storm(fleet, rng, pool, SLOWER)

        def reload_changed():
            before = fleet.relays()["engine"]
            fleet.storage["sync"] = "110ms" if fleet.storage["sync"] == "100ms" else "100ms"
            fleet.write()
            instant = time.time_ns()
            fleet.reload()
            assert fleet.relays()["engine"] != before
            return instant
        storm.each(reload_changed, 10, (0.01, 0.2))
        # An orderly end leaves no batch half done.
        storm.end(named("reload of a changed key", offload), live_bound=0,
                  recover=torture.longest_silences)


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_026_a_changed_address_reloaded(rng, offload):
    """Under load on the old address and on the new one: what came to either is recorded, once."""
    rate, times = 20_000, 100 if LONG else 8
    datums, taken, before = signals.samples(60_000), 0, {}
    with Fleet({"engine": torture.tick_channel(offload=offload, schema=signals.SCHEMA)},
               run=False) as fleet:
        fleet.channels["engine"]["listen"] = fleet.addresses.unicast()
        fleet.write()
        fleet.start()
        load = Pinger(fleet.address("engine"), datums, rate)
        for _ in range(times):
            time.sleep(rng.uniform(0.05, 0.2))
            fleet.channels["engine"]["listen"] = to = fleet.addresses.unicast()
            fleet.write()
            following = Pinger(to, datums, rate)
            before = fleet.relays()
            fleet.reload()
            assert fleet.relays() != before
            taken += load.stop()
            load = following
        taken += load.stop()
        channel = fleet.settle(seconds=60)["engine"]
        fleet.stop()
        recorded = container.payload(fleet.files("engine"))[1]
        torture.add_row(named("reload of a changed address", offload), repetitions=times,
                        datagrams=taken, lost=max(0, taken - recorded),
                        twice=max(0, recorded - taken), rate=rate)
        assert channel["datagrams_received"] == recorded == taken, channel
        assert channel["datagrams_dropped"] == 0


def judge(fleet, name, sent, sink):
    """What Storm.end asserts, for one of many channels: (lost, twice, live lost, live twice)."""
    sink.end()
    lost, twice = torture.lost_and_twice(torture.recorded_numbers(fleet.files(name)), sent)
    live, arrivals = torture.sink_numbers(sink)
    return (lost, twice, *torture.lost_and_twice(live, sent)), arrivals


def test_026_all_relays_of_twenty_killed_at_once(rng, pool):
    names = [f"c{number:02}" for number in range(20)]
    rate, times = 1000 if LONG else 400, 10
    with Fleet({name: torture.tick_channel(buffer="4MiB") for name in names}) as fleet:
        sinks = {name: fleet.sink(fleet.address(name, "full"), arrivals=True) for name in names}
        loads = {name: fleet.source(name, pool, rate=rate) for name in names}
        instants = []
        for _ in range(times):
            time.sleep(rng.uniform(0.1, 0.4))
            relays = list(fleet.relays().values())
            rng.shuffle(relays)
            for pid in relays:
                os.kill(pid, signal.SIGKILL)
            instants.append(time.time_ns())
        fleet.wait_running()
        sent = {name: load.stop()["sent"] for name, load in loads.items()}
        after = fleet.settle(sent, seconds=60)
        fleet.assert_laws(after)
        recover, sums = [], [0, 0, 0, 0]
        for name in names:
            counts, arrivals = judge(fleet, name, sent[name], sinks[name])
            recover += torture.recovery_times(arrivals, instants)
            sums = [a + b for a, b in zip(sums, counts)]
        torture.add_row("all relays of 20 channels SIGKILL", repetitions=times,
                        datagrams=sum(sent.values()), lost=sums[0], twice=sums[1],
                        live_twice=sums[3], recover_ns=recover, rate=rate * len(names))
        assert sums[:3] == [0, 0, 0], after
        assert sums[3] <= BATCH * times * len(names)
        for name in names:
            assert after[name]["datagrams_dropped"] == 0
            torture.assert_files_valid(fleet.files(name), sent[name])


def test_026_a_crash_loop_costs_the_others_nothing(rng, pool):
    """A relay is killed as soon as it is there, for a while, between two quiet whiles of as long:
    the others lose nothing, keep their processes, and their streams are as steady."""
    seconds, rate, others = 60 if LONG else 2.5, 2000, ("left", "right")
    with Fleet({name: torture.tick_channel() for name in (*others, "victim")}) as fleet:
        before = fleet.relays()
        sinks = {name: fleet.sink(fleet.address(name, "full"), arrivals=True)
                 for name in (*others, "victim")}
        loads = {name: fleet.source(name, pool, rate=rate) for name in (*others, "victim")}
        time.sleep(seconds)
        begin = time.time_ns()
        kills, last = [], None
        while time.time_ns() < begin + seconds * 1e9:
            pid = fleet.relays().get("victim")
            if pid is not None and pid != last:
                os.kill(pid, signal.SIGKILL)
                kills.append(time.time_ns())
                last = pid
            time.sleep(0.001)
        end = time.time_ns()
        time.sleep(seconds)
        wait_until(lambda: fleet.channel("victim")["state"] == "running", seconds=70)
        sent = {name: load.stop()["sent"] for name, load in loads.items()}
        after = fleet.settle(sent, seconds=60)
        for name in others:
            counts, arrivals = judge(fleet, name, sent[name], sinks[name])
            assert counts == (0, 0, 0, 0), (name, counts)
            assert fleet.relays()[name] == before[name] and after[name]["restarts"] == 0
            quiet, loop = torture.gap_p99_ms(arrivals, begin, end)
            print(f"{name}: p99 of the gap between datagrams {quiet:.2f} ms, "
                  f"{loop:.2f} ms while the victim's relay was killed {len(kills)} times")
            assert loop <= 2 * quiet + 5
        counts, _ = judge(fleet, "victim", sent["victim"], sinks["victim"])
        torture.add_row("crash loop of one channel", repetitions=len(kills),
                        datagrams=sum(sent.values()), lost=counts[0], twice=counts[1],
                        live_twice=counts[3], rate=rate * 3)
        assert counts[:3] == (0, 0, 0) and counts[3] <= BATCH * len(kills)
        assert len(kills) >= 3


def test_026_restart_all_by_a_new_binary(rng, pool):
    prefix = new_folder("flotilla-prefix-")
    try:
        torture.install(prefix)
        names = ("engine", "left", "right")
        with Fleet({name: torture.tick_channel() for name in names}, prefix=prefix) as fleet:
            sinks = {name: fleet.sink(fleet.address(name, "full"), arrivals=True)
                     for name in names}
            loads = {name: fleet.source(name, pool, rate=SLOWER // 2) for name in names}
            times, instants = 10 if LONG else 2, []
            for _ in range(times):
                time.sleep(rng.uniform(0.1, 0.4))
                before = fleet.relays()
                torture.install(prefix)
                instants.append(time.time_ns())
                flotilla("restart", "--all", "-c", fleet.file, check=0)
                fleet.wait_running()
                manager = fleet.status()["manager"]["pid"]
                after = fleet.relays()
                assert all(after[name] != before[name] for name in names)
                for pid in (manager, *after.values()):
                    path = os.readlink(f"/proc/{pid}/exe")
                    assert path.startswith(str(prefix)) and "(deleted)" not in path
            sent = {name: load.stop()["sent"] for name, load in loads.items()}
            fleet.assert_laws(fleet.settle(sent, seconds=60))
            sums, recover = [0, 0, 0, 0], []
            for name in names:
                counts, arrivals = judge(fleet, name, sent[name], sinks[name])
                recover += torture.longest_silences(arrivals, instants, 3 * 10**9)
                sums = [a + b for a, b in zip(sums, counts)]
            torture.add_row("restart --all by a new binary", repetitions=times,
                            datagrams=sum(sent.values()), lost=sums[0], twice=sums[1],
                            live_twice=sums[3], recover_ns=recover, rate=SLOWER // 2 * 3)
            assert sums == [0, 0, 0, 0]
    finally:
        shutil.rmtree(prefix)


def test_026_afterwards_there_is_what_there_was(rng, pool):
    """Descriptors, processes, memory, runtime folder: after relays and managers were killed,
    restarted and reloaded the same as before, both times after the same load."""
    names = ("engine", "left", "right")
    with Fleet({name: torture.tick_channel() for name in names}) as fleet:

        def load():
            loads = {name: fleet.source(name, pool, rate=5000) for name in names}
            time.sleep(1)
            return {name: one.stop()["sent"] for name, one in loads.items()}

        def rest(total):
            fleet.settle(total)
            time.sleep(1.5)  # a relay gives memory back when nothing has come for a second
            return torture.footprint(fleet)
        total = load()
        before = rest(total)
        for turn in range(20 if LONG else 3):
            loads = {name: fleet.source(name, pool, rate=5000) for name in names}
            for pid in list(fleet.relays().values()):
                time.sleep(rng.uniform(0, 0.05))
                os.kill(pid, signal.SIGKILL)
            fleet.wait_running()
            flotilla("restart", "engine", "-c", fleet.file, check=0)
            fleet.storage["sync"] = "110ms" if turn % 2 == 0 else "100ms"
            fleet.write()
            fleet.reload()
            fleet.kill_manager()
            new_manager(fleet)
            for name, one in loads.items():
                total[name] += one.stop()["sent"]
        for name, more in load().items():
            total[name] += more
        after = rest(total)
        for what in ("descriptors", "processes", "runtime"):
            assert after[what] == before[what], what
        for who, kib in before["pss_kib"].items():
            assert after["pss_kib"][who] <= 1.25 * kib + 256, (who, before, after)
        folders = {path.name for name in names
                   for path in (fleet.folder / "recordings" / name).iterdir()
                   if not path.name.endswith(".avro")}
        assert len(folders) == 1 + len(names) and ".lock" in folders, folders
        fleet.stop()
        assert not fleet.relays() and not fleet.processes("flotilla-keeper")
        assert not fleet.processes("flotilla"), "something is left of it"
