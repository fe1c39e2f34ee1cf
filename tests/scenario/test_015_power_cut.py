# SPDX-License-Identifier: MIT
"""015-power-cut: what an open file looks like after the machine went down, and what the next start
makes of it: ended at its last whole block under its final name, a new one opened."""
import shutil

from harness import container, signals
from harness.fleet import Fleet


def block_ends(path):
    """Where the header ends, then each block."""
    metadata, blocks = container.read(path)
    return [metadata["header_bytes"]] + [end for *_, end in blocks]


def test_015_left_over_files_are_ended_at_their_last_whole_block(rng):
    datums = signals.samples(4000, pad=60)
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", datums, rate=4000).finish()
        fleet.settle({"engine": 4000})
        (part,) = fleet.files("engine")
        image = part.read_bytes()
        fleet.stop()
        (finished,) = fleet.files("engine")
        blocks, folder = block_ends(finished), finished.parent
        finished.unlink()
        for number in range(12):
            # Cut anywhere, sometimes with garbage or zeros where the disk had not got to.
            cut = rng.randrange(len(image)) if number else len(image)
            tail = [b"", bytes(rng.randrange(9000)), rng.randbytes(rng.randrange(9000))][number % 3]
            left = image[:cut] + tail
            name = f"engine-20260101T000000.000000Z-{number + 100:06}.avro"
            (folder / f"{name}.part").write_bytes(left)
            fleet.start()
            fleet.stop()
            whole = max([end for end in blocks if end <= cut], default=0)
            if whole <= blocks[0]:
                assert not (folder / name).exists(), "no whole block: nothing to keep"
            else:
                kept = (folder / name).read_bytes()
                assert kept == image[:whole], (number, cut, len(kept), whole)
                payload, _ = container.payload([folder / name])
                assert b"".join(datums).startswith(payload)
                (folder / name).unlink()
            assert not list(folder.glob("*.part"))


def test_015_damage_with_sound_blocks_behind_is_kept_for_recover(rng, flotilla):
    """A flipped bit costs nobody the rest: no recording holds damage, so the file ends in front of
    it; what stands behind is kept beside it, and recover saves that."""
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(3000), rate=6000).finish()
        fleet.settle({"engine": 3000})
        (part,) = fleet.files("engine")
        image = part.read_bytes()
        fleet.stop()
        (finished,) = fleet.files("engine")
        folder, blocks = finished.parent, block_ends(finished)
        finished_copy = fleet.folder / "whole.avro"
        finished.rename(finished_copy)
        for number in range(8):
            at = rng.randrange(blocks[1], len(image))
            flipped = bytearray(image)
            flipped[at] ^= 1 << rng.randrange(8)
            name = f"engine-20260101T000000.000000Z-{number + 100:06}.avro"
            (folder / f"{name}.part").write_bytes(flipped)
            fleet.start()
            fleet.stop()
            if at >= blocks[-2]:  # in the last block: nothing stands behind it
                assert (folder / name).read_bytes() == image[:blocks[-2]]
            else:
                index = next(index for index, end in enumerate(blocks) if at < end)
                assert (folder / name).read_bytes() == image[:blocks[index - 1]]
                flotilla("verify", folder / name, check=0)
                aside = folder / f"{name}.damaged"
                header = blocks[0]
                assert aside.read_bytes() == (image[:header] + bytes(blocks[index - 1] - header) +
                                              flipped[blocks[index - 1]:])
                assert "flotilla recover" in fleet.log()
                saved = folder / "saved.avro"
                assert flotilla("recover", aside, "-o", saved).returncode == 3
                lost = next(count for count, _, begin, end in container.read(finished_copy)[1]
                            if begin <= at < end)
                assert container.count(folder / name) + container.count(saved) == 3000 - lost
                saved.unlink()
                aside.unlink()
            (folder / name).unlink()


def test_015_numbers_rise_over_what_is_there(seed):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(10)).finish()
        fleet.settle({"engine": 10})
        fleet.stop()
        (path,) = fleet.files("engine")
        shutil.copy(path, path.parent / "engine-20270101T000000.000000Z-000041.avro")
        fleet.start()
        fleet.source("engine", signals.samples(10)).finish()
        fleet.settle({"engine": 10})
        fleet.stop()
        assert sum(one.stem.endswith("-000042") for one in fleet.files("engine")) == 1


def test_015_a_damaged_header_does_not_cost_the_blocks(seed, flotilla):
    with Fleet({"engine": {"schema": signals.SCHEMA}}) as fleet:
        fleet.source("engine", signals.samples(500), rate=2000).finish()
        fleet.settle({"engine": 500})
        fleet.stop()
        (finished,) = fleet.files("engine")
        image = bytearray(finished.read_bytes())
        image[100:140] = bytes(40)
        name = "engine-20260101T000000.000000Z-000100.avro"
        (finished.parent / f"{name}.part").write_bytes(image)
        fleet.start()
        fleet.stop()
        kept = finished.parent / f"{name}.damaged"
        assert kept.read_bytes() == image and not (finished.parent / name).exists()
        saved = finished.parent / "saved.avro"
        schema = fleet.folder / "schemas/engine.avsc"
        done = flotilla("recover", kept, "-o", saved, "--schema", schema)
        assert done.returncode == 3 and container.count(saved) == 500
