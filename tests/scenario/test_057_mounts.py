# SPDX-License-Identifier: MIT
"""057-mounts: the folder of the recordings is mounted later, unmounted, mounted anew, moved,
replaced or taken away under a fleet at work: it goes on in the folder that is at the path by then,
without a loss of what waits; and never below a mount point that has to be mounted."""
import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from harness import container, signals, strange_disk
from harness.fleet import Fleet, flotilla, new_folder, wait_until

KEYS = {"schema": signals.SCHEMA, "full": True}


def run(*words, check=True):
    return subprocess.run([str(word) for word in words], check=check, capture_output=True,
                          text=True)


@pytest.fixture
def disks(needs_root, tmp_path):
    """disks(name, kind) -> mount(at): a file system in a file, mounted where one says. All that is
    below the test's folder is unmounted at its end, and nothing that another process opened stays
    in the way (lazily)."""
    def make(name, kind="ext4"):
        image = tmp_path / f"{name}.img"
        with open(image, "wb") as file:
            file.truncate((300 if kind == "xfs" else 64) << 20)
        run(f"mkfs.{kind}", "-q", image)

        def mount(at, options="loop"):
            done = run("mount", "-o", options, image, at, check=False)
            if done.returncode:
                pytest.skip(f"needs loop mounts: {done.stderr.strip()}")
        return mount
    yield make
    with open("/proc/self/mounts") as file:
        below = [line.split()[1] for line in file if line.split()[1].startswith(str(tmp_path))]
    for at in reversed(below):
        run("umount", "-l", at, check=False)


@pytest.fixture
def fleet_in(tmp_path):
    """fleet_in(storage) -> a running Fleet whose recordings are in tmp_path/disk/rec. The test
    stops it; if it has not come so far, its log is shown."""
    made = []
    (tmp_path / "disk").mkdir()

    def make(channels=None, wait=True, **storage):
        storage = {"directory": str(tmp_path / "disk/rec"), "sync": "50ms", **storage}
        fleet = Fleet(channels or {"engine": KEYS}, storage=storage, run=False).__enter__()
        made.append(fleet)
        fleet.start(wait=wait)
        return fleet
    yield make
    for fleet in made:
        stopped = fleet.manager is None
        with contextlib.suppress(AssertionError):
            fleet.__exit__(None if stopped else AssertionError, None, None)
        assert stopped, "the test did not come to its stop"


def send(fleet, start, count=200, rate=1000):
    fleet.source("engine", signals.samples(count, start=start), rate=rate).finish()
    return start + count


def recorded(fleet, count):
    """Waits until so many datums are recorded; the channel then."""
    wait_until(lambda: fleet.channel("engine")["datums_recorded"] == count,
               what=f"{count} recorded, log:\n{fleet.log()}")
    return fleet.channel("engine")


def ended(folder):
    return sorted(folder.glob("rec/engine/*.avro"), key=lambda path: path.name)


def datums_in(folder):
    """How many datums are in the finished recordings below a folder."""
    return sum(container.count(path) for path in ended(folder))


def assert_rest(folder, start, end):
    """The last recording below a folder holds the datums from `start` at the latest to `end`. (A
    page that was being filled when the disk failed is in the file before as well, if that could not
    be cut any more.)"""
    payload, count = container.payload(ended(folder)[-1:])
    assert count >= end - start
    assert payload == b"".join(signals.samples(end)[end - count:])


def uncovered(tmp_path, at):
    """What stands below a mount point, hidden by what is mounted there."""
    below = tmp_path / "below"
    below.mkdir(exist_ok=True)
    run("mount", "--bind", at.parent, below)
    return below / at.name


def test_057_mounted_later(disks, fleet_in, tmp_path, seed):
    """The disk comes after the recorder: the file below the mount point is ended, the next one is
    on the disk; nothing is lost in between."""
    mount, disk = disks("a"), tmp_path / "disk"
    fleet = fleet_in()
    sink = fleet.sink(fleet.address("engine", "full"))
    at = send(fleet, 0)
    recorded(fleet, at)
    mount(disk)
    wait_until(lambda: "is another folder by now" in fleet.log(), what="the mount to be noticed")
    at = send(fleet, at)
    channel = recorded(fleet, at)
    assert (channel["state"], channel["datums_unrecorded"]) == ("running", 0)
    assert len(sink.stop()) == at
    fleet.stop()
    assert datums_in(disk) == 200
    hidden = uncovered(tmp_path, disk)
    assert datums_in(hidden) == 200 and not list(hidden.glob("rec/engine/*.part"))


def test_057_mounted_under_load(disks, fleet_in, tmp_path, seed):
    """Mounted and unmounted again and again in a stream: each datum is in one of the two."""
    mount, disk = disks("a"), tmp_path / "disk"
    fleet = fleet_in({"engine": {**KEYS, "receive_queue": "64MiB"}})
    count = 16_000
    source = fleet.source("engine", signals.samples(count), rate=2000)
    changes = 0
    while source.child.poll() is None and changes < 6:
        seen = fleet.log().count("is another folder by now")
        if changes % 2 == 0:
            mount(disk)
        else:
            run("umount", "-l", disk)
        wait_until(lambda: fleet.log().count("is another folder by now") > seen)
        changes += 1
        wait_until(lambda: source.child.poll() is not None or
                   list(disk.glob("rec/engine/*.part")), what="a file at the path")
    source.finish()
    channel = recorded(fleet, count)
    assert channel["datums_unrecorded"] == 0 and changes >= 2, changes
    fleet.stop()
    if changes % 2 == 0:
        mount(disk)
    with_disk = [path.read_bytes() for path in ended(disk)]
    files = ended(disk) + ended(uncovered(tmp_path, disk))
    assert with_disk and len(files) > len(with_disk)
    files.sort(key=lambda path: int(path.name.split("-")[-1].split(".")[0]))
    assert container.payload(files)[0] == b"".join(signals.samples(count)), "in order, each once"


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_057_a_disk_drops_off_and_another_comes(disks, fleet_in, tmp_path, kind, seed):
    """Shut down under the recorder, as a stick that is pulled out; what comes meanwhile waits."""
    if not shutil.which("xfs_io"):
        pytest.skip("needs xfs_io")
    first, second, disk = disks("a", kind), disks("b", kind), tmp_path / "disk"
    first(disk)
    fleet = fleet_in(mounted=str(disk))
    at = send(fleet, 0)
    recorded(fleet, at)
    run("xfs_io", "-x", "-c", "shutdown -f", disk)
    at = send(fleet, at)
    wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the failure")
    run("umount", "-l", disk)
    wait_until(lambda: f"{disk} is not mounted" in fleet.channel("engine")["reason"],
               what="the unmounting")
    at = send(fleet, at)
    assert not (disk / "rec").exists(), "nothing is made below the mount point"
    second(disk)
    wait_until(lambda: fleet.channel("engine")["state"] == "running", what="recording again")
    channel = fleet.settle({"engine": at})["engine"]
    # What was written and not synced when it dropped off is lost with it, and counted. A page that
    # was being filled is on both disks.
    assert channel["datums_unrecorded"] <= 200
    fleet.stop()
    assert channel["datums_recorded"] + channel["datums_unrecorded"] == at
    assert_rest(disk, 200 + channel["datums_unrecorded"], at)


@pytest.mark.parametrize("mounted", ["true", "path", "above"])
def test_057_nothing_below_what_has_to_be_mounted(disks, fleet_in, tmp_path, mounted, seed):
    """Started without the disk: relayed, kept in the buffer, and recorded within a second of the
    mount, with no word from anybody."""
    mount, disk = disks("a"), tmp_path / "disk"
    said = {"true": "true", "path": str(disk), "above": str(disk / "rec")}[mounted]
    if mounted == "above":
        (disk / "rec").mkdir()
        disk = disk / "rec"
    fleet = fleet_in(wait=False, mounted=said)
    wait_until(lambda: fleet.status(missing={}).get("channels"), what="the manager")
    wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the state")
    sink = fleet.sink(fleet.address("engine", "full"))
    at = send(fleet, 0, count=1000)
    reason = fleet.channel("engine")["reason"]
    missing = "nothing is mounted at or above" if mounted == "true" else f"{said} is not mounted"
    assert missing in reason and missing in fleet.log()
    wait_until(lambda: fleet.channel("engine")["datagrams_sent_full"] == at, what="relaying")
    wait_until(lambda: fleet.channel("engine")["unsynced_datums"] == at, what="the buffer")
    assert len(sink.stop()) == at
    assert os.listdir(disk) == []
    mount(disk)
    channel = recorded(fleet, at)
    wait_until(lambda: fleet.channel("engine")["state"] == "running", what="the state")
    assert channel["datums_unrecorded"] == 0 and "recording again" in fleet.log()
    fleet.stop()
    files = sorted(disk.rglob("*.avro"))
    assert container.payload(files)[0] == b"".join(signals.samples(1000))


def test_057_the_state_changes_without_a_datum(disks, fleet_in, tmp_path, seed):
    """Nobody has to send anything to learn that the disk has gone, or is back."""
    mount, disk = disks("a"), tmp_path / "disk"
    mount(disk)
    fleet = fleet_in(mounted=str(disk))
    send(fleet, 0)
    recorded(fleet, 200)
    for _ in range(2):
        run("umount", "-l", disk)
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the loss")
        assert not (disk / "rec").exists()
        mount(disk)
        wait_until(lambda: fleet.channel("engine")["state"] in ("running", "silent"),
                   what="the return")
    send(fleet, 200)
    channel = recorded(fleet, 400)
    assert channel["datums_unrecorded"] == 0
    fleet.stop()
    assert datums_in(disk) == 400, "what was open was ended on the disk, whole"


def test_057_a_folder_that_was_bound_to_itself_is_not_mounted(fleet_in, disks, tmp_path, seed):
    """systemd does that for ReadWritePaths=: it is no disk."""
    mount, disk = disks("a"), tmp_path / "disk"
    run("mount", "--bind", disk, disk)
    fleet = fleet_in(wait=False, mounted=str(disk))
    wait_until(lambda: f"{disk} is not mounted" in fleet.log(), what="the refusal")
    assert os.listdir(disk) == []
    run("umount", disk)
    other = tmp_path / "other"
    other.mkdir()
    run("mount", "--bind", other, disk)
    send(fleet, 0)
    recorded(fleet, 200)
    fleet.stop()
    assert datums_in(other) == 200


@pytest.mark.parametrize("whole", [False, True], ids=["channel", "storage"])
@pytest.mark.parametrize("made", [False, True], ids=["none", "another"])
def test_057_the_folder_is_moved(fleet_in, tmp_path, whole, made, seed):
    """Renamed under the recorder: the file is ended where it is, the next one is at the path."""
    disk = tmp_path / "disk"
    fleet = fleet_in()
    at = send(fleet, 0)
    recorded(fleet, at)
    (moved, away) = (disk / "rec", disk / "away") if whole else \
        (disk / "rec/engine", disk / "rec/away")
    moved.rename(away)
    if made:
        (disk / "rec/engine").mkdir(parents=True)
    wait_until(lambda: "is another folder by now" in fleet.log(), what="the move")
    at = send(fleet, at)
    channel = recorded(fleet, at)
    assert (channel["state"], channel["datums_unrecorded"]) == ("running", 0)
    fleet.stop()
    assert datums_in(disk) == 200
    left = sorted(away.rglob("*.avro*"))
    assert [path.suffix for path in left] == [".avro"] and container.count(left[0]) == 200


@pytest.mark.parametrize("gone", ["manager", "manager and keeper"])
def test_057_the_folder_is_moved_while_nobody_could_follow_the_relay(fleet_in, tmp_path, gone,
                                                                     seed):
    """Whoever holds the channel may be away just then: the relay asks to be followed, and goes on
    with what it has until there is a manager again."""
    fleet = fleet_in()
    sink = fleet.sink(fleet.address("engine", "full"))
    at = send(fleet, 0)
    recorded(fleet, at)
    relay, keepers = fleet.relay_processes(), fleet.processes("flotilla-keeper")
    fleet.kill_manager()
    for pid in keepers * ("keeper" in gone):
        os.kill(pid, signal.SIGKILL)
    (tmp_path / "disk/rec/engine").rename(tmp_path / "away")
    wait_until(lambda: "a fresh relay is to open it" in fleet.log(), what="the relay's wish")
    at = send(fleet, at)
    assert fleet.relay_processes() == relay
    fleet.start()
    at = send(fleet, at)
    channel = recorded(fleet, at)
    assert fleet.relay_processes() != relay
    assert (channel["state"], channel["datagrams_received"]) == ("running", at)
    assert sink.stop() == signals.samples(at), "live all the time"
    fleet.stop()
    payload, _ = container.payload([*(tmp_path / "away").glob("*.avro"), *ended(tmp_path / "disk")])
    assert payload == b"".join(signals.samples(at))


def ordinary():
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all"]


@pytest.mark.parametrize("how", ["mounted over", "unmounted"])
def test_057_a_disk_that_the_relays_user_cannot_write_to(disks, how, seed):
    """Whatever was held before is not what is at the path: nothing goes on below or beside it."""
    mount, place = disks("a"), new_folder()
    disk = place / "disk"
    over = disk / "rec" if how == "mounted over" else disk
    place.chmod(0o755)
    disk.mkdir(mode=0o755)
    try:
        if how == "unmounted":
            mount(disk)
        (disk / "rec").mkdir()
        (disk / "rec").chmod(0o777)
        with Fleet({"engine": KEYS}, storage={"directory": str(disk / "rec"), "sync": "50ms"},
                   inside=ordinary(), run=False) as fleet:
            for path in [fleet.folder, *fleet.folder.rglob("*")]:
                path.chmod(0o777 if path.is_dir() else 0o666)
            fleet.start()
            at = send(fleet, 0)
            recorded(fleet, at)
            if how == "unmounted":
                run("umount", "-l", disk)
            else:
                mount(over)
            wait_until(lambda: fleet.channel("engine")["state"] == "not_recording",
                       what="a word of it")
            assert "ermission denied" in fleet.channel("engine")["reason"]
            at = send(fleet, at)
            assert fleet.channel("engine")["datums_recorded"] == 200
            if how == "unmounted":
                mount(disk)
            else:
                run("umount", over)
            channel = recorded(fleet, at)
            assert channel["datums_unrecorded"] == 0
            fleet.stop()
        assert datums_in(disk) == at
    finally:
        run("umount", "-l", over, check=False)
        shutil.rmtree(place)


def test_057_a_link_leads_elsewhere(fleet_in, tmp_path, seed):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "disk/rec").symlink_to(tmp_path / "one")
    fleet = fleet_in()
    at = send(fleet, 0)
    recorded(fleet, at)
    (tmp_path / "new").symlink_to(tmp_path / "two")
    (tmp_path / "new").rename(tmp_path / "disk/rec")
    wait_until(lambda: "is another folder by now" in fleet.log(), what="the move")
    at = send(fleet, at)
    recorded(fleet, at)
    fleet.stop()
    for name in ("one", "two"):
        assert sum(map(container.count, (tmp_path / name).glob("engine/*.avro"))) == 200


def test_057_a_link_that_leads_nowhere_yet(fleet_in, tmp_path, seed):
    """A link to a disk that comes later is looked at as often as a folder that is missing."""
    (tmp_path / "disk/rec").symlink_to(tmp_path / "later/rec")
    fleet = fleet_in(wait=False)
    wait_until(lambda: fleet.status(missing={}).get("channels"))
    at = send(fleet, 0)
    wait_until(lambda: fleet.channel("engine")["state"] == "not_recording")
    time.sleep(1.5)
    assert "may be there again" not in fleet.log(), "it cannot be: no relay is started in vain"
    (tmp_path / "later/rec").mkdir(parents=True)
    begun = time.monotonic()
    recorded(fleet, at)
    assert time.monotonic() - begun < 5, fleet.log()
    fleet.stop()
    assert datums_in(tmp_path / "later") == at


@pytest.mark.parametrize("kind", ["file", "fifo", "loop", "link"])
def test_057_what_is_at_the_path_is_no_folder(fleet_in, tmp_path, kind, seed):
    """There is nothing else to record in: it goes on in the folder before, and says so, once."""
    fleet = fleet_in()
    at = send(fleet, 0)
    recorded(fleet, at)
    path, away = tmp_path / "disk/rec/engine", tmp_path / "disk/away"
    path.rename(away)
    {"file": path.touch, "fifo": lambda: os.mkfifo(path), "loop": lambda: path.symlink_to(path),
     "link": lambda: path.symlink_to(tmp_path / "nowhere")}[kind]()
    wait_until(lambda: "still recording in the one before" in fleet.log(), what="the move")
    at = send(fleet, at)
    recorded(fleet, at)
    path.unlink()
    wait_until(lambda: "is another folder by now" in fleet.log(), what="a folder again")
    at = send(fleet, at)
    recorded(fleet, at)
    assert fleet.log().count("still recording in the one before") == 1
    fleet.stop()
    assert sum(map(container.count, away.glob("*.avro"))) == at - 200
    assert datums_in(tmp_path / "disk") == 200


@pytest.mark.parametrize("error", ["EROFS", "EIO", "ENOSPC"])
def test_057_a_disk_that_fails_for_a_while(needs_root, fleet_in, tmp_path, error, seed):
    """errors=remount-ro, a cable, a full disk: said, bridged, gone on with in the same folder."""
    disk, fault = tmp_path / "disk", tmp_path / "behind.fault"
    with strange_disk.mounted(disk, tmp_path / "behind"):
        fleet = fleet_in(mounted=str(disk))
        at = send(fleet, 0)
        recorded(fleet, at)
        fault.write_text(error)
        at = send(fleet, at)
        wait_until(lambda: os.strerror(getattr(errno, error)) in fleet.channel("engine")["reason"],
                   what="the reason")
        at = send(fleet, at)
        fault.unlink()
        wait_until(lambda: fleet.channel("engine")["state"] == "running", what="recording again")
        channel = fleet.settle({"engine": at})["engine"]
        assert channel["datums_unrecorded"] <= 200
        fleet.stop()
        assert "another folder" not in fleet.log()
        assert_rest(disk, 200 + channel["datums_unrecorded"], at)


def test_057_a_share_that_dies_and_is_mounted_again(needs_root, fleet_in, tmp_path, seed):
    """FUSE: its process is killed (Transport endpoint is not connected), then another serves."""
    disk = tmp_path / "disk"
    with strange_disk.mounted(disk, tmp_path / "behind") as server:
        fleet = fleet_in(mounted=str(disk))
        at = send(fleet, 0)
        recorded(fleet, at)
        server.kill()
        server.wait()
        at = send(fleet, at)
        wait_until(lambda: fleet.channel("engine")["state"] == "not_recording", what="the failure")
    with strange_disk.mounted(disk, tmp_path / "behind"):
        wait_until(lambda: fleet.channel("engine")["state"] == "running", what="recording again")
        channel = fleet.settle({"engine": at})["engine"]
        fleet.stop()
        assert channel["datums_recorded"] + channel["datums_unrecorded"] == at
        assert_rest(disk, 200 + channel["datums_unrecorded"], at)


def test_057_retention_and_doctor_look_at_the_right_disk(disks, fleet_in, tmp_path, seed):
    """While the disk is away, what lies below its mount point is nobody's to remove."""
    mount, disk = disks("a"), tmp_path / "disk"
    below = disk / "rec/engine"
    below.mkdir(parents=True)
    old = below / "engine-20200101T000000.000000Z-000001.avro"
    old.write_bytes(bytes(1 << 20))
    fleet = fleet_in(wait=False, mounted=str(disk), rotate={"size": "64KiB"},
                     retain={"size": "128KiB"})
    wait_until(lambda: f"{disk} is not mounted" in fleet.log(), what="the refusal")
    found = json.loads(flotilla("doctor", "--json", "-c", fleet.file).stdout)["findings"]
    assert [one for one in found if one["level"] == "problem" and one["about"] == "storage" and
            f"{disk} is not mounted" in one["text"] and f"mount {disk}" in one["fix"]], found
    mount(disk)
    send(fleet, 0, count=8000, rate=8000)  # 180 KiB, however well they fill their blocks
    recorded(fleet, 8000)
    wait_until(lambda: "all recordings are to take at most 128KiB" in fleet.log(),
               what="retention on the disk")
    assert (uncovered(tmp_path, disk) / old.relative_to(disk)).exists()
    fleet.stop()


def test_057_check(tmp_path, seed):
    """What is said of `mounted`: which mount point it is, and what cannot be meant."""
    with Fleet({"engine": KEYS}, run=False, storage={"mounted": "true"}) as fleet:
        def check(**storage):
            fleet.storage = {"directory": str(fleet.folder / "rec"), **storage}
            fleet.write()
            return flotilla("check", "-c", fleet.file)
        assert "is not above the directory" in check(mounted="/nowhere").stderr
        done = check(mounted=str(fleet.folder))
        assert done.returncode == 0 and f"{fleet.folder} is not mounted" in done.stdout
        done = check(mounted="./rec")
        assert done.returncode == 0 and f"{fleet.folder}/rec is not mounted" in done.stdout
        assert "mounted" not in check(mounted="false").stdout
        assert "/dev/shm is mounted" in check(directory="/dev/shm/rec", mounted="true").stdout
        told = json.loads(flotilla("check", "--json", "-c", fleet.file, check=0).stdout)
        assert told["mounted"] == "true"
