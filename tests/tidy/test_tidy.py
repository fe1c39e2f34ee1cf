# SPDX-License-Identifier: MIT
"""The house is tidy, and the check of it can fail: each rule finds what is planted in a copy."""
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tidy  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
OPENING = "/* SPDX-License-Identifier: MIT\n * A planted file. */\n"

PLANTED = {
    "outward include": ("src/base/log.c", '\n#include "os/file.h"\n', "must not include"),
    "sideways include": ("src/relay/main.c", '\n#include "config/config.h"\n',
                         "must not include"),
    "system header": ("src/avro/block.c", "\n#include <unistd.h>\n", "system header"),
    "library in the relay": ("src/relay/main.c", "\n#include <jansson.h>\n", "is not used in"),
    "banned call": ("src/base/log.c", "\nint x(void) { return atoi(\"1\"); }\n", "is banned"),
    "system macro": ("src/base/log.c", "\n#ifdef __linux__\n#endif\n", "asks for a system"),
    "long line": ("src/base/log.c", "\n/* " + "x" * 100 + " */\n", "columns"),
    "trailing blank": ("src/base/log.c", "\nint y; \n", "blanks at the end"),
    "machine path": ("README.md", "\nsee /home/" + "somebody/notes\n", "somebody's machine"),
}


@pytest.fixture
def copy(tmp_path):
    for name in ("src", "tests", "meson.build", "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def test_the_house_is_tidy():
    found = tidy.check(ROOT)
    assert not found, "\n" + "\n".join(f"{name}:{line}: {text}" for name, line, text in found)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_violation_is_found(copy, rule):
    name, text, expected = PLANTED[rule]
    before = tidy.check(copy)
    with open(copy / name, "a") as file:
        file.write(text)
    new = [found for found in tidy.check(copy) if found not in before]
    assert [found for found in new if found[0] == name and expected in found[2]], new


@pytest.mark.parametrize("name,text,expected", [
    ("src/base/planted.c", OPENING, "dead: meson.build"),
    ("src/base/planted.h", OPENING, "dead: nobody includes"),
    ("src/base/planted.c", "int x;\n", "must open with"),
    ("tests/planted.py", "x = 1\n", "has no SPDX line"),
])
def test_a_planted_file_is_found(copy, name, text, expected):
    (copy / name).write_text(text)
    assert [found for found in tidy.check(copy) if found[0] == name and expected in found[2]]


def test_comments_and_strings_are_not_code(copy):
    path = copy / "src/base/log.c"
    before = len(tidy.check(copy))
    path.write_text(path.read_text() + '\n/* never strcpy(a, b) */\nconst char *z = "gets()";\n')
    assert len(tidy.check(copy)) == before
