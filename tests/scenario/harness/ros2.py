# SPDX-License-Identifier: MIT
"""Messages of ROS 2 against the values that they were made of, by the rules of the manual."""
import math
import re
import struct

from . import columns
from .exports import same


def ros(*words):
    """A field's name, by the rule of the manual."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "_".join(words)).lower()
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")
    return f"x{text}" if text[:1].isdigit() else text or "x"


def is_there(tree, value):
    """Whether any column has something."""
    return any(cell is not None for cell in columns.cells(tree, value).values())


def message_is(tree, value, message, where):
    """A record's fields against those of its message."""
    for name, part in tree[1].items():
        field_is(part, None if value is None else value[name], message, (name,), where)


def field_is(tree, value, message, words, where, flagged=False):
    """The field `words` of a message against a value. `flagged`: it may be without it."""
    kind, below = tree
    where = f"{where}.{words[-1]}"
    if kind == "union":
        for index, part in enumerate(below):
            if part is None:
                continue
            inner = value.value if value is not None and value.index == index else None
            if not kind.several:
                field_is(part, inner, message, words, where, flagged=kind.null)
            else:
                field_is(part, inner, message, (*words, kind.names[index]), where, flagged=True)
        return
    name = ros(*words)
    flagged = flagged or kind == "leaf" and below.kind == "null"
    if flagged:
        valid = getattr(message, f"{name}_valid")
        assert valid == (value is not None and is_there(tree, value)), where
    if kind == "leaf" and below.kind == "null":
        return
    found = getattr(message, name)
    if kind == "record":
        message_is(tree, value, found, where)
    elif kind == "array":
        assert len(found) == len(value or ()), where
        for item, one in zip(value or (), found):
            item_is(below, item, one, where)
    elif kind == "map":
        assert [entry.key for entry in found] == list(value or ()), where
        for item, entry in zip((value or {}).values(), found):
            field_is(below, item, entry, ("value",), where)
    else:
        leaf_is(below, value, found, where)


def item_is(tree, value, found, where):
    """An item of a sequence: itself where ROS can have it so, else in a message."""
    kind, below = tree
    if kind == "record":
        message_is(tree, value, found, where)
    elif kind == "leaf" and below.kind not in ("null", "bytes", "fixed"):
        leaf_is(below, value, found, where)
    else:
        field_is(tree, value, found, ("value",), where)


ABSENT = {"boolean": False, "int": 0, "long": 0, "string": "", "bytes": b"", "enum": None}


def leaf_is(leaf, value, found, where):
    if value is None:
        if leaf.kind in ("float", "double"):
            assert found != found, where
            return
        value = bytes(leaf.part["size"]) if leaf.kind == "fixed" else ABSENT[leaf.kind]
        assert leaf.kind == "enum" and found == 0 or bytes_of(leaf, found) == value, where
        return
    if leaf.kind == "enum":
        value = leaf.part["symbols"].index(value)
        assert found == value, where
        return
    assert same(leaf.kind, bytes_of(leaf, found), value), (where, found, value)


def bytes_of(leaf, found):
    return bytes(found) if leaf.kind in ("bytes", "fixed") else found


def plain(value):
    """As read_mcap.js prints it."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        safe = value.is_integer() and abs(value) < 1 << 53 and math.copysign(1, value) == \
            (-1 if value < 0 else 1)
        return str(int(value)) if safe else struct.pack(">d", value).hex()
    if isinstance(value, list | bytes):
        return [plain(item) for item in value]
    return [plain(getattr(value, name)) for name in value.__slots__]
