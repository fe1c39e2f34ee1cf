# SPDX-License-Identifier: MIT
"""091-manual: what docs/analysis.md says is done, line by line, and the notebook of examples/ is
run: both on recordings of the demo's fleet."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import fastavro
import pytest
from harness.fleet import FLOTILLA, ROOT, wait_until
from harness.readers import SYSTEM_PYTHON

# It has the demo's addresses.
pytestmark = pytest.mark.xdist_group("demo")
TEXT = (ROOT / "docs/analysis.md").read_text()
BLOCKS = {name: text for name, text in re.findall(r"^```\w+ (\w+)\n(.*?)^```$", TEXT, re.M | re.S)}
SPARK = ROOT / "build/interop/spark"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """The demo's fleet at work, in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    demo = subprocess.Popen([SYSTEM_PYTHON, ROOT / "examples/demo", "--folder", folder],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: demo.poll() is not None or
                   glob.glob(f"{folder}/recordings/housekeeping/*.avro.part"), seconds=60,
                   what="the demo to record")
        if demo.poll() is not None:
            pytest.fail("the demo does not run: " + demo.stdout.read())
        yield folder
    finally:
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=90)
        assert demo.returncode == 0, said


def rows_of(folder):
    """How many datums there are in a channel's files by now."""
    done = subprocess.run([FLOTILLA, "info", "--json", folder], capture_output=True, text=True)
    return sum(json.loads(line).get("datums", 0) for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def recordings(fleet, tmp_path_factory):
    """A copy of what is recorded by a moment, as finished files: they hold still."""
    folder = tmp_path_factory.mktemp("copy")

    def recorded():
        folders = [path for path in (fleet / "recordings").iterdir() if path.is_dir()]
        return folders and all(rows_of(path) > (200 if path.name == "engine" else 0)
                               for path in folders)
    wait_until(recorded, seconds=60, what="each channel to have recorded something")
    for path in fleet.glob("recordings/*/*.avro*"):
        to = folder / path.relative_to(fleet).with_suffix("" if path.suffix == ".part" else
                                                          path.suffix)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    return folder


@pytest.fixture
def here(recordings, monkeypatch):
    monkeypatch.chdir(recordings)
    monkeypatch.syspath_prepend(str(ROOT / "python"))
    return [row for path in sorted(Path("recordings/engine").glob("*[0-9].avro"))
            for row in fastavro.reader(open(path, "rb"))]


def run(name, **names):
    exec(compile(BLOCKS[name], f"docs/analysis.md, {name}", "exec"), names)
    return names


def test_091_every_line_is_run():
    assert set(BLOCKS) == {"fastavro", "polars", "duckdb", "spark", "flotilla", "hdf5", "pin"}


def test_091_fastavro(here):
    assert run("fastavro")["rows"] == here and len(here) > 100


def test_091_polars(here):
    import polars
    run("polars")
    frame = polars.read_parquet("engine.parquet")
    assert frame["counter"].to_list() == [row["counter"] for row in here]
    assert frame["speed"].to_list() == [row["speed"] for row in here]


def by_state(rows):
    states = {}
    for row in rows:
        states.setdefault(row["state"], []).append(row["speed"])
    return {(state, len(speeds), max(speeds)) for state, speeds in states.items()}


def test_091_duckdb(here):
    """INSTALL would fetch DuckDB's own extension: a package carries the same file."""
    import duckdb
    import duckdb_extension_avro
    (extension,) = Path(duckdb_extension_avro.__file__).parent.glob(
        f"extensions/v{duckdb.__version__}/avro.duckdb_extension")
    connection = duckdb.connect()
    connection.load_extension(str(extension))
    text = BLOCKS["duckdb"]
    assert text.startswith("INSTALL avro;\nLOAD avro;\n")
    answer = connection.sql(text.partition("LOAD avro;\n")[2]).fetchall()
    assert set(answer) == by_state(here)


def test_091_spark(here):
    """Where `make interop` has installed it."""
    python, jars = SPARK / "bin/python", glob.glob(f"{SPARK}/*.jar")
    if not python.exists() or not jars:
        pytest.skip("needs Spark: make interop")
    program = (
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')"
        ".config('spark.driver.host', '127.0.0.1').config('spark.driver.bindAddress', '127.0.0.1')"
        f".config('spark.jars', {jars[0]!r}).getOrCreate()\n" + BLOCKS["spark"]
        + "print('ANSWER', [tuple(row) for row in answer.collect()])\n")
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(eval(done.stdout.partition("ANSWER ")[2])) == by_state(here)


def test_091_the_package(here):
    made = run("flotilla")
    assert list(made["frame"].columns) == ["speed", "torque"]
    assert made["table"]["counter"].to_list() == [row["counter"] for row in here]
    assert made["frame"]["speed"].tolist() == [row["speed"] for row in here]
    assert len(made["hours"]) == min(2000, len(here))


def test_091_pins(fleet):
    environment = dict(os.environ, PATH=f"{FLOTILLA.parent}:{os.environ['PATH']}")
    done = subprocess.run(["sh", "-ec", BLOCKS["pin"]], cwd=fleet, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^recordings/engine: pinned as overspeed: ", done.stdout, re.M)
    assert done.stdout.endswith("engine: overspeed is pinned no more\n")


def test_091_the_notebook(fleet, monkeypatch):
    """From the live fleet to the plot: no cell fails, nothing is missing, the span is pinned."""
    import nbclient
    import nbformat
    monkeypatch.setenv("FLEET", str(fleet / "fleet.yaml"))
    monkeypatch.setenv("FLOTILLA", str(FLOTILLA))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "python"))
    notebook = nbformat.read(ROOT / "examples/pinned-event.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit no output"
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = "".join(output.get("text", "") for output in outputs)
    assert re.search(r"^speed \d+\.\d at \S+ \S+, 0 datagrams dropped$", said, re.M), said
    counted = re.search(r"^(\d+) datums, 0 missing by their counter$", said, re.M)
    assert counted and 100 <= int(counted[1]) <= 500, said
    assert any("image/png" in output.get("data", {}) for output in outputs)
    listed = subprocess.run([FLOTILLA, "info", fleet / "recordings/engine"], capture_output=True,
                            text=True).stdout
    assert "pinned as overspeed" in listed
