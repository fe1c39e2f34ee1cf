# SPDX-License-Identifier: MIT
"""The page and its gateway at work: 20 charts of 10 signals each, live, in a headless Chromium
without a GPU: for bench/bench. Frames are those that requestAnimationFrame grants while the charts
scroll (asking for each costs some CPU itself, which a reader's browser does not spend); CPU is that
of all of the browser's processes, and of the gateway's one. Run by itself, with build/venv's
Python (Playwright is there), it prints its figures as JSON: RATE SECONDS [LOOKS].
Relies on chromium, and a gateway with a page in it. Known fault: sources, relays, gateway and
browser share the machine; on two cores the frames are theirs, too."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent / "build"
CHARTS, SIGNALS, SIZE = 20, 10, {"width": 1920, "height": 1080}
SCHEMA = {"type": "record", "name": "Rig", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "counter", "type": "long"},
    *({"name": f"s{i}", "type": "double", "unit": "V"} for i in range(SIGNALS))]}
FRAMES = """() => {
    let last = 0;
    window.benchFrames = [];
    const frame = now => {
        if (last) benchFrames.push(now - last);
        last = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}"""


def tree_cpu(root):
    """Seconds of CPU of all processes below one."""
    children, used = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(words[1]), []).append(int(folder.name))
        used[int(folder.name)] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    found, total = [root], 0
    while found:
        for child in children.get(found.pop(), []):
            if b"chrom" in Path(f"/proc/{child}/cmdline").read_bytes()[:200]:
                total += used[child]
            found.append(child)
    return total


def cpu_of(pid):
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid):
    return int(next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    if line.startswith("VmRSS")).split()[1]) / 1024


def look(page, session, gateway, seconds):
    """Figures of so many seconds."""
    page.evaluate("benchFrames.length = 0")
    begun, browser, server = time.monotonic(), tree_cpu(os.getpid()), cpu_of(gateway)
    time.sleep(seconds)
    took = time.monotonic() - begun
    share = [100 * (tree_cpu(os.getpid()) - browser) / took,
             100 * (cpu_of(gateway) - server) / took]
    frames = sorted(page.evaluate("benchFrames"))
    session.send("HeapProfiler.collectGarbage")
    heap = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return {"fps": len(frames) / took, "p50": frames[len(frames) // 2],
            "p99": frames[len(frames) * 99 // 100], "browser": share[0], "gateway": share[1],
            "heap": heap["JSHeapUsedSize"] / 2**20, "gateway_rss": memory_of(gateway),
            "load": os.getloadavg()[0]}


def run(rate, seconds, looks):
    sys.path[:0] = [str(BUILD.parent / "tests/scenario")]
    from harness import browser
    from harness.fleet import wait_until
    from harness.gateway import GatewayFleet
    from playwright.sync_api import sync_playwright
    keys = {"schema": SCHEMA, "time": "time", "sequence": "counter", "full": True,
            "decimated": {"to": True, "factor": 50, "algorithm": "min-max"}}
    names = [f"rig{i}" for i in range(CHARTS)]
    with GatewayFleet({name: keys for name in names}, laws=False) as fleet, \
            sync_playwright() as playwright:
        sources = [subprocess.Popen([BUILD / "flotilla", "send", name, "--rate", str(rate), "-c",
                                     fleet.file], stdout=subprocess.DEVNULL) for name in names]
        try:
            chromium = playwright.chromium.launch(
                executable_path=browser.PROGRAM, chromium_sandbox=os.geteuid() != 0,
                args=["--disable-gpu"])
            page = chromium.new_page(viewport=SIZE)
            charts = "&".join(f"c={','.join(f'{name}:s{i}' for i in range(SIGNALS))}"
                              for name in names)
            page.goto(f"http://127.0.0.1:{fleet.port}/#{charts}&window=60s")
            wait_until(lambda: page.evaluate(
                "[...document.querySelectorAll('.chart')].every(chart => [...chart"
                ".querySelectorAll('.chart-legend td')].every(cell => cell.textContent.includes"
                "('V')))") and page.locator(".chart").count() == CHARTS, what="all values")
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            page.evaluate(FRAMES)
            time.sleep(5)
            found = [look(page, session, fleet.service()["pid"], seconds) for _ in range(looks)]
            chromium.close()
        finally:
            for source in sources:
                source.terminate()
            for source in sources:
                source.wait()
    return found


def measure(session, seconds=20, looks=3):
    python = BUILD / "venv/bin/python"
    for rate in (100, 1000):
        command = [python, __file__, str(rate), str(seconds), str(looks)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            session.table.head(f"the page is left out: {done.stderr.strip()[-300:]}")
            return
        found = json.loads(done.stdout.splitlines()[-1])
        best = max(found, key=lambda one: one["fps"])
        session.table.head(f"the page: {CHARTS} charts of {SIGNALS} signals at {rate} Hz, 60 s, "
                           f"{SIZE['width']} by {SIZE['height']}, without a GPU; the best of "
                           f"{looks} looks of {seconds} s")
        note = "load " + ", ".join(f"{one['load']:.1f}" for one in found)

        def row(what, key, unit, aim=None, digits=1):
            session.table.row("page", f"{what}, {rate} Hz", best[key], unit, aim=aim, note=note,
                              digits=digits, command=" ".join(map(str, command)),
                              more={"looks": [one[key] for one in found]})
        row("frames a second", "fps", "", ("least", 58))
        row("a frame, median", "p50", "ms")
        row("a frame, 99 %", "p99", "ms")
        row("CPU of the browser", "browser", "% core")
        row("CPU of the gateway", "gateway", "% core", 5 if rate == 100 else None, 2)
        row("the page's memory (JavaScript)", "heap", "MiB")
        row("the gateway's memory", "gateway_rss", "MiB")


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]), int((sys.argv[3:] or ["1"])[0]))))
