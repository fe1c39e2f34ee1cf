# SPDX-License-Identifier: MIT
"""`flotilla schema`: wrong schemas with exactly what is said about each, warnings, and what is
shown of a right one, for people and for machines. Fingerprints are judged by fastavro's."""
import json

import fastavro
import pytest

F = '{"type": "fixed", "name": "F", "size": 2}'
R = '{"type": "record", "name": "R", "fields": [%s]}'

# name: (schema, lines that stderr has besides the quoted text and carets)
WRONG = {
    "empty": ("", ["1:1: not JSON: the text ends too early"]),
    "cut": ('{"type": "int"', ["1:15: not JSON: the text ends too early"]),
    "byte_order_mark": ('\ufeff"int"', ["1:1: not JSON: the text begins with a byte order mark; "
                                        "save it without one"]),
    "comma": ('{"type": "int"\n "doc": "x"}',
              ["2:2: not JSON: '}' expected near '\"doc\"'"]),
    "key_twice": ('{"type": "int",\n  "type": "long"}',
                  ['2:3: duplicate object key near \'"type"\'']),
    "number": ("7", ["1:1: a type is a name, a list (a union) or an object"]),
    "misspelt": (R % '{"name": "a", "type": "flaot"}',
                 ['1:66: fields[0].type: unknown type "flaot"; did you mean "float"?']),
    "foreign": ('"uint32"', ['1:1: unknown type "uint32"; did you mean "long"?']),
    "case": ('"String"', ['1:1: unknown type "String"; did you mean "string"?']),
    "unknown": ('"xyzzy"', ['1:1: unknown type "xyzzy"']),
    "logical_as_type": ('"date"', ['1:1: "date" is a logical type: {"type": "int", "logicalType": '
                                   '"date"}']),
    "not_written_out": ('"array"', ['1:1: type "array" must be written as an object: {"type": '
                                    '"array", ...}']),
    "too_early": (R % f'{{"name": "a", "type": "F"}},\n{{"name": "b", "type": {F}}}',
                  ['1:66: fields[0].type: type "F" is not known yet here; write its definition '
                   'where it is used first']),
    "union_word": ('"union"', ['1:1: a union is written as a list of types: ["null", "double"]']),
    "union_empty": ("[]", ["1:1: a union needs at least one type"]),
    "union_twice": ('["int", "int"]', ['1:9: [1]: the union has type "int" twice']),
    "union_in_union": ('["int", ["null"]]',
                       ["1:9: [1]: a union cannot stand directly in a union"]),
    "no_type": ('{"tpye": "int"}', ['1:1: a type written as an object needs "type"; is "tpye" '
                                    'meant to be it?']),
    "no_name": ('{"type": "record", "fields": []}', ['1:1: a type of kind record needs "name"']),
    "bad_name": ('{"type": "fixed", "name": "1F", "size": 1}',
                 ['1:27: name: bad name "1F": letters, digits and _, not starting with a digit; '
                  'avsc, hamba, goavro and Avro for Python do not open files with it']),
    "bad_field_name": (R % '{"name": "motor-speed", "type": "int"}',
                       ['1:53: fields[0].name: bad name "motor-speed": letters, digits and _, not '
                        'starting with a digit; avsc, hamba and goavro do not open files with it']),
    "primitive_name": ('{"type": "fixed", "name": "int", "size": 1}',
                       ['1:27: name: the name "int" is that of a primitive type']),
    "name_twice": (f"[{F},\n {F}]", ['2:2: [1]: the name "F" is defined twice; first at line 1, '
                                     'column 2']),
    "bad_alias": ('{"type": "fixed", "name": "F", "aliases": ["G", "a b"], "size": 1}',
                  ['1:49: aliases[1]: bad alias "a b": letters, digits and _, not starting with a '
                   'digit']),
    "doc": ('{"type": "fixed", "name": "F", "doc": 1, "size": 1}',
            ["1:39: doc: a doc is a string"]),
    "no_fields": ('{"type": "record", "name": "R"}', ['1:1: a record needs "fields"']),
    "fields_no_list": ('{"type": "record", "name": "R", "fields": {}}',
                       ['1:43: fields: "fields" must be a list']),
    "field_twice": (R % '{"name": "a", "type": "int"}, {"name": "a", "type": "int"}',
                    ['1:74: fields[1]: the record has two fields named "a"']),
    "field_no_type": (R % '{"name": "a"}', ['1:44: fields[0]: field "a" needs "type"']),
    "order": (R % '{"name": "a", "type": "int", "order": "descendin"}',
              ['1:82: fields[0].order: unknown order "descendin"; did you mean "descending"?']),
    "symbols": ('{"type": "enum", "name": "E", "symbols": ["A", "b c", "A"]}',
                ['1:48: symbols[1]: "b c": a symbol has letters, digits and _, and does not start '
                 "with a digit; but for Java's, no reader opens files with it",
                 '1:55: symbols[2]: "A": the symbol is there twice']),
    "no_symbols": ('{"type": "enum", "name": "E", "symbols": []}',
                   ["1:42: symbols: an enum needs at least one symbol"]),
    "enum_default": ('{"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}',
                     ['1:60: default: the enum has no symbol "B"']),
    "size": ('{"type": "fixed", "name": "F", "size": 1.5}',
             ['1:40: size: the "size" of a fixed is a whole number of bytes, 0 to 2147483647']),
    "values_for_items": ('{"type": "array", "values": "int"}',
                         ['1:1: a type of kind array needs "items", not "values"']),
    "endless": (R % '{"name": "a", "type": "R"}',
                ['1:1: record "R" contains itself by a with nothing between that could be left out '
                 '(a union, an array, a map): its datums would be endless']),
    "default_null": (R % '{"name": "a", "type": "int", "default": null}',
                     ["1:84: fields[0].default: the default of an int is a whole number from "
                      "-2147483648 to 2147483647, found null"]),
    "default_range": (R % '{"name": "a", "type": "int", "default": 2147483648}',
                      ["1:84: fields[0].default: the default of an int is a whole number from "
                       "-2147483648 to 2147483647, found a whole number"]),
    "default_of_no_branch": (R % '{"name": "a", "type": ["null", "int"], "default": "x"}',
                             ["1:94: fields[0].default: the default of a null is null, found a "
                              "string"]),
    "default_fixed": (R % f'{{"name": "a", "type": {F}, "default": "\\u0000"}}',
                      ["1:120: fields[0].default: the default has 1 bytes, the fixed has 2"]),
    "default_bytes": (R % '{"name": "a", "type": "bytes", "default": "\u0100"}',
                      ["1:86: fields[0].default: the default of bytes has characters beyond "
                       "\\u00ff; one stands for one byte"]),
    "default_items": (R % '{"name": "a", "type": {"type": "array", "items": "int"}, "default": '
                      '[1, "2"]}',
                      ["1:116: fields[0].default[1]: the default of an int is a whole number from "
                       "-2147483648 to 2147483647, found a string"]),
    "default_record": (R % ('{"name": "a", "type": ' + R.replace('"R"', '"S"')
                            % '{"name": "x", "type": "int"}' + ', "default": {}}'),
                       ['1:152: fields[0].default: the default lacks the field "x", which has no '
                        'default of its own']),
    "all_at_once": (R % '\n{"name": "a", "type": "imt"},\n{"name": "b", "type": "duble"},\n'
                    '{"name": "c", "type": "int", "default": "x"}',
                    ['2:23: fields[0].type: unknown type "imt"; did you mean "int"?',
                     '3:23: fields[1].type: unknown type "duble"; did you mean "double"?',
                     "4:41: fields[2].default: the default of an int is a whole number from "
                     "-2147483648 to 2147483647, found a string"]),
}

WARNED = {
    "unknown_logical": ('{"type": "long", "logicalType": "timestamp-milis"}',
                        '1:33: warning: logicalType: unknown logicalType "timestamp-milis" is '
                        'ignored; did you mean "timestamp-millis"?'),
    "logical_of_another": ('{"type": "long", "logicalType": "date"}',
                           '1:33: warning: logicalType: logicalType "date" is for int, not long; '
                           'it is ignored'),
    "duration": ('{"type": "fixed", "name": "F", "size": 11, "logicalType": "duration"}',
                 '1:59: warning: logicalType: logicalType "duration" is for a fixed of 12 bytes, '
                 'not a fixed of 11; it is ignored'),
    "precision": ('{"type": "bytes", "logicalType": "decimal"}',
                  '1:1: warning: logicalType decimal needs "precision", a whole number from 1; it '
                  'is ignored, but fastavro and goavro do not open files with it'),
    "scale": ('{"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 5}',
              "1:70: warning: scale: the scale of a decimal is a whole number from 0 to its "
              "precision, here 4; logicalType is ignored, but fastavro and goavro do not open "
              "files with it"),
    "digits": ('{"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal", '
               '"precision": 10}',
               "1:82: warning: precision: a fixed of 4 bytes holds at most 9 digits; logicalType "
               "is ignored, but fastavro and goavro do not open files with it"),
    "beside_the_field": (R % '{"name": "t", "type": "long", "logicalType": "timestamp-micros"}',
                         '1:89: warning: fields[0].logicalType: a logicalType beside a field\'s '
                         'type is ignored; write it into the type: "type": {"type": ..., '
                         '"logicalType": ...}'),
    "unit": (R % '{"name": "a", "type": "int", "unit": 1}',
             '1:81: warning: fields[0].unit: a unit is a string; it is ignored'),
    "slip": (R % '{"name": "a", "type": "int", "defualt": 1}',
             '1:84: warning: fields[0].defualt: unknown attribute "defualt" is ignored; did you '
             'mean "default"?'),
}

GOOD = [
    '{"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}',
    '{"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal", "precision": 9}',
    '{"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}',
    '{"type": "string", "logicalType": "uuid"}',
    '{"type": "long", "logicalType": "timestamp-nanos"}',
    R % '{"name": "a", "type": "long", "default": -9223372036854775808}',
    R % '{"name": "a", "type": ["null", "R"], "default": null, "unit": "m/s"}',
    R % f'{{"name": "a", "type": {F}, "default": "\\u0000\\u00ff"}}',
    R % '{"name": "a", "type": {"type": "map", "values": "double"}, "default": {"x": 1}}',
]


@pytest.fixture
def show(flotilla, tmp_path):
    def run(text, *arguments):
        (tmp_path / "s.avsc").write_text(text, encoding="utf-8")
        return flotilla("schema", "s.avsc", *arguments, cwd=tmp_path)
    return run


def said(stderr):
    """The messages, without the quoted lines and their carets."""
    return [line.removeprefix("s.avsc:") for line in stderr.splitlines()
            if line.startswith("s.avsc:")]


@pytest.mark.parametrize("name", WRONG)
def test_wrong(show, name):
    text, expected = WRONG[name]
    done = show(text)
    assert said(done.stderr) == expected
    assert (done.returncode, done.stdout) == (1, "")
    machine = show(text, "--json")
    shown = json.loads(machine.stdout)
    assert (machine.returncode, machine.stderr, shown["valid"]) == (1, "", False)
    assert [f'{one["line"]}:{one["column"]}: ' + (f'{one["path"]}: ' if one["path"] else "")
            + one["message"] for one in shown["errors"]] == expected


def test_enough_wrong_ones():
    assert len(WRONG) >= 40


def test_the_line_and_a_caret(show):
    assert show('{"type":\n  "imt"}').stderr == (
        's.avsc:2:3: type: unknown type "imt"; did you mean "int"?\n  "imt"}\n  ^\n')


@pytest.mark.parametrize("name", WARNED)
def test_warned(show, name):
    text, expected = WARNED[name]
    done = show(text)
    assert (done.returncode, said(done.stderr)) == (0, [expected])
    assert len(json.loads(show(text, "--json").stdout)["warnings"]) == 1


@pytest.mark.parametrize("text", GOOD)
def test_good(show, text):
    done = show(text)
    assert (done.returncode, done.stderr) == (0, "")


def test_shown(show):
    text = R % ('{"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}}, '
                '{"name": "v", "type": ["null", "double"]}')
    shown = json.loads(show(text, "--json", "--time", "t").stdout)
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads(text))
    assert shown["canonical"] == canonical
    # fastavro gives the bytes as they stand in a message.
    assert shown["fingerprint_bytes"] == fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")
    assert bytes.fromhex(shown["fingerprint"])[::-1].hex() == shown["fingerprint_bytes"]
    assert (shown["min_bytes"], shown["max_bytes"]) == (2, 19)
    assert [(one["field"], one["type"], one["logical"], one["aggregated"], one["time"])
            for one in shown["numbers"]] == [("t", "long", "timestamp-micros", False, True),
                                             ("v", "double", None, True, False)]
    assert [one["kind"] for one in shown["layout"]["nodes"]] == [
        "record", "long", "union", "null", "double"]
    people = show(text).stdout
    assert canonical in people and shown["fingerprint"] in people
    assert "datum        2 to 19 bytes\n" in people
    assert "bytes or more, unbounded\n" in show('"string"').stdout


COLUMNS = R % (
    '{"name": "t", "type": {"type": "long", "logicalType": "timestamp-nanos"}, "doc": "when\\nit"},'
    '{"name": "v", "unit": "m/s\\u00b2", "type": {"type": "record", "name": "V", "fields": ['
    '{"name": "x", "type": ["null", "float"]}, {"name": "u", "units": "1", "type": "double"}]}},'
    '{"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, '
    '"scale": 2}, "doc": "\\u001b[31mred"}, {"name": "e", "type": {"type": "enum", "name": "E", '
    '"symbols": ["A", "B"]}}, {"name": "any", "type": ["int", "string"]}, '
    '{"name": "list", "type": {"type": "array", "items": "V"}}, '
    '{"name": "next", "type": ["null", "R"]}')


def test_columns(show):
    assert show(COLUMNS).stdout.split("\n\n")[-1] == """\
  COLUMN      TYPE                  UNIT  DOC
  t           long timestamp-nanos        when
  v.x         float?                m/s²
  v.u         double                1
  d           decimal(9,2)                ?[31mred
  e           enum
  any:int     int?
  any:string  string?
  list[].x    float?
  list[].u    double                1
  next leads back into a type that contains it: no column
"""
    shown = json.loads(show(COLUMNS, "--json").stdout)
    columns = {one.pop("column"): one for one in shown["columns"]}
    plain = {"logical": None, "nullable": False, "unit": None, "doc": None}
    assert list(columns) == ["t", "v.x", "v.u", "d", "e", "any:int", "any:string", "list",
                             "list[].x", "list[].u"]
    assert columns["t"] == plain | {"type": "long", "logical": "timestamp-nanos",
                                    "doc": "when\nit"}
    assert columns["v.x"] == plain | {"type": "float", "nullable": True, "unit": "m/s²"}
    assert columns["d"] == plain | {"type": "bytes", "logical": "decimal", "precision": 9,
                                    "scale": 2, "doc": "\x1b[31mred"}
    assert columns["e"] == plain | {"type": "enum", "symbols": ["A", "B"]}
    assert columns["list"] == plain | {"type": "array"}
    assert shown["recursive"] == ["next"]


def test_more_fields_than_columns(show):
    """Such a schema is good; only its columns cannot be listed."""
    fields = ", ".join(f'{{"name": "f{i}", "type": "boolean"}}' for i in range(300))
    more = ", ".join(f'{{"name": "g{i}", "type": {{"type": "array", "items": "S"}}}}'
                     for i in range(300))
    text = R % ('{"name": "s", "type": ' + R.replace('"R"', '"S"') % fields + "}, " + more)
    done = show(text)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("no columns: a datum has more than 65536 columns; choose some "
                                "fields\n")
    shown = json.loads(show(text, "--json").stdout)
    assert shown["valid"] and shown["columns"] is shown["recursive"] is None
