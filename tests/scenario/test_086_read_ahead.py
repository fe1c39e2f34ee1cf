# SPDX-License-Identifier: MIT
"""086-read-ahead: `verify` reads large files ahead, past the system's cache, and finds in them what
it finds where that cannot be (in memory, /dev/shm), to the letter."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness.fleet import FLOTILLA, ROOT, new_folder

BYTES = 24_000_000  # more than six chunks


@pytest.fixture(scope="module")
def places():
    """A folder on a disk and one in memory."""
    disk, memory = new_folder(), Path(tempfile.mkdtemp(prefix="flotilla-", dir="/dev/shm"))
    yield disk, memory
    shutil.rmtree(disk)
    shutil.rmtree(memory)


@pytest.fixture(scope="module")
def sound(places):
    folder = places[0] / "c"
    folder.mkdir()
    subprocess.run([ROOT / "build/units/bench_recordings", folder, str(BYTES // 2), str(BYTES),
                    "1767225600", "10000", "doubles"], check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path.read_bytes()


def verify(path, *before):
    done = subprocess.run([*before, FLOTILLA, "verify", path.name], cwd=path.parent,
                          capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("damage", ["none", "bits", "cut", "hole", "joined", "unaligned"])
def test_086_the_same_is_found(places, sound, rng, damage):
    data = bytearray(sound)
    if damage == "bits":
        for _ in range(12):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif damage == "cut":
        del data[rng.randrange(len(data) // 2, len(data)):]
    elif damage == "hole":
        at = rng.randrange(4096, len(data) - 3_000_000)
        data[at:at + 2_500_000] = bytes(2_500_000)
    elif damage == "joined":
        data += sound
    elif damage == "unaligned":  # what follows stands on no boundary any more
        at = rng.randrange(9_000_000, 12_000_000)
        data[at:at] = rng.randbytes(rng.randrange(1, 5000))
    said = []
    for place in places:
        path = place / "a.avro"
        path.write_bytes(data)
        said.append(verify(path))
    assert said[0] == said[1]
    assert said[0][0] == (0 if damage == "none" else 3)


def test_086_past_the_cache(places, sound):
    """It is read so where it can be, and only what is large."""
    path = places[0] / "b.avro"
    path.write_bytes(sound)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no O_DIRECT")
    trace = ["strace", "-f", "-qq", "-e", "trace=openat", "-o", places[0] / "trace"]
    assert verify(path, *trace)[0] == 0
    assert "O_DIRECT" in (places[0] / "trace").read_text()
    path.write_bytes(sound[:1_000_000])
    verify(path, *trace)
    assert "O_DIRECT" not in (places[0] / "trace").read_text()
