# SPDX-License-Identifier: MIT
"""037-fields: `--fields` prints what was chosen, where the whole datum has it. Schemas and datums
are drawn at random; what is to be printed is worked out here from the values, which never were
bytes."""
import json

import fastavro
import pytest
import recording_file as files
from harness import avro
from harness.columns import leaves, shape
from harness.fleet import Fleet

ROUNDS = 40


def pruned(tree, wanted):
    if tree is None:
        return None
    kind, below = tree
    if kind == "leaf":
        return tree if below in wanted else None
    if kind == "record":
        below = {name: pruned(part, wanted) for name, part in below.items()}
        below = {name: part for name, part in below.items() if part}
        return (kind, below) if below else None
    if kind == "union":
        below = [pruned(part, wanted) for part in below]
        return (kind, below) if any(below) else None
    below = pruned(below, wanted)
    return (kind, below) if below else None


def plain(value):
    if isinstance(value, avro.Branch):
        return plain(value.value)
    return value.decode("latin-1") if isinstance(value, bytes) else value


def shown(tree, value, may_be_null=False):
    """(what JSON shows of the value, whether anything of it is there)."""
    kind, below = tree
    if kind == "union":
        may_be_null |= len(below) > 1
        below = below[value.index]
        return shown(below, value.value, may_be_null) if below else (None, False)
    if kind == "record":
        parts = {name: shown(part, value[name], may_be_null) for name, part in below.items()}
        there = any(part[1] for part in parts.values())
        return ({name: part[0] for name, part in parts.items()} if there or not may_be_null
                else None), there
    if kind == "array":
        return [shown(below, item)[0] for item in value], True
    if kind == "map":
        return {key: shown(below, item)[0] for key, item in value.items()}, True
    return plain(value), value is not None


def chosen(rng, paths):
    """(fields to ask for, the columns that are to come of them)."""
    fields = []
    for _ in range(rng.randint(1, 3)):
        words = rng.choice(paths)
        for _ in range(rng.randint(0, 2)):  # the record around it, and so on
            words = words.rpartition(".")[0] or words
        fields.append(rng.choice([words, words.replace("[]", "")]))

    def covers(field, path):
        field, path = field.replace("[]", ""), path.replace("[]", "")
        return path == field or path.startswith((field + ".", field + ":"))
    return fields, [path for path in paths if any(covers(field, path) for field in fields)]


def recording(path, schema, datums, rng):
    sync = rng.randbytes(16)
    out = files.write_header({"avro.schema": json.dumps(schema.json).encode(),
                              "avro.codec": b"deflate"}, sync)
    for at in range(0, len(datums), 7):
        out += files.write_block(datums[at:at + 7], 1, sync, len(out))
    path.write_bytes(out)


def test_037_random_schemas(flotilla, rng, tmp_path):
    path, fields_seen = tmp_path / "random.avro", 0
    for _ in range(ROUNDS):
        schema = avro.random_schema(rng)
        tree = shape(schema)
        paths = leaves(tree)
        values = [avro.random_value(rng, schema) for _ in range(20)]
        recording(path, schema, [avro.encode(schema, value, rng=rng) for value in values], rng)
        listed = json.loads(flotilla("schema", "--json", put(tmp_path, schema), check=0).stdout)
        assert [one["column"] for one in listed["columns"]
                if one["type"] not in ("array", "map")] == paths
        for _ in range(3):
            fields, wanted = chosen(rng, paths) if paths else ([], [])
            if not wanted or any("," in field or not field for field in fields):
                continue
            done = flotilla("cat", path, "--fields", ",".join(fields), check=0)
            found = [json.loads(line) for line in done.stdout.splitlines()]
            assert found == [shown(pruned(tree, wanted), value)[0] for value in values], \
                (schema.json, fields)
            fields_seen += len(wanted)
    assert fields_seen > ROUNDS


def put(tmp_path, schema):
    path = tmp_path / "random.avsc"
    path.write_text(json.dumps(schema.json))
    return path


A = {"type": "record", "name": "A", "fields": [
    {"name": "time", "type": "long"},
    {"name": "position", "type": {"type": "record", "name": "P", "fields": [
        {"name": "lat", "type": "double"}, {"name": "lon", "type": ["null", "double"]}]}},
    {"name": "tracks", "type": {"type": "array", "items": {
        "type": "record", "name": "T", "fields": [
            {"name": "x", "type": "int"}, {"name": "id", "type": "string"}]}}},
    {"name": "next", "type": ["null", "A"]}]}
ONE = {"time": 7, "position": {"lat": 1.5, "lon": None}, "next": None,
       "tracks": [{"x": 1, "id": "a"}, {"x": 2, "id": "b"}]}


@pytest.fixture
def two(tmp_path):
    """A recording with the fields, and one without."""
    for name, schema, datum in (("a", A, ONE), ("b", {"type": "record", "name": "B", "fields": [
            {"name": "time", "type": "long"}]}, {"time": 8})):
        with open(tmp_path / f"{name}.avro", "wb") as file:
            fastavro.writer(file, schema, [datum], codec="null")
    return tmp_path


@pytest.mark.parametrize("fields, line", [
    ("time", '{"time": 7}'),
    ("position.lon,time", '{"time": 7, "position": {"lon": null}}'),
    ("position", '{"position": {"lat": 1.5, "lon": null}}'),
    ("tracks.x", '{"tracks": [{"x": 1}, {"x": 2}]}'),
    ("tracks[].id,tracks.x", '{"tracks": [{"x": 1, "id": "a"}, {"x": 2, "id": "b"}]}'),
])
def test_037_shown(flotilla, two, fields, line):
    assert flotilla("cat", "a.avro", "--fields", fields, cwd=two, check=0).stdout == line + "\n"


@pytest.mark.parametrize("fields, error", [
    ("tiem", 'no field "tiem"; did you mean "time"?'),
    ("lat", 'no field "lat"; did you mean "position.lat"?'),
    ("time,next.time", 'field "next.time" has no column: "next" leads back into A, which contains '
                       'it'),
])
def test_037_refused(flotilla, two, fields, error):
    done = flotilla("cat", "a.avro", "--fields", fields, cwd=two)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"a.avro: {error}\n")


def test_037_a_file_without_the_field_is_passed_over(flotilla, two):
    done = flotilla("cat", "b.avro", "a.avro", "--fields", "position.lat,time", cwd=two)
    assert done.returncode == 1
    assert done.stdout == '{"time": 7, "position": {"lat": 1.5}}\n'
    assert done.stderr == 'b.avro: no field "position.lat"\n'
    done = flotilla("cat", "b.avro", "a.avro", "--fields", "time", cwd=two, check=0)
    assert done.stdout == '{"time": 8}\n{"time": 7}\n'


@pytest.mark.parametrize("fields", ["", ",", "time,", "a,,b"])
def test_037_usage(flotilla, two, fields):
    done = flotilla("cat", "a.avro", "--fields", fields, cwd=two)
    assert done.returncode == 2 and f'not "{fields}"' in done.stderr


def test_037_listen(seed, flotilla):
    """The live stream, and the recording of it, give the same fields of the same datums."""
    with Fleet({"a": {"schema": A, "full": True}}) as fleet:
        listen = fleet.listening("a", "--json", "--fields", "time,position.lat", "--count", "50")
        flotilla("send", "a", "--rate", "500", "--count", "50", "-c", fleet.file, check=0)
        heard, told = listen.communicate(timeout=30)
        assert listen.returncode == 0, told
        lines = [json.loads(line) for line in heard.splitlines()]
        assert all(list(line) == ["time", "position"] and list(line["position"]) == ["lat"]
                   for line in lines)
        fleet.settle({"a": 50})
        (part,) = fleet.files("a")
        assert flotilla("cat", part, "--fields", "time,position.lat", check=0).stdout == heard
        refused = flotilla("listen", "a", "--fields", "tim", "-c", fleet.file)
        assert refused.returncode == 1
        assert refused.stderr == \
            'flotilla listen: channel a: no field "tim"; did you mean "time"?\n'
