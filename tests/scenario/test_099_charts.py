# SPDX-License-Identifier: MIT
"""099-charts: the charts of the page in a real browser, fed live: what they show is what was sent,
read off as a user reads it (words, the table, the address, files that were saved). Pause, look
back, single datums, cursor, marks, statistics, a trigger, selections, gaps, a reload, a gateway
that was away."""
import csv
import math
import os
import re
import signal
import time
from datetime import datetime, timezone

import fastavro
import h5py
import pytest
from harness.browser import until
from harness.fleet import wait_until
from harness.gateway import GATEWAY, GatewayFleet
from harness.rig import KEYS, SYMBOLS, Rig

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
WAIT = 60


def ns(text):
    """Of RFC 3339 in UTC with up to nine digits of a second."""
    whole, _, digits = text.removesuffix("Z").partition(".")
    at = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return int(at.timestamp()) * 10**9 + int(digits.ljust(9, "0"))


@pytest.fixture(scope="module")
def fleet():
    with GatewayFleet({"rig": KEYS, "slow": KEYS}) as made:
        if made.ask("/", Accept="text/html").headers["Content-Type"][:9] != "text/html":
            pytest.skip("built without npm: no page")
        yield made


@pytest.fixture(scope="module")
def rig(fleet):
    with Rig(fleet.address("rig")) as made:
        wait_until(lambda: len(made.rows) > 50, what="the source sends")
        yield made


class Charts:
    """The page as who looks at it has it."""

    def __init__(self, page):
        self.page = page

    def chart(self, number=0):
        return self.page.locator(".chart").nth(number)

    def signals(self, number=0):
        """{name: the words behind it}, of a chart's legend."""
        return {row[0]: row[1:] for row in self.chart(number).locator("tbody tr").evaluate_all(
            "rows => rows.filter(r => r.closest('.chart-legend'))"
            ".map(r => [...r.cells].map(c => c.textContent))")}

    def has_values(self):
        return re.fullmatch(r"[\d.]+ km/h", self.signals().get("speed", [""])[0]) is not None

    def badge(self, number=0):
        return self.chart(number).locator(".chart-badge").first.text_content()

    def loss(self, number=0):
        return self.chart(number).locator(".chart-badge.bad").text_content()

    def view(self):
        return dict(re.findall(r"([a-z]+)=([^&]*)", self.page.evaluate("location.hash")))

    def span(self):
        """Of a view that stands still, in ns."""
        until(self.page, "location.hash.includes('from=')")
        self.settle()
        view = self.view()
        return ns(view["from"]), ns(view["to"])

    def settle(self):
        """The address follows within a quarter of a second; history is there."""
        self.page.wait_for_timeout(400)
        until(self.page, "!document.querySelector('.chart-busy.on')")

    def table(self, number=0):
        """Rows of the table of what is visible: [time in ns, cells], all pages, and gaps."""
        table = self.chart(number).locator(".chart-table")
        rows, gaps = [], []
        if "visually-hidden" in table.get_attribute("class"):
            self.chart(number).get_by_role("button", name="Values as a table").click()
        else:
            table.get_by_role("button", name="Values of now").click()
        while True:
            for kind, cells in table.locator("tbody tr").evaluate_all(
                    "rows => rows.map(r => [r.className, [...r.cells].map(c => c.textContent)])"):
                (gaps if kind == "gap" else rows).append((ns(cells[0]), cells[1:]))
            later = table.get_by_role("button", name="Later")
            if later.is_disabled():
                return rows, gaps
            later.click()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture
def charts(fleet, rig, tabs):
    page = tabs(fleet.port, "#c=rig:speed,rig:pressure&c=rig:gear,rig:on,rig:note&window=10s")
    made = Charts(page)
    wait_until(lambda: made.has_values(), what="values")
    return made


def same(cell, row, field):
    """Whether a cell of the table is the value that was sent, to the last digit."""
    if field == "gear":
        return cell == SYMBOLS[row[field]]
    if field == "on":
        return cell == str(row[field]).lower()
    return float(cell) == row[field]


def frozen(charts, rig, seconds=0.5):
    """Paused, and so close to the newest that there are single datums; its span and rows sent."""
    wait_until(lambda: len(rig.rows) > 300, what="some seconds")
    charts.press("Space")
    charts.press("End", "ArrowLeft", *["+"] * 3)
    wait_until(lambda: charts.badge() == "every datum", what="single datums")
    start, end = charts.span()
    wait_until(lambda: len(charts.table()[0]) == len(rig.within(start, end)), what="all of them")
    return start, end, rig.within(start, end)


def test_099_live(charts, rig):
    """Signals appear and scroll; the newest values are those that were sent."""
    first = charts.page.locator(".chart-stage").first.screenshot()
    wait_until(lambda: charts.page.locator(".chart-stage").first.screenshot() != first,
               what="it moves")
    shown = charts.signals()["speed"][0].split()
    assert shown[1] == "km/h"
    assert any(abs(row["speed"] - float(shown[0])) < 1e-3 for row in rig.rows)
    texts = charts.signals(1)
    assert texts["gear"][0] in SYMBOLS and texts["on"][0] in ("true", "false")
    assert texts["note"][0] in {row["note"] for row in rig.rows}
    assert charts.badge().startswith("min–max of ")
    assert "from=" not in charts.page.evaluate("location.hash")


def assert_bins(rows, rig, start, end, width):
    """Each row of bins is the minimum and maximum of what was sent in it; none is missing."""
    seen = {}
    for at, cells in rows:
        low, _, high = cells[0].partition(" … ")
        seen[at - width // 2] = (float(low), float(high or low))
    wanted = {}
    for row in rig.within(start, end):
        low, high = wanted.get(row["time"] // width * width, (math.inf, -math.inf))
        wanted[row["time"] // width * width] = (min(low, row["speed"]), max(high, row["speed"]))
    inner = [at for at in wanted if at >= start and at + width <= end]
    assert len(inner) > 100
    assert {at: seen.get(at) for at in inner} == {at: wanted[at] for at in inner}


def test_099_pause_and_datums(charts, rig):
    """Paused, nothing moves and nothing is lost: bins are of what was sent; closer, every datum."""
    charts.press("Space")
    start, end = charts.span()
    assert end - start == pytest.approx(10e9, rel=1e-6)
    wait_until(lambda: charts.badge() != "", what="what is shown is said")
    told = re.fullmatch(r"min–max of (\d+) ms", charts.badge())
    rows, _ = charts.table()
    if told:
        assert_bins(rows, rig, start, end, int(told[1]) * 10**6)
    charts.press("l")
    start, end, sent = frozen(charts, rig)
    for number, fields in ((0, ("speed", "pressure")), (1, ("gear", "on"))):
        rows, gaps = charts.table(number)
        assert len(sent) > 50
        for at, (words,) in gaps:  # the source's own pauses, on a machine that is busy
            until_ns = ns(words.split()[2].rstrip(":"))
            assert "nothing came" in words and rig.within(at + 1, until_ns) == []
        assert [at for at, _ in rows] == [row["time"] for row in sent]
        for (_, cells), row in zip(rows, sent):
            assert all(same(cell, row, field) for cell, field in zip(cells, fields)), (cells, row)
    time.sleep(0.5)
    assert charts.span() == (start, end)
    charts.press("l")
    wait_until(lambda: "from=" not in charts.page.evaluate("location.hash"), what="live again")


def test_099_datums_live(charts, rig, fleet, tabs):
    """A short window has single datums while it is live, out of the full stream, and those before
    it was opened; pausing it takes none away."""
    near = Charts(tabs(fleet.port, "#c=rig:speed,rig:gear&window=2s"))
    wait_until(lambda: near.badge() == "every datum", what="single datums")
    wait_until(lambda: len(rig.rows) > 300, what="some seconds")
    assert "from=" not in near.page.evaluate("location.hash")
    near.press("Space")
    start, end = near.span()
    wait_until(lambda: len(near.table()[0]) == len(rig.within(start, end)), what="all of them")
    assert len(rig.within(start, end)) > 100
    for (at, cells), row in zip(near.table()[0], rig.within(start, end)):
        assert at == row["time"] and same(cells[0], row, "speed") and same(cells[1], row, "gear")


def test_099_no_break_in_a_slow_line(fleet, rig, tabs):
    """What scrolls is drawn as a whole: a datum now and then, beside a channel that has many, is
    one line without holes."""
    with Rig(fleet.address("slow"), 1) as slow:
        near = Charts(tabs(fleet.port, "#c=slow:speed&c=rig:speed&window=20s"))
        wait_until(lambda: near.badge() == "every datum", what="datums")
        count = len(slow.rows)  # what there was is asked for within 3 s, and painted as a whole
        wait_until(lambda: len(slow.rows) > count + 7, what="some more, which scroll")
        pauses = [b["time"] - a["time"] for a, b in zip(slow.rows, slow.rows[1:])]
        columns = near.page.evaluate("""() => {
            const canvas = document.querySelector('.u-under canvas');
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const paper = new Uint32Array(data.data.buffer, 0, 1)[0];
            const all = new Uint32Array(data.data.buffer);
            return Array.from({length: canvas.width}, (_, x) => {
                for (let y = 0; y < canvas.height; y++)
                    if (all[y * canvas.width + x] !== paper) return 1;
                return 0;
            });
        }""")
        drawn = "".join(map(str, columns))
        assert "1" * 50 in drawn
        holes = re.findall("10+(?=1)", drawn)
        # But where the source was held up itself, on a machine that others use.
        assert len(holes) <= sum(pause > 2e9 for pause in pauses), holes


def test_099_look_back(charts, rig):
    """Dragged into the past, or by keys; to what was before the page was opened; and back."""
    opened = time.time_ns()
    wait_until(lambda: len(rig.rows) > 500, what="something to look back at")
    box = charts.page.locator(".chart-over").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    charts.page.mouse.move(x, y)
    charts.page.mouse.down()
    charts.page.mouse.move(x + box["width"] / 4, y, steps=5)
    charts.page.mouse.up()
    start, end = charts.span()
    assert end < time.time_ns() - 2 * 10**9 and end - start == pytest.approx(10e9, rel=1e-6)
    charts.page.get_by_label("Window", exact=True).select_option("2")
    begun = rig.rows[0]["time"]
    while (span := charts.span())[0] - 2 * 10**9 > begun:
        charts.press("PageUp")
    assert begun < span[0] < opened
    sent = rig.within(*span)
    wait_until(lambda: charts.badge() == "every datum" and len(charts.table()[0]) == len(sent),
               what="what was before the page was opened")
    assert len(sent) > 50
    for (at, cells), row in zip(charts.table()[0], sent):
        assert at == row["time"] and same(cells[0], row, "speed")
    charts.page.get_by_role("button", name="Live", exact=True).click()
    wait_until(lambda: "from=" not in charts.page.evaluate("location.hash"), what="live again")


def numbers(words):
    return [float(one.replace("−", "-").replace("≈ ", "")) for one in words]


def test_099_cursor_marks_statistics(charts, rig):
    """The cursor by keys says the values that held, aloud, too; A, B and what is between them;
    statistics, of datums."""
    start, end, sent = frozen(charts, rig)
    spoken = charts.page.locator("body > .visually-hidden[aria-live=polite]")
    said = {}
    charts.page.locator(".chart-stage").first.focus()
    for key, name in (("Home", "a"), ("End", "b")):
        step = "Shift+ArrowRight" if name == "a" else "Shift+ArrowLeft"
        charts.press(key, *[step] * 12)
        for _ in range(20):  # somewhere the source may have paused, on a busy machine
            charts.page.wait_for_timeout(300)  # each is said a little later: the last one counts
            said[name] = spoken.text_content()
            if "nothing" not in said[name]:
                break
            charts.press(step)
        charts.press(name)
    charts.settle()
    view = charts.view()
    marks = {name: ns(view[name]) for name in "ab"}
    held = {name: max((row for row in sent if row["time"] <= at), key=lambda row: row["time"])
            for name, at in marks.items()}
    for name, row in held.items():
        told = re.fullmatch(r"[\d:.]+: speed (\S+) km/h, pressure (\S+) bar", said[name])
        assert numbers(told.groups()) == pytest.approx([row["speed"], row["pressure"]], abs=1e-3)
    _, at_a, at_b, between = charts.signals()["speed"]
    assert numbers([at_a, at_b, between]) == pytest.approx(
        [held["a"]["speed"], held["b"]["speed"], held["b"]["speed"] - held["a"]["speed"]],
        abs=1e-3)
    far = (marks["b"] - marks["a"]) / 1e6
    told = charts.page.locator(".board-marks").text_content()
    assert float(re.search(r"B − A ([\d.]+) ms", told)[1]) == pytest.approx(far, rel=1e-3)

    charts.press("Escape", "i")
    until(charts.page, "document.querySelector('.chart-legend.wide') !== null")
    wait_until(lambda: len(charts.signals()["speed"]) == 5, what="statistics")
    _, low, high, mean, count = charts.signals()["speed"]
    values = [row["speed"] for row in sent]
    assert numbers([low, high, mean]) == pytest.approx(
        [min(values), max(values), sum(values) / len(values)], abs=1e-3)
    assert count == f"{len(values)} datums"


def test_099_trigger(charts, rig):
    """A level that is risen through freezes the window with that moment in its middle."""
    charts.page.get_by_role("button", name="Trigger").click()
    form = charts.page.locator("dialog form")
    form.get_by_label("Signal").select_option(label="rig: pressure")
    form.get_by_label("Level").fill("50")
    form.get_by_role("button", name="Arm").click()
    charts.page.get_by_role("button", name="Armed: pressure rising 50").wait_for()
    time.sleep(0.5)
    assert "from=" not in charts.page.evaluate("location.hash")
    try:
        rig.level = 100.0
        start, end = charts.span()
        first = next(row for row in rig.rows if row["pressure"] >= 50)
    finally:
        rig.level = 0.0
    assert (start + end) / 2 == pytest.approx(first["time"], abs=3e7)
    assert charts.page.locator(".board-span").text_content().startswith("trigger")


def painted(page, at):
    """At a moment of the first chart: whether its signals, and what is over them, have anything
    in the middle half of the height."""
    return page.evaluate("""([share]) => {
        const chart = document.querySelector('.chart'), over = chart.querySelector('.u-over');
        const [under, above] = ['.u-under canvas', '.u-wrap > canvas'].map(
            which => chart.querySelector(which));
        const column = (canvas, x, y, height) =>
            [...canvas.getContext('2d').getImageData(x, y, 1, height).data];
        const x = Math.round(share * under.width), h = under.height;
        const signals = column(under, x, Math.round(h / 8), Math.round(h * 3 / 4));
        const paper = signals.slice(0, 4).join();
        const scale = above.width / above.clientWidth;
        const shade = column(above, Math.round(over.offsetLeft * scale) + x,
            Math.round(over.offsetTop * scale + h / 4), Math.round(h / 2));
        const plain = Array.from({length: signals.length / 4}, (_, i) =>
            signals.slice(4 * i, 4 * i + 4).join() === paper).every(Boolean);
        return [!plain, shade.filter((_, i) => i % 4 === 3).every(alpha => alpha > 0)];
    }""", [at])


def test_099_gaps(charts, rig):
    """A source that stopped leaves a gap, shaded, without a line across it; datums that are missing
    by their number are counted."""
    charts.page.get_by_label("Window", exact=True).select_option("30")  # it is to stay in view
    wait_until(lambda: len(rig.rows) > 200, what="something before the gap")
    rig.quiet(True)
    quiet = rig.rows[-1]["time"]
    wait_until(lambda: time.time_ns() - quiet > 2_000_000_000)
    rig.quiet(False)
    count = len(rig.rows)
    wait_until(lambda: len(rig.rows) > count + 100, what="it goes on")
    rig.skip = 7
    wait_until(lambda: (told := re.match(r"(\d+) lost in view", charts.loss()))
               and int(told[1]) >= 7, what="what is lost is counted")
    after = next(row["time"] for row in rig.rows if row["time"] > quiet)
    charts.press("Space")
    start, end = charts.span()
    _, gaps = charts.table()
    longest = max(gaps, key=lambda gap: ns(gap[1][0].split()[2].rstrip(":")) - gap[0])
    assert longest[0] == pytest.approx(quiet, abs=5e7)
    assert ns(longest[1][0].split()[2].rstrip(":")) == pytest.approx(after, abs=5e7)
    assert any("7 lost" in words for _, (words,) in gaps)

    def share(at):
        return (at - start) / (end - start)
    for part in (0.3, 0.5, 0.7):
        assert painted(charts.page, share(quiet + part * (after - quiet))) == [False, True]
    for at, way in ((quiet, -1), (after, 1)):  # a line of the grid may stand at one of them
        assert [True, False] in [painted(charts.page, share(at + way * (2e8 + 3e7 * part)))
                                 for part in range(5)]


def newest_rows(charts, rig):
    """Paused: whether everything of the last seconds but the newest is there, as bins or datums."""
    charts.press("Space")
    start, end = charts.span()
    rows, gaps = charts.table()
    wide = 0
    if told := re.fullmatch(r"min–max of (\d+) ms", charts.badge()):
        wide = int(told[1]) * 10**6
    there = {(at - wide // 2) // wide if wide else at for at, _ in rows}
    wanted = {row["time"] // wide if wide else row["time"]
              for row in rig.within(start + max(wide, 10**7), end - 10**9)}
    charts.press("l")
    return wanted - there, gaps


def test_099_reload_and_gateway_killed(charts, rig, fleet, tabs):
    """What was before a reload is there after it; so is what came while the gateway was away."""
    wait_until(lambda: len(rig.rows) > 600, what="some seconds")
    charts.page.reload()
    wait_until(lambda: charts.has_values(), what="values")
    wait_until(lambda: newest_rows(charts, rig)[0] == set(), what="all is there after a reload")

    tabs.expect("WebSocket|ERR_CONNECTION_REFUSED")
    first = fleet.service()["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: fleet.service()["pid"] not in (None, first) and fleet.serves())
    count = len(rig.rows)
    wait_until(lambda: len(rig.rows) > count + 150, what="some time more")
    wait_until(lambda: newest_rows(charts, rig)[0] == set(), what="it is filled in")


def drag(charts, start, end):
    """Over a share of the first chart's width, with Shift."""
    box = charts.page.locator(".chart-over").first.bounding_box()
    y = box["y"] + box["height"] / 2
    charts.page.keyboard.down("Shift")
    charts.page.mouse.move(box["x"] + start * box["width"], y)
    charts.page.mouse.down()
    charts.page.mouse.move(box["x"] + end * box["width"], y, steps=4)
    charts.page.mouse.up()
    charts.page.keyboard.up("Shift")


def save(charts, format, folder):
    charts.press("e")
    form = charts.page.locator("dialog form")
    form.get_by_label("Format").select_option(format)
    assert form.get_by_label("all fields").is_checked() == (format == "avro")
    with charts.page.expect_download() as coming:
        form.get_by_role("button", name="Save").click()
    path = folder / f"saved.{format}"
    coming.value.save_as(path)
    return path


def test_099_select_and_save(charts, rig, tmp_path):
    """A saved file has exactly what was selected, or visible: those fields of those datums."""
    start, end, _ = frozen(charts, rig)
    drag(charts, 0.3, 0.6)
    until(charts.page, "location.hash.includes('sel=')")
    charts.settle()
    first, last = map(ns, charts.view()["sel"].split("%2F"))
    assert first == pytest.approx(start + 0.3 * (end - start), abs=0.01 * (end - start))
    sent = rig.within(first, last)
    assert 10 < len(sent) < len(rig.within(start, end)) / 2
    with open(save(charts, "avro", tmp_path), "rb") as file:
        rows = list(fastavro.reader(file))
    for field in ("counter", "speed", "note"):
        assert [row[field] for row in rows] == [row[field] for row in sent]
    charts.press("Escape")
    with h5py.File(save(charts, "h5", tmp_path)) as file:
        sent = rig.within(start, end)
        assert file["speed"][:].tolist() == [row["speed"] for row in sent]
        assert file["time"][:].tolist() == [row["time"] for row in sent]
        assert "counter" not in file and file["speed"].attrs["units"] in ("km/h", b"km/h")
    with open(save(charts, "csv", tmp_path), encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 1 + len(sent)


def test_099_save_at_once(charts, rig, tmp_path):
    """What has just come is in the file: it is waited for until it is on the disk."""
    wait_until(lambda: len(rig.rows) > 300, what="some seconds")
    charts.press("Space")
    path = save(charts, "csv", tmp_path)
    start, end = charts.span()
    with open(path, encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 1 + len(rig.within(start, end))


def test_099_a_field_that_is_none(fleet, rig, tabs):
    """One that an old address names says so, and costs the others nothing."""
    near = Charts(tabs(fleet.port, "#c=rig:speed,rig:gone&window=10s"))
    wait_until(lambda: near.has_values(), what="values")
    assert "gone" in near.signals()["gone"][0]


def test_099_pin(charts, rig, fleet):
    """A span is pinned by its name."""
    wait_until(lambda: len(rig.rows) > 300, what="some seconds")
    charts.press("Space")
    start, end = charts.span()
    charts.page.get_by_role("button", name="Pin", exact=True).click()
    form = charts.page.locator("dialog form")
    form.get_by_label("Name of the pin").fill("seen")
    form.get_by_role("button", name="Pin").click()
    wait_until(lambda: fleet.ask("/api/v1/pins").json["pins"], what="a pin")
    (pin,) = fleet.ask("/api/v1/pins").json["pins"]
    assert (pin["channel"], pin["name"]) == ("rig", "seen")
    assert abs(ns(pin["from"]) - start) < 10**9 and abs(ns(pin["to"]) - end) < 10**9
