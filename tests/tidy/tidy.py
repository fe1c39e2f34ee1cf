# SPDX-License-Identifier: MIT
"""The rules of the house that a compiler does not know: tests/tidy/tidy.py [FOLDER].

Prints every violation as FILE:LINE: text and exits 1 if there is any. Works on the text of the
sources, with comments and literals blanked where a rule is about code; it does not preprocess.

tests/tidy/exceptions lists what is known and not mended yet, as FILE: text with wildcards; a line
that is not needed any more is itself a violation, so the list only shrinks."""
import collections
import fnmatch
import functools
import re
import subprocess
import sys
from pathlib import Path

# Which folders of src/ a folder may include from, itself aside. Includes go inward only.
MAY_INCLUDE = {
    "base": set(),
    "os": {"base"},
    "avro": {"base"},
    "channel": {"base", "os", "avro"},
    "relay": {"base", "os", "avro", "channel"},
    "holder": {"base", "os", "channel"},
    "schema": {"base", "avro"},
    "archive": {"base", "avro", "os", "channel", "schema"},
    "command": {"base", "os", "channel", "schema", "archive", "config"},
    "export": {"base", "avro", "os", "channel", "schema", "archive", "command"},
    "config": {"base", "os", "avro", "channel", "schema"},
    "control": {"base", "os", "channel"},
    "manager": {"base", "os", "avro", "channel", "schema", "config", "control", "holder"},
    "overview": {"base", "os", "avro", "channel", "schema", "archive"},
    "gateway": {"base", "os", "avro", "channel", "schema", "archive", "config", "control",
                "command"},
    "cli": {"base", "os", "avro", "channel", "schema", "archive", "command", "overview", "config",
            "control", "manager"},
}
# Headers of ISO C; anything else in <> is the system's and belongs below src/os, or is a library.
C_HEADERS = {
    "assert", "ctype", "errno", "float", "inttypes", "limits", "math", "stdalign", "stdarg",
    "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib", "stdnoreturn", "string",
}
# The compiler's own, for single instructions.
C_HEADERS |= {"arm_acle", "nmmintrin", "immintrin"}
# Libraries, and the folders that may use them. The relay uses none.
LIBRARIES = {
    "yaml.h": {"config"},
    "jansson.h": {"schema", "control", "manager", "gateway", "cli"},
    "microhttpd.h": {"gateway"},
    "wslay/wslay.h": {"gateway"},
    "zlib.h": {"archive"},
    "snappy-c.h": {"archive"},
    "zstd.h": {"archive"},
    "zstd_errors.h": {"archive"},
    "bzlib.h": {"archive"},
    "lzma.h": {"archive"},
    "hdf5.h": {"export"},
    "H5FDdevelop.h": {"export"},
    "libdeflate.h": {"export"},
}
BANNED = {
    "strcpy": "use snprintf or memcpy with a checked length",
    "strncpy": "use snprintf or memcpy with a checked length",
    "strcat": "use snprintf",
    "strncat": "use snprintf",
    "sprintf": "use snprintf",
    "vsprintf": "use vsnprintf",
    "gets": "use fgets",
    "atoi": "use base/units.h",
    "atol": "use base/units.h",
    "atoll": "use base/units.h",
    "atof": "use base/units.h",
    "strtok": "write a parser",
    "signal": "use sigaction",
    "system": "use os/process.h",
    "popen": "use os/process.h",
    "alloca": "allocate at start",
    "tmpnam": "use mkstemp",
    "usleep": "use os/clock.h",
}
# What would have the page take text for more than text, or load something.
BANNED_IN_PAGE = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|setHTMLUnsafe|createContextualFragment|eval"
    r"|document\.write|new Function|importScripts)\b|@import\b|url\(\s*['\"]?https?:")
# What tells where somebody's machine keeps things.
MACHINE_PATH = re.compile(r"/(?:home|root|work|Users)/\w")
SYSTEM_MACRO = re.compile(
    r"#\s*(?:if|ifdef|ifndef|elif)\b.*\b(?:__linux__|__APPLE__|_WIN32|__FreeBSD__|__unix__)\b")
TEXT_SUFFIXES = {".c", ".h", ".py", ".js", ".build", ".md", ".yaml", ".yml", ".txt", ".json",
                 ".avsc", ".service", ".socket", ".ini", ".ts", ".css", ""}
LINE_MAX = 100
FUNCTION_LINES_MAX = 70  # from brace to brace
FILE_BYTES_MAX = 1000000  # a test makes what is larger, in a temporary folder
EXCEPTIONS = "tests/tidy/exceptions"
COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(//[^\n]*|/\*.*?\*/)', re.S)
PROTOTYPE = re.compile(r"^(?!static\b|typedef\b|#)[A-Za-z_][\w \t*]*?[ *](\w+)\([^;{}]*?\)[^;{}]*;",
                       re.M)
# A file, or a name that was somewhere a file; what is made below build/ is not looked for.
FILE_NAME = re.compile(
    r"(?<![\w/.<*-])(?!build/)((?:[\w-]+/)*[\w-]+\.(?:[ch]|py|md|json|build|yaml))\b(?!\*)")
# A name of more than one word, but for one with its manual's section: recvmmsg(2), sd_notify(3).
IDENTIFIER = re.compile(r"(?<![\w./<-])([A-Za-z]\w*_\w+)\b(?!\(\d)")
FOR_TESTS = "For tests"  # how a header says of a function that src does not use it elsewhere


@functools.lru_cache(maxsize=None)
def blank(text):
    """The text with comments and literals replaced by blanks, lines kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def tracked(root):
    """The project's files: what git has or would add; all of them in a copy without git."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
        return sorted({root / name for name in listed if name and (root / name).is_file()})
    return sorted(path for path in root.rglob("*")
                  if path.is_file() and "build" not in path.relative_to(root).parts)


def check_includes(path, name, text, report):
    folder = name.split("/")[1]
    code = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', code, re.M):
        kind, header = match.groups()
        line = line_of(code, match.start())
        if kind == "<":
            if header in LIBRARIES:
                if folder not in LIBRARIES[header]:
                    report(line, f"<{header}> is not used in src/{folder}")
            elif header.removesuffix(".h") not in C_HEADERS and folder != "os":
                report(line, f"<{header}> is a system header: only files below src/os include it")
            continue
        target = header.split("/")[0]
        if "/" not in header:
            report(line, f'"{header}": include by the path below src/')
        elif target not in MAY_INCLUDE:
            report(line, f'"{header}": src/ has no such folder')
        elif target != folder and target not in MAY_INCLUDE[folder]:
            report(line, f"src/{folder} must not include from src/{target}")


def check_c(path, name, text, report):
    if not text.startswith("/* SPDX-License-Identifier: MIT\n * "):
        report(1, "must open with /* SPDX-License-Identifier: MIT and a comment on its purpose")
    code = blank(text)
    for match in re.finditer(r"(?<![\w.>])(\w+)\s*\(", code):
        if match.group(1) in BANNED:
            report(line_of(code, match.start()),
                   f"{match.group(1)}() is banned: {BANNED[match.group(1)]}")
    if name.startswith("src/"):
        check_includes(path, name, text, report)
        if name.endswith(".c"):
            check_functions(code, report)
        if name.startswith("src/os/posix/") and not re.search(
                r"^#define (_POSIX_C_SOURCE 200809L|_XOPEN_SOURCE 700)", text, re.M):
            report(1, "src/os/posix asks for POSIX alone: _POSIX_C_SOURCE or _XOPEN_SOURCE")
        if not name.startswith("src/os/linux/"):
            for match in re.finditer(r"\b_GNU_SOURCE\b", code):
                report(line_of(code, match.start()), "_GNU_SOURCE belongs below src/os/linux")
            for match in SYSTEM_MACRO.finditer(code):
                report(line_of(code, match.start()), "asks for a system outside src/os")


@functools.lru_cache(maxsize=None)
def comments(text):
    """The comments of a C file, as (offset, text)."""
    return [(match.start(1), match.group(1)) for match in COMMENT.finditer(text) if match.group(1)]


@functools.lru_cache(maxsize=None)
def words_of(text):
    """{word: how often} of a text."""
    return collections.Counter(re.findall(r"\w+", text))


@functools.lru_cache(maxsize=None)
def words_but_comments(name, text):
    if name.endswith((".c", ".h")):
        text = COMMENT.sub(lambda match: " " if match.group(1) else match.group(), text)
    return frozenset(re.findall(r"\w+", text))


def check_functions(text, report):
    """No function is longer than what a reader sees at once."""
    begin, lines = None, text.split("\n")
    for number, line in enumerate(lines):
        if line == "{":
            begin = number
        elif line == "}" and begin is not None:
            count = number - begin + 1
            if count > FUNCTION_LINES_MAX:
                above = "\n".join(lines[max(begin - 8, 0):begin])
                name = re.findall(r"^\w[\w \t*]*?(\w+)\(", above, re.M)[-1]
                report(begin + 1, f"{name}(): {count} lines, more than {FUNCTION_LINES_MAX}")
            begin = None


def check_declarations(texts, found):
    """What a header of src declares is used by another file of src, or said to be for tests, and
    then is."""
    code = {name: blank(text) for name, text in texts.items()
            if name.endswith((".c", ".h")) and name.startswith(("src/", "tests/", "bench/"))}
    words = {name: words_of(text) for name, text in code.items()}
    for header in sorted(name for name in code if name.startswith("src/") and name.endswith(".h")):
        for match in PROTOTYPE.finditer(code[header]):
            function = match.group(1)
            used = {name: count[function] for name, count in words.items() if function in count}
            used[header] -= 1
            definition = re.compile(
                rf"^(?!static\b)\w[\w \t*]*?[ *]{function}\([^;{{}}]*\)\s*\{{", re.M)
            other = [name for name, count in used.items() if count and (
                name.endswith(".h") or not definition.search(code[name]))]
            if any(name.startswith("src/") for name in other):
                continue
            comment, _, behind = texts[header][:match.start()].rpartition("/*")[2].partition("*/\n")
            if FOR_TESTS in comment and "\n\n" not in behind and other:
                continue
            found.append((header, line_of(code[header], match.start(1)),
                          f"dead: {function}() is used by no other file of src"))


def check_comments(texts, names, found):
    """What a comment names is there."""
    known = set()
    for name, text in texts.items():
        if name.endswith((".c", ".h", ".py", ".js", ".build", ".yaml", ".json")):
            known |= words_but_comments(name, text)
    for name, text in texts.items():
        if not name.endswith((".c", ".h")):
            continue
        for offset, comment in comments(text):
            for match in FILE_NAME.finditer(comment):
                if not any(f"/{one}".endswith(f"/{match.group(1)}") for one in names):
                    found.append((name, line_of(text, offset + match.start()),
                                  f"names {match.group(1)}, which is not there"))
            # Below src/os they are the system's.
            if name.startswith("src/") and not name.startswith("src/os/"):
                for match in IDENTIFIER.finditer(comment):
                    if match.group(1) not in known:
                        found.append((name, line_of(text, offset + match.start()),
                                      f"names {match.group(1)}, which is not there"))


def check_sizes(root, names, planted, found):
    """What history is to carry for ever is small."""
    for name in sorted(names):
        size = len(planted[name].encode()) if name in planted else (root / name).stat().st_size
        if size > FILE_BYTES_MAX:
            found.append((name, 1, f"{size:,} bytes, more than {FILE_BYTES_MAX:,}"))


def except_known(exceptions, found):
    """Without what the list of exceptions has; a line of it that excepts nothing is added."""
    left = []
    lines = [line for line in exceptions.split("\n") if line and not line.startswith("#")]
    unused = dict.fromkeys(lines)
    for one in found:
        for line in lines:
            if fnmatch.fnmatchcase(f"{one[0]}: {one[2]}", line):
                unused.pop(line, None)
                break
        else:
            left.append(one)
    return left + [(EXCEPTIONS, 1, f"not needed any more: {line}") for line in unused]


@functools.lru_cache(maxsize=None)
def read(path):
    """The text; None of what is none."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def check(root, planted=None):
    """All violations below `root`, as (file, line, text). `planted`: texts by name, taken for files
    that are not there or for what is in them."""
    found = []
    names = {path.relative_to(root).as_posix() for path in tracked(root)} | set(planted or {})
    texts = {name: read(root / name) for name in sorted(names)
             if Path(name).suffix in TEXT_SUFFIXES and (root / name).exists()}
    texts = {name: text for name, text in {**texts, **(planted or {})}.items() if text is not None}
    build = "".join(text for name, text in texts.items() if name.endswith("meson.build"))
    included = set()
    for name, text in texts.items():
        if name.startswith(("src/", "tests/")):
            included.update(re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', text, re.M))

    for name, text in texts.items():
        def report(line, what, name=name):
            found.append((name, line, what))
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > LINE_MAX and not name.endswith((".json", ".md", "LICENSE")):
                report(number, f"{len(line)} columns, more than {LINE_MAX}")
            if line.rstrip() != line:
                report(number, "blanks at the end of the line")
        for match in MACHINE_PATH.finditer(text):
            report(line_of(text, match.start()), "names a path of somebody's machine")
        if text and not text.endswith("\n"):
            report(text.count("\n") + 1, "no newline at the end of the file")
        suffix = Path(name).suffix
        if suffix in (".c", ".h"):
            check_c(root / name, name, text, report)
        elif suffix in (".py", ".js", ".ts", ".css") and \
                "SPDX-License-Identifier: MIT" not in text[:200]:
            report(1, "has no SPDX line")
        if suffix in (".ts", ".css"):
            for match in BANNED_IN_PAGE.finditer(text):
                report(line_of(text, match.start()), f"{match.group()} has no place in the page")
        if suffix == ".c" and not re.search(
                r"'(?:[\w./]*/)?" + re.escape(Path(name).stem) + r"(?:\.c)?'", build):
            report(1, "dead: meson.build does not name it")
        if suffix == ".h" and name.startswith("src/") and name.removeprefix("src/") not in included:
            report(1, "dead: nobody includes it")
    check_sizes(root, names, planted or {}, found)
    check_declarations(texts, found)
    check_comments(texts, names, found)
    for match in re.finditer(r"add_project_arguments\((?:[^()]|\([^()]*\))*?_GNU_SOURCE", build):
        found.append(("meson.build", line_of(build, match.end()),
                      "_GNU_SOURCE for all, where only src/os is to have it"))
    return sorted(except_known(texts.get(EXCEPTIONS, ""), found))


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    found = check(root)
    for name, line, text in found:
        print(f"{name}:{line}: {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
