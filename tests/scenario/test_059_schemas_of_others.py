# SPDX-License-Identifier: MIT
"""059-schemas-of-others: strict where a schema goes into every recording, lenient where a header is
only read. What is said of a channel's schema about readers is held against these readers; what a
header may hold, against fastavro."""
import io
import json
import shutil
import struct
import subprocess
from pathlib import Path

import fastavro
import pytest
from avro.datafile import DataFileReader
from avro.io import DatumReader
from harness import avro
from harness.fleet import ROOT, Fleet, wait_until

FILES_OF_OTHERS = (ROOT / "../shared/trials/files").resolve()
REAL = struct.pack("<d", 1.5)
SYNC = b"0123456789abcdef"


def of_others(name):
    if not (FILES_OF_OTHERS / name).is_file():
        pytest.skip(f"needs {FILES_OF_OTHERS / name}")
    return FILES_OF_OTHERS / name


def counted(data):
    return avro.long(len(data)) + data


def write_file(path, schema, datums, count=1):
    """A container file of another program's."""
    if isinstance(schema, str):
        schema = schema.encode()
    path.write_bytes(b"Obj\1" + avro.long(2) + counted(b"avro.schema") + counted(schema)
                     + counted(b"avro.codec") + counted(b"null") + b"\0" + SYNC
                     + avro.long(count) + counted(datums) + SYNC)
    return path


def record(*fields, more=""):
    return '{"type": "record", "name": "R"' + more + ', "fields": [' + ", ".join(fields) + "]}"


def field(name, kind, more=""):
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "type": {kind}{more}}}'


# What goes into recordings ---------------------------------------------------------------------

def reads_fastavro(path):
    with open(path, "rb") as file:
        return list(fastavro.reader(file))


def reads_python(path):
    with open(path, "rb") as file:
        return list(DataFileReader(file, DatumReader()))


def reads_avsc(path):
    script = """require(process.argv[1]).createFileDecoder(process.argv[2]).on('data', () => {})
        .on('error', () => process.exit(1))"""
    modules = ROOT / "build/node/node_modules/avsc"
    if not modules.is_dir() or shutil.which("node") is None:
        pytest.skip("needs avsc: make setup")
    subprocess.run(["node", "-e", script, str(modules), str(path)], check=True, timeout=60,
                   capture_output=True)


READERS = {"fastavro": reads_fastavro, "Avro for Python": reads_python, "avsc": reads_avsc}

# name: (schema, a datum of it, where the word is, an error or a warning)
TOLD = {
    "union_in_type": (record(field("x", '{"type": ["null", "double"]}')), b"\2" + REAL,
                      "fields[0].type.type", True),
    "logical_in_type": (record(field("x", '{"type": {"type": "long", "logicalType": '
                                          '"timestamp-micros"}}')), b"\2",
                        "fields[0].type.type", True),
    "array_in_type": (record(field("x", '{"type": {"type": "array", "items": "int"}}')), b"\0",
                      "fields[0].type.type", True),
    "record_in_type": ('{"type": ' + record(field("x", '"double"')) + "}", REAL, "type", True),
    "name_in_type": (record(field("p", '{"type": "fixed", "name": "P", "size": 1}'),
                            field("q", '{"type": "P"}')), b"ab", "fields[1].type.type", False),
    "nan": (record(field("x", '"double"', ', "default": "NaN"')), REAL, "fields[0].default", False),
    "infinity": (record(field("x", '"float"', ', "default": "-Infinity"')), b"\0" * 4,
                 "fields[0].default", False),
    "null_second": (record(field("x", '["double", "null"]', ', "default": null')), b"\0" + REAL,
                    "fields[0].default", False),
    "namespace": (record(field("x", '"double"'), more=', "namespace": "my-db.public.t"'), REAL,
                  "namespace", False),
    "inner_class": (record(field("x", '"double"'), more=', "namespace": "org.example.Outer$"'),
                    REAL, "namespace", False),
    "type_name": ('{"type": "record", "name": "my type", "fields": []}', b"", "name", True),
    "field_name": (record(field("motor-speed", '"double"')), REAL, "fields[0].name", True),
    "symbol": ('{"type": "enum", "name": "E", "symbols": ["N/A"]}', b"\0", "symbols[0]", True),
    "precision": (record(field("x", '{"type": "bytes", "logicalType": "decimal", "precision": 0}')),
                  b"\2a", "fields[0].type", False),
    "digits": (record(field("x", '{"type": "fixed", "name": "F", "size": 2, "logicalType": '
                                 '"decimal", "precision": 30}')), b"ab",
               "fields[0].type.precision", False),
}


def readers_told(message):
    """Of READERS, those that a message says do not open the files."""
    if "no reader opens" in message:
        return set(READERS)
    said = message.split(" do not open files with ")[0]
    assert said != message, message
    return {name for name in READERS if name in said}


@pytest.mark.parametrize("name", TOLD)
def test_059_what_some_readers_do_not_open(flotilla, tmp_path, name):
    schema, datum, where, is_error = TOLD[name]
    path = tmp_path / "s.avsc"
    path.write_text(schema)
    shown = json.loads(flotilla("schema", "--json", path, check=1 if is_error else 0).stdout)
    told = shown["errors" if is_error else "warnings"]
    assert [one["path"] for one in told] == [where]
    assert told[0]["line"] == 1
    (tmp_path / "fleet.yaml").write_text(
        f"runtime: run\nchannels: {{c: {{listen: 127.0.0.1:29999, schema: {path.name}}}}}\n")
    checked = flotilla("check", "-c", tmp_path / "fleet.yaml", check=78 if is_error else 0)
    assert told[0]["message"] in checked.stdout + checked.stderr
    # What is said is true of the readers that are here.
    file = write_file(tmp_path / "f.avro", schema, datum)
    failed = set()
    for reader, read in READERS.items():
        try:
            read(file)
        except pytest.skip.Exception:
            raise
        except Exception:  # each has its own
            failed.add(reader)
    assert failed == readers_told(told[0]["message"])


def test_059_a_shared_schema_is_recorded(flotilla):
    """NaN, a null that is no first type, another's namespace: warned of, and recorded as it is."""
    schema = ('{"type": "record", "name": "V", "namespace": "my-db.t", "fields": ['
              '{"name": "x", "type": "double", "default": "NaN"}, '
              '{"name": "y", "type": ["double", "null"], "default": null}]}')
    datum = struct.pack("<dBd", 2.5, 0, 3.5)
    with Fleet({"c": {"schema": "s.avsc"}}, run=False) as fleet:
        (fleet.folder / "s.avsc").write_text(schema)
        fleet.write()
        fleet.start()
        fleet.source("c", [datum] * 5).finish()
        fleet.settle({"c": 5})
        fleet.stop()
        fleet.laws = False
        (file,) = fleet.files("c")
        assert reads_fastavro(file) == [{"x": 2.5, "y": 3.5}] * 5
        assert flotilla("cat", "--schema", file, check=0).stdout.strip() == schema


def test_059_words_for_what_is_no_schema(flotilla, tmp_path):
    def told(data):
        (tmp_path / "s.avsc").write_bytes(data)
        shown = json.loads(flotilla("schema", "--json", "s.avsc", cwd=tmp_path, check=1).stdout)
        (one,) = shown["errors"]
        return one["line"], one["column"], one["message"]

    protocol = b'\n {"protocol": "P", "types": [], "messages": {}}'
    assert told(protocol)[:2] == (2, 2) and "a protocol (.avpr), not a schema" in told(protocol)[2]
    for form in "utf-16", "utf-16-be", "utf-16-le":
        assert told('"int"'.encode(form)) == (1, 1, "the text is UTF-16; save it as UTF-8")


def test_059_every_error_has_a_place(flotilla, tmp_path):
    def places(text, *options):
        (tmp_path / "s.avsc").write_text(text)
        done = flotilla("schema", "--json", "s.avsc", *options, cwd=tmp_path, check=1)
        return [(one["line"], one["column"]) for one in json.loads(done.stdout)["errors"]]

    # A record of two of a record of two ... of nothing: 2^24 fields without a byte.
    empty = '{"type": "record", "name": "L0", "fields": []}'
    for level in range(1, 25):
        empty = (f'{{"type": "record", "name": "L{level}", "fields": [\n{field("a", empty)},'
                 f'{field("b", json.dumps(f"L{level - 1}"))}]}}')
    ((line, column),) = places(empty)
    assert (line, column) == (5, 23)  # L20
    inner = record(field("n", '\n{"type": "record", "name": "N", "fields": []}'))
    assert places(inner, "--time", "n.x") == [(2, 1)]
    assert places(record(field("a", '"string"')), "--sequence", "a") == [(1, 66)]


# What is only read -----------------------------------------------------------------------------

R = record(field("x", '"double"'))
# name: (schema, datums, count)
HEADERS = {
    "dollar_namespace": (record(field("x", '"double"'),
                                more=', "namespace": "org.apache.avro.mapred.TestReflectJob$"'),
                         REAL, 1),
    "dots": (record(field("x", '"double"'), more=', "namespace": "a..b"'), REAL, 1),
    "type_name": ('{"type": "record", "name": "n-me", "fields": [' + field("x", '"double"') + "]}",
                  REAL, 1),
    "no_name": ('{"type": "record", "name": "", "fields": [' + field("x", '"double"') + "]}",
                REAL, 1),
    "primitive": ('{"type": "record", "name": "int", "fields": [' + field("x", '"int"') + "]}",
                  b"\2", 1),
    "escape": ('{"type": "record", "name": "\\u001b[31mR", "fields": [' + field("x", '"int"')
               + "]}", b"\2", 1),
    "letters": ('{"type": "record", "name": "Größe", "fields": [' + field("température", '"int"')
                + "]}", b"\2", 1),
    "blanks": (record(field("Engine speed (rpm)", '"double"'), field("a.b", '"int"'),
                      field("", '"int"'), field('"\\\u0001\u007f\u0085', '"int"')),
               REAL + b"\2\4\6", 1),
    "field_twice": (record(field("x", '"int"'), field("y", '"int"'), field("x", '"int"')),
                    b"\2\4\6", 1),
    "key_twice": (R.replace('"R"', '"R", "doc": "1", "doc": "2"'), REAL, 1),
    "aliases": (R.replace('"R"', '"R", "aliases": ["old-name"]'), REAL, 1),
    "surrogate": (R.replace('"R"', '"R", "doc": "\\ud83d \\ude00"'), REAL, 1),
    "nul": (R.replace('"R"', '"R", "k\\u0000": 1'), REAL, 1),
    "large_number": (R.replace('"double"', '"double", "default": 1e400'), REAL, 1),
    "large_integer": (R.replace('"double"', '"double", "default": 99999999999999999999'), REAL, 1),
    "bare_nan": (R.replace('"double"', '"double", "default": NaN'), REAL, 1),
    "no_symbols": (record(field("x", '"double"'),
                          field("e", '["null", {"type": "enum", "name": "E", "symbols": []}]')),
                   REAL + b"\0", 1),
    "union_twice": (record(field("x", '["double", "double"]')), b"\2" + REAL, 1),
    "union_in_union": (record(field("x", '["null", ["double", "int"]]')), b"\2\2\4", 1),
    "no_branch": (record(field("x", '"int"'), field("e", '{"type": "array", "items": []}')),
                  b"\2\0", 1),
    "order": (R.replace('"double"', '"double", "order": "desc"'), REAL, 1),
}
# What Java reads and fastavro does not: what is in them.
JAVA = {
    "symbols": ('{"type": "enum", "name": "E", "symbols": ["N/A", "KAR-MQTT", "1"]}', b"\0\2\4", 3,
                ["N/A", "KAR-MQTT", "1"]),
    "comments": ("/* \" */ " + R + " // the end", REAL, 1, [{"x": 1.5}]),
    "latin_1": (R.replace('"R"', '"R", "doc": "°C"').encode("latin-1"), REAL, 1, [{"x": 1.5}]),
    "name_in_type": (record(field("p", '{"type": "fixed", "name": "P", "size": 1}'),
                            field("q", '{"type": "P"}')), b"ab", 1, [{"p": "a", "q": "b"}]),
}


def lines_of(text):
    return [json.loads(line) for line in text.split("\n") if line]


def read_all(flotilla, path):
    """The datums, by every verb that reads a header."""
    shown = lines_of(flotilla("cat", path, check=0).stdout)
    flotilla("verify", path, check=0)
    flotilla("info", "--json", path, check=0)
    told = flotilla("info", path, check=0).stdout
    assert all(letter.isprintable() or letter == "\n" for letter in told)
    return shown


@pytest.mark.parametrize("name", HEADERS)
def test_059_headers_that_fastavro_reads(flotilla, tmp_path, name):
    schema, datums, count = HEADERS[name]
    path = write_file(tmp_path / "f.avro", schema, datums, count)
    assert read_all(flotilla, path) == reads_fastavro(path)


@pytest.mark.parametrize("name", JAVA)
def test_059_headers_that_java_reads(flotilla, tmp_path, name):
    schema, datums, count, wanted = JAVA[name]
    assert read_all(flotilla, write_file(tmp_path / "f.avro", schema, datums, count)) == wanted


def test_059_what_is_wrong_with_a_header_is_said(flotilla, tmp_path):
    path = write_file(tmp_path / "f.avro", '{"type": "record",\n "fields": []}', b"")
    told = flotilla("cat", path)
    assert told.returncode == 1 and "line 1, column 1: a type of kind record needs \"name\"" in \
        told.stderr


@pytest.mark.parametrize("name", ["dash.avro", "dup_doc.avro", "fastavro__part-00000.avro",
                                  "hamba__invalid-name.avro", "list_33.avro"])
def test_059_files_of_others(flotilla, name):
    path = of_others(name)
    assert read_all(flotilla, path) == reads_fastavro(path)


# Large ones ------------------------------------------------------------------------------------

def two_of_two(levels, last='{"name": "v", "type": "double"}'):
    """As fields-along-paths.avsc: two optional uses of a type, of two of a type ..."""
    schema = json.loads(record(last).replace('"R"', '"L0"'))
    for level in range(1, levels):
        schema = {"type": "record", "name": f"L{level}", "fields": [
            {"name": "a", "type": ["null", schema]},
            {"name": "b", "type": ["null", f"L{level - 1}"]}]}
    return schema


def test_059_types_that_are_used_again_and_again(flotilla, tmp_path):
    """2^24 numbers along the paths of a schema whose datum may have two bytes."""
    schema = two_of_two(25)
    datums = [b"\0\0", b"\2" * 24 + REAL + b"\0" * 24, b"\0\2" * 24 + REAL]
    keys = {"schema": schema, "full": True, "decimated": {"to": True, "factor": 1}}
    with Fleet({"c": keys}) as fleet:
        fleet.source("c", datums).finish()
        channel = fleet.settle({"c": 3})["c"]
        assert (channel["datums_accepted"], channel["datums_sent_decimated"]) == (3, 3)
        fleet.set("c", {**fleet.channels["c"], "decimated": {
            **fleet.channels["c"]["decimated"], "algorithm": "average"}})
        fleet.write()
        refused = flotilla("check", "-c", fleet.file, check=78)
        assert 'record "L17" has more than 65536 numbers' in refused.stdout + refused.stderr
        assert "use algorithm: downsample" in refused.stdout + refused.stderr
        (file,) = fleet.files("c")
        wait_until(lambda: len(flotilla("cat", file, check=0).stdout.splitlines()) == 3)
        assert lines_of(flotilla("cat", file).stdout)[0] == {"a": None, "b": None}


def test_059_fields_along_paths(flotilla):
    path = of_others("fields-along-paths.avsc")
    shown = json.loads(flotilla("schema", "--json", path, check=0).stdout)
    assert shown["min_bytes"] == 2


def test_059_a_time_field_beside_more_numbers_than_can_be_counted(flotilla, tmp_path):
    schema = {"type": "record", "name": "Top", "fields": [
        {"name": "much", "type": ["null", two_of_two(20)]}, {"name": "t", "type": "long"}]}
    (tmp_path / "s.avsc").write_text(json.dumps(schema))
    shown = json.loads(flotilla("schema", "--json", "--time", "t", tmp_path / "s.avsc",
                                check=0).stdout)
    assert [one["field"] for one in shown["numbers"]] == ["t"]


LIST = {"type": "record", "name": "L", "fields": [{"name": "v", "type": "int"},
                                                  {"name": "next", "type": ["null", "L"]}]}


def list_of(count):
    return b"\0\2" * (count - 1) + b"\0\0"


def test_059_depth(flotilla):
    """A list of 128 is 256 records and unions one in another."""
    with Fleet({"c": {"schema": LIST}}) as fleet:
        fleet.source("c", [list_of(count) for count in (1, 33, 100, 128, 129)]).finish()
        channel = fleet.settle({"c": 5})["c"]
        assert channel["datums_accepted"] == 4 and channel["rejected"] == {"depth": 1}, channel
        (file,) = (path for path in fleet.files("c") if "rejects" not in path.name)
        wait_until(lambda: len(flotilla("cat", file, check=0).stdout.splitlines()) == 4)
        parsed = fastavro.parse_schema(LIST)
        deepest = json.loads(flotilla("cat", file).stdout.splitlines()[-1])
        assert deepest == fastavro.schemaless_reader(io.BytesIO(list_of(128)), parsed)


# Replay ----------------------------------------------------------------------------------------

def test_059_a_recording_from_before_the_schema_was_annotated(flotilla, tmp_path):
    """A logical type that only one of the two has changes no byte; two that differ do mean it."""
    def schema(logical):
        more = f', "logicalType": "{logical}"' if logical else ""
        return json.loads(record(field("t", '{"type": "long"' + more + "}")))

    with Fleet({"new": {"schema": schema("timestamp-micros")}, "old": {"schema": schema(None)},
                "own": {"schema": schema("engine-time")},
                "other": {"schema": schema("timestamp-millis")}}) as fleet:
        file = write_file(tmp_path / "f.avro", json.dumps(schema(None)), b"\2\4\6", 3)
        micros = write_file(tmp_path / "g.avro", json.dumps(schema("timestamp-micros")), b"\2", 1)
        for channel in "new", "old", "own", "other":
            flotilla("send", channel, "--from", file, "-c", fleet.file, check=0)
        for channel in "new", "old", "own":
            flotilla("send", channel, "--from", micros, "-c", fleet.file, check=0)
        refused = flotilla("send", "other", "--from", micros, "-c", fleet.file)
        assert refused.returncode == 1
        assert "t: logicalType timestamp-micros, not timestamp-millis" in refused.stderr
        fleet.settle({"new": 4, "old": 4, "own": 4, "other": 3})


def test_059_made_up_datums_of_what_has_no_choices(flotilla, tmp_path):
    def send(schema):
        (tmp_path / "s.avsc").write_text(schema)
        return flotilla("send", "--to", "127.0.0.1:9", "--interface", "lo", "--schema",
                        tmp_path / "s.avsc", "--count", "20", "--rate", "1000")

    empty = '{"type": "enum", "name": "E", "symbols": []}'
    assert send(record(field("x", '"int"'), field("e", f'["null", {empty}]'))).returncode == 0
    for alone in empty, "[]":
        refused = send(record(field("x", alone)))
        assert refused.returncode == 1 and "has no choices" in refused.stderr
