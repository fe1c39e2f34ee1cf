# SPDX-License-Identifier: MIT
"""A schema as columns by dotted path, in the way of `flotilla cat --fields`: fields of records in
records are columns of their own; arrays, maps and unions of several types are one column each."""
from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

PRIMITIVE = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
# Nanoseconds of one of a logical type's units, where it names an instant.
INSTANTS = {"timestamp-millis": 1_000_000, "timestamp-micros": 1_000, "timestamp-nanos": 1}


@dataclass(frozen=True)
class Column:
    path: str
    steps: tuple[str, ...]  # the fields to go down by; empty: the datum itself
    kind: str  # Avro's, or "union"
    nullable: bool
    unit: str | None = None
    doc: str | None = None
    logical: str | None = None
    symbols: tuple[str, ...] = ()
    items: str = ""  # of an array of plain values: their kind

    @property
    def instant_ns(self) -> int | None:
        return INSTANTS.get(self.logical or "")


@dataclass
class Table:
    columns: list[Column]
    schema: Any  # what to decode by: the same without logical types, whose values stay numbers
    name: str = ""
    by_path: dict[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_path = {column.path: column for column in self.columns}


def _strip(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strip(branch) for branch in schema]
    if isinstance(schema, dict):
        keep = schema.get("logicalType") == "decimal"
        if isinstance(schema.get("type"), str) and schema["type"] in PRIMITIVE and not keep:
            return schema["type"]
        out = {key: _strip(value) if key in ("type", "items", "values") else value
               for key, value in schema.items() if keep or key != "logicalType"}
        if "fields" in out:
            out["fields"] = [dict(part, type=_strip(part["type"])) for part in out["fields"]]
        return out
    return schema


def table(schema: Any) -> Table:
    """The columns of a schema. What leads back into a type that contains it is in no column."""
    names: dict[str, tuple[Any, str]] = {}

    def full(node: dict[str, Any], namespace: str) -> str:
        name = str(node["name"])
        space = node.get("namespace", namespace)
        return name if "." in name or not space else f"{space}.{name}"

    def resolve(node: Any, namespace: str) -> tuple[Any, str]:
        if isinstance(node, str) and node not in PRIMITIVE:
            found = names.get(node) or names.get(f"{namespace}.{node}")
            if found is None:
                raise ValueError(f"type {node!r} is not defined")
            return found
        if isinstance(node, dict) and "name" in node and node.get("type") in (
                "record", "error", "enum", "fixed"):
            name = full(node, namespace)
            names[name] = (node, name.rpartition(".")[0])
            return names[name]
        return node, namespace

    columns: list[Column] = []

    def walk(node: Any, namespace: str, steps: tuple[str, ...], nullable: bool,
             unit: str | None, doc: str | None, above: tuple[int, ...]) -> None:
        if isinstance(node, list):
            others = [branch for branch in node if branch != "null"]
            nullable = nullable or len(others) < len(node)
            if len(others) == 1:
                return walk(others[0], namespace, steps, nullable, unit, doc, above)
            for branch in others:  # for the names that they define
                resolve(branch, namespace)
            columns.append(Column(".".join(steps), steps, "union", nullable, unit, doc))
            return
        node, namespace = resolve(node, namespace)
        kind = node if isinstance(node, str) else node["type"]
        attributes = node if isinstance(node, dict) else {}
        unit = unit or attributes.get("unit")
        doc = doc or attributes.get("doc")
        if isinstance(kind, (dict, list)) or (kind not in PRIMITIVE and kind in names):
            return walk(kind, namespace, steps, nullable, unit, doc, above)
        if kind in ("record", "error"):
            if id(node) in above:
                return
            for part in node["fields"]:
                walk(part["type"], namespace, steps + (part["name"],), nullable,
                     part.get("unit") or (unit if steps else None), part.get("doc"),
                     above + (id(node),))
            return
        plain = ""
        if kind in ("array", "map"):  # for the names that its items define
            mark = len(columns)
            items = attributes["items" if kind == "array" else "values"]
            walk(items, namespace, steps + ("[]",), nullable, None, None, above)
            inner = columns[mark] if len(columns) == mark + 1 else None
            if inner is not None and inner.steps[len(steps):] == ("[]",):
                unit = unit or inner.unit
                plain = "" if inner.nullable else inner.kind
            del columns[mark:]
        columns.append(Column(".".join(steps), steps, kind, nullable, unit, doc,
                              attributes.get("logicalType"),
                              tuple(attributes.get("symbols", ())), plain))

    walk(schema, "", (), False, None, None, ())
    name = schema.get("name", "") if isinstance(schema, dict) else ""
    return Table(columns, _strip(copy.deepcopy(schema)), name)


def choose(columns: list[Column], fields: list[str] | None) -> list[Column]:
    """The columns at and below the paths of `fields`, in their order; all without any."""
    if fields is None:
        return columns
    chosen: list[Column] = []
    for path in fields:
        wanted = path.replace("[]", "").rstrip(".")
        below = [column for column in columns
                 if column.path == wanted or column.path.startswith(wanted + ".")]
        if not below:
            raise KeyError(f"no field {path!r}; there are: "
                           + ", ".join(column.path for column in columns))
        chosen += [column for column in below if column not in chosen]
    return chosen
