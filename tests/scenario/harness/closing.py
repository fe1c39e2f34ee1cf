# SPDX-License-Identifier: MIT
"""What a test leaves for the end of the run. tests/scenario/conftest.py sends it along with the
test's report, also from one process of a run to another, and tests/conftest.py prints it: plain
values only."""

_rows = []


def keep(row):
    """`row` is a dict: of the table of the 026 scenarios (torture.py), or {"text": lines}."""
    _rows.append(row)


def take():
    """What was kept since the last call."""
    taken = list(_rows)
    _rows.clear()
    return taken
