# SPDX-License-Identifier: MIT
"""What holds for all tests: the closing line with the counts of everything, and shared options.

The last line of a run is always "N passed, N failed, N skipped", with each skipped test by name and
reason above it; an error outside of a test body counts as a failure. pytest's own exit code is
non-zero on any failure. All of it is so as well where the tests run side by side (pytest-xdist):
what a test leaves for the end of the run travels with its report."""
import signal
import sys
from pathlib import Path

import pytest

_counts = {"passed": 0, "failed": 0, "skipped": 0}
_skipped = []
_kept = []


def pytest_configure():
    """A run in the background of a script, or under nohup, is deaf to a signal, and what it starts
    would be, too, by design: a handler that does nothing is not inherited."""
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def _skip(report):
    _counts["skipped"] += 1
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    _skipped.append(f"skipped {report.nodeid}: {reason.removeprefix('Skipped: ')}")


def pytest_collectreport(report):
    if report.failed:
        _counts["failed"] += 1
    elif report.skipped:
        _skip(report)


def pytest_runtest_logreport(report):
    _kept.extend(getattr(report, "closing", ()))
    if report.failed:
        _counts["failed"] += 1
    elif report.skipped:
        _skip(report)
    elif report.when == "call" and report.passed:
        _counts["passed"] += 1


def pytest_terminal_summary(terminalreporter):
    """What tests have left for the end; of the 026 scenarios one table, over those that ran."""
    for row in _kept:
        if "text" in row:
            terminalreporter.write(row["text"] + "\n")
    rows = [row for row in _kept if "text" not in row]
    if rows:
        sys.path.append(str(Path(__file__).parent / "scenario"))
        from harness import torture
        terminalreporter.section("kill anything, lose nothing")
        terminalreporter.write("\n".join(torture.report(rows)) + "\n")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if hasattr(config, "workerinput"):
        return
    if config.option.collectonly or config.option.help or not any(_counts.values()):
        return
    for line in _skipped:
        print(line)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**_counts))
