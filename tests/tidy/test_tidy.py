# SPDX-License-Identifier: MIT
"""The house is tidy, and the check of it can fail: each rule finds what is planted."""
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
    "long line of the page": ("web/src/main.ts", "\n// " + "x" * 100 + "\n", "columns"),
    "markup in the page": ("web/src/main.ts", "\nx.inner" + "HTML = y;\n", "has no place in"),
    "style from elsewhere": ("web/src/styles.css", "\na { src: url(https://a); }\n",
                             "has no place in"),
    "trailing blank": ("src/base/log.c", "\nint y; \n", "blanks at the end"),
    "long function": ("src/base/log.c", "\nint x(void)\n{\n" + "    ;\n" * 69 + "}\n",
                      "x(): 71 lines"),
    "dead declaration": ("src/base/log.h", "\nint nobody_calls(void);\n", "dead: nobody_calls()"),
    "dead declaration for tests": (
        "src/base/log.h", "\n/* For tests. */\nint no_test_calls(void);\n",
        "dead: no_test_calls()"),
    "absent file": ("src/base/log.c", "\n/* See base/absent.h. */\n", "names base/absent.h"),
    "absent name": ("src/base/log.c", "\n/* As absent" + "_one has it. */\n", "_one, which is"),
    "everything of GNU's": ("src/base/log.c", "\n#define _GNU_SOURCE\n", "belongs below src/os"),
    "GNU's in POSIX": ("src/os/posix/host.c", "\n#define _GNU_SOURCE\n", "below src/os/linux"),
    "machine path": ("README.md", "\nsee /home/" + "somebody/notes\n", "somebody's machine"),
}


def check_with(added):
    """What is found with `added`, {file: text} behind what is there."""
    return tidy.check(ROOT, {name: (tidy.read(ROOT / name) if (ROOT / name).exists() else "") + text
                             for name, text in added.items()})


@pytest.fixture(scope="module")
def before():
    return tidy.check(ROOT)


def test_the_house_is_tidy(before):
    found = before
    assert not found, "\n" + "\n".join(f"{name}:{line}: {text}" for name, line, text in found)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_violation_is_found(before, rule):
    name, text, expected = PLANTED[rule]
    new = [found for found in check_with({name: text}) if found not in before]
    assert [found for found in new if found[0] == name and expected in found[2]], new


def test_what_is_within_the_rules_is_not_found(before):
    assert check_with({
        "src/base/log.c": "\nint x(void)\n{\n" + "    ;\n" * 68 + "}\n"
                          "\n/* As recvmmsg_or_so(2) has it, and CLOCK_MONOTONIC, log_line. */\n"
                          "/* build/made.json */\nint clock_line, CLOCK_MONOTONIC, log_line;\n",
        "src/base/log.h": "\n/* For tests. */\nint a_test_calls(void);\n",
        "tests/unit/test_units.c": "\nint x(void) { return a_test_calls(); }\n"}) == before


def test_an_exception_that_is_not_needed_is_a_violation(before):
    known = {tidy.EXCEPTIONS: "src/base/log.h: dead: nobody_calls()*\n"}
    (new,) = [found for found in check_with(known) if found not in before]
    assert new[2] == "not needed any more: src/base/log.h: dead: nobody_calls()*"
    assert check_with({**known, "src/base/log.h": "\nint nobody_calls(void);\n"}) == before


@pytest.mark.parametrize("name,text,expected", [
    ("src/base/planted.c", OPENING, "dead: "),
    ("src/base/planted.h", OPENING, "dead: nobody includes"),
    ("src/base/planted.c", "int x;\n", "must open with"),
    ("tests/planted.py", "x = 1\n", "has no SPDX line"),
    ("web/src/planted.ts", "const x = 1;\n", "has no SPDX line"),
    pytest.param("planted/whole.avro", "x\n" * 500001, "1,000,002 bytes, more than 1,000,000",
                 id="large"),
])
def test_a_planted_file_is_found(name, text, expected):
    assert [found for found in check_with({name: text})
            if found[0] == name and expected in found[2]]


def test_comments_and_strings_are_not_code(before):
    assert check_with({"src/base/log.c": '\n/* never strcpy(a, b) */\n'
                                         'const char *z = "gets()";\n'}) == before
