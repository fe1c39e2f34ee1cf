# SPDX-License-Identifier: MIT
"""Datums that a relay built for tests (tests/tools/trap.c) crashes or hangs over."""
from . import avro, signals

MAGIC = {"crash": b"flotilla-crash!!", "hang": b"flotilla-hang!!!"}


def poison(kind, number):
    """A datum like others, but for its note."""
    return signals.sample(number)[:-1] + b"\x02" + avro.long(16) + MAGIC[kind]
