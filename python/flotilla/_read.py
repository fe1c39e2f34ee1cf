# SPDX-License-Identifier: MIT
"""Recordings as columns: which files, which blocks, which datums, and what they are made into."""
from __future__ import annotations

import datetime
import decimal
import io
import math
import os
import re
import time
import warnings
from pathlib import Path
from typing import Any, Iterator

import fastavro
import numpy as np

from ._container import Block, Container, DamageWarning, FormatError
from ._schema import Column, Table, choose, table

RECORDING = re.compile(r"(?P<channel>.+)-\d{8}T\d{6}\.\d{6}Z-(?P<number>\d+)\.avro(\.part)?")
LEVEL = re.compile(r".+-(?P<factor>\d+)")  # what flotilla-overview's recordings are called by
DISORDER_NS = 100_000_000  # how far arrivals may go back within a file, see the file format
CHUNK_BYTES = 32 << 20  # of blocks decoded at a time
AGO = re.compile(r"-(?P<number>\d+(\.\d+)?)(?P<unit>ms|s|min|h|d)")
SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
When = Any  # str | float | int | datetime.datetime | numpy.datetime64 | pandas.Timestamp | None


def to_ns(when: When, otherwise: int) -> int:
    """An instant as nanoseconds since 1970: RFC 3339 text, `-10min` from now, seconds as a number,
    or what pandas, numpy and datetime have for it (UTC where they name no zone)."""
    if when is None:
        return otherwise
    if isinstance(when, str):
        ago = AGO.fullmatch(when)
        if ago:
            return time.time_ns() - int(float(ago["number"]) * SECONDS[ago["unit"]] * 1e9)
        text = re.fullmatch(r"(.*?)(\.\d+)?(Z|[+-]\d\d:?\d\d)?", when.strip())
        if text is None:
            raise ValueError(f"{when!r} is no time")
        whole = datetime.datetime.fromisoformat(text[1] + (text[3] or "Z").replace("Z", "+00:00"))
        fraction = int((text[2] or ".0")[1:10].ljust(9, "0"))
        return int(whole.timestamp()) * 10**9 + fraction
    if isinstance(when, np.datetime64):
        nanoseconds: int = when.astype("datetime64[ns]").view(np.int64).item()
        return nanoseconds
    if hasattr(when, "value") and hasattr(when, "tz_localize"):  # a pandas.Timestamp
        return int(when.value)
    if isinstance(when, datetime.datetime):
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.timezone.utc)
        seconds: int = math.floor(when.timestamp())
        return seconds * 10**9 + int(when.microsecond) * 1000
    # As it is written: a float has not all digits of a time, and no more than those it shows.
    return int(decimal.Decimal(repr(float(when)) if isinstance(when, float) else int(when))
               * 10**9)


def recordings(channel: Any, directory: Any = "recordings") -> list[Path]:
    """The recordings of a channel in the order in which they were made: of a folder, of a name of
    a channel below `directory`; a file or a list of files stays as it is."""
    if not isinstance(channel, (str, Path)):
        return [Path(path) for path in channel]
    where = _folder(channel, directory)
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise FileNotFoundError(f"{where}: there is no such recording, folder or channel")
    found = _named(where, RECORDING)
    if not found and not (where / "overview").is_dir():
        raise FileNotFoundError(f"{where}: holds no recordings")
    return found


def _folder(channel: Any, directory: Any) -> Path:
    where = Path(channel) if isinstance(channel, (str, Path)) else Path(os.devnull)
    if not where.exists() and (Path(directory) / where).is_dir():
        where = Path(directory) / where
    return where


def _named(folder: Path, form: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [(match["channel"], int(match["number"]), path) for path in folder.iterdir()
             if (match := form.fullmatch(path.name)) and not match["channel"].endswith("-rejects")]
    finished = {path.name for _, _, path in found}
    return [path for _, _, path in sorted(found)  # a file may be finished while the folder is read
            if path.suffix != ".part" or path.name[:-5] not in finished]


def _containers(paths: list[Path]) -> Iterator[Container]:
    for path in paths:
        try:
            yield Container(path)
        except FileNotFoundError:
            # Finished meanwhile; or removed, by retention, which is no fault of a folder.
            if path.suffix == ".part" and path.with_suffix("").exists():
                yield Container(path.with_suffix(""))
            elif len(paths) == 1:
                raise
        except FormatError as error:
            if len(paths) == 1:
                raise
            warnings.warn(f"{error}: it is left out", DamageWarning, stacklevel=3)


def _of_span(containers: list[Container], begin: int) -> Iterator[Container]:
    """Without those that end before `begin`: the next one, begun before it, follows in order."""
    firsts = [next(container.blocks(), None) for container in containers]
    for index, container in enumerate(containers):
        following = index + 1
        if following < len(containers):
            first, since = firsts[following], containers[following].text("flotilla.ordered_since")
            number = RECORDING.fullmatch(container.path.name)
            if first is not None and first.arrival_ns is not None and number and since and (
                    int(since) <= int(number["number"])
                    and first.arrival_ns + DISORDER_NS < begin):
                continue
        yield container


def _rows(data: bytes, made: Table) -> dict[str, Any]:
    """The datums of a container file as lists by path, by fastavro."""
    rows = list(fastavro.reader(io.BytesIO(data)))
    out: dict[str, Any] = {}
    for column in made.columns:
        values: list[Any] = rows
        for step in column.steps:
            values = [None if value is None else value[step] for value in values]
        out[column.path] = values
    return out


def _columns(data: bytes, made: Table) -> dict[str, Any]:
    """The same by polars, eight times as fast, where it is there and knows the schema's types."""
    simple = all(column.kind in ("boolean", "int", "long", "float", "double", "string")
                 and column.steps for column in made.columns)
    if simple:
        try:
            import polars
        except ImportError:
            return _rows(data, made)
        try:
            frame = polars.read_avro(io.BytesIO(data))
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException):
            return _rows(data, made)  # a schema that it does not know, or damage: fastavro tells
        out: dict[str, Any] = {}
        for column in made.columns:
            series = frame[column.steps[0]]
            for step in column.steps[1:]:
                series = series.struct.field(step)
            numeric = column.kind != "string" and not column.nullable
            out[column.path] = series.to_numpy() if numeric else series.to_list()
        return out
    return _rows(data, made)


def _dtype(column: Column) -> Any:
    return {"boolean": np.bool_, "int": np.int32, "long": np.int64, "float": np.float32,
            "double": np.float64}.get(column.kind)


class _Piece:
    """Datums of one file, decoded: values by path, and when each came in."""

    def __init__(self, values: dict[str, Any], arrivals: np.ndarray | None):
        self.values, self.arrivals = values, arrivals

    def keep(self, mask: np.ndarray) -> _Piece:
        if mask.all():
            return self
        places = np.flatnonzero(mask)
        return _Piece({path: values[mask] if isinstance(values, np.ndarray)
                       else [values[place] for place in places]
                       for path, values in self.values.items()},
                      None if self.arrivals is None else self.arrivals[mask])


NO_TIME = np.iinfo(np.int64).min  # numpy's NaT


def _instants(values: Any, column: Column) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Nanoseconds since 1970; NaT for null, and for what 64 bits of them cannot tell."""
    unit = column.instant_ns or 1
    limit = np.iinfo(np.int64).max // unit
    if isinstance(values, np.ndarray):
        beyond = (values > limit) | (values < -limit)
        made = np.where(beyond, NO_TIME, np.where(beyond, 0, values) * np.int64(unit))
        count = int(beyond.sum())
    else:
        fits = [value is not None and -limit <= value <= limit for value in values]
        made = np.array([value * unit if fit else NO_TIME for value, fit in zip(values, fits)],
                        np.int64)
        count = sum(value is not None and not fit for value, fit in zip(values, fits))
    if count:
        warnings.warn(f"{column.path}: {count} times lie outside the years 1677 to 2262: NaT",
                      DamageWarning, stacklevel=3)
    return made


def _arrivals(blocks: list[Block], until: int | None, own: np.ndarray | None) -> np.ndarray | None:
    """When each datum of the blocks came in: as much later than its block's first as its own time
    says, but no later than the next block's first."""
    if any(block.arrival_ns is None for block in blocks):
        return None
    out = np.empty(sum(block.count for block in blocks), np.int64)
    at = 0
    for index, block in enumerate(blocks):
        last = blocks[index + 1].arrival_ns if index + 1 < len(blocks) else until
        here = slice(at, at + block.count)
        first = block.arrival_ns or 0
        if own is None or block.count == 0:
            out[here] = first
        else:
            later = np.clip(own[here] - own[at], 0, None)
            out[here] = first + later
            if last is not None:
                out[here] = np.minimum(out[here], max(last, first))
        at += block.count
    return out


def _read_file(container: Container, from_ns: int, to_ns: int) -> Iterator[tuple[Table, _Piece]]:
    made = table(container.schema)
    own = made.by_path.get(container.text("flotilla.time") or "time")
    if own is not None and (own.instant_ns is None or own.kind != "long"):
        own = None
    blocks = list(container.blocks())
    wanted: list[tuple[Block, int | None]] = []
    for index, block in enumerate(blocks):
        following = blocks[index + 1].arrival_ns if index + 1 < len(blocks) else None
        if block.arrival_ns is not None:
            if block.arrival_ns - DISORDER_NS >= to_ns:
                continue
            if following is not None and following + DISORDER_NS < from_ns:
                continue
        wanted.append((block, following))
    limit = CHUNK_BYTES
    while wanted:
        size, taken = 0, 0
        while taken < len(wanted) and (size == 0 or size + wanted[taken][0].bytes < limit):
            size += wanted[taken][0].bytes
            taken += 1
        chunk, until = [block for block, _ in wanted[:taken]], wanted[taken - 1][1]
        wanted = wanted[taken:]
        try:
            values = _columns(container.with_blocks(chunk, made.schema), made)
        except Exception as error:  # the decoders raise what they like
            if len(chunk) > 1:  # find which
                wanted[:0] = [(block, chunk[at + 1].arrival_ns if at + 1 < len(chunk) else until)
                              for at, block in enumerate(chunk)]
                limit = 0
                continue
            warnings.warn(f"{container.path}: offset {chunk[0].offset}: {chunk[0].bytes} bytes "
                          f"cannot be decoded ({error or type(error).__name__}) and are left out",
                          DamageWarning, stacklevel=3)
            continue
        times = _instants(values[own.path], own) if own is not None else None
        arrivals = _arrivals(chunk, until, times)
        piece = _Piece(values, arrivals)
        when = arrivals if arrivals is not None else times
        if when is not None:
            piece = piece.keep((when >= from_ns) & (when < to_ns))
        elif from_ns > 0 or to_ns < 1 << 63:
            raise ValueError(f"{container.path}: tells no times to choose a span by: "
                             "another program wrote it, and no field of it is an instant")
        yield made, piece


def _extremes(values: list[Any]) -> tuple[Any, Any]:
    """The least and the greatest of numbers and None; NaN only where no other number is there."""
    there = [value for value in values if value is not None]
    numbers = [value for value in there if value == value] or there
    return (min(numbers), max(numbers)) if numbers else (None, None)


def _level(channel: Any, directory: Any, begin: int, end: int, points: int
           ) -> list[tuple[Table, _Piece]]:
    """What the overview of a channel's folder has of the span, from the coarsest level that has at
    least so many points of it, or from the finest for 0: of each window two datums, the minima and
    the maxima. Nothing where there is none."""
    names: dict[int, list[Path]] = {}
    for path in _named(_folder(channel, directory) / "overview", RECORDING):
        match = RECORDING.fullmatch(path.name)
        level = match and LEVEL.fullmatch(match["channel"])
        if level:
            names.setdefault(int(level["factor"]), []).append(path)
    for factor in sorted(names, reverse=points > 0):
        pieces = [part for container in _containers(names[factor])
                  for part in _read_file(container, begin, end)]
        if sum(len(next(iter(piece.values.values()), ())) for _, piece in pieces) >= max(points, 1):
            return pieces
    return []


def _spread(columns: list[Column], values: dict[str, Any], arrivals: Any, points: int
            ) -> tuple[dict[str, Any], Any]:
    """At most `points` rows: of each of equal parts two, its minima and its maxima, field for
    field. What is no plain number, and times, are those of the part's first and last row."""
    count = len(next(iter(values.values()), ()))
    if count <= points:
        return values, arrivals
    parts = points // 2
    edges = np.linspace(0, count, parts + 1).astype(np.int64)
    firsts, lasts = edges[:-1], edges[1:] - 1
    out: dict[str, Any] = {}
    for column in columns:
        of = values[column.path]
        if isinstance(of, np.ndarray) and column.kind != "boolean" and column.logical is None:
            both = np.empty(2 * parts, of.dtype)
            both[0::2] = np.fmin.reduceat(of, firsts)  # NaN only where nothing else is there
            both[1::2] = np.fmax.reduceat(of, firsts)
            out[column.path] = both
        elif column.kind in ("int", "long", "float", "double") and column.logical is None:
            out[column.path] = [value for first, last in zip(firsts, lasts)
                                for value in _extremes(of[first:last + 1])]
        else:
            picked = [of[place] for pair in zip(firsts, lasts) for place in pair]
            out[column.path] = np.array(picked) if isinstance(of, np.ndarray) else picked
    return out, (None if arrivals is None
                 else np.stack([arrivals[firsts], arrivals[lasts]], 1).reshape(-1))


def _join(pieces: list[tuple[Table, _Piece]]) -> tuple[list[Column], dict[str, Any]]:
    """The columns of all pieces, in the order in which they first appear; None where a piece has
    none. A column whose type changed from file to file has what both can be."""
    columns: dict[str, Column] = {}
    for made, _ in pieces:
        for column in made.columns:
            before = columns.get(column.path)
            if before is not None and (before.kind, before.logical) != (column.kind,
                                                                        column.logical):
                kinds = {before.kind, column.kind}
                kind = ("union" if before.logical != column.logical
                        or not kinds <= {"int", "long", "float", "double"}
                        else "long" if kinds <= {"int", "long"}
                        else "double")  # a float has no room for an int's digits
                column = Column(column.path, column.steps, kind,
                                before.nullable or column.nullable, column.unit, column.doc,
                                column.logical if kind != "union" else None)
            elif before is not None and (before.nullable or column.symbols != before.symbols):
                column = Column(column.path, column.steps, column.kind,
                                before.nullable or column.nullable, column.unit, column.doc,
                                column.logical, tuple(dict.fromkeys(before.symbols
                                                                    + column.symbols)))
            columns[column.path] = column
    values: dict[str, Any] = {}
    for path, column in columns.items():
        parts, missing = [], False
        for made, piece in pieces:
            if path in made.by_path:
                parts.append(piece.values[path])
            else:
                parts.append([None] * len(next(iter(piece.values.values()), ())))
                missing = True
        if missing and not column.nullable:
            columns[path] = column = Column(column.path, column.steps, column.kind, True,
                                            column.unit, column.doc, column.logical,
                                            column.symbols)
        kind = _dtype(column)
        if kind is not None and not column.nullable:
            values[path] = np.concatenate([np.asarray(part, kind) for part in parts]
                                          or [np.empty(0, kind)])
        else:
            values[path] = [value for part in parts for value in part]
    return list(columns.values()), values


def _to_numpy(columns: list[Column], values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Numbers as such, NaN where a real is null; masked arrays of what else may be; instants as
    datetime64[ns]; the rest as objects."""
    out: dict[str, np.ndarray] = {}
    for column in columns:
        of, kind = values[column.path], _dtype(column)
        if column.instant_ns and column.kind == "long":
            numbers = _instants(of, column)
            out[column.path] = numbers.view("datetime64[ns]")
        elif kind is None:
            made = np.empty(len(of), object)
            made[:] = of
            out[column.path] = made
        elif not column.nullable:
            out[column.path] = of
        elif column.kind in ("float", "double"):
            out[column.path] = np.array([np.nan if value is None else value for value in of], kind)
        else:
            missing = [value is None for value in of]
            out[column.path] = np.ma.array([0 if value is None else value for value in of],
                                           kind, mask=missing)
    return out


def _to_pandas(columns: list[Column], values: dict[str, Any], index: np.ndarray | None,
               index_name: str) -> Any:
    import pandas  # type: ignore[import-untyped,unused-ignore]

    series: dict[str, Any] = {}
    for column, made in zip(columns, _to_numpy(columns, values).values()):
        if column.instant_ns and column.kind == "long":
            series[column.path] = pandas.to_datetime(made, utc=True)
        elif column.symbols:
            series[column.path] = pandas.Categorical(values[column.path],
                                                     categories=list(column.symbols), ordered=True)
        elif isinstance(made, np.ma.MaskedArray):
            name = {"boolean": "boolean", "int": "Int32", "long": "Int64"}[column.kind]
            series[column.path] = pandas.array(values[column.path], dtype=name)
        else:
            series[column.path] = made
    frame = pandas.DataFrame(series, copy=False)
    if index_name in frame:
        frame = frame.set_index(index_name)
    elif index is not None:
        frame.index = pandas.DatetimeIndex(pandas.to_datetime(index, utc=True), name="arrival")
    frame.attrs["units"] = {column.path: column.unit for column in columns if column.unit}
    frame.attrs["docs"] = {column.path: column.doc for column in columns if column.doc}
    return frame


def _to_polars(columns: list[Column], values: dict[str, Any]) -> Any:
    import polars

    kinds = {"boolean": polars.Boolean, "int": polars.Int32, "long": polars.Int64,
             "float": polars.Float32, "double": polars.Float64, "string": polars.String,
             "bytes": polars.Binary, "fixed": polars.Binary}
    made = []
    for column in columns:
        of = values[column.path]
        if column.instant_ns and column.kind == "long":
            series = polars.Series(column.path, _instants(of, column).view("datetime64[ns]"))
            made.append(series.dt.replace_time_zone("UTC"))
        elif column.symbols:
            made.append(polars.Series(column.path, of, polars.Enum(column.symbols)))
        elif column.kind in kinds and column.logical != "decimal":
            made.append(polars.Series(column.path, of, kinds[column.kind]))
        elif column.kind == "array" and column.items in kinds:
            made.append(polars.Series(column.path, of, polars.List(kinds[column.items])))
        else:
            made.append(polars.Series(column.path, of, polars.Object))
    return polars.DataFrame(made)


def read(channel: Any, from_: When = None, to: When = None, *,
         fields: list[str] | None = None, points: int | None = None, into: str = "pandas",
         directory: Any = "recordings") -> Any:
    """What a channel recorded, as one table.

    channel    its folder, or its name below `directory`; or a file, or a list of files
    from_, to  the span, by arrival: RFC 3339, `-10min`, seconds since 1970, or a datetime of
               Python's, numpy's or pandas'. Files of other programs: by their field `time`
    fields     dotted paths of the columns wanted; without, all
    points     at most so many rows: minima and maxima, of a folder from the coarsest level of its
               overview that is fine enough; what no level has yet is read from the recordings
    into       "pandas" (indexed by the channel's time), "polars", or "numpy" (arrays by path)

    Fields of records in records are columns by their path. Instants come out in UTC, to the
    nanosecond; enums as categories; reals that are null as NaN (polars: null). The units and docs
    of the schema are in the frame's `attrs` (pandas). What cannot be read is left out
    with a DamageWarning that names the place; `flotilla verify` finds flipped bits.
    """
    if into not in ("pandas", "polars", "numpy"):
        raise ValueError(f"into={into!r} is none of pandas, polars, numpy")
    if points is not None and points < 2:
        raise ValueError("points is at least 2")
    paths = recordings(channel, directory)
    begin, end = to_ns(from_, 0), to_ns(to, 1 << 63)
    if end < begin:
        raise ValueError("the span ends before it begins")
    pieces = [] if points is None else _level(channel, directory, begin, end, points)
    done = max((int(piece.arrivals.max()) + 1 for _, piece in pieces
                if piece.arrivals is not None and piece.arrivals.size), default=begin)
    time_path = None
    for container in _of_span(list(_containers(paths)), done):  # behind what the level has
        time_path = container.text("flotilla.time") or time_path
        pieces += _read_file(container, done, end)
    if points is not None and not any(piece.values and len(next(iter(piece.values.values())))
                                      for _, piece in pieces):
        pieces = _level(channel, directory, begin, end, 0)  # the recordings have gone
    columns, values = _join(pieces)
    arrivals = [piece.arrivals for _, piece in pieces if piece.arrivals is not None]
    index = np.concatenate(arrivals) if pieces and len(arrivals) == len(pieces) else None
    if points is not None:
        values, index = _spread(columns, values, index, points)
    index_name = time_path if time_path is not None else "time"
    if fields is not None:
        chosen = choose(columns, fields)
        if into == "pandas" and index_name in values and index_name not in {
                column.path for column in chosen}:
            chosen = [column for column in columns if column.path == index_name] + chosen
        columns = chosen
    values = {column.path: values[column.path] for column in columns}
    if into == "numpy":
        return _to_numpy(columns, values)
    if into == "polars":
        return _to_polars(columns, values)
    return _to_pandas(columns, values, index, index_name)
