# SPDX-License-Identifier: MIT
"""What decimation makes of values, written another way than it is: in numpy and fractions, over
whole values rather than bytes."""
import math

import canonical
import numpy

from . import avro
from .avro import Branch

NUMBERS = ("int", "long", "float", "double")


def nearest(numerator, denominator):
    """The integer nearest to a fraction, halves away from zero."""
    quotient, rest = divmod(abs(numerator), denominator)
    quotient += 2 * rest >= denominator
    return quotient if numerator >= 0 else -quotient


def nearest_root(square, count):
    """The integer nearest to sqrt(square / count), exactly."""
    root = math.isqrt(4 * square // count)  # of twice the value
    return (root + 1) // 2


def of_integers(algorithm, values, kind):
    if algorithm == "average":
        return nearest(sum(values), len(values))
    root = nearest_root(sum(value * value for value in values), len(values))
    return min(root, (1 << (31 if kind == "int" else 63)) - 1)  # of the lowest number: one over


def of_reals(algorithm, values, kind):
    wide = numpy.array(values, dtype=numpy.longdouble)
    with numpy.errstate(all="ignore"):
        result = wide.mean() if algorithm == "average" else numpy.sqrt((wide * wide).mean())
        return float(numpy.float32(result) if kind == "float" else numpy.float64(result))


def extreme(values, high):
    column = numpy.array(values)
    if column.dtype.kind == "f":
        if numpy.isnan(column).all():
            return math.nan
        return float(numpy.nanmax(column) if high else numpy.nanmin(column))
    return int(max(values) if high else min(values))


class Unknown(Exception):
    """Not of numbers alone, or one of its numbers was never there."""


class Reference:
    def __init__(self, schema, algorithm, time=None, sequence=None):
        self.schema, self.algorithm = schema, algorithm
        self.kept = {time, sequence}
        self.time = time

    def windows(self, values, factor):
        """The decimated datums of a stream: (wanted value, values of its window)."""
        out = []
        for begin in range(0, len(values) - factor + 1, factor):
            window = values[begin:begin + factor]
            if self.algorithm == "min-max":
                for high in (False, True):
                    wanted = self.merge(None, "", window, window[-1], (), (), high)
                    if self.time and not high:
                        wanted[self.time] = window[0][self.time]
                    out.append((wanted, window))
            else:
                out.append((self.merge(None, "", window, window[-1], (), (), False), window))
        return out

    def merge(self, part, space, present, last, path, enclosing, high):
        kind, part, space = self.schema.resolve(self.schema.json if part is None else part, space)
        if kind == "record":
            name = self.schema.full_name(part, space)[0]
            if name in enclosing:  # a record in itself is taken as it is
                return last
            return {field["name"]: self.merge(field["type"], space,
                                              [value[field["name"]] for value in present],
                                              last[field["name"]], path + (field["name"],),
                                              enclosing + (name,), high)
                    for field in part["fields"]}
        if kind == "union":  # over the datums that have the branch of the last one
            if self.schema.resolve(part[last.index], space)[0] == "null":
                try:
                    return self.fill(part, space, present, path, enclosing, high)
                except Unknown:
                    return last
            same = [value.value for value in present if value.index == last.index]
            return Branch(last.index, self.merge(part[last.index], space, same, last.value, path,
                                                 enclosing, high))
        return self.number(kind, part, present, path, high) if kind in NUMBERS else last

    def number(self, kind, part, present, path, high):
        if self.algorithm == "downsample" or "logicalType" in part or ".".join(path) in self.kept:
            return present[-1]
        if self.algorithm == "min-max":
            return extreme(present, high)
        if kind in ("int", "long"):
            return of_integers(self.algorithm, present, kind)
        return of_reals(self.algorithm, present, kind)

    def fill(self, part, space, present, path, enclosing, high):
        """A value made of what the window has, where its last datum has none."""
        kind, part, space = self.schema.resolve(part, space)
        if kind == "null":
            return None
        if kind in NUMBERS and present:
            return self.number(kind, part, present, path, high)
        if kind == "union":  # the branch that was there last
            numbered = [value for value in present
                        if self.has_number(part[value.index], space, enclosing, value.value)]
            if numbered:
                index = numbered[-1].index
                same = [value.value for value in present if value.index == index]
                return Branch(index, self.fill(part[index], space, same, path, enclosing, high))
            kinds = [self.schema.resolve(branch, space)[0] for branch in part]
            if "null" in kinds and all(kind == "null" or self.may_have_number(branch, space,
                                                                              enclosing)
                                       for kind, branch in zip(kinds, part)):
                return Branch(kinds.index("null"), None)
        if kind == "record":
            name = self.schema.full_name(part, space)[0]
            if name not in enclosing:
                return {field["name"]: self.fill(field["type"], space,
                                                 [value[field["name"]] for value in present],
                                                 path + (field["name"],), enclosing + (name,),
                                                 high)
                        for field in part["fields"]}
        raise Unknown

    def has_number(self, part, space, enclosing, value):
        kind, part, space = self.schema.resolve(part, space)
        if kind == "union":
            return self.has_number(part[value.index], space, enclosing, value.value)
        if kind == "record":
            name = self.schema.full_name(part, space)[0]
            return name not in enclosing and any(
                self.has_number(field["type"], space, enclosing + (name,), value[field["name"]])
                for field in part["fields"])
        return kind in NUMBERS

    def may_have_number(self, part, space, enclosing):
        kind, part, space = self.schema.resolve(part, space)
        if kind == "union":
            return any(self.may_have_number(branch, space, enclosing) for branch in part)
        if kind == "record":
            name = self.schema.full_name(part, space)[0]
            return name not in enclosing and any(
                self.may_have_number(field["type"], space, enclosing + (name,))
                for field in part["fields"])
        return kind in NUMBERS


def dumped(value):
    """As bytes, in which NaN equals NaN."""
    out = bytearray()
    canonical.dump(avro.plain(value), out)
    return out
