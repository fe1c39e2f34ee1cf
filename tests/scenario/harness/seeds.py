# SPDX-License-Identifier: MIT
"""Where what is random begins. In `make test` it is the same each time, as nobody's change should
fail over what another chance would not have met; `make test-long` draws anew, and finds more.
FLOTILLA_TEST_SEED is one to live again."""
import os
import random
import zlib

LONG = bool(os.environ.get("FLOTILLA_TEST_LONG"))


def seed_of(name):
    """The seed of what is called so; it must be printed."""
    given = os.environ.get("FLOTILLA_TEST_SEED")
    if given:
        return int(given)
    return random.SystemRandom().getrandbits(31) if LONG else zlib.crc32(name.encode()) >> 1
