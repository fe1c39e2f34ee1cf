# SPDX-License-Identifier: MIT
"""098-page: the page in a real browser: the fleet at a glance, signals, Manage, the address, the
token; a relay or the gateway killed; pages of others refused; keyboard, screen reader, phone."""
import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest
from harness import signals
from harness.builds import make
from harness.fleet import LONG, ROOT
from harness.gateway import GATEWAY, GatewayFleet

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
ENGINE = json.loads((ROOT / "examples/schemas/engine.avsc").read_text())


@pytest.fixture(scope="module")
def fleet():
    with GatewayFleet({
            "engine": {"schema": ENGINE, "time": "time", "sequence": "counter", "full": True},
            "idle": {"schema": signals.SCHEMA}}) as made:
        if made.ask("/", Accept="text/html").headers["Content-Type"][:9] != "text/html":
            pytest.skip("built without npm: no page")
        yield made


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
