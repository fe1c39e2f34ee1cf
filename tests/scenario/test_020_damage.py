# SPDX-License-Identifier: MIT
"""020-damage: info, verify and recover on recordings of a real fleet, sound, open and mutilated;
what is recovered is read by an independent reader."""
import io
import json
import os
import shutil
import signal
import subprocess
import time

import fastavro
import pytest
from harness import container, signals
from harness.fleet import FLOTILLA, LONG, Fleet, new_folder
from harness.fleet import flotilla as command

SCHEMA = {"type": "record", "name": "Probe", "namespace": "test", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "value", "type": "double"}, {"name": "note", "type": ["null", "string"]}]}
CHANNEL = {"schema": SCHEMA, "time": "time"}


@pytest.fixture(scope="module")
def recorded():
    """(folder, [paths]): three files of one channel, and the schema beside them."""
    keep = new_folder("flotilla-damage-")
    storage = {"rotate": {"size": "600KiB"}, "direct_io": "off"}
    with Fleet({"probe": CHANNEL}, storage=storage) as fleet:
        command("send", "probe", "--rate", "0", "--count", "60000", "--batch", "10",
                 "-c", fleet.file, check=0)
        fleet.settle({"probe": 6000})
        fleet.stop()
        files = fleet.files("probe")
        for path in files:
            (keep / path.name).write_bytes(path.read_bytes())
    (keep / "probe.avsc").write_text(json.dumps(SCHEMA))
    yield keep, [keep / path.name for path in files]
    for path in keep.iterdir():
        path.unlink()
    keep.rmdir()


def verify(flotilla, path):
    done = flotilla("verify", "--json", path)
    return done.returncode, json.loads(done.stdout)


def copy(recorded, tmp_path, change, index=0):
    folder, files = recorded
    data = bytearray(files[index].read_bytes())
    data = change(data) or data
    path = tmp_path / files[index].name
    path.write_bytes(data)
    return path


def test_020_sound(recorded, flotilla):
    folder, files = recorded
    assert len(files) >= 2
    done = flotilla("verify", *files, check=0)
    assert done.stdout.count(": sound, ") == len(files) and done.stderr == ""
    total = 0
    for path in files:
        metadata, blocks = container.read(path)
        code, said = verify(flotilla, path)
        assert code == 0 and said["sound"] and said["datums"] == container.count(path)
        info = json.loads(flotilla("info", "--json", path, check=0).stdout)
        counted = json.loads(flotilla("info", "--json", "--count", path, check=0).stdout)
        assert info == counted, "fronts say what the datums are"
        assert (info["channel"], info["state"], info["schema"], info["codec"]) == \
            ("probe", "finished", "test.Probe", "deflate")
        assert info["blocks"] == len(blocks) and info["bytes"] == path.stat().st_size
        assert info["first_arrival"] <= info["last_block_arrival"]
        assert info["host"] == metadata["flotilla.host"].decode()
        assert info["time"] == metadata["flotilla.time"].decode() == "time"
        assert info["sequence"] is None and "flotilla.sequence" not in metadata
        total += info["datums"]
    assert total == 60000
    shown = flotilla("info", files[0], check=0).stdout
    assert "test.Probe" in shown and info["fingerprint"] in shown


def test_020_recovered_file_of_a_sound_one_is_the_same(recorded, flotilla, tmp_path):
    path = copy(recorded, tmp_path, lambda data: None)
    done = flotilla("recover", path, check=0)
    saved = tmp_path / path.name.replace(".avro", ".recovered.avro")
    assert saved.read_bytes() == path.read_bytes() and "nothing was lost" in done.stdout
    again = flotilla("recover", path)
    assert again.returncode == 1 and "already" in again.stderr
    assert sorted(tmp_path.iterdir()) == sorted([path, saved]), "nothing else is left behind"


def test_020_damage_is_told_with_its_place(recorded, flotilla, tmp_path, rng):
    folder, files = recorded
    _, blocks = container.read(files[0])
    hit = sorted(rng.sample(range(1, len(blocks) - 1), 2))

    def change(data):
        for index in hit:
            data[rng.randrange(blocks[index][2] + 140, blocks[index][2] + 2000)] ^= 0x10
    path = copy(recorded, tmp_path, change)
    done = flotilla("verify", path, check=3)
    for index in hit:
        assert f"{path}: offset {blocks[index][2]}: " in done.stderr
    assert len(done.stderr.splitlines()) == 2
    before = path.read_bytes()
    recovered = json.loads(flotilla("recover", "--json", path, check=3).stdout)
    assert path.read_bytes() == before, "never in place"
    lost = sum(blocks[index][0] for index in hit)
    assert recovered["lost_datums_estimated"] == lost, "the fronts stand, so it is exact"
    assert recovered["lost_bytes"] == sum(blocks[index][3] - blocks[index][2] for index in hit)
    wanted = b"".join(body for i, (_, body, _, _) in enumerate(blocks) if i not in hit)
    payload, count = container.payload([recovered["output"]])
    assert payload == wanted and count == container.count(recovered["output"])
    flotilla("verify", recovered["output"], check=0)


@pytest.mark.parametrize("how", ["sibling", "given", "nothing"])
def test_020_lost_header(recorded, flotilla, tmp_path, how):
    folder, files = recorded
    path = copy(recorded, tmp_path, lambda data: bytes(3000) + data[3000:], index=1)
    _, blocks = container.read(files[1])
    flotilla("verify", path, check=3)
    words = []
    if how == "sibling":
        (tmp_path / files[0].name).write_bytes(files[0].read_bytes())
    elif how == "given":
        words = ["--schema", folder / "probe.avsc"]
    done = flotilla("recover", path, *words, "-o", tmp_path / "out.avro")
    if how == "nothing":
        assert done.returncode == 1 and "--schema" in done.stderr
        assert not (tmp_path / "out.avro").exists()
        return
    assert done.returncode == 3
    assert "the schema is taken from" in done.stderr
    assert container.payload([tmp_path / "out.avro"])[0] == b"".join(b[1] for b in blocks)
    metadata, _ = container.read(tmp_path / "out.avro")
    assert metadata["flotilla.channel"] == b"probe"
    with open(tmp_path / "out.avro", "rb") as file:
        assert sum(1 for _ in fastavro.reader(file)) == sum(b[0] for b in blocks)
    flotilla("verify", tmp_path / "out.avro", check=0)


def test_020_moved_and_missing_blocks(recorded, flotilla, tmp_path):
    folder, files = recorded
    _, blocks = container.read(files[0])
    (_, _, a, b), (_, _, c, d) = blocks[1], blocks[2]
    missing = copy(recorded, tmp_path, lambda data: data[:a] + data[b:])
    code, said = verify(flotilla, missing)
    assert code == 3 and said["missing_bytes"] == b - a and said["lost_bytes"] == 0
    assert said["faults"][0]["offset"] == a
    swapped = copy(recorded, tmp_path, lambda data: data[:a] + data[c:d] + data[a:b] + data[d:])
    done = flotilla("recover", swapped, "-o", tmp_path / "out.avro", check=3)
    assert "arrival time goes back" in done.stderr
    wanted = [blocks[0], blocks[2], blocks[1], *blocks[3:]]
    assert container.payload([tmp_path / "out.avro"])[0] == b"".join(b[1] for b in wanted)
    flotilla("verify", tmp_path / "out.avro", check=0)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_020_foreign_files(flotilla, tmp_path, codec, rng):
    records = [{"time": i, "value": i / 3, "note": None if i % 3 else f"note {i}"}
               for i in range(20000)]
    raw = {"type": "record", "name": "R", "fields": [
        {"name": "time", "type": "long"}, {"name": "value", "type": "double"},
        {"name": "note", "type": ["null", "string"]}]}
    out = io.BytesIO()
    fastavro.writer(out, raw, records, codec=codec, sync_interval=8000)
    path = tmp_path / "foreign.avro"
    path.write_bytes(out.getvalue())
    info = json.loads(flotilla("info", "--json", path, check=0).stdout)
    assert info["datums"] == 20000 and info["state"] == "of another program"
    assert info["channel"] is None and info["first_arrival"] is None
    flotilla("verify", path, check=0)
    blocks = list(fastavro.block_reader(io.BytesIO(out.getvalue())))
    at = len(blocks) // 2
    data = bytearray(out.getvalue())
    data[blocks[at].offset + 1:blocks[at].offset + 50] = rng.randbytes(49)
    path.write_bytes(data)
    flotilla("verify", path, check=3)
    done = json.loads(flotilla("recover", "--json", path, check=3).stdout)
    with open(done["output"], "rb") as file:
        assert list(fastavro.reader(file)) == \
            [record for i, block in enumerate(blocks) if i != at for record in block]
    assert abs(done["lost_datums_estimated"] / blocks[at].num_records - 1) < 0.2


def test_020_an_open_file_is_sound_at_any_instant(seed, flotilla):
    with Fleet({"c": {"schema": signals.SCHEMA}}) as fleet:
        source = fleet.source("c", signals.samples(20000), rate=4000)
        seen = 0
        for _ in range(200 if LONG else 40):
            for path in fleet.files("c"):
                said = json.loads(flotilla("verify", "--json", path, check=0).stdout)
                assert said["datums"] >= seen
                seen = said["datums"]
                if path.name.endswith(".part"):
                    info = flotilla("info", "--json", path, check=0)
                    assert json.loads(info.stdout)["state"] == "open"
        source.finish()
        fleet.settle({"c": 20000})
        (part,) = fleet.files("c")
        assert verify(flotilla, part)[1]["datums"] == 20000
        saved = fleet.folder / "copy.avro"
        flotilla("recover", part, "-o", saved, check=0)
        assert container.count(saved) == 20000


def test_020_exit_codes(recorded, flotilla, tmp_path):
    assert flotilla("verify").returncode == 2
    assert flotilla("recover", "a", "b").returncode == 2
    assert flotilla("info", "--nonsense", "x").returncode == 2
    assert flotilla("verify", tmp_path / "none.avro").returncode == 1
    assert flotilla("verify", tmp_path).returncode == 1
    assert flotilla("info", tmp_path / "none.avro").returncode == 1
    assert flotilla("recover", tmp_path / "none.avro").returncode == 1
    empty = tmp_path / "empty.avro"
    empty.write_bytes(b"")
    assert flotilla("verify", empty).returncode == 3
    text = tmp_path / "text.avro"
    text.write_text("no container\n" * 1000)
    done = flotilla("verify", text, recorded[1][0], check=3)
    assert f"{text}: offset 0: " in done.stderr and ": sound, " in done.stdout
    assert flotilla("verify", text, tmp_path / "none.avro").returncode == 1
    done = flotilla("recover", text)
    assert done.returncode == 1 and sorted(tmp_path.iterdir()) == [empty, text]
    nowhere = flotilla("recover", recorded[1][0], "-o", tmp_path / "no/such/out.avro")
    assert nowhere.returncode == 1 and not (tmp_path / "no").exists()


def test_020_a_folder_is_its_recordings(recorded, flotilla, tmp_path):
    """info, verify and cat of a channel's folder, and of the folder around it."""
    folder = tmp_path / "recordings" / "probe"
    folder.mkdir(parents=True)
    files = [folder / path.name for path in recorded[1]]
    for path, copied in zip(recorded[1], files):
        copied.write_bytes(path.read_bytes())
    (folder / "notes.avro").write_text("not one of them")
    datums = sum(container.count(path) for path in files)
    for given in folder, folder.parent:
        *lines, total = flotilla("info", given, check=0).stdout.splitlines()
        assert [line.split(": ")[0] for line in lines] == [str(path) for path in files]
        assert total.startswith(f"{len(files)} files: {datums} datums in ")
        *lines, total = flotilla("verify", given, check=0).stdout.splitlines()
        assert len(lines) == len(files)
        assert total == f"{len(files)} files: {len(files)} sound, 0 damaged, 0 cannot be read"
    assert len(flotilla("cat", folder, check=0).stdout.splitlines()) == datums
    said = [json.loads(line)
            for line in flotilla("info", "--json", folder, check=0).stdout.splitlines()]
    assert [info["file"] for info in said] == [str(path) for path in files]
    data = bytearray(files[1].read_bytes())
    data[20000] ^= 1
    files[1].write_bytes(data)
    assert flotilla("verify", folder, check=3).stdout.splitlines()[-1] == \
        f"{len(files)} files: {len(files) - 1} sound, 1 damaged, 0 cannot be read"
    shutil.rmtree(folder)
    folder.mkdir()
    for verb in "info", "verify", "cat":
        done = flotilla(verb, folder.parent, check=1)
        assert "there are no recordings in this folder" in done.stderr


def crc32c(data):
    remainder = 0xffffffff
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82f63b78 if remainder & 1 else 0)
    return remainder ^ 0xffffffff


def test_020_a_later_format_is_read_as_any_avro(recorded, flotilla, tmp_path):
    """Its blocks may hold other trailers: no checksum of this format is asked of them."""
    key = b"flotilla.format"

    def change(data):
        at = data.index(key) + len(key) + 1
        assert data[at:at + 1] == b"1"
        data[at:at + 1] = b"9"
        end = data.index(b"flotilla.crc32c") + len(b"flotilla.crc32c") + 1 + 8 + 1 + 16
        checksum = crc32c(data[:end - 25] + data[end - 17:end])
        data[end - 25:end - 17] = b"%08x" % checksum
    path = copy(recorded, tmp_path, change)
    info = json.loads(flotilla("info", "--json", path, check=0).stdout)
    assert info["state"] == "of a later format" and info["first_arrival"] is None
    assert verify(flotilla, path)[1]["datums"] == container.count(path)
    lines = flotilla("cat", path, check=0).stdout.splitlines()
    assert lines == flotilla("cat", recorded[1][0], check=0).stdout.splitlines()


def test_020_what_a_recording_says_survives_its_header(recorded, flotilla, tmp_path):
    """A header that was lost is written anew from a recording beside it."""
    (tmp_path / recorded[1][1].name).write_bytes(recorded[1][1].read_bytes())

    def change(data):
        data[0:4096] = bytes(4096)
    path = copy(recorded, tmp_path, change)
    done = flotilla("recover", "--json", path, check=3)
    metadata, _ = container.read(json.loads(done.stdout)["output"])
    assert metadata["flotilla.time"] == b"time" and metadata["flotilla.channel"] == b"probe"


def test_020_a_changed_name_is_told(recorded, flotilla, tmp_path):
    """A letter of the header's schema: any reader prints the wrong name, the checksum tells."""
    def change(data):
        at = data.index(b'"value"') + 1
        data[at] = ord("w")
    path = copy(recorded, tmp_path, change)
    for words in [], ["--schema"]:
        done = flotilla("cat", path, *words)
        assert done.returncode == 1 and "walue" in done.stdout
        assert done.stderr == f"{path}: offset 0: the header's checksum is wrong\n"
    done = flotilla("cat", path)
    assert len(done.stdout.splitlines()) == container.count(path), "the datums are printed"
    assert flotilla("cat", recorded[1][0], check=0).stderr == ""


@pytest.mark.parametrize("how", ["zeroed", "cut away"])
def test_020_a_lost_header_is_no_lost_datums(recorded, flotilla, tmp_path, how):
    _, blocks = container.read(recorded[1][0])
    room = blocks[0][2]
    path = copy(recorded, tmp_path,
                lambda data: bytes(room if how == "zeroed" else 0) + data[room:])
    done = flotilla("recover", "--json", path, "--schema", recorded[0] / "probe.avsc", check=3)
    said = json.loads(done.stdout)
    assert said["datums"] == sum(block[0] for block in blocks)
    assert said["lost_datums_estimated"] == 0
    assert said["lost_bytes"] + said["missing_bytes"] == room


def signalled_recover(folder, number, **options):
    """What a recovery of a long file does when it is sent a signal while it writes."""
    raw = {"type": "record", "name": "R", "fields": [{"name": "time", "type": "long"}]}
    out = io.BytesIO()
    fastavro.writer(out, raw, ({"time": i} for i in range(20000)), sync_interval=4000)
    data = out.getvalue()
    start = next(iter(fastavro.block_reader(io.BytesIO(data)))).offset
    path = folder / "long.avro"
    with open(path, "wb") as file:
        file.write(data)
        while file.tell() < 400 << 20:
            file.write(data[start:] * 100)
    with subprocess.Popen([FLOTILLA, "recover", path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, **options) as run:
        until = time.monotonic() + 20
        while run.poll() is None and len(os.listdir(folder)) < 2 and time.monotonic() < until:
            time.sleep(0.005)
        assert run.poll() is None and len(os.listdir(folder)) == 2, "it writes by now"
        run.send_signal(number)
        _, told = run.communicate(timeout=60)
    files = sorted(os.listdir(folder))
    path.unlink()
    return run.returncode, told, files


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_020_a_signal_leaves_nothing_behind(tmp_path, number):
    code, told, files = signalled_recover(tmp_path, number)
    assert code == 1 and "a signal has ended it" in told
    assert files == ["long.avro"]


def test_020_what_is_started_deaf_to_a_signal_goes_on(tmp_path):
    """As under nohup, or for SIGINT in the background of a script."""
    code, told, files = signalled_recover(
        tmp_path, signal.SIGINT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert (code, told) == (0, "")
    assert files == ["long.avro", "long.recovered.avro"]
    (tmp_path / "long.recovered.avro").unlink()


def test_020_a_pipe_is_called_one(flotilla, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for verb in "verify", "info", "recover":
        done = flotilla(verb, pipe)
        assert done.returncode == 1
        assert f"{pipe}: is a pipe or device, not a file" in done.stderr
    assert "not a regular file" in flotilla("schema", pipe).stderr


@pytest.mark.parametrize("words", [["schema", "FILE"], ["schema", "--json", "FILE"], ["--help"],
                                   ["cat", "--help"], ["--version"]])
def test_020_a_full_disk_is_told(recorded, words):
    words = [recorded[0] / "probe.avsc" if word == "FILE" else word for word in words]
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([FLOTILLA, *words], stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=20)
    assert done.returncode == 1 and "could not write all of the output" in done.stderr


def test_020_status_into_a_full_disk_is_told(flotilla):
    with Fleet({"probe": CHANNEL}) as fleet:
        for words in [], ["--json"]:
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([FLOTILLA, "status", *words, "-c", fleet.file], stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=20)
            assert done.returncode == 1
            assert done.stderr == ("flotilla status: could not write all of the output: No "
                                   "space left on device\n")
