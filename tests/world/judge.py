# SPDX-License-Identifier: MIT
"""Reads every recording as soon as it is finished, as an archive does: by fastavro, by `flotilla
verify`, one in twenty by `flotilla cat`; then removes it, unless retention is to do that. At the
end it tells each datagram's fate.

When a line on standard input names a file with causes and counters, everything is read once more
and judged, and a table printed as a line of JSON. Violations are printed at once, each as a line of
JSON that begins with {"violation":."""
import json
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import fastavro
import numpy

import plan
from sender import NOTE

LOOK_S = 1.0
BEFORE_NS = 100_000_000  # what was sent so shortly before a cause may still have been on its way
OVERSTAY_S = 120


def say(**about):
    print(json.dumps(about), flush=True)


class Seen:
    """How often each number was found."""

    def __init__(self):
        self.times = numpy.zeros(1 << 16, numpy.uint8)

    def add(self, numbers):
        if not len(numbers):
            return 0
        top = int(numbers.max()) + 1
        while top > len(self.times):
            self.times = numpy.concatenate([self.times, numpy.zeros_like(self.times)])
        before = self.times[numbers].astype(bool).sum() + len(numbers) - len(numpy.unique(numbers))
        numpy.add.at(self.times, numbers, 1)
        return int(before)


class Kept:
    """A file that retention is to remove."""

    def __init__(self, path, newest_us):
        self.path, self.newest_us, self.told = path, newest_us, False


class Judge:
    def __init__(self, folder, program, pools, seed):
        self.folder, self.program = Path(folder), program
        self.pools = [Path(pool) for pool in pools]
        self.channels = {one.name: one for one in plan.channels()}
        self.datums = {name: Seen() for name in self.channels}
        self.rejects = {name: Seen() for name in self.channels}
        self.reads = {}  # what was read already, by device, inode and name
        self.missed = {}  # what the last look did not find, and when that was
        self.kept, self.overstay, self.removed = {}, {}, 0
        self.twice = dict.fromkeys(self.channels, 0)
        self.files = self.catted = self.left_open = 0
        self.rng = random.Random(seed)

    def wrong(self, what, **about):
        say(violation=what, **about)

    # ---- files ----

    def look(self, last=False):
        """Takes what is finished. The `last` time also files left open where no relay looks any
        more: its folder was moved away, or covered, and it was killed before it had seen that."""
        found = {}
        ends = (".avro", ".damaged", *[".part"] * last)
        for pool in self.pools:
            for folder, _, names in os.walk(pool):
                for name in names:
                    if name.endswith(ends):
                        path = Path(folder, name)
                        try:
                            about = path.stat()
                        except FileNotFoundError:
                            continue
                        found.setdefault((about.st_dev, about.st_ino, name), path)
        for key, path in found.items():
            if key in self.kept:
                self.kept[key].path = path  # its folder may have been moved away
            if key not in self.reads:
                self.reads[key] = True
                self.read(key, path)
        # A folder that is moved while one walks is in neither place: gone is what two looks miss.
        now, before = time.time(), self.missed
        self.missed = {key: before.get(key, now) for key in self.reads if key not in found}
        for key in [key for key in self.missed if key in before]:
            del self.reads[key]  # its number may be another file's from now on
            if key in self.kept:
                self.gone(self.kept.pop(key), self.missed[key])
            del self.missed[key]
        self.look_at_age()

    def look_at_age(self):
        """How long beyond its age a file has stayed where retention looks: on the fleet's own
        disk, not on one that was mounted there for a while or below both."""
        for kept in self.kept.values():
            over_s = time.time() - kept.newest_us / 1e6 - plan.RETAIN_S
            name = kept.path.parent.name
            if name not in self.channels or kept.path.parent.parent != \
                    self.folder / "pool" / self.channels[name].fleet / "rec":
                continue
            self.overstay[name] = max(self.overstay.get(name, 0), over_s)
            if over_s > OVERSTAY_S and not kept.told:
                kept.told = True
                self.wrong("not removed by age", file=str(kept.path), over_s=round(over_s))

    def gone(self, kept, at):
        self.removed += 1
        age_s = at - kept.newest_us / 1e6
        if age_s < plan.RETAIN_S:
            self.wrong("removed too young", file=str(kept.path), age_s=round(age_s, 1))

    def read(self, key, path):
        if path.suffix == ".damaged":
            self.wrong("a damaged file", file=str(path))
            return
        name = path.name.partition("-2")[0].partition("-1")[0]
        channel = self.channels.get(name)
        if channel is None:
            self.wrong("a file of no channel", file=str(path))
            return
        verified = subprocess.run([self.program, "verify", path], capture_output=True, text=True)
        if not path.exists():  # its folder was moved away just now: it is found there
            del self.reads[key]
            return
        if verified.returncode:
            self.wrong("verify", file=str(path), said=(verified.stdout + verified.stderr)[-500:])
        try:
            newest_us = self.take(channel, path)
        except FileNotFoundError:
            del self.reads[key]
            return
        except Exception as error:  # whatever a library says of it, it is not a sound file
            self.wrong("unreadable", file=str(path), error=repr(error))
            return
        self.files += 1
        self.left_open += path.suffix == ".part"
        if channel.fleet in plan.RETAINED:
            self.kept[key] = Kept(path, newest_us)
        elif not verified.returncode:
            path.unlink(missing_ok=True)

    def take(self, channel, path):
        """Counts what is in it; the time of its newest datum."""
        with open(path, "rb") as file:
            rows = list(fastavro.reader(file))
        if "-rejects.avro" in path.name:
            told = [plan.REJECT.unpack_from(row["bytes"].ljust(64), len(plan.INVALID))
                    for row in rows]
            numbers = [number for number, _ in told]
            again = self.rejects[channel.name].add(numpy.array(numbers, numpy.int64))
            if any(not row["bytes"].startswith(plan.INVALID) for row in rows):
                self.wrong("a good datagram among the rejects", file=str(path))
            newest_us = max(sent_us for _, sent_us in told)
        else:
            strange = [row for row in rows if row["channel"] != channel.number
                       or len(row["pad"]) != channel.pad]
            if strange:
                self.wrong("another channel's datums", file=str(path), count=len(strange),
                           first=repr(strange[0])[:200])
            numbers = numpy.array([row["number"] for row in rows
                                   if row["channel"] == channel.number], numpy.int64)
            again = self.datums[channel.name].add(numbers)
            newest_us = max(row["time"] for row in rows).timestamp() * 1e6
            if self.rng.random() < 0.05:
                self.cat(path, numbers)
        if again:
            self.twice[channel.name] += again
            say(note="recorded twice", file=str(path), count=again)
        return newest_us

    def cat(self, path, numbers):
        self.catted += 1
        done = subprocess.run([self.program, "cat", path], capture_output=True, text=True)
        told = [json.loads(line)["number"] for line in done.stdout.splitlines()]
        if done.returncode or told != numbers.tolist():
            self.wrong("cat tells something else", file=str(path), said=done.stderr[-300:])

    # ---- fates ----

    def sent(self, channel):
        """The notes, as columns: first, count, before, after."""
        data = (self.folder / f"sent.{channel.name}").read_bytes()
        whole = len(data) // NOTE.size * NOTE.size
        return numpy.frombuffer(data[:whole], "<i8").reshape(-1, 4).T

    def excused(self, channel, causes, back_ns):
        """[(begin, end, cause)]: when what is sent may be lost. A cause's end is followed by
        `back_ns`; where another cause hits the same channel in that time, by as much behind it."""
        mine = [one for one in causes if channel.name in one["concerns"]]
        spans = []
        for loses in (one for one in mine if channel.name in one["loses"]):
            until, grown = loses["end_ns"] + back_ns, True
            while grown:
                grown = False
                for other in mine:
                    if other["begin_ns"] < until < other["end_ns"] + back_ns and \
                            other["hampers"]:
                        until, grown = other["end_ns"] + back_ns, True
            spans.append((loses["begin_ns"] - BEFORE_NS, until, loses))
        return spans

    def fate(self, channel, about):
        """Every datagram of a channel: recorded, rejected, or lost while a cause lasted."""
        first, count, before, after = self.sent(channel)
        total = int(count.sum())
        if not (first[1:] == (first + count)[:-1]).all():
            self.wrong("the sender's notes have gaps", channel=channel.name)
        if channel.recorded:
            times = self.datums[channel.name].times
            size = total * channel.packs
            times = numpy.concatenate([times, numpy.zeros(max(0, size - len(times)), numpy.uint8)])
            if times[size:].any():
                self.wrong("datums that nobody sent", channel=channel.name)
            grouped = times[:size].reshape(-1, channel.packs)
            if (grouped != grouped[:, :1]).any():
                self.wrong("parts of datagrams", channel=channel.name)
            got = grouped[:, 0].astype(bool)
            rejects = self.rejects[channel.name].times[:total]
            got[:len(rejects)] |= rejects.astype(bool)
        else:
            got = self.came(channel, total).astype(bool)
        lost = numpy.flatnonzero(~got)
        result = {"sent": total, "got": int(got.sum()), "lost": len(lost)}
        spans = self.excused(channel, about["causes"], about["back_ns"])
        burst = numpy.searchsorted(first, lost, "right") - 1
        excused = numpy.zeros(len(lost), bool)
        for begin, end, _ in spans:
            excused |= (after[burst] >= begin) & (before[burst] <= end)
        for one in self.runs(lost[~excused])[:20]:
            at = int(before[numpy.searchsorted(first, one[0], "right") - 1])
            last = int(after[numpy.searchsorted(first, one[-1], "right") - 1])
            self.wrong("lost without a cause", channel=channel.name, first=int(one[0]),
                       count=len(one), from_s=self.since(at, about), to_s=self.since(last, about))
        result["lost_without_a_cause"] = int((~excused).sum())
        result["worst_back_s"] = self.worst_back(before[burst], spans)
        return result, got

    @staticmethod
    def runs(numbers):
        if not len(numbers):
            return []
        return numpy.split(numbers, numpy.flatnonzero(numpy.diff(numbers) > 1) + 1)

    @staticmethod
    def since(at_ns, about):
        return round((at_ns - about["begun_ns"]) / 1e9, 2)

    @staticmethod
    def worst_back(times, spans):
        """How long after the last end of a cause that loses anything was lost without another
        one lasting: the longest that the channel took to be back."""
        causes = [cause for _, _, cause in spans]
        if not len(times) or not causes:
            return 0.0
        lasting, since = numpy.zeros(len(times), bool), numpy.full(len(times), -1, numpy.int64)
        for cause in causes:
            lasting |= (times >= cause["begin_ns"] - BEFORE_NS) & (times <= cause["end_ns"])
            ended = times > cause["end_ns"]
            since[ended] = numpy.maximum(since[ended], cause["end_ns"])
        behind = (times - since)[~lasting & (since >= 0)]
        return round(float(behind.max(initial=0)) / 1e9, 2)

    def came(self, channel, total):
        times = numpy.frombuffer((self.folder / f"came.{channel.name}").read_bytes(), numpy.uint8)
        return numpy.concatenate([times, numpy.zeros(max(0, total - len(times)),
                                                     numpy.uint8)])[:total]

    def live(self, channel, got, about):
        """The full stream: what was accepted has come to the sink, but for what was sent while the
        way out was away, or waited for a relay until it was; twice only what was in a batch of a
        relay that was killed."""
        times = self.came(channel, len(got))
        if channel.recorded and (times.astype(bool) & ~got).any():
            self.wrong("relayed, but not recorded", channel=channel.name,
                       count=int((times.astype(bool) & ~got).sum()))
        first, _, before, after = self.sent(channel)
        missing = numpy.flatnonzero(got & (times == 0))
        burst = numpy.searchsorted(first, missing, "right") - 1
        excused = numpy.zeros(len(missing), bool)
        for begin, end, cause in self.excused(channel, about["causes"], about["back_ns"]):
            begin = min([begin, *(other["begin_ns"] for other in about["causes"]
                                  if other["hampers"] and channel.name in other["concerns"]
                                  and other["begin_ns"] < cause["end_ns"]
                                  and begin < other["end_ns"] + about["back_ns"])])
            excused |= (after[burst] >= begin) & (before[burst] <= end)
        for one in self.runs(missing[~excused])[:20]:
            at = int(before[numpy.searchsorted(first, one[0], "right") - 1])
            self.wrong("accepted, but not relayed", channel=channel.name, first=int(one[0]),
                       count=len(one), from_s=self.since(at, about))
        twice = int((times > 1).sum())
        deaths = about["relay_deaths"][channel.name]
        if twice > about["batch"] * deaths:
            self.wrong("relayed twice", channel=channel.name, count=twice, deaths=deaths)
        return {"relayed_twice": twice, "not_relayed": len(missing), "relay_deaths": deaths}

    def recorded(self, channel, counters, about):
        """The counters are what is in the files, and nothing is in none. One way out is left: a
        relay that ends within a moment of its folder's going leaves a file behind that its
        successor cannot reach. What it had not synced counts as unrecorded, though it is there; a
        write that was cut short is repeated elsewhere."""
        counted, lost = counters["datums_recorded"], counters["datums_unrecorded"]
        found = int((self.datums[channel.name].times > 0).sum())
        left = self.left_behind(channel, about)
        if found != counted + left * lost:
            self.wrong("datums_recorded is not what is in the files", channel=channel.name,
                       counted=counted, unrecorded=lost, found=found)
        twice = self.twice[channel.name]
        if (lost or twice) and not left:
            self.wrong("unrecorded, or recorded twice", channel=channel.name, unrecorded=lost,
                       twice=twice)

    def left_behind(self, channel, about):
        """Whether a relay of the channel ended while its folder was another one than it held."""
        mine = [one for one in about["causes"] if channel.name in one["concerns"]]
        ends = [one for one in mine if one["kind"] in ("kill", "hang", "command")]
        return any(folder["begin_ns"] - BEFORE_NS < one["end_ns"] + about["back_ns"]
                   and one["begin_ns"] < folder["end_ns"] + about["back_ns"]
                   for folder in mine if folder["kind"] == "folder" for one in ends)

    def judge(self, about):
        table = {}
        for name, channel in self.channels.items():
            row, got = self.fate(channel, about)
            counters = about["counters"][name]
            row["received"] = counters["datagrams_received"]
            if channel.recorded:
                row["unrecorded"] = counters["datums_unrecorded"]
                row["twice"] = self.twice[name]
            # What is recorded nowhere was perhaps received, but could not be sent by a link away.
            more = not channel.recorded and row["got"] <= row["received"] <= row["sent"] and \
                any(name in one["loses"] for one in about["causes"])
            if row["received"] != row["got"] and not more:
                self.wrong("received is not what is in the files", channel=name, **row)
            if channel.recorded:
                self.recorded(channel, counters, about)
            if channel.full and counters["datagrams_accepted"] != \
                    counters["datagrams_sent_full"] + counters["send_errors"]:
                self.wrong("accepted is not sent and not sent", channel=name, **{
                    key: value for key, value in counters.items() if "sen" in key})
            if channel.full:
                row.update(self.live(channel, got, about))
            table[name] = row
        say(table=table, files=self.files, catted=self.catted, left_open=self.left_open,
            removed=self.removed,
            overstay_s={name: round(value, 1) for name, value in self.overstay.items()})


def main():
    folder, program, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    judge = Judge(folder, program, sys.argv[4:], seed)
    while True:
        if select.select([0], [], [], LOOK_S)[0]:
            path = sys.stdin.readline().strip()
            if path == "":
                return
            judge.look(last=True)
            judge.judge(json.loads(Path(path).read_text()))
        else:
            judge.look()


if __name__ == "__main__":
    main()
