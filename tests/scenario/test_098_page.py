# SPDX-License-Identifier: MIT
"""098-page: the page in a real browser: the fleet at a glance, signals, Manage, the address, the
token; a relay or the gateway killed; pages of others refused; keyboard, screen reader, phone."""
import gzip
import json
import os
import re
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import fastavro
import pytest
from harness.browser import REBOUND, accessibility, until, wider_than_window
from harness.builds import make
from harness.fleet import FLOTILLA, LONG, ROOT, flotilla, wait_until
from harness.gateway import GATEWAY, GatewayFleet

pytestmark = [pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd"),
              pytest.mark.xdist_group("page")]  # one browser, one fleet
ENGINE = json.loads((ROOT / "examples/schemas/engine.avsc").read_text())
MARKUP = "<img src=x onerror=alert(1)><b>b</b>&lt;"
ODD = {"type": "record", "name": "odd", "doc": MARKUP, "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "value", "type": "double", "doc": MARKUP, "unit": "<i>V</i>"},
    {"name": "__proto__", "type": "double"}, {"name": "constructor", "type": "double"}]}
WIDE = {"type": "record", "name": "wide", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    *({"name": f"part_{i}", "type": {"type": "record", "name": f"part_{i}", "fields": [
        {"name": f"value_{k}", "type": "float", "unit": "V"} for k in range(50)]}}
      for i in range(100))]}
TOKEN = "correct-horse+battery/staple=="


def has_page(fleet):
    return fleet.ask("/", Accept="text/html").headers["Content-Type"].startswith("text/html")


@pytest.fixture(scope="module")
def fleet():
    with GatewayFleet({
            "engine": {"schema": ENGINE, "time": "time", "sequence": "counter", "full": True,
                       "decimated": {"to": True, "factor": 10, "algorithm": "min-max"}},
            "odd": {"schema": ODD, "time": "time"}, "wide": {"schema": WIDE, "time": "time"}},
            top={"include": "channels.d/*.yaml"}) as made:
        (made.folder / "channels.d").mkdir()
        if not has_page(made):
            pytest.skip("built without npm: no page")
        yield made


def send(fleet, name, count):
    flotilla("send", name, "--rate", "2kHz", "--count", count, "-c", fleet.file, check=0)


@contextmanager
def sending(fleet, name, rate):
    with subprocess.Popen([FLOTILLA, "send", name, "--rate", f"{rate}Hz", "-c", fleet.file],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sender:
        try:
            yield
        finally:
            sender.send_signal(signal.SIGINT)


def connected(page):
    page.locator(".connection[data-state=open]").wait_for()
    return page


def row(page, name):
    """A row of the tree, by its whole name."""
    return page.locator(".tree-row").filter(
        has=page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$")))


def shown(page):
    """What is charted, as the address has it."""
    return page.evaluate("location.hash")


def test_098_files(fleet):
    """Kept for ever by names that change, packed for who takes it, text for who asks no HTML."""
    html = fleet.ask("/", Accept="text/html,*/*;q=0.8")
    assert html.status == 200 and html.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = html.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy
    names = [part.split('"')[0] for part in html.body.decode().split('"assets/')[1:]]
    assert len(names) == 2
    for name in names:
        plain = fleet.ask(f"/assets/{name}")
        packed = fleet.ask(f"/assets/{name}", Accept_Encoding="br, gzip;q=0.5")
        assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert len(packed.body) < len(plain.body) / 2
        assert packed.headers["ETag"] != plain.headers["ETag"]
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert gzip.decompress(packed.body) == plain.body
        again = fleet.ask(f"/assets/{name}", If_None_Match=plain.headers["ETag"])
        assert again.status == 304 and again.body == b""
        head = fleet.ask(f"/assets/{name}", "HEAD")
        assert head.body == b"" and head.headers["Content-Length"] == str(len(plain.body))
        assert "Content-Encoding" not in fleet.ask(
            f"/assets/{name}", Accept_Encoding="gzip;q=0, identity").headers
    assert fleet.ask("/assets/main-OTHER.js").status == 404
    assert fleet.ask("/").headers["Content-Type"].startswith("text/plain")
    assert fleet.ask("/", "POST", Accept="text/html").status == 405


def test_098_fleet_and_signals(fleet, tabs):
    """The fleet at a glance; channels and fields with units and docs; thousands of them, searched;
    a view that the address restores."""
    with sending(fleet, "engine", 50):
        page = connected(tabs(fleet.port))
        until(page, "parseFloat(document.querySelector('.figure.rate dd').textContent) > 30")
        assert page.locator(".figure.channels dd").inner_text() == "3"
        engine = row(page, "engine")
        assert engine.get_attribute("aria-level") == "1"
        engine.locator(".aside", has_text=re.compile("^[3-6]")).wait_for()
        # It opens with a chart a channel.
        page.locator(".tree-row.shown").first.wait_for()
        speed = row(page, "speed")
        assert speed.locator(".unit").inner_text() == "1/min"
        assert row(page, "throttle").locator(".doc").inner_text() == "0 to 1"
        assert speed.get_attribute("aria-checked") == "true"
        until(page, "location.hash.includes('engine:speed')")
        speed.click()
        until(page, "!location.hash.includes('engine:speed')")
        assert speed.get_attribute("aria-checked") == "false"
        row(page, "gear").click()
        until(page, "location.hash.includes('engine:gear')")
        row(page, "cylinders").click()
        row(page, "[3]").wait_for()
        row(page, "[4]").wait_for(state="detached")  # as many as there are

        assert page.locator(".tree-row").count() < 60, "only what is in view is there"
        page.keyboard.press("/")
        began = page.evaluate("performance.now()")
        page.keyboard.type("part_99 value_49")
        row(page, "value_49").wait_for()
        assert page.evaluate("performance.now()") - began < 5000
        assert page.locator(".tree-count").inner_text() == "1 field found"
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        until(page, "location.hash.includes('wide:part_99.value_49')")
        view = shown(page)

        again = connected(tabs(fleet.port, view))
        again.locator("#tree-search").fill("gear")
        again.locator(".tree-row.shown .name", has_text="gear").wait_for()
        until(again, "view => location.hash == view", view)
        again.reload()
        until(again, "view => location.hash == view", view)


def test_098_register_change_remove(fleet, tabs):
    """A channel by its schema uploaded; what is wrong stands at the field; it is written where the
    configuration includes it; changed; removed; its recording stays and is saved whole."""
    tabs.expect("status of 400")
    page = connected(tabs(fleet.port, "#page=manage"))
    page.get_by_role("button", name="Register a channel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name needed").fill("fresh")
    address = fleet.addresses.group()
    dialog.get_by_label("listen needed").fill("239.1.1.1")
    dialog.get_by_label("interface", exact=True).fill("lo")
    dialog.get_by_label("time", exact=True).fill("time")
    dialog.get_by_label("Schema, uploaded").set_input_files(
        {"name": "engine.avsc", "mimeType": "application/json",
         "buffer": json.dumps(ENGINE).encode()})
    dialog.get_by_role("button", name="Register").click()
    wrong = dialog.locator(".entry", has=page.get_by_label("listen needed")).locator(".wrong")
    wrong.filter(has_text="239.1.1.1").wait_for()
    assert not list((fleet.folder / "channels.d").iterdir())
    dialog.get_by_label("listen needed").fill(address)
    dialog.get_by_role("button", name="Register").click()
    dialog.wait_for(state="detached")
    page.locator("tbody tr[data-key=fresh]").wait_for()
    wait_until(lambda: fleet.by_name().get("fresh", {}).get("state") in ("running", "silent"))
    (written,) = (fleet.folder / "channels.d").glob("*.yaml")
    assert address in written.read_text()

    send(fleet, "fresh", 100)
    fleet.settle({"fresh": 100})
    page.locator("tbody tr[data-key=fresh]").get_by_role("button", name="Change: fresh").click()
    assert dialog.get_by_label("listen needed").input_value() == address
    dialog.get_by_label("sequence", exact=True).fill("counter")
    dialog.get_by_role("button", name="Change").click()
    dialog.wait_for(state="detached")
    wait_until(lambda: "counter" in written.read_text())

    page.locator("tbody tr[data-key=fresh]").get_by_role("button", name="Files: fresh").click()
    name = page.locator("table.recordings tbody th").first
    name.wait_for()
    with page.expect_download() as saving:
        page.get_by_role("button", name=re.compile("^Save fresh-")).first.click()
    assert saving.value.suggested_filename.startswith("fresh-")
    with open(saving.value.path(), "rb") as file:
        assert sum(1 for _ in fastavro.reader(file)) == 100

    page.get_by_role("link", name="Channels").click()
    page.locator("tbody tr[data-key=fresh]").get_by_role("button", name="Remove: fresh").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.locator("tbody tr[data-key=fresh]").wait_for(state="detached")
    wait_until(lambda: "fresh" not in fleet.by_name())
    assert not written.exists() or "fresh" not in written.read_text()
    assert list((fleet.folder / "recordings/fresh").glob("*.avro"))


def test_098_doctor_and_pins(fleet, tabs):
    send(fleet, "engine", 50)
    wait_until(lambda: fleet.channel("engine")["datums_recorded"] >= 50)
    page = connected(tabs(fleet.port, "#page=manage&tab=doctor"))
    page.locator(".finding").first.wait_for()
    assert re.match(r"\d+ checks", page.locator(".tools [role=status]").inner_text())
    page.get_by_role("link", name="Pins").click()
    page.get_by_label("Pin as").fill("overspeed")
    page.get_by_label("from").fill("-1h")
    page.get_by_label("of", exact=True).select_option("engine")
    page.get_by_role("button", name="Pin", exact=True).click()
    page.locator("table.pins tbody tr").wait_for()
    assert fleet.ask("/api/v1/pins").json["pins"][0]["name"] == "overspeed"
    page.get_by_role("button", name="Unpin overspeed of engine").click()
    page.get_by_role("dialog").get_by_role("button", name="Unpin").click()
    page.get_by_text("Nothing is pinned.").wait_for()
    assert fleet.ask("/api/v1/pins").json["pins"] == []


def test_098_killed_relay_and_gateway(fleet, tabs):
    """Red with the reason in words while its relay does not come up, then green again; the gateway
    killed: the page says so, and is connected again by itself."""
    tabs.expect("WebSocket connection|ERR_CONNECTION|Failed to load resource")
    page = connected(tabs(fleet.port))
    stop = threading.Event()

    def kill():
        while not stop.wait(0.01):
            pid = fleet.channel("engine")["pid"]
            with suppress(ProcessLookupError):  # it is gone meanwhile
                if pid:
                    os.kill(pid, signal.SIGKILL)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        trouble = page.locator(".trouble li", has_text="engine")
        trouble.filter(has_text="backoff").wait_for()
        assert re.search("kill|signal", trouble.locator(".what").inner_text(), re.I)
        assert page.locator(".figure.channels dd").inner_text() == "2 of 3"
        row(page, "engine").locator(".dot.bad").wait_for()
    finally:
        stop.set()
        killer.join()
    row(page, "engine").locator(".dot.ok, .dot.idle").wait_for()
    trouble.wait_for(state="detached")

    page.evaluate("window.mark = 1")
    os.kill(fleet.service()["pid"], signal.SIGKILL)
    page.locator(".connection:not([data-state=open])").wait_for()
    connected(page)
    assert page.evaluate("window.mark") == 1, "it was not loaded anew"


def test_098_rebound(fleet, tabs):
    """A name of somebody else that leads here gets neither page nor data."""
    tabs.expect("status of 421|WebSocket connection|Opener-Policy header has been ignored")
    page = tabs.blank(fleet.port)
    there = f"http://{REBOUND}:{fleet.port}/"
    answer = page.goto(there)
    assert answer.status == 421 and "<script" not in page.content()
    # What somebody else's page would do that has its name lead here once it is loaded.
    page.route(there + "attack", lambda route: route.fulfill(content_type="text/html", body="!"))
    page.goto(there + "attack")
    assert page.evaluate("fetch('/api/v1/channels').then(one => one.status)") == 421
    assert page.evaluate("""new Promise(done => {
        const one = new WebSocket(`ws://${location.host}/api/v1/live`, 'flotilla.live.v1');
        one.onopen = () => done('open');
        one.onerror = () => done('refused');
    })""") == "refused"


def test_098_token(tabs, tmp_path):
    """Asked for where there is one; taken out of the address; kept over a reload, not longer."""
    tabs.expect("status of 401|WebSocket connection|ERR_CONNECTION")
    (tmp_path / "token").write_text(TOKEN + "\n")
    with GatewayFleet({"engine": {"schema": ENGINE}},
                      gateway={"token_file": str(tmp_path / "token")}) as fleet:
        page = tabs(fleet.port)
        dialog = page.get_by_role("dialog", name="Token")
        dialog.get_by_label("Token").fill("wrong-wrong-wrong-wrong")
        dialog.get_by_role("button", name="Connect").click()
        page.get_by_text("The token is not taken.").wait_for()
        dialog.get_by_label("Token").fill(TOKEN)
        dialog.get_by_role("button", name="Connect").click()
        connected(page)
        row(page, "engine").wait_for()
        page.reload()
        connected(page)
        other = tabs(fleet.port, "#c=engine:gear&token=" + TOKEN.replace("+", "%2B"))
        connected(other)
        row(other, "engine").wait_for()
        assert "token" not in shown(other) and "c=engine:gear" in shown(other)
        tabs(fleet.port).get_by_role("dialog", name="Token").wait_for()


def test_098_markup_is_text(fleet, tabs):
    page = connected(tabs(fleet.port))
    row(page, "odd").click()
    value = row(page, "value")
    value.wait_for()
    assert value.locator(".doc").inner_text() == MARKUP
    assert value.locator(".unit").inner_text() == "<i>V</i>"
    for name in "value", "__proto__", "constructor":
        if row(page, name).get_attribute("aria-checked") == "false":
            row(page, name).click()
        until(page, "name => location.hash.includes(`odd:${name}`)", name)
    page.locator(".tree-row.shown").first.wait_for()
    page.evaluate("document.title")
    assert page.locator("img, b, i").count() == 0
    assert "Content Security" not in "".join(tabs.complaints)


def test_098_keyboard(fleet, tabs):
    """All of it without a mouse, and where one is always to be seen."""
    page = connected(tabs(fleet.port, "#window=1min"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.get_by_role("button", name="Register a channel").wait_for()
    page.go_back()
    page.locator("#tree").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("torque")
    row(page, "torque").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until(page, "location.hash.includes('engine:torque')")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "tree-search"
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    active = page.locator("#" + page.locator("#tree").get_attribute("aria-activedescendant"))
    assert active.get_attribute("aria-expanded") == "true", "what is charted is open"
    page.keyboard.press("ArrowLeft")
    assert active.get_attribute("aria-expanded") == "false"
    page.keyboard.press("ArrowRight")
    assert active.get_attribute("aria-expanded") == "true"
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.locator("body").press("t")
    assert page.evaluate("document.documentElement.dataset.theme") != theme


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_098_accessible(fleet, tabs, theme):
    page = connected(tabs(fleet.port, color_scheme=theme))
    page.locator(".tree-row.shown").first.wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    found = {"live": accessibility(page)}
    for tab in "channels", "recordings", "pins", "doctor":
        page.goto(page.url.split("#")[0] + f"#page=manage&tab={tab}")
        page.locator(".tabs a[aria-current]", has_text=re.compile(tab, re.I)).wait_for()
        if tab == "doctor":
            page.locator(".finding").first.wait_for()
        found[tab] = accessibility(page)
    page.goto(page.url.split("#")[0] + "#page=manage")
    page.get_by_role("button", name="Register a channel").click()
    page.get_by_role("dialog").wait_for()
    found["form"] = accessibility(page)
    assert not any(found.values()), json.dumps(found, indent=1)


def test_098_phone(fleet, tabs):
    """390 pixels: nothing sideways, the signals in a drawer."""
    page = connected(tabs(fleet.port, viewport={"width": 390, "height": 844}, has_touch=True,
                          is_mobile=True))
    page.locator(".tree").wait_for(state="hidden")
    assert wider_than_window(page) <= 0
    page.get_by_role("button", name="Signals").click()
    row(page, "engine").wait_for()
    assert wider_than_window(page) <= 0
    page.keyboard.press("Escape")
    page.locator(".tree").wait_for(state="hidden")
    for tab in "channels", "recordings", "pins", "doctor":
        page.goto(page.url.split("#")[0] + f"#page=manage&tab={tab}")
        page.locator(".tabs a[aria-current]", has_text=re.compile(tab, re.I)).wait_for()
        assert wider_than_window(page) <= 0, tab


def without_npm(folder):
    """A PATH with every program but node's."""
    folder.mkdir()
    for part in ["/usr/bin", *os.environ["PATH"].split(":")]:
        for program in Path(part).glob("*"):
            there = folder / program.name
            if program.name not in ("node", "nodejs", "npm", "npx") and not there.is_symlink():
                there.symlink_to(program)
    return {**os.environ, "PATH": str(folder)}


def say(*words, **kw):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **kw)
    assert done.returncode == 0, (words, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout + done.stderr


@pytest.mark.xdist_group("package")  # build/dist is one folder
def test_098_release_and_builds_without_npm(tmp_path):
    """A release has the page and needs no npm; a tree without npm builds a gateway without one, and
    says so."""
    if not (ROOT / ".git").exists():
        pytest.skip("a release is made from a git tree")
    archive = make("dist").splitlines()[-1]
    say("tar", "-xzf", ROOT / archive, "-C", tmp_path)
    (tree,) = tmp_path.glob("flotilla-*")
    env = without_npm(tmp_path / "bin")
    assert say("web/build", cwd=tree, env=env) == ""
    made = tree / "build/web/page_files.c"
    assert made.read_text() == (ROOT / "build/web/page_files.c").read_text()
    if LONG:
        say("make", cwd=tree, env=env)
    say("meson", "setup", "build/one", "-Dpart=programs", "-Doptimization=0", "-Ddebug=false",
        cwd=tree, env=env)
    say("ninja", "-j2", "-C", "build/one", "flotilla-gateway", cwd=tree, env=env)
    (index,) = (tree / "web/built").glob("index.html")
    assert index.read_bytes() in (tree / "build/one/flotilla-gateway").read_bytes()

    before = made.stat().st_mtime_ns
    assert say("web/build", cwd=tree, env=env) == "" and made.stat().st_mtime_ns == before
    (tree / "web/src/words.ts").open("a").write("// another\n")
    told = say("web/build", cwd=tree, env=env)
    assert "gets no page: npm is not there" in told
    assert made.read_bytes() == (tree / "src/gateway/page_none.c").read_bytes()
