# SPDX-License-Identifier: MIT
"""Reads container files with fastavro (compiled); see canonical.py."""
import sys

import canonical
import fastavro.read

fastavro.read.LOGICAL_READERS.clear()  # numbers stay numbers


def values(path):
    with open(path, "rb") as file:
        yield from fastavro.reader(file)


for name in sys.argv[1:]:
    try:
        print(name, *canonical.of_values(values(name)), sep="\t")
    except Exception as error:  # whatever it is, it is the answer for this file
        print(name, "error", f"{type(error).__name__}: {error}".replace("\n", " "), sep="\t")
