# SPDX-License-Identifier: MIT
"""075-csv: `flotilla export` to CSV, read by Python's csv and by polars: every cell is the row's
value, whatever its type."""
import csv
import datetime
import errno
import io
import json
import math
import os
import signal
import subprocess

import fastavro
import polars
import pytest
from harness import avro, exports, hdf5
from harness.exports import same, same_json
from harness.fleet import FLOTILLA

ROUNDS = 25


def cell_is(column, text, wanted):
    """`text`: None where nothing stands there."""
    if wanted is None or text is None:
        return text is None and wanted is None
    if column.kind in ("array", "map"):
        return same_json(column, json.loads(text), wanted)
    read = {"boolean": lambda: {"true": True, "false": False}[text], "int": lambda: int(text),
            "long": lambda: int(text), "float": lambda: float(text), "double": lambda: float(text),
            "bytes": lambda: bytes.fromhex(text), "fixed": lambda: bytes.fromhex(text)}
    return same(column.kind, read.get(column.kind, lambda: text)(), wanted)


def stamp(ns):
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=ns // 10**9)
    return f"{moment.isoformat()}.{ns % 10**9:09d}Z"


def check(data, schema, values):
    """The bytes of a CSV file hold the values."""
    columns, rows = exports.expected(schema, values)
    time, unit = exports.time_of(schema)
    columns = [column for column in columns if column != time]
    lines = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert data.endswith(b"\r\n")
    assert lines[0] == [time, *columns]
    assert len(lines) == len(rows) + 1
    # polars tells nothing from an empty text.
    frame = polars.read_csv(data, infer_schema=False, truncate_ragged_lines=False)
    assert frame.columns == lines[0] and frame.height == len(rows)
    for line, other, row, value in zip(lines[1:], frame.iter_rows(), rows, values):
        assert line[0] == other[0] == stamp(value[time] * unit)
        for column, text, word in zip(columns, line[1:], other[1:]):
            assert cell_is(column, word, row[column]), (column, word, row[column])
            assert text == ("" if word is None else word)


@pytest.mark.parametrize("format", ["csv", "mcap"])
def test_075_a_reader_that_goes(format, rng, tmp_path):
    """`| head`: ends as cat does, by the signal and without a word."""
    schema, values = exports.drawn(rng)
    exports.write(tmp_path / "r.avro", schema, values * (1 + 2000 // len(values)), rng)
    words = [FLOTILLA, "export", "r.avro", "r.avro", "-o", "-", "--format", format]
    run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout.read(1)
    run.stdout.close()
    assert (run.stderr.read(), run.wait(timeout=60)) == (b"", -signal.SIGPIPE)


def test_075_random_schemas(flotilla, seed, tmp_path):
    for rng in exports.rounds("csv", ROUNDS, seed):
        schema, values = exports.drawn(rng)
        exports.write(tmp_path / "r.avro", schema, values, rng)
        flotilla("export", "r.avro", "-o", "r.csv", cwd=tmp_path, check=0)
        check((tmp_path / "r.csv").read_bytes(), schema, values)


ROW = {"time": 1700000000123456, "a,b": 0.1, "text": "", "none": None, "q": 'x"y\r\n', "f": 0.1,
       "n": math.nan, "i": -math.inf}
SCHEMA = avro.Schema({"type": "record", "name": "R", "fields": [
    exports.TIME, {"name": "a,b", "type": "double", "unit": "1/min"},
    {"name": "text", "type": "string"}, {"name": "none", "type": ["null", "string"]},
    {"name": "q", "type": "string"}, {"name": "f", "type": "float"},
    {"name": "n", "type": "double"}, {"name": "i", "type": "double"}]})
HEADING = '"a,b [1/min]",text,none,q,f,n,i\r\n'
CELLS = '0.1,"",,"x""y\r\n",0.1,NaN,-inf\r\n'


@pytest.fixture
def one(tmp_path):
    values = [dict(ROW, none=avro.Branch(0, None))]
    exports.write(tmp_path / "one.avro", SCHEMA, values)
    return tmp_path


@pytest.mark.parametrize("clock, heading, time", [
    ((), "time,", "2023-11-14T22:13:20.123456000Z,"),
    (("--time-as", "text"), "time,", "2023-11-14T22:13:20.123456000Z,"),
    (("--time-as", "s"), "time [s],", "1700000000.123456000,"),
    (("--time-as", "ns"), "time [ns],", "1700000000123456000,"),
    (("--time", "arrival"), "t,time,", "1970-01-01T00:00:01.000000000Z,1700000000123456,"),
])
def test_075_to_the_letter(flotilla, one, clock, heading, time):
    """Also into a pipe."""
    done = flotilla("export", "one.avro", "-o", "-", "--format", "csv", *clock, cwd=one, check=0,
                    text=False)
    assert done.stdout.decode() == heading + HEADING + time + CELLS


def test_075_times_before_1970(flotilla, tmp_path, rng):
    """As any other; also the least and the greatest that 64 bits say."""
    schema = avro.Schema({"type": "record", "name": "R", "fields": [
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
        {"name": "x", "type": "int"}]})
    times = [-1, -10**9, -10**9 - 1, 0, 1, -2**63, 2**63 - 1, 10**9 - 1,
             -86400 * 10**9, 951782400 * 10**9, -2203891200 * 10**9,  # a leap day and none
             *(rng.randrange(-2**63, 2**63) for _ in range(300))]
    hdf5.write(tmp_path / "t.avro", schema, [{"t": time, "x": 0} for time in times], time="t")
    flotilla("export", "t.avro", "-o", "t.csv", cwd=tmp_path, check=0)
    lines = (tmp_path / "t.csv").read_text().split("\n")[1:-1]
    assert [line.split(",")[0] for line in lines] == [stamp(time) for time in times]


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
def test_075_a_link_stays(flotilla, one, there):
    """What it leads to is replaced, in one step, as cp and h5py write there."""
    (one / "to").mkdir()
    target, link, other = one / "to/target.csv", one / "link.csv", one / "to/other.csv"
    link.symlink_to("to/other.csv")
    other.symlink_to(target)
    if there:
        target.write_text("before")
        held = open(target)
    flotilla("export", "one.avro", "-o", "link.csv", cwd=one, check=0)
    assert link.is_symlink() and other.is_symlink() and not target.is_symlink()
    assert target.read_text().startswith("time,")
    if there:  # whoever reads the old one has it whole
        assert held.read() == "before"
        held.close()
    link.unlink()
    link.symlink_to("link.csv")
    done = flotilla("export", "one.avro", "-o", "link.csv", cwd=one, check=1)
    assert os.strerror(errno.ELOOP) in done.stderr


def test_075_what_stands_for_standard_output(one):
    """A link to it is written through, and stays."""
    out, link = one / "out.csv", one / "stdout"
    link.symlink_to("/dev/stdout")
    with open(out, "w") as file:
        subprocess.run([FLOTILLA, "export", "one.avro", "-o", "stdout", "--format", "csv"],
                       cwd=one, stdout=file, check=True)
    assert out.read_text().startswith("time,") and link.is_symlink()


def test_075_no_time_and_a_single_column(flotilla, tmp_path):
    """No line is empty: most readers would pass over it."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "v", "type": ["null", "int"]}]}
    with open(tmp_path / "v.avro", "wb") as file:
        fastavro.writer(file, schema, [{"v": 1}, {"v": None}, {"v": -2}])
    flotilla("export", "v.avro", "-o", "v.csv", cwd=tmp_path, check=0)
    assert (tmp_path / "v.csv").read_bytes() == b'v\r\n1\r\n""\r\n-2\r\n'


def test_075_clocks_are_for_text(flotilla, one):
    done = flotilla("export", "one.avro", "-o", "one.mf4", "--time-as", "ns", cwd=one, check=2)
    assert "--time-as" in done.stderr and not (one / "one.mf4").exists()
    done = flotilla("export", "one.avro", "-o", "one.csv", "--time-as", "min", cwd=one, check=2)
    assert "min" in done.stderr


def test_075_read_as_numbers(flotilla, one):
    """With nothing said to it polars takes numbers for numbers and times for times."""
    flotilla("export", "one.avro", "-o", "one.csv", cwd=one, check=0)
    frame = polars.read_csv(one / "one.csv", try_parse_dates=True)
    assert frame["a,b [1/min]"].dtype == polars.Float64
    assert frame["time"].dtype == polars.Datetime
    assert frame["n"].is_nan().all() and frame["i"].item() == -math.inf
    assert frame["text"].item() == "" and frame["none"].item() is None
