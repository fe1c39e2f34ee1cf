# SPDX-License-Identifier: MIT
"""The page in a real browser: the distribution's Chromium, headless, driven by Playwright. One
browser a worker, a context a tab. Whatever the browser says on its console (errors, violations of
the content security policy) and every request to somewhere else than the gateway fails the test,
but for what it has said to expect."""
import os
import re
import shutil
from pathlib import Path

import pytest

from .fleet import ROOT, wait_until

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = ROOT / "build/node/node_modules/axe-core/axe.min.js"
# A name that leads to the gateway though it is not its own, as DNS rebinding has it; no others.
REBOUND = "rebound.example"
WAIT_MS = 60_000


@pytest.fixture(scope="session")
def chromium():
    if PROGRAM is None:
        pytest.skip("needs chromium")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        flags = [f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1, MAP * ~NOTFOUND, "
                 "EXCLUDE localhost, EXCLUDE 127.0.0.1",
                 "--disable-background-networking", "--disable-gpu",
                 # Chromium's own guard of local addresses, which others do not have.
                 "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"]
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, chromium_sandbox=os.geteuid() != 0, args=flags)
        yield browser
        browser.close()


class Tabs:
    """tabs(port, hash) -> a page of Playwright, opened; its `complaints` are what it said that
    nobody expected. tabs.expect(pattern): what may be said."""

    def __init__(self, browser):
        self.browser, self.contexts, self.expected, self.complaints = browser, [], [], []

    def expect(self, pattern):
        self.expected.append(re.compile(pattern))

    def complain(self, text):
        if not any(pattern.search(text) for pattern in self.expected):
            self.complaints.append(text)

    def blank(self, port, **options):
        """A tab that has not gone anywhere yet."""
        context = self.browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "accept_downloads": True, **options})
        self.contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and self.complain(
            f"console: {message.text} ({message.location.get('url')})"))
        page.on("pageerror", lambda error: self.complain(f"error: {error}"))
        own = re.compile(rf"(https?|wss?)://(127\.0\.0\.1|localhost|{re.escape(REBOUND)}):{port}/"
                         "|data:|blob:")
        page.on("request", lambda request: own.match(request.url) or self.complaints.append(
            f"asks elsewhere: {request.url}"))
        page.on("websocket", lambda socket: own.match(socket.url) or self.complaints.append(
            f"connects elsewhere: {socket.url}"))
        return page

    def __call__(self, port, fragment="", host="127.0.0.1", **options):
        page = self.blank(port, **options)
        page.goto(f"http://{host}:{port}/{fragment}")
        return page

    def close(self):
        for context in self.contexts:
            context.close()
        assert not self.complaints, "\n".join(self.complaints)


@pytest.fixture
def tabs(chromium):
    made = Tabs(chromium)
    yield made
    made.close()


def until(page, expression, arg=None):
    """Waits until an expression of JavaScript is true, and returns it. (Playwright's own
    wait_for_function has the page evaluate text, which its policy forbids.)"""
    return wait_until(lambda: page.evaluate(expression, arg), what=f"{expression} {arg or ''}")


def accessibility(page, **context):
    """What axe-core finds wrong, in a line each."""
    if not AXE.exists():
        pytest.skip("needs axe-core in build/node")
    page.evaluate(Path(AXE).read_text())
    found = page.evaluate("options => axe.run(document, options)",
                          {"resultTypes": ["violations"], **context})
    return [f"{one['id']} ({one['impact']}): {one['help']}: "
            + "; ".join(node["html"][:160] for node in one["nodes"][:5])
            for one in found["violations"]]


def wider_than_window(page):
    """By how many pixels the page can be scrolled sideways."""
    return page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
