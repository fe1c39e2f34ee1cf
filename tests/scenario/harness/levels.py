# SPDX-License-Identifier: MIT
"""Recordings made here, byte by byte, and overviews read as any Avro reader reads them."""
import datetime
import subprocess

from recording_file import write_block, write_header

from . import avro, container
from .fleet import BUILD, flotilla

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
OVERVIEW = BUILD / "flotilla-overview"


def stamp(arrival):
    when = datetime.datetime.fromtimestamp(arrival // SECOND, datetime.timezone.utc)
    return f"{when:%Y%m%dT%H%M%S}.{arrival % SECOND // 1000:06}Z"


def write_recording(folder, schema_text, blocks, *, number=1, time=b"", sequence=b"", since=1,
                    part=False):
    """A recording of `blocks`: [(arrival, [datum bytes])]. Returns its path."""
    channel, sync = folder.name, bytes([number % 256]) * 16
    metadata = {"avro.schema": schema_text.encode(), "avro.codec": b"deflate",
                "flotilla.channel": channel.encode(), "flotilla.host": b"test",
                "flotilla.started": b"-", "flotilla.version": b"test", "flotilla.format": b"1"}
    metadata.update({"flotilla.time": time} if time else {})
    metadata.update({"flotilla.sequence": sequence} if sequence else {})
    metadata["flotilla.ordered_since"] = str(since).encode()
    data = write_header(metadata, sync)
    for arrival, datums in blocks:
        data += write_block(datums, arrival, sync, len(data))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{channel}-{stamp(blocks[0][0] if blocks else START)}-{number:06}.avro"
                     + (".part" if part else ""))
    path.write_bytes(data)
    return path


def level_files(folder, factor):
    return sorted((folder / "overview").glob(f"{folder.name}-{factor}-*.avro*"),
                  key=lambda path: int(path.name.split("-")[-1].split(".")[0]))


def build(folder, *words, check=0):
    return flotilla("overview", folder, "--rebuild", *words, check=check)


def serve(folder, *flags, stderr=subprocess.PIPE, env=None):
    """The service on one channel; the caller ends it."""
    words = [str(OVERVIEW), f"--directory={folder.parent}", f"--channel={folder.name}",
             "--sync=1ms", *flags]
    return subprocess.Popen(words, stderr=stderr, text=True, env=env)


def datums(path, schema):
    """The values of a level's file; every datum ends where the next one begins."""
    out = []
    for count, body, _, _ in container.read(path)[1]:
        at = 0
        for _ in range(count):
            value, at = avro.decode(schema, body, at)
            out.append(value)
        assert at == len(body)
    return out


def level_values(folder, factor, schema):
    return [value for path in level_files(folder, factor) for value in datums(path, schema)]
