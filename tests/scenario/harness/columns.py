# SPDX-License-Identifier: MIT
"""The columns of a schema and what a value has in them, worked out from the JSON of the schema and
from Python values that never were bytes: what exports and `--fields` are held against."""


class Word(str):
    """A string that carries more: of a leaf's path its kind and schema, of a kind its path."""

    def __new__(cls, text, **more):
        word = super().__new__(cls, text)
        word.__dict__.update(more)
        return word


def shape(schema, part=None, space="", path="", open_types=()):
    """The columns at and below a type, as a tree: None without any. Leaves are their paths."""
    kind, part, space = schema.resolve(schema.json if part is None else part, space)
    if kind == "record":
        if id(part) in open_types:
            return None
        open_types += (id(part),)
        fields = {field["name"]: shape(schema, field["type"], space,
                                       f"{path}.{field['name']}".lstrip("."), open_types)
                  for field in part["fields"]}
        fields = {name: below for name, below in fields.items() if below}
        return (Word("record", name=part["name"]), fields) if fields else None
    if kind in ("array", "map"):
        items = shape(schema, part["items" if kind == "array" else "values"], space, path + "[]",
                      open_types)
        return (Word(kind, path=path), items) if items else None
    if kind == "union":
        several = sum(schema.resolve(one, space)[0] != "null" for one in part) > 1
        branches, names = [], []
        for one in part:
            kind, inner, _ = schema.resolve(one, space)
            name = schema.full_name(inner, space)[0] if "name" in inner else kind
            names.append(name)
            below = None if kind == "null" and len(part) > 1 else \
                shape(schema, one, space, f"{path}:{name}" if several else path, open_types)
            branches.append(below)
        null = any(schema.resolve(one, space)[0] == "null" for one in part)
        kind = Word("union", several=several, null=null, names=names)
        return (kind, branches) if any(branches) else None
    return ("leaf", Word(path, kind=kind, part=part))


def leaves(tree):
    if tree is None:
        return []
    kind, below = tree
    if kind == "leaf":
        return [below]
    parts = {"record": lambda: below.values(), "union": lambda: below}.get(kind, lambda: [below])()
    return [path for part in parts for path in leaves(part)]


def tops(tree):
    """The columns of the table itself, in order: paths with `kind`, of arrays and maps `items` as
    well, their tree."""
    if tree is None:
        return []
    kind, below = tree
    if kind == "leaf":
        return [below]
    if kind in ("array", "map"):
        return [Word(kind.path, kind=str(kind), items=below)]
    parts = below.values() if kind == "record" else below
    return [column for part in parts for column in tops(part)]


def cells(tree, value):
    """{path: value} of all columns; None is nothing. Of an array a list with the same of each item,
    of a map of (key, the same)."""
    if tree is None:
        return {}
    kind, below = tree
    if kind == "leaf":
        return {below: value}
    if kind == "array":
        return {kind.path: None if value is None else [cells(below, item) for item in value]}
    if kind == "map":
        return {kind.path: None if value is None else
                [(key, cells(below, item)) for key, item in value.items()]}
    found = {}
    for name, part in below.items() if kind == "record" else enumerate(below):
        if kind == "record":
            inner = None if value is None else value[name]
        else:
            inner = value.value if value is not None and value.index == name else None
        found.update(cells(part, inner))
    return found
