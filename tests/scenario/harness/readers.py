# SPDX-License-Identifier: MIT
"""The independent Avro readers, each in a process of its own over many files; what they print is
described in tests/readers/canonical.py. avrocat, libavro's own tool, prints JSON a line a datum;
its lines are counted."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .fleet import ROOT

FOLDER = ROOT / "tests/readers"
SYSTEM_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
COMMANDS = {
    "python3-avro": [SYSTEM_PYTHON, "-W", "ignore", FOLDER / "read_python_avro.py"],
    "fastavro": [sys.executable, FOLDER / "read_fastavro.py"],
    "avsc": ["node", FOLDER / "read_javascript.js", "avsc"],
    "avro-js": ["node", FOLDER / "read_javascript.js", "avro-js"],
    "libavro": [ROOT / "build/units/read_libavro"],
}

# Those that know zstandard. The distribution's package for it is not there; the venv's is.
OF_ZSTANDARD = {
    "python3-avro": [sys.executable, *COMMANDS["python3-avro"][1:]],
    "fastavro": COMMANDS["fastavro"],
}


def run(reader, paths, timeout=900, commands=COMMANDS):
    """{path: "COUNT\\tDIGEST" or "error\\t..."} of one reader."""
    environment = dict(os.environ, NODE_PATH=str(ROOT / "build/node/node_modules"))
    results = {}
    paths = [str(path) for path in paths]
    for begin in range(0, len(paths), 200):  # an argument list has its limits
        done = subprocess.run([str(w) for w in commands[reader]] + paths[begin:begin + 200],
                              capture_output=True, text=True, timeout=timeout, env=environment)
        for line in done.stdout.splitlines():
            path, _, rest = line.partition("\t")
            results[path] = rest
        assert done.returncode == 0, (reader, done.stderr)
    missing = [path for path in paths if path not in results]
    assert not missing, f"{reader} said nothing of {missing}"
    return results


def avrocat_count(path):
    """How many datums libavro's avrocat prints; None where it is not installed."""
    if not shutil.which("avrocat"):
        return None
    done = subprocess.run(["avrocat", str(path)], capture_output=True, timeout=600)
    assert done.returncode == 0, (path, done.stderr.decode(errors="replace"))
    return done.stdout.count(b"\n")
