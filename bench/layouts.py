# SPDX-License-Identifier: MIT
"""The datums that bench_source sends: a record of fixed size, its schema and its compiled layout.

[head]  intended, sent, sequence: fixed 8  [d0, d1 ...: double]  rest: fixed N"""
import json
import struct
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


def schema(size, doubles=0, head=0):
    fields = [("head", head)] if head else []
    fields += [("intended", 8), ("sent", 8), ("sequence", 8)]
    fields = [{"name": name, "type": {"type": "fixed", "name": name.title(), "size": count}}
              for name, count in fields]
    fields += [{"name": f"d{number}", "type": "double"} for number in range(doubles)]
    rest = size - head - 24 - 8 * doubles
    if rest:
        fields.append({"name": "rest", "type": {"type": "fixed", "name": "Rest", "size": rest}})
    return {"type": "record", "name": "Sample", "fields": fields}


def datum(number, size, doubles=0):
    """What bench_source sends as its datum `number`, meant for and sent at the instant 0."""
    values = [number * (i + 1) % 1000 / 8 for i in range(doubles)]
    front = struct.pack(f"<QQQ{doubles}d", 0, 0, number, *values)
    return front + b"r" * (size - len(front))


def compile_layout(folder, of, name="bench"):
    """Compiles a schema (a dict) with `flotilla schema`; returns the layout's path."""
    source, layout = Path(folder) / f"{name}.avsc", Path(folder) / f"{name}.layout"
    source.write_text(json.dumps(of))
    subprocess.run([BUILD / "flotilla", "schema", source, "-o", layout], check=True,
                   stdout=subprocess.DEVNULL)
    return layout


def relay_flags():
    """The flags that this build's relay has, by its own help."""
    text = subprocess.run([BUILD / "flotilla-relay", "--help"], capture_output=True, text=True,
                          check=True).stdout
    return {line.split()[0] for line in text.splitlines() if line.startswith("  --")}
