# SPDX-License-Identifier: MIT
"""050-a-part-of-the-machine-is-missing: an interface, an address, a program or a schema that is not
there stops its own channel, which says so and comes back at once; never the fleet, at no start,
reload, restart or takeover. `check` calls it an error of this machine."""
import os
import shutil
import signal
import subprocess
import time

import pytest
from harness import container, signals
from harness.fleet import Addresses, Fleet, copy_programs, flotilla, new_folder, wait_until
from harness.network import Network


@pytest.fixture
def network(needs_root):
    with Network() as one:
        yield one


def failed(fleet, name, words):
    channels = {one["name"]: one for one in fleet.status(missing={}).get("channels", [])}
    channel = channels.get(name)
    return (channel and channel["state"] == "failed" and words in channel["reason"]) and channel


def works(network, fleet, name="engine", number=1):
    """Each datum that is sent from now on is recorded."""
    before = fleet.channel(name)
    network.send(fleet.address(name), number, signals.samples(50, start=5000))
    after = wait_until(lambda: (fleet.channel(name)["datums_recorded"]
                                >= before["datums_recorded"] + 50 and fleet.channel(name)))
    assert after["datagrams_received"] == before["datagrams_received"] + 50
    assert after["state"] == "running", after


def kinds(addresses):
    """What can be missing, and what a channel on it says of it."""
    return {
        "group": ({"listen": addresses.group(), "interface": "usb0"}, "there is no interface usb0"),
        "group6": ({"listen": addresses.group6(), "interface": "usb0"},
                   "there is no interface usb0"),
        "address": ({"listen": f"10.9.2.1:{addresses.port()}", "interface": "usb0"},
                    "no interface has the address"),
        "address6": ({"listen": f"[fd09:2::1]:{addresses.port()}", "interface": "usb0"},
                     "no interface has the address"),
    }


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_050_what_is_missing_stops_its_own_channel(network, seed, direct_io):
    addresses = Addresses()
    missing = kinds(addresses)
    channels = {"engine": {"schema": signals.SCHEMA, "interface": "eth0"},
                **{name: {"schema": signals.SCHEMA, **keys}
                   for name, (keys, _) in missing.items()}}
    network.link("eth0", 1)
    with Fleet(channels, addresses=addresses, inside=network.inside, run=False,
               storage={"direct_io": direct_io}) as fleet:
        checked = flotilla("check", "-c", fleet.file)
        assert checked.returncode == 78 and "there is no interface \"usb0\" on this machine" in \
            checked.stderr
        assert flotilla("check", "--offline", "-c", fleet.file, check=0).stderr == ""

        def all_say_so():
            return all(failed(fleet, name, words) for name, (_, words) in missing.items())
        # At the start.
        fleet.start(wait=False)
        fleet.wait_running(["engine"])
        wait_until(all_say_so, what="the reasons")
        works(network, fleet)
        # At a reload that changes the others, and what is missing itself.
        for name in channels:
            fleet.channels[name]["ttl"] = 3
        fleet.write()
        reloaded = fleet.reload(check=None)
        assert reloaded.returncode == 1 and "there is no interface usb0" in reloaded.stderr
        works(network, fleet)
        # At a restart.
        flotilla("restart", "engine", "-c", fleet.file, check=0)
        restarted = flotilla("restart", "group", "-c", fleet.file)
        assert restarted.returncode == 1 and "there is no interface usb0" in restarted.stderr
        works(network, fleet)
        # At an upgrade of the whole fleet.
        relay = fleet.relays()["engine"]
        flotilla("restart", "--all", "-c", fleet.file)
        assert "becoming" in fleet.log() and fleet.relays()["engine"] != relay, fleet.log()
        fleet.wait_running(["engine"])
        wait_until(all_say_so, what="the reasons")
        works(network, fleet)
        # For a manager that takes over, and the relay that dies under it.
        fleet.kill_manager()
        fleet.start(wait=False)
        fleet.wait_running(["engine"])
        wait_until(all_say_so, what="the reasons")
        relay = fleet.relays()["engine"]
        os.kill(relay, signal.SIGKILL)
        wait_until(lambda: fleet.relays().get("engine", relay) != relay)
        fleet.wait_running(["engine"])
        works(network, fleet)
        # The verbs that read the file.
        done = subprocess.run([*network.inside, str(fleet.program), "send", "engine", "-c",
                               str(fleet.file), "--count", "1"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        done = subprocess.run([*network.inside, str(fleet.program), "send", "group", "-c",
                               str(fleet.file), "--count", "1"], capture_output=True, text=True)
        assert done.returncode == 1 and "there is no such interface" in done.stderr
        done = subprocess.run([*network.inside, str(fleet.program), "listen", "engine", "--input",
                               "-c", str(fleet.file), "--timeout", "100ms"], capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
        # It was said once, not every second.
        time.sleep(2.5)
        said = fleet.log()
        assert said.count("group: there is no interface usb0; trying again") <= 4, said
        # It comes.
        network.link("usb0", 2)
        begun = time.monotonic()
        sent = {}
        for name in missing:
            sent[name], took = network.until_heard(fleet, name, 2)
        assert time.monotonic() - begun < 2, fleet.log()
        assert all(fleet.channel(name)["state"] == "running" for name in missing)
        fleet.settle()
        for name in missing:
            works(network, fleet, name, 2)
        assert {name: c["datagrams_dropped"] for name, c in fleet.by_name().items()} == \
            dict.fromkeys(channels, 0)


def test_050_it_goes_and_the_manager_dies(network, seed):
    """What waited in the socket of a channel whose interface has gone is taken, whoever dies."""
    network.link("eth0", 1)
    network.link("usb0", 2)
    addresses = Addresses()
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0"},
                "radio": {"schema": signals.SCHEMA, "interface": "usb0"}}, addresses=addresses,
               inside=network.inside) as fleet:
        relay = fleet.relays()["radio"]
        fleet.kill_manager()
        os.kill(relay, signal.SIGSTOP)
        network.send(fleet.address("radio"), 2, signals.samples(200))
        network.remove("usb0")
        fleet.start(wait=False)
        os.kill(relay, signal.SIGCONT)
        fleet.wait_running(["engine"])
        wait_until(lambda: failed(fleet, "radio", "there is no interface usb0"))
        assert fleet.settle({"radio": 200})["radio"]["datums_recorded"] == 200
        # Another manager, another relay: the socket stays.
        fleet.kill_manager()
        os.kill(fleet.relays()["radio"], signal.SIGKILL)
        fleet.start(wait=False)
        wait_until(lambda: failed(fleet, "radio", "usb0"))
        network.link("usb0", 2)
        sent, took = network.until_heard(fleet, "radio", 2)
        assert took < 2, fleet.log()
        radio = fleet.settle()["radio"]
        assert 200 < radio["datums_recorded"] <= 200 + sent and radio["datagrams_dropped"] == 0
        works(network, fleet)


def test_050_the_interface_of_a_change_is_missing(network, seed):
    """A reload to an interface that is not there yet: only that channel waits for it, and nothing
    of what waits in its socket is lost."""
    network.link("eth0", 1)
    with Fleet({"engine": {"schema": signals.SCHEMA, "interface": "eth0"},
                "radio": {"schema": signals.SCHEMA, "interface": "eth0"}},
               inside=network.inside) as fleet:
        network.send(fleet.address("radio"), 1, signals.samples(100))
        fleet.channels["radio"]["interface"] = "usb0"
        fleet.write()
        fleet.reload(check=None)
        wait_until(lambda: failed(fleet, "radio", "there is no interface usb0"))
        works(network, fleet)
        network.link("usb0", 2)
        sent, took = network.until_heard(fleet, "radio", 2)
        assert took < 2, fleet.log()
        radio = fleet.settle()["radio"]
        assert radio["datagrams_received"] <= 100 + sent and radio["datagrams_dropped"] == 0
        # And of the other one it hears nothing any more.
        network.send(fleet.address("radio"), 1, signals.samples(50))
        works(network, fleet)
        assert fleet.channel("radio")["datagrams_received"] == radio["datagrams_received"]


def test_050_a_program_that_is_missing(seed):
    """The relay's program goes: what is at work goes on; one that dies is followed once the program
    is back, within two seconds, and the datagrams have waited."""
    folder = new_folder()
    try:
        copy_programs(folder)
        with Fleet({"engine": {"schema": signals.SCHEMA}, "other": {"schema": signals.SCHEMA}},
                   prefix=folder) as fleet:
            os.rename(folder / "flotilla-relay", folder / "away")
            os.kill(fleet.relays()["engine"], signal.SIGKILL)
            wait_until(lambda: failed(fleet, "engine", "cannot run"))
            fleet.source("engine", signals.samples(100)).finish()
            fleet.source("other", signals.samples(100)).finish()
            assert fleet.settle({"other": 100})["other"]["datums_recorded"] == 100
            time.sleep(5)  # the waits used to grow
            os.rename(folder / "away", folder / "flotilla-relay")
            begun = time.monotonic()
            wait_until(lambda: fleet.channel("engine")["datagrams_received"] == 100)
            assert time.monotonic() - begun < 2
            fleet.settle({"engine": 100})
            # A manager that starts without it, and without the other one: relays at work are looked
            # after, and nobody is lost.
            for name in "flotilla-relay", "flotilla-keeper":
                os.rename(folder / name, folder / f"away-{name}")
            fleet.kill_manager()
            os.kill(fleet.relays()["engine"], signal.SIGKILL)
            fleet.start(wait=False)
            wait_until(lambda: failed(fleet, "engine", "cannot run"))
            fleet.source("other", signals.samples(100)).finish()
            fleet.source("engine", signals.samples(100)).finish()
            assert fleet.settle({"other": 200})["other"]["datums_recorded"] == 200
            for name in "flotilla-relay", "flotilla-keeper":
                os.rename(folder / f"away-{name}", folder / name)
            begun = time.monotonic()
            wait_until(lambda: fleet.channel("engine")["datagrams_received"] == 200)
            assert time.monotonic() - begun < 2
            wait_until(lambda: fleet.processes("flotilla-keeper"))
            fleet.settle({"engine": 200})
            fleet.stop()
            assert container.payload(fleet.files("engine"))[1] == 200
    finally:
        shutil.rmtree(folder)


def sends(fleet, name, number):
    """So many datums are sent to a channel, and once more are recorded than before."""
    before = fleet.by_name()[name]
    fleet.source(name, signals.samples(number)).finish()
    wait_until(lambda: fleet.channel(name)["datums_recorded"]
               == before["datums_recorded"] + number, what=f"{name}'s datums")


def comes_back(fleet, name, what, received=None):
    """The channel is at work within two seconds, with what waited in its socket meanwhile."""
    begun = time.monotonic()
    what()
    fleet.wait_running([name])
    if received is not None:
        wait_until(lambda: fleet.channel(name)["datagrams_received"] == received)
    assert time.monotonic() - begun < 2, fleet.log()


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_050_a_schema_that_cannot_be_read(direct_io):
    """On a disk that is not mounted yet: its channel waits, and says so; the others record, at a
    start, a reload, a restart and under a manager that takes over. What it has received by then
    has waited in its socket."""
    with Fleet({"engine": {"schema": signals.SCHEMA}, "radio": {"schema": signals.SCHEMA}},
               run=False, storage={"direct_io": direct_io}) as fleet:
        schema, away = fleet.folder / "schemas/radio.avsc", fleet.folder / "away.avsc"
        words = f"cannot read {schema}: No such file or directory"
        schema.rename(away)
        checked = flotilla("check", "-c", fleet.file, check=78)
        assert "schemas/radio.avsc: No such file or directory" in checked.stderr
        flotilla("check", "--offline", "-c", fleet.file, check=78)
        started = flotilla("check", "--start", "-c", fleet.file, check=0)
        assert started.stdout == started.stderr == ""
        assert words in flotilla("units", "-c", fleet.file, check=78).stderr
        # At the start.
        fleet.start(wait=False)
        fleet.wait_running(["engine"])
        wait_until(lambda: failed(fleet, "radio", words))
        sends(fleet, "engine", 50)
        fleet.source("radio", signals.samples(30)).finish()
        # At a reload that changes both, and at a restart.
        for channel in fleet.channels.values():
            channel["ttl"] = 3
        fleet.write()
        assert words in fleet.reload(check=1).stderr
        flotilla("restart", "engine", "-c", fleet.file, check=0)
        assert words in flotilla("restart", "radio", "-c", fleet.file, check=1).stderr
        assert failed(fleet, "radio", words)
        sends(fleet, "engine", 50)
        # Under a manager that takes over.
        fleet.kill_manager()
        fleet.start(wait=False)
        fleet.wait_running(["engine"])
        wait_until(lambda: failed(fleet, "radio", words))
        flotilla("restart", "--all", "-c", fleet.file, check=0)
        wait_until(lambda: failed(fleet, "radio", words))
        sends(fleet, "engine", 50)
        flotilla("send", "engine", "-c", fleet.file, "--count", "1", check=0)
        flotilla("send", "radio", "-c", fleet.file, "--count", "1", check=1)
        assert fleet.log().count(f"radio: {words}; trying again") <= 6, fleet.log()
        # It comes, and is not all there yet.
        schema.write_text(away.read_text()[:40])
        wait_until(lambda: failed(fleet, "radio", f"{schema}:1:"))
        comes_back(fleet, "radio", lambda: away.replace(schema), received=30)
        assert fleet.settle({"radio": 30})["radio"]["datums_recorded"] == 30
        assert fleet.channel("radio")["datagrams_dropped"] == 0


@pytest.mark.parametrize("fault", ["missing", "unreadable", "folder", "wrong"])
def test_050_the_schema_of_a_relay_at_work_goes(fault):
    """A relay has its layout: it goes on, or another one does, whatever becomes of the schema. What
    its channel is to be instead waits for the schema. At a reload a schema that is there and wrong
    changes nothing."""
    with Fleet({"engine": {"schema": signals.SCHEMA}, "radio": {"schema": signals.SCHEMA}},
               prefix=None) as fleet:
        schema, away = fleet.folder / "schemas/radio.avsc", fleet.folder / "away.avsc"
        words = f"cannot read {schema}"
        schema.rename(away)
        if fault == "unreadable":
            schema.symlink_to(schema.name)
        elif fault == "folder":
            schema.mkdir()
        elif fault == "wrong":
            schema.write_text('{"type": "record"')
            words = f"{schema}:1:"
        sent = 0

        def goes_on():
            nonlocal sent
            fleet.wait_running()
            for name in "engine", "radio":
                sends(fleet, name, 20)
            sent += 20
        radio = fleet.relays()["radio"]
        for channel in fleet.channels.values():
            channel["ttl"] = 3
        fleet.write()
        if fault == "wrong":
            assert "nothing was changed" in fleet.reload(check=78).stderr
        else:
            assert f"not replaced yet: {words}" in fleet.reload(check=1).stderr
            flotilla("restart", "radio", "-c", fleet.file, check=1)
        goes_on()
        # Managers and relays are killed.
        fleet.kill_manager()
        fleet.start()
        wait_until(lambda: words in fleet.channel("radio")["reason"])
        assert fleet.relays()["radio"] == radio
        goes_on()
        os.kill(radio, signal.SIGKILL)
        wait_until(lambda: fleet.relays().get("radio", radio) != radio)
        goes_on()
        fleet.kill_manager()
        os.kill(fleet.relays()["radio"], signal.SIGKILL)
        (fleet.folder / "run/radio.layout").unlink()
        fleet.start(wait=False)
        fleet.wait_running(["engine"])
        wait_until(lambda: failed(fleet, "radio", words))  # with its layout, too
        sends(fleet, "engine", 20)
        fleet.source("radio", signals.samples(20)).finish()

        def back():
            if schema.is_dir():
                schema.rmdir()
            away.replace(schema)
        comes_back(fleet, "radio", back, received=sent + 20)
        fleet.settle({"radio": sent + 20})
        sent += 20
        goes_on()
        # Once more, without a change: the relay is replaced where all are to be, once it can be.
        schema.rename(away)
        radio, engine = fleet.relays()["radio"], fleet.relays()["engine"]
        flotilla("restart", "--all", "-c", fleet.file, check=0)
        wait_until(lambda: fleet.relays().get("engine", engine) != engine)
        assert fleet.relays()["radio"] == radio
        goes_on()
        away.replace(schema)
        wait_until(lambda: fleet.relays().get("radio", radio) != radio)
        wait_until(lambda: fleet.channel("radio")["reason"] == "")
        goes_on()
        assert all(channel["datagrams_dropped"] == 0 and channel["datums_unrecorded"] == 0
                   for channel in fleet.by_name().values())
