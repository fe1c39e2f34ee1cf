# SPDX-License-Identifier: MIT
"""The manager's own promises beyond single channels: what is handed over at a reload, who may ask
it things and how, and what its status says of a fleet in trouble."""
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess

import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, Fleet, flotilla, wait_until


def channel(fleet, **keys):
    return {"schema": signals.SCHEMA, "listen": fleet.addresses.unicast(), **keys}


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def ask(fleet, line, timeout=10):
    """One request as bytes; the whole answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        os.chdir(fleet.folder)  # the folder's path may be longer than a socket address
        client.connect("run/control.sock")
        client.sendall(line)
        answer = b""
        while more := client.recv(65536):
            answer += more
        return answer


@pytest.fixture
def two(seed):
    folder = os.getcwd()
    with Fleet({"one": {"schema": signals.SCHEMA}, "two": {"schema": signals.SCHEMA}}) as fleet:
        yield fleet
    os.chdir(folder)


def test_manager_channels_swap_their_addresses(seed):
    with Fleet({}, run=False) as fleet:
        for name in "one", "two", "three":
            fleet.set(name, channel(fleet))
        fleet.write()
        fleet.start()
        before = fleet.by_name()
        one, two = fleet.channels["one"], fleet.channels["two"]
        one["listen"], two["listen"] = two["listen"], one["listen"]
        fleet.write()
        done = json.loads(flotilla("reload", "--json", "-c", fleet.file, check=0).stdout)
        assert done == {"added": [], "changed": ["one", "two"], "removed": [],
                        "unchanged": ["three"]}
        # The answer came when all was done: both have a relay, on the other's address.
        after = fleet.by_name()
        assert after["three"]["pid"] == before["three"]["pid"]
        assert None not in (after["one"]["pid"], after["two"]["pid"])
        fleet.source("one", signals.samples(30)).finish()
        fleet.source("two", signals.samples(20)).finish()
        fleet.settle({"one": 30, "two": 20})
        assert fleet.channel("one")["datums_recorded"] == 30
        assert all(c["restarts"] == 0 for c in fleet.by_name().values())


def test_manager_a_renamed_channel_gets_the_address(seed):
    with Fleet({}, run=False) as fleet:
        fleet.set("old", channel(fleet))
        fleet.write()
        fleet.start()
        fleet.set("new", {**fleet.channels.pop("old")})
        fleet.write()
        fleet.reload()
        (only,) = fleet.status()["channels"]
        assert only["name"] == "new" and only["pid"], only
        fleet.source("new", signals.samples(10)).finish()
        fleet.settle({"new": 10})


@pytest.mark.parametrize("change", [{"buffer": "4MiB"}, {"buffer": "128MiB"}, {"ttl": 3},
                                    {"sources": ["0.0.0.0/0"]}])
def test_manager_counters_go_on_over_a_change(seed, change):
    with Fleet({"engine": {"schema": signals.SCHEMA, "full": True}}) as fleet:
        fleet.source("engine", signals.samples(500)).finish()
        before = fleet.settle({"engine": 500})["engine"]
        fleet.channels["engine"].update(change)
        fleet.write()
        fleet.reload()
        after = fleet.channel("engine")
        assert after["pid"] != before["pid"] and after["restarts"] == 0
        for key in "datagrams_received", "datums_recorded", "bytes_received", "datagrams_sent_full":
            assert after[key] == before[key], key
        fleet.source("engine", signals.samples(100)).finish()
        assert fleet.settle({"engine": 600})["engine"]["datums_recorded"] == 600


@pytest.mark.parametrize("change", [{"buffer": "4MiB"}, {"ttl": 3}, {"listen": None}])
def test_manager_counts_drops_of_the_kernel_once(change, rng):
    """Also where a change takes another memory, but no other socket."""
    with Fleet({"engine": {"schema": signals.SCHEMA, "receive_queue": "64KiB"}}) as fleet:
        stopped = [*fleet.relay_processes(), fleet.manager.pid]
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGSTOP)
        fleet.source("engine", signals.samples(2000)).finish()
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        dropped = fleet.settle()["engine"]["datagrams_dropped"]
        assert 0 < dropped < 2000
        for turn in range(2):
            fleet.channels["engine"].update(change if turn == 0 else {"buffer": "8MiB"})
            if "listen" in change:
                fleet.channels["engine"]["listen"] = fleet.addresses.group()
            fleet.write()
            fleet.reload()
            fleet.source("engine", signals.samples(100)).finish()
            after = fleet.settle({"engine": 2000 - dropped + 100 * (turn + 1)})["engine"]
            assert after["datagrams_dropped"] == dropped


@contextlib.contextmanager
def refused_memory(pid):
    """This process gets no other memory, from when it runs on: as it begins it asks whether it
    could."""
    tracer = subprocess.Popen(
        ["strace", "-o", "/dev/null", "-e", "trace=memfd_create", "-e",
         "inject=memfd_create:error=EPERM", "-p", str(pid)], stderr=subprocess.PIPE)
    try:
        assert b"attached" in tracer.stderr.readline()
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


@pytest.mark.parametrize("then", ["stopped", "changed"])
def test_manager_makes_way_for_what_can_be_started(then, rng):
    """A change that can never be started, as its buffer is refused: what its socket collects is
    received by the next change that can; at a stop it is counted."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}, laws=False) as fleet:
        fleet.source("engine", signals.samples(100)).finish()
        fleet.settle({"engine": 100})
        with refused_memory(fleet.manager.pid):
            fleet.channels["engine"]["buffer"] = "8MiB"
            fleet.write()
            done = fleet.reload(check=None)
            wait_until(lambda: "cannot make its buffer" in fleet.channel("engine")["reason"])
            # On a busy machine it was answered before, after half a second.
            assert done.returncode == 0 or "cannot make its buffer" in done.stderr, done
            fleet._source(fleet.address("engine"), signals.samples(50)).finish()
            if then == "stopped":
                done = flotilla("stop", "-c", fleet.file, check=0)
                assert "engine: 100 received, 0 rejected, 50 dropped, 100 recorded" in done.stdout
                assert fleet.manager.wait(60) == 0
                return
            fleet.channels["engine"]["listen"] = fleet.addresses.group()
            del fleet.channels["engine"]["buffer"]
            fleet.write()
            fleet.reload(check=None)
            fleet.wait_running()
        fleet.source("engine", signals.samples(100)).finish()
        channel = fleet.settle({"engine": 250})["engine"]
        assert channel["datagrams_received"] == 250 and channel["datagrams_dropped"] == 0


SENDERS = {"senders": [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]],
           "everybody": [["127.0.0.0/8"], None, ["127.0.0.0/16"]],
           "both": [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.0/8"], None]}


@pytest.mark.parametrize("joined_for", SENDERS)
def test_manager_changes_who_may_send(joined_for, rng):
    """The group's socket stays the same, and nothing is lost; but that the kernel may pass over
    what comes in the 40 ns or so in which a group that was joined for single senders becomes joined
    for everybody, or the other way round (see net_rejoin)."""
    pool = signals.samples(200_000)
    lists = SENDERS[joined_for]
    with Fleet({"engine": {"schema": signals.SCHEMA, "sequence": "counter", "sources": lists[-1]}
                if lists[-1] else {"schema": signals.SCHEMA, "sequence": "counter"}}) as fleet:
        source = fleet.source("engine", pool, rate=10_000, sender="127.0.0.1:0")
        for turn in range(12):
            sources = lists[turn % len(lists)]
            fleet.channels["engine"].pop("sources", None)
            if sources:
                fleet.channels["engine"]["sources"] = sources
            fleet.write()
            fleet.reload()
        sent = source.stop()["sent"]
        channel = fleet.settle()["engine"]
        missed = sent - channel["datums_recorded"]
        assert missed == channel["sequence_gaps"] <= (2 if joined_for == "both" else 0), channel
        fleet.stop()
        payload, count = container.payload(fleet.files("engine"))
        assert count == sent - missed and (missed or payload == b"".join(pool[:sent]))


def test_manager_leaks_no_descriptors_and_hands_down_only_what_is_a_relays(seed):
    with Fleet({"keep": {"schema": signals.SCHEMA}}) as fleet:
        extra = channel(fleet, full=True, decimated={"factor": 5, "algorithm": "average"})
        counts = []
        for turn in range(12):
            if turn % 2:
                del fleet.channels["come-and-go"]
            else:
                fleet.set("come-and-go", extra)
            fleet.channels["keep"]["ttl"] = turn + 1
            fleet.write()
            fleet.reload()
            counts.append(open_descriptors(fleet.manager.pid))
        assert len(set(counts[0::2])) == len(set(counts[1::2])) == 1, counts
        pid = fleet.channel("keep")["pid"]
        kinds = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
        assert sum(kind.startswith("socket:") for kind in kinds) == 1, kinds
        assert not any("control" in kind or "manager.lock" in kind for kind in kinds), kinds


def test_manager_answers_whoever_may_ask_and_nobody_holds_it_up(two):
    path = two.folder / "run/control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    wrong = [b"\n", b"{}\n", b"[1]\n", b'{"verb": 1}\n', b'{"verb": "fly"}\n',
             b'{"verb": "restart"}\n', b'{"verb": "restart", "channel": "none"}\n',
             b'{"verb": "status", "verb": "stop"}\n', b"\xff\xfe\n"]
    for line in wrong:
        answer = json.loads(ask(two, line))
        assert answer["error"] and answer["exit"] in (1, 2), (line, answer)
    # Ten that say nothing, one that says half a request, one that does not listen.
    idle = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    for client in idle:
        client.connect("run/control.sock")
    idle[0].sendall(b'{"verb": "sta')
    idle[1].sendall(b'{"verb": "status"}\n')
    assert len(json.loads(ask(two, b'{"verb": "status"}\n', timeout=2))["channels"]) == 2
    for client in idle:
        client.close()
    with pytest.raises(OSError):
        assert not ask(two, b"x" * 10000)  # no request is that long: the connection just ends
        raise ConnectionResetError
    assert len(two.status()["channels"]) == 2


@pytest.mark.parametrize("text", [
    "runtime: run\nchannels:\n  one: {listen: [\n", "channels: {{\nruntime: 'run'   # here\n",
    "\tno yaml at all\nruntime: run\n", 'runtime: "run"\nchannels: 7\n',
    "a: {runtime: elsewhere}\nruntime: run\n"])
def test_manager_is_found_through_a_broken_file(two, text):
    good = two.file.read_text()
    two.file.write_text(text)
    assert {c["name"] for c in two.status()["channels"]} == {"one", "two"}
    done = two.reload(check=78)
    assert "fleet.yaml:" in done.stderr and "nothing was changed" in done.stderr
    two.file.write_text(good)
    assert "unchanged 2" in two.reload().stdout


def test_manager_keeps_its_runtime_folder(two):
    good = two.file.read_text()
    two.file.write_text(good.replace("runtime: run", "runtime: elsewhere"))
    os.kill(two.manager.pid, signal.SIGHUP)
    wait_until(lambda: "runtime folder cannot change" in two.log(), what="the refusal in the log")
    assert not (two.folder / "elsewhere").exists()
    two.file.write_text(good)
    assert len(two.status()["channels"]) == 2


def test_manager_tells_of_a_suspended_relay_and_still_stops_cleanly(two):
    """One that nothing waits for is left alone: somebody may be looking at it."""
    pid = two.channel("one")["pid"]
    os.kill(pid, signal.SIGSTOP)
    story = wait_until(lambda: (c := two.channel("one"))["state"] == "silent" and c,
                       what="silence to be noticed")
    assert "suspended" in story["reason"] and story["pid"] == pid
    assert two.channel("two")["reason"] == ""
    two.stop()  # wakes it, so that it can end


def test_manager_replaces_a_suspended_relay_that_datagrams_wait_for(two):
    pid = two.channel("one")["pid"]
    os.kill(pid, signal.SIGSTOP)
    two.source("one", signals.samples(50)).finish()
    channels = two.settle({"one": 50})
    assert channels["one"]["datums_recorded"] == 50 and channels["one"]["pid"] != pid
    assert channels["one"]["restarts"] == 1 and channels["two"]["restarts"] == 0
    assert f"relay {pid} hangs (it is suspended)" in two.log()


def test_manager_wakes_a_suspended_relay_to_replace_it(two):
    os.kill(two.channel("one")["pid"], signal.SIGSTOP)
    flotilla("restart", "one", "-c", two.file, check=0)
    two.source("one", signals.samples(50)).finish()
    channels = two.settle({"one": 50})
    assert channels["one"]["datums_recorded"] == 50
    assert channels["one"]["restarts"] == 1 and channels["two"]["restarts"] == 0


def test_manager_shows_losses_first(two):
    two.source("two", [b"\xff" * 3] * 4).finish()
    two.settle({"two": 4})
    lines = flotilla("status", "-c", two.file, check=0).stdout.splitlines()
    assert "2 channels, 1 with losses" in lines[0]
    assert lines[2].split()[:2] == ["CHANNEL", "STATE"] and lines[2].split()[3] == "REJECTED"
    assert lines[3].split()[0] == "two" and lines[3].split()[3] == "4"
    assert lines[4].split()[0] == "one"


def test_manager_watch_prints_until_interrupted(two):
    watch = subprocess.Popen([FLOTILLA, "status", "--watch", "--json", "-c", two.file],
                             stdout=subprocess.PIPE, text=True)
    shown = [json.loads(watch.stdout.readline()) for _ in range(2)]
    watch.send_signal(signal.SIGINT)
    assert watch.wait(60) == 0
    watch.stdout.close()
    assert all(len(one["channels"]) == 2 for one in shown)


def test_manager_verbs_without_a_manager(seed, tmp_path):
    (tmp_path / "fleet.yaml").write_text("runtime: run\nchannels: {}\n")
    for verb in ["status"], ["reload"], ["stop"], ["restart", "engine"]:
        done = flotilla(*verb, "-c", tmp_path / "fleet.yaml", check=1)
        assert "no manager runs in" in done.stderr and not done.stdout
    assert not (tmp_path / "run").exists(), "asking makes nothing"
    assert "which CHANNEL?" in flotilla("restart", check=2).stderr
    assert 'did you mean "status"' in flotilla("statsu", check=2).stderr
