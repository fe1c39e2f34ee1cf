# SPDX-License-Identifier: MIT
"""030: what a datagram costs the relay in instructions of its own stays within tests/budget.json.

The counts come from the relay under callgrind (bench/budget.py) and repeat to the digit on
one compiler; another compiler makes other code, so a change of it is a reason to renew."""
import json
import re
import shutil
import sys

import pytest

from harness.fleet import ROOT

sys.path.append(str(ROOT / "bench"))
import budget  # noqa: E402

REPEATS_WITHIN = 0.005  # a wake-up more or less
RELAY_BYTES_MAX = 160 << 10


@pytest.fixture
def needs_valgrind():
    if not shutil.which("valgrind"):
        pytest.skip("needs valgrind")


def test_instructions_a_datagram_are_within_the_budget(needs_root, needs_valgrind):
    measured = {name: counts for name, (counts, _) in budget.measure_all().items()}
    for name, counts in measured.items():
        print(f"{name:46}{counts['receiving']:9.1f}{counts['both threads']:9.1f}")
    faults = budget.judge(measured, json.loads(budget.FILE.read_text())["instructions"])
    assert not faults, "\n".join([*faults, f"If it is meant to be so: {budget.RENEW}"])


def test_the_count_repeats_and_a_little_more_work_is_seen(needs_root, needs_valgrind, monkeypatch):
    """Else a growth of a few per cent could be chance, or pass. The little more is the check of the
    sender's address, which a channel without `sources` does not do."""
    name = "64 B, not recorded"
    monkeypatch.setitem(budget.ROWS, "more", {**budget.ROWS[name],
                                              "more": ["--source=127.0.0.0/8"]})
    first = budget.measure_all([name, "more"])
    second = budget.measure_all([name])
    plain, more = first[name][0], first["more"][0]
    assert abs(plain["receiving"] - second[name][0]["receiving"]) <= \
        REPEATS_WITHIN * plain["receiving"], (first, second)
    assert [fault.split(":")[0] for fault in budget.judge({name: more}, {name: plain})] == \
        [name, name], (plain, more)


def test_the_relay_is_small():
    assert (ROOT / "build/flotilla-relay").stat().st_size <= RELAY_BYTES_MAX


def test_growth_and_an_unnoticed_gain_are_told():
    """The judge, on figures made up: +3 % passes, more does not; -10 % passes, less does not."""
    allowed = {name: {"receiving": 1000} for name in ("a", "b", "c", "d", "gone")}
    measured = {name: {"receiving": count} for name, count in
                {"a": 1030, "b": 1031, "c": 900, "d": 899, "new": 5}.items()}
    faults = budget.judge(measured, allowed)
    assert [fault.split(":")[0] for fault in faults] == ["b", "d", "new", "gone"]


def test_the_document_shows_the_budget():
    text = (ROOT / "docs/internals/cost.md").read_text()
    rows = {name: {"receiving": int(receiving.replace(",", "")),
                   "both threads": int(both.replace(",", ""))}
            for name, receiving, both in re.findall(r"^\| (.*) \| ([\d,]+) \| ([\d,]+) \|$", text,
                                                    re.M)}
    assert rows == json.loads(budget.FILE.read_text())["instructions"]
