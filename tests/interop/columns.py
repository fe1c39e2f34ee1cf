# SPDX-License-Identifier: MIT
"""What the readers of columns (polars, DuckDB) share: they turn logical types into dates and times,
which are turned back by the schema of the file's header, so that the dump of canonical.py is of
numbers again. Run with the folder of canonical.py on PYTHONPATH."""
import datetime
import json
import sys

import canonical
import fastavro

EPOCH = datetime.datetime(1970, 1, 1)
UNITS = {"millis": 1000, "micros": 1}


names = {}  # of the schema in hand


def learn(schema):
    """Notes the named types of a schema, by their short names: no file here has two of one."""
    if isinstance(schema, list):
        for branch in schema:
            learn(branch)
    elif isinstance(schema, dict):
        if "name" in schema:
            names[schema["name"]] = schema
        for key in ("type", "items", "values"):
            learn(schema.get(key))
        for field in schema.get("fields", ()):
            learn(field["type"])


def number(value, logical):
    if isinstance(value, datetime.datetime):
        since = value.replace(tzinfo=None) - EPOCH
    elif isinstance(value, datetime.date):
        return (value - EPOCH.date()).days
    elif isinstance(value, datetime.time):
        since = datetime.datetime.combine(EPOCH, value) - EPOCH
    else:
        return value
    micros = (since.days * 86400 + since.seconds) * 1000000 + since.microseconds
    return micros // UNITS[logical.rpartition("-")[2]]


def plain(schema, value):
    """The value with numbers for dates and times."""
    if isinstance(schema, str):
        schema = names.get(schema, schema)
    if value is None or isinstance(schema, str):
        return value
    if isinstance(schema, list):
        return plain(next(branch for branch in schema if fits(branch, value)), value)
    kind = schema["type"]
    if isinstance(kind, (dict, list)):
        return plain(kind, value)
    if kind == "record":
        return {field["name"]: plain(field["type"], value[field["name"]])
                for field in schema["fields"]}
    if kind == "array":
        return [plain(schema["items"], item) for item in value]
    if kind == "map":
        return {name: plain(schema["values"], value[name]) for name in sorted(value)}
    return number(value, schema["logicalType"]) if "logicalType" in schema else value


def fits(schema, value):
    """Whether a value can be of this branch; which of two like ones it is changes no dump."""
    if isinstance(schema, str):
        schema = names.get(schema, schema)
    kind, logical = schema, None
    while isinstance(kind, dict):
        kind, logical = kind["type"], kind.get("logicalType")
    if isinstance(value, dict):
        return kind == "map" or kind == "record" and \
            [field["name"] for field in schema["fields"]] == list(value)
    if isinstance(value, list):
        return kind == "array"
    if isinstance(value, datetime.time):
        return logical is not None and logical.startswith("time-")
    if isinstance(value, datetime.datetime):
        return logical is not None and "timestamp-" in logical
    if isinstance(value, datetime.date):
        return logical == "date"
    return kind not in ("null", "map", "record", "array") and logical is None


def main(rows):
    """Prints the answers for all files; rows(path) gives dicts."""
    for path in sys.argv[1:]:
        try:
            with open(path, "rb") as file:
                schema = json.loads(fastavro.reader(file).metadata["avro.schema"])
            names.clear()
            learn(schema)
            result = canonical.of_values(plain(schema, row) for row in rows(path))
        except BaseException as error:  # polars panics are no Exceptions; it is the file's answer
            if isinstance(error, KeyboardInterrupt):
                raise
            result = "error", f"{type(error).__name__}: {error}".replace("\n", " ")
        print(path, *result, sep="\t")
