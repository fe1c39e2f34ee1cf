# SPDX-License-Identifier: MIT
"""Random Avro schemas and datums, and their binary encoding, written from the Avro 1.11
specification and apart from the C code and from every library, so that both can be tested with it.

A schema is the JSON object of the specification. A value is plain Python: None, bool, int, float,
str, bytes, list, dict in the order of the bytes; a union's value is Branch(index, value), so that
which branch it is stays known. plain() strips the branches. Everything is drawn from one seeded
random.Random."""
import math
import struct
from collections import namedtuple

Branch = namedtuple("Branch", "index value")

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = [
    ("int", "date"), ("int", "time-millis"), ("long", "time-micros"),
    ("long", "timestamp-millis"), ("long", "timestamp-micros"), ("long", "local-timestamp-micros"),
]
LOGICAL_RANGE = {  # what every library can turn into a date or time
    "date": (0, 20000), "time-millis": (0, 86399999), "time-micros": (0, 86399999999),
    "timestamp-millis": (0, 1800000000000), "timestamp-micros": (0, 1800000000000000),
    "local-timestamp-micros": (0, 1800000000000000),
}


# Schemas -----------------------------------------------------------------------------------------

class Schema:
    """A schema with its names: `json` is what is written down, `resolve(x)` follows names."""

    def __init__(self, json):
        self.json = json
        self.names = {}
        self._learn(json, "")

    def _learn(self, schema, space):
        if isinstance(schema, list):
            for branch in schema:
                self._learn(branch, space)
        elif isinstance(schema, dict):
            kind = schema["type"]
            if isinstance(kind, (dict, list)):
                self._learn(kind, space)
            elif kind in ("record", "error", "enum", "fixed"):
                name, space = self.full_name(schema, space)
                self.names[name] = (schema, space)
                for field in schema.get("fields", ()):
                    self._learn(field["type"], space)
            elif kind == "array":
                self._learn(schema["items"], space)
            elif kind == "map":
                self._learn(schema["values"], space)

    @staticmethod
    def full_name(schema, space):
        name = schema["name"]
        if "." in name:
            return name, name.rpartition(".")[0]
        space = schema.get("namespace", space)
        return (f"{space}.{name}" if space else name), space

    def resolve(self, schema, space=""):
        """(kind, schema, namespace) with names and {"type": {...}} followed."""
        while True:
            if isinstance(schema, str):
                if schema in PRIMITIVES:
                    return schema, {"type": schema}, space
                full = schema if "." in schema or not space else f"{space}.{schema}"
                schema, space = self.names[full if full in self.names else schema]
                return schema["type"], schema, space
            if isinstance(schema, list):
                return "union", schema, space
            if isinstance(schema["type"], (dict, list)):
                schema = schema["type"]
                continue
            kind = schema["type"]
            if kind in ("record", "error", "enum", "fixed"):
                return kind, schema, self.full_name(schema, space)[1]
            if kind not in PRIMITIVES and kind not in ("array", "map"):
                schema = kind
                continue
            return kind, schema, space


def random_schema(rng, *, depth=4, first_fields=()):
    """A record with fields of random types, nested at most `depth` deep; at times it contains
    itself. `first_fields` stand in front. Every named type has a name of its own."""
    counter = [0]
    known = []  # records that are complete and may be named again

    def name(stem):
        counter[0] += 1
        return f"{stem}{counter[0]}"

    def record(level, enclosing):
        own = name("Record")
        schema = {"type": "record", "name": own, "fields": []}
        if rng.random() < 0.2:
            schema["doc"] = "drawn at random"
        for index in range(rng.randint(1, 5)):
            kind = any_type(level - 1, enclosing + [own])
            schema["fields"].append({"name": f"f{index}_{rng.choice('abcxyz')}", "type": kind})
        if rng.random() < 0.25:  # recursion needs a way out: null, or an empty array or map
            way = rng.choice([["null", own], {"type": "array", "items": own},
                              {"type": "map", "values": own}])
            schema["fields"].append({"name": "again", "type": way})
        known.append(own)
        return schema

    def any_type(level, enclosing):
        choice = rng.random()
        if level <= 0 or choice < 0.45:
            return leaf()
        if choice < 0.55:
            return {"type": "array", "items": any_type(level - 1, enclosing)}
        if choice < 0.65:
            return {"type": "map", "values": any_type(level - 1, enclosing)}
        if choice < 0.80:
            return union(level - 1, enclosing)
        if choice < 0.85 and known:
            return rng.choice(known)
        return record(level, enclosing)

    def leaf():
        choice = rng.random()
        if choice < 0.70:
            return rng.choice(PRIMITIVES)
        if choice < 0.80:
            kind, logical = rng.choice(LOGICAL)
            return {"type": kind, "logicalType": logical}
        if choice < 0.90:
            own = name("Enum")
            known_symbols = [f"S{index}" for index in range(rng.randint(1, 5))]
            return {"type": "enum", "name": own, "symbols": known_symbols}
        return {"type": "fixed", "name": name("Fixed"), "size": rng.randint(1, 20)}

    def union(level, enclosing):
        branches, kinds = [], set()
        if rng.random() < 0.6:
            branches.append("null")
            kinds.add("null")
        for _ in range(rng.randint(1, 3)):
            before = len(known)
            branch = any_type(level, enclosing)
            kind = branch if isinstance(branch, (str, list)) else branch["type"]
            if kind in ("record", "enum", "fixed"):
                kind = branch["name"]
            if isinstance(branch, list) or kind in kinds:  # not allowed: forget what it named
                del known[before:]
                continue
            kinds.add(kind)
            branches.append(branch)
        return branches or ["null", "double"]

    top = record(depth, [])
    top["name"] = "Top"
    top["namespace"] = "flotilla.test"
    old = "Record1"

    def rename(part):
        if part == old:
            return "Top"
        if isinstance(part, list):
            return [rename(item) for item in part]
        if isinstance(part, dict):
            return {key: rename(item) if key in ("type", "items", "values", "fields") else item
                    for key, item in part.items()}
        return part

    top = rename(top)
    top["fields"] = list(first_fields) + top["fields"]
    schema = Schema(top)
    if not any(encode(schema, random_value(rng, schema)) for _ in range(10)):
        # Nothing but nulls: no datagram could carry it.
        return random_schema(rng, depth=depth, first_fields=first_fields)
    return schema


# Values ------------------------------------------------------------------------------------------

def random_value(rng, schema, part=None, space="", *, budget=3, nonfinite=False):
    """A value of the schema; recursion and repetition end when `budget` is used up."""
    kind, part, space = schema.resolve(schema.json if part is None else part, space)
    again = dict(budget=budget - 1, nonfinite=nonfinite)
    if kind == "null":
        return None
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("int", "long"):
        if part.get("logicalType") in LOGICAL_RANGE:
            return rng.randint(*LOGICAL_RANGE[part["logicalType"]])
        bits = 31 if kind == "int" else 63
        if rng.random() < 0.1:
            return rng.choice([-1 << bits, (1 << bits) - 1, 0, -1])
        bits = rng.randint(0, bits)
        return rng.randint(-(1 << bits), (1 << bits) - 1)
    if kind in ("float", "double"):
        if nonfinite and rng.random() < 0.15:
            return rng.choice([math.nan, math.inf, -math.inf])
        value = rng.choice([rng.gauss(0, 1), rng.uniform(-1e6, 1e6), float(rng.randint(-9, 9)),
                            rng.gauss(0, 1) * 10.0 ** rng.randint(-30, 30)])
        return struct.unpack("<f", struct.pack("<f", value))[0] if kind == "float" else value
    if kind == "bytes":
        return rng.randbytes(rng.randint(0, 12))
    if kind == "fixed":
        return rng.randbytes(part["size"])
    if kind == "string":
        return "".join(rng.choice("aZ09 _-\"\\äß€漢😀") for _ in range(rng.randint(0, 10)))
    if kind == "enum":
        return rng.choice(part["symbols"])
    if kind == "union":
        indexes = range(len(part))
        if budget <= 0:  # the way out, where there is one
            simple = [i for i in indexes if schema.resolve(part[i], space)[0] != "record"]
            indexes = [i for i in indexes if part[i] == "null"] or simple or indexes
        index = rng.choice(list(indexes))
        return Branch(index, random_value(rng, schema, part[index], space, **again))
    if kind == "array":
        count = rng.randint(0, 3) if budget > 0 else 0
        return [random_value(rng, schema, part["items"], space, **again) for _ in range(count)]
    if kind == "map":
        count = rng.randint(0, 3) if budget > 0 else 0
        return {f"k{index}{rng.choice('aäx')}":
                random_value(rng, schema, part["values"], space, **again)
                for index in range(count)}
    return {field["name"]: random_value(rng, schema, field["type"], space, **again)
            for field in part["fields"]}


def plain(value):
    """The value as most libraries give it: without union branches."""
    if isinstance(value, Branch):
        return plain(value.value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


# Binary encoding ---------------------------------------------------------------------------------

def long(value):
    """Zig-zag, seven bits a byte."""
    rest = (value << 1) ^ (value >> 63)
    rest &= (1 << 64) - 1
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def encode(schema, value, part=None, space="", rng=None):
    """The datum's bytes. With `rng`, arrays and maps are cut into several blocks at random, some
    with their byte count, as the specification allows."""
    kind, part, space = schema.resolve(schema.json if part is None else part, space)
    if kind == "null":
        return b""
    if kind == "boolean":
        return b"\1" if value else b"\0"
    if kind in ("int", "long"):
        return long(value)
    if kind == "float":
        return struct.pack("<f", value)
    if kind == "double":
        return struct.pack("<d", value)
    if kind == "bytes":
        return long(len(value)) + value
    if kind == "string":
        text = value.encode()
        return long(len(text)) + text
    if kind == "fixed":
        return value
    if kind == "enum":
        return long(part["symbols"].index(value))
    if kind == "union":
        return long(value.index) + encode(schema, value.value, part[value.index], space, rng)
    if kind == "array":
        return _blocks([encode(schema, item, part["items"], space, rng) for item in value], rng)
    if kind == "map":
        return _blocks([encode(schema, name, "string") +
                        encode(schema, item, part["values"], space, rng)
                        for name, item in value.items()], rng)
    return b"".join(encode(schema, value[field["name"]], field["type"], space, rng)
                    for field in part["fields"])


def _blocks(items, rng):
    out = b""
    while items:
        count = len(items) if rng is None else rng.randint(1, len(items))
        block, items = items[:count], items[count:]
        body = b"".join(block)
        if rng is not None and rng.random() < 0.3:
            out += long(-count) + long(len(body)) + body
        else:
            out += long(count) + body
    return out + b"\0"


def decode(schema, data, at=0, part=None, space=""):
    """(value, end): reads one datum back, with its branches."""
    kind, part, space = schema.resolve(schema.json if part is None else part, space)
    if kind == "null":
        return None, at
    if kind == "boolean":
        return data[at] != 0, at + 1
    if kind in ("int", "long"):
        return _read_long(data, at)
    if kind == "float":
        return struct.unpack_from("<f", data, at)[0], at + 4
    if kind == "double":
        return struct.unpack_from("<d", data, at)[0], at + 8
    if kind in ("bytes", "string"):
        size, at = _read_long(data, at)
        if at + size > len(data):
            raise ValueError("cut short")
        raw = bytes(data[at:at + size])
        return (raw.decode() if kind == "string" else raw), at + size
    if kind == "fixed":
        return bytes(data[at:at + part["size"]]), at + part["size"]
    if kind == "enum":
        index, at = _read_long(data, at)
        return part["symbols"][index], at
    if kind == "union":
        index, at = _read_long(data, at)
        value, at = decode(schema, data, at, part[index], space)
        return Branch(index, value), at
    if kind in ("array", "map"):
        items = [] if kind == "array" else {}
        while True:
            count, at = _read_long(data, at)
            if count == 0:
                return items, at
            if count < 0:
                count = -count
                _, at = _read_long(data, at)
            for _ in range(count):
                if kind == "map":
                    name, at = decode(schema, data, at, "string")
                    items[name], at = decode(schema, data, at, part["values"], space)
                else:
                    item, at = decode(schema, data, at, part["items"], space)
                    items.append(item)
    record = {}
    for field in part["fields"]:
        record[field["name"]], at = decode(schema, data, at, field["type"], space)
    return record, at


def _read_long(data, at):
    shift = raw = 0
    while True:
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7
