#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How many instructions of its own the relay spends on a datagram: bench/budget.py [--renew WHY]

The relay, static and of the same objects but with symbols and without its sandbox (inside which
callgrind could not write its counts), runs under callgrind with an inherited socket whose queue was
filled before, so every batch is full and the count repeats. It runs with N and with 2N datagrams;
the difference over N is the cost of one, and what starting and stopping take cancels. The kernel's
part is not in it. The receiving thread's count repeats within 0.1 %; how often the writing thread
wakes hangs on the disk, so of its counts over 2N the least of some turns is taken. Prints a table,
the functions where it goes, and how it stands to tests/budget.json; --renew writes that file anew,
with the reason in it.

Relies on valgrind and on root (a queue that holds them all). Known faults: valgrind shows a
processor without AVX-512 and VPCLMULQDQ, so what the relay does only with those is counted by what
it does without them. A string instruction (`rep movsb`, which is how -Os copies) counts once a
byte, though a processor moves many at once."""
import argparse
import concurrent.futures
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import layouts
from layouts import BUILD, ROOT

sys.path[:0] = [str(ROOT / "tests/scenario"), str(ROOT / "tests/readers")]
from harness import signals  # noqa: E402

FILE = ROOT / "tests/budget.json"
SYMBOLS = BUILD / "relay/flotilla-relay-symbols"
RENEW = "make budget WHY='why it changed'"
MORE_MAX, LESS_MAX = 0.03, 0.10
DATAGRAMS = 12800  # full batches of 32, and full trains of 50
TURNS = 3
TRAIN = 50
UDP_SEGMENT, UDP_GRO = 103, 104
SO_RCVBUFFORCE, SO_RXQ_OVFL, SO_TIMESTAMPNS = 33, 40, 35
QUEUE_BYTES = 64 << 20

FIXED = {"size": 1200}
SMALL = {"size": 64}
DOUBLES = {"size": 1200, "doubles": 10}
ROWS = {
    "1,200 B, recorded": dict(data=FIXED, record=True),
    "1,200 B, not recorded": dict(data=FIXED, record=False),
    "64 B, recorded": dict(data=SMALL, record=True),
    "64 B, not recorded": dict(data=SMALL, record=False),
    "1,200 B, recorded, min-max of ten doubles": dict(data=DOUBLES, record=True, minmax=True),
    "varints and a union, 27 B, recorded": dict(data=None, record=True),
}
# Only where the relay has the flag.
OFFLOAD_ROWS = {
    "1,200 B, recorded, offload off": dict(data=FIXED, record=True, offload="off"),
    "1,200 B coalesced, recorded": dict(data=FIXED, record=True, coalesced=True),
    "1,200 B coalesced, not recorded": dict(data=FIXED, record=False, coalesced=True),
    "64 B coalesced, recorded": dict(data=SMALL, record=True, coalesced=True),
}


def rows():
    return {**ROWS, **(OFFLOAD_ROWS if "--offload" in layouts.relay_flags() else {})}


def filled_socket(count, data, coalesced):
    """A receive socket as the manager makes it, with `count` datagrams waiting in it."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_BYTES)
    receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    if coalesced:
        receiver.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    receiver.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(receiver.getsockname())
        one = (lambda number: layouts.datum(number, **data)) if data else \
            (lambda number: signals.sample(1_000_000 + number))
        train = TRAIN if coalesced else 1
        if coalesced:
            sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, data["size"])
        for number in range(0, count, train):
            sender.send(b"".join(one(i) for i in range(number, number + train)))
    return receiver


def run(binary, folder, layout, count, row):
    """Runs the relay over `count` datagrams; returns callgrind's files, the receiving thread's
    first."""
    folder.mkdir()
    data = row["data"]
    group = f"239.{random.randint(192, 195)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    out = folder / "callgrind.out"
    with filled_socket(count, data, row.get("coalesced")) as receiver:
        number = receiver.fileno()
        # The convention counts from descriptor 3; names nobody asks for stand for those before.
        names = ":".join(["unused"] * (number - 3) + ["receive"])
        command = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", "valgrind", "--tool=callgrind",
                   "--fair-sched=yes", "--separate-threads=yes",
                   f"--callgrind-out-file={out}", f"--log-file={folder}/log", str(binary),
                   "--name=budget", f"--layout={layout}",
                   f"--listen=127.0.0.1:{receiver.getsockname()[1]}", "--interface=lo",
                   f"--full={group}:21000", "--sync=1h", "--buffer=64MiB"]
        if row["record"]:
            (folder / "recordings").mkdir()
            command.append(f"--directory={folder}/recordings")
        if row.get("minmax"):
            command += [f"--decimated={group}:21001", "--factor=50", "--algorithm=min-max"]
        if "offload" in row:
            command.append(f"--offload={row['offload']}")
        command += row.get("more", [])
        child = subprocess.Popen(command, pass_fds=(number,), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                 env={**os.environ, "LISTEN_FDS": str(number - 2),
                                      "LISTEN_FDNAMES": names})
        try:
            end = time.monotonic() + 60
            # Not readable: all are taken, and the last batch is done before a stop is looked for.
            while select.select([receiver], [], [], 0)[0] and child.poll() is None:
                if time.monotonic() > end:
                    raise AssertionError("the relay did not take what waited")
                time.sleep(0.01)
            child.send_signal(signal.SIGTERM)
            _, said = child.communicate(timeout=60)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    said = said.decode()
    wanted = f"{count} datagrams received, 0 rejected, 0 dropped by the kernel; "
    wanted += f"{count} datums recorded, 0 not" if row["record"] else "0 datums recorded"
    assert child.returncode == 0 and wanted in said, (child.returncode, said)
    return sorted(folder.glob("callgrind.out-*"))


def total(paths):
    return sum(int(re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.M).group(1))
               for path in paths)


def functions(paths):
    """{function: instructions of its own} of callgrind's files."""
    found = {}
    for path in paths:
        done = subprocess.run(["callgrind_annotate", "--threshold=100", str(path)],
                              capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            # f'2 is f called again from within itself.
            match = re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+\S*?:([\w.]+)", line)
            if match:
                own = int(match.group(1).replace(",", ""))
                found[match.group(2)] = found.get(match.group(2), 0) + own
    return found


def measure(row, folder, binary, by_function=False):
    """Instructions a datagram: {"receiving": X, "both threads": Y}, and {function: Z}."""
    place = Path(tempfile.mkdtemp(prefix="row-", dir=folder))
    data = row["data"]
    layout = layouts.compile_layout(place, layouts.schema(**data) if data else signals.SCHEMA)
    turns = TURNS if row["record"] and not by_function else 1
    few = run(binary, place / "once", layout, DATAGRAMS, row)
    many = [run(binary, place / f"twice-{turn}", layout, 2 * DATAGRAMS, row)
            for turn in range(turns)]
    receiving = (total(many[0][:1]) - total(few[:1])) / DATAGRAMS
    writing = min(total(outs[1:]) for outs in many) / (2 * DATAGRAMS)
    split = {}
    if by_function:
        before, after = functions(few), functions(many[0])
        split = {key: (after[key] - before.get(key, 0)) / DATAGRAMS for key in after}
    return {"receiving": receiving, "both threads": receiving + writing}, split


def measure_all(names=None, binary=SYMBOLS, by_function=False):
    """{row: what measure() gives}; two at a time."""
    wanted = {name: row for name, row in rows().items() if names is None or name in names}
    folder = Path(tempfile.mkdtemp(prefix="flotilla-budget-", dir="/var/tmp"))
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = {name: pool.submit(measure, row, folder, binary, by_function)
                    for name, row in wanted.items()}
            return {name: job.result() for name, job in jobs.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judge(measured, budget):
    """What is wrong, a line each: rows that grew, shrank unnoticed, are new or gone."""
    faults = []
    for name, counts in measured.items():
        if name not in budget:
            faults.append(f"{name}: has no budget")
            continue
        for part, count in counts.items():
            allowed = budget[name][part]
            told = f"{name}: {count:.0f} instructions a datagram ({part}), " \
                   f"{count / allowed - 1:+.1%} to the budget of {allowed}"
            if count > allowed * (1 + MORE_MAX):
                faults.append(told)
            elif count < allowed * (1 - LESS_MAX):
                faults.append(told + ": good, but the budget is not true any more")
    return faults + [f"{name}: in the budget, and not measured" for name in budget
                     if name not in measured]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--renew", metavar="WHY", help="write tests/budget.json anew")
    parser.add_argument("--functions", type=int, default=10, metavar="N",
                        help="so many functions a row (default 10; 0: none)")
    options = parser.parse_args()
    budget = json.loads(FILE.read_text())["instructions"] if FILE.exists() else {}
    measured = {name: counts for name, (counts, _) in measure_all().items()}
    if options.renew:
        FILE.write_text(json.dumps({"why": options.renew, "instructions": {
            name: {part: round(count) for part, count in counts.items()}
            for name, counts in measured.items()}}, indent=1) + "\n")
    splits = {}
    if options.functions:
        splits = {name: split for name, (_, split) in
                  measure_all(by_function=True).items()}
    print("user instructions of the relay a datagram (callgrind, slope between "
          f"{DATAGRAMS} and {2 * DATAGRAMS})")
    print(f"{'':46}{'receiving':>10}{'budget':>8}{'both threads':>14}{'budget':>8}")
    for name, counts in measured.items():
        allowed = budget.get(name, {})
        print(f"{name:46}{counts['receiving']:10.1f}{allowed.get('receiving', '-'):>8}"
              f"{counts['both threads']:14.1f}{allowed.get('both threads', '-'):>8}")
        for function, own in sorted(splits.get(name, {}).items(),
                                    key=lambda item: -item[1])[:options.functions]:
            if own >= 0.5:
                print(f"    {own:9.1f}  {own / counts['both threads']:6.1%}  {function}")
    if options.renew:
        print(f"renewed {FILE.relative_to(ROOT)}")
        return 0
    faults = judge(measured, budget)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
