# SPDX-License-Identifier: MIT
"""The page's modules that need no browser: web/test/*.test.ts, bundled by esbuild, run by node."""
import itertools
import math
import re
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


# How red, green and blue light look to who lacks a kind of cone (Machado, Oliveira, Fernandes 2009,
# severity 1).
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
                   (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
                     (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
                   (0.004733, 0.691367, 0.303900)),
}


def light(colour):
    """Linear red, green, blue of #rrggbb."""
    parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def brightness(colour):
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), light(colour)))


def lab(colour, eye):
    red, green, blue = (min(1, max(0, sum(a * b for a, b in zip(row, light(colour)))))
                        for row in EYES[eye])
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_signals(theme):
    """Each stands out from the paper (3 to 1, as WCAG asks of graphics), and from each other one,
    for whichever eyes: the first six well, all ten still."""
    text = (ROOT / "web/src/styles.css").read_text()
    block = text.split(":root {", 1)[1] if theme == "light" else \
        text.split(':root[data-theme="dark"] {', 1)[1]
    block = block.split("}", 1)[0]
    tokens = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))
    colours = [tokens[f"series-{number}"] for number in range(1, 11)]
    paper = brightness(tokens["surface"])
    for colour in colours:
        bounds = sorted((brightness(colour), paper))
        assert (bounds[1] + 0.05) / (bounds[0] + 0.05) >= 3, colour
    for eye, (count, least) in itertools.product(EYES, ((6, 20), (10, 12))):
        for one, other in itertools.combinations(colours[:count], 2):
            assert math.dist(lab(one, eye), lab(other, eye)) >= least, (eye, one, other)
