# SPDX-License-Identifier: MIT
"""The page's modules that need no browser: web/test/*.test.ts, bundled by esbuild, run by node."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "build/web/npm/node_modules/.bin"


@pytest.mark.skipif(shutil.which("node") is None or not (TOOLS / "esbuild").exists(),
                    reason="needs node, and the page's packages")
def test_page_units(tmp_path):
    tests = sorted((ROOT / "web/test").glob("*.test.ts"))
    assert tests
    bundled = subprocess.run(
        [TOOLS / "esbuild", *tests, "--bundle", "--platform=node", "--format=esm",
         "--out-extension:.js=.mjs", f"--outdir={tmp_path}", "--log-level=warning"],
        capture_output=True, text=True)
    assert bundled.returncode == 0 and not bundled.stderr, bundled.stderr
    done = subprocess.run(["node", "--test", *sorted(tmp_path.glob("*.mjs"))], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "# fail 0" in done.stdout and "# pass 0" not in done.stdout
