# SPDX-License-Identifier: MIT
"""The text of numbers (src/base/digits.c) against others who print the shortest: Python's repr, and
the C++ library's to_chars; with FLOTILLA_TEST_LONG for all floats there are.

Relies on `make test-programs` having built build/units. Seeds are printed, SEED repeats one."""
import math
import os
import random
import struct
import subprocess
import time
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent.parent / "build/units"
LONG = bool(os.environ.get("FLOTILLA_TEST_LONG"))
SEED = int(os.environ.get("SEED", time.time_ns() >> 10 if LONG else 1))


def hard(randoms):
    """Random bits; few digits; powers of two and ten and those beside them; integers."""
    for _ in range(1_000_000 if LONG else 40_000):
        yield struct.unpack("d", struct.pack("Q", randoms.getrandbits(64)))[0]
        yield round(randoms.gauss(0, 1000), randoms.randrange(6))
        yield float(randoms.getrandbits(randoms.randrange(1, 64)))
    tens = [float(f"1e{n}") for n in range(-323, 309)]
    for value in [2.0 ** n for n in range(-1074, 1024)] + tens:
        for other in (value, math.nextafter(value, 0), math.nextafter(value, math.inf)):
            yield other
            yield -other


def test_doubles_are_as_python_has_them():
    print("seed", SEED)
    values = [value for value in hard(random.Random(SEED)) if math.isfinite(value)]
    printed = subprocess.run([PROGRAMS / "digits"], input=struct.pack(f"{len(values)}d", *values),
                             capture_output=True, check=True).stdout.decode().splitlines()
    assert len(printed) == len(values)

    def parts(text):
        mantissa, _, exponent = text.partition("e")
        whole, _, fraction = mantissa.lstrip("-").partition(".")
        digits = (whole + fraction).lstrip("0")
        first = int(exponent or 0) + len(whole) if whole != "0" else \
            int(exponent or 0) - len(fraction) + len(fraction.lstrip("0"))
        return text.startswith("-"), digits.rstrip("0"), first if digits.strip("0") else 0

    for value, text in zip(values, printed):
        assert parts(text) == parts(repr(value)), (text, repr(value))
        assert float(text) == value and ("." in text or "e" in text)


def test_numbers_are_as_the_cpp_library_has_them():
    environment = dict(os.environ, SEED=str(SEED | 1))
    for kind, number in [("floats", 1 if LONG else 4099), ("doubles", 10 ** (9 if LONG else 6))]:
        done = subprocess.run([PROGRAMS / "shortest", kind, str(number)], env=environment,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
