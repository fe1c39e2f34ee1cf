# SPDX-License-Identifier: MIT
"""The rules of the house that a compiler does not know: tests/tidy/tidy.py [FOLDER].

Prints every violation as FILE:LINE: text and exits 1 if there is any. Works on the text of the
sources, with comments and literals blanked where a rule is about code; it does not preprocess."""
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
    "keeper": {"base", "os", "channel"},
    "schema": {"base", "avro"},
    "archive": {"base", "avro", "os", "channel", "schema"},
    "config": {"base", "os", "avro", "channel", "schema"},
    "control": {"base", "os", "channel"},
    "manager": {"base", "os", "avro", "channel", "schema", "config", "control"},
    "cli": {"base", "os", "avro", "channel", "schema", "archive", "config", "control", "manager"},
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
    "jansson.h": {"schema", "control", "manager", "cli"},
    "zlib.h": {"archive"},
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
# What tells where somebody's machine keeps things.
MACHINE_PATH = re.compile(r"/(?:home|root|work|Users)/\w")
SYSTEM_MACRO = re.compile(
    r"#\s*(?:if|ifdef|ifndef|elif)\b.*\b(?:__linux__|__APPLE__|_WIN32|__FreeBSD__|__unix__)\b")
TEXT_SUFFIXES = {".c", ".h", ".py", ".js", ".build", ".md", ".yaml", ".yml", ".txt", ".json",
                 ".avsc", ".service", ".socket", ".ini", ""}
LINE_MAX = 100


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
        if not name.startswith("src/os/"):
            for match in SYSTEM_MACRO.finditer(code):
                report(line_of(code, match.start()), "asks for a system outside src/os")


def check(root):
    """All violations below `root`, as (file, line, text)."""
    found = []
    files = tracked(root)
    names = [path.relative_to(root).as_posix() for path in files]
    build = "".join(path.read_text() for path, name in zip(files, names)
                    if path.name == "meson.build")
    included = set()
    texts = {}
    for path, name in zip(files, names):
        if path.suffix not in TEXT_SUFFIXES:
            continue
        try:
            texts[name] = path.read_text()
        except UnicodeDecodeError:
            continue
        if name.startswith("src/") or name.startswith("tests/"):
            included.update(re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', texts[name], re.M))

    for name, text in texts.items():
        def report(line, what, name=name):
            found.append((name, line, what))
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > LINE_MAX and not name.endswith((".json", ".md", "LICENSE")):
                report(number, f"{len(line)} columns, more than {LINE_MAX}")
            if line.rstrip() != line:
                report(number, "blanks at the end of the line")
            if MACHINE_PATH.search(line) and name != "tests/tidy/tidy.py":
                report(number, "names a path of somebody's machine")
        if text and not text.endswith("\n"):
            report(text.count("\n") + 1, "no newline at the end of the file")
        suffix = Path(name).suffix
        if suffix in (".c", ".h"):
            check_c(root / name, name, text, report)
        elif suffix in (".py", ".js") and "SPDX-License-Identifier: MIT" not in text[:200]:
            report(1, "has no SPDX line")
        if suffix == ".c" and not re.search(
                r"'(?:[\w./]*/)?" + re.escape(Path(name).stem) + r"(?:\.c)?'", build):
            report(1, "dead: meson.build does not name it")
        if suffix == ".h" and name.startswith("src/") and name.removeprefix("src/") not in included:
            report(1, "dead: nobody includes it")
    return sorted(found)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    found = check(root)
    for name, line, text in found:
        print(f"{name}:{line}: {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
