# SPDX-License-Identifier: MIT
"""023-manual: the pages, the schema for editors and the completions say what the programs' own
tables say: every key, verb, option and default, and nothing that does not exist."""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import jsonschema
import pytest
import yaml
from harness.fleet import FLOTILLA, RELAY, ROOT

PAGES = ["flotilla.1", "flotilla-relay.1", "fleet.yaml.5"]
SCHEMA = ROOT / "etc/fleet.schema.json"
BASH = ROOT / "etc/completion/flotilla.bash"
ZSH = ROOT / "etc/completion/_flotilla"
STATES = "starting running silent backoff stopped failed schema_mismatch not_recording".split()


def say(*words, **kw):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=30, **kw)


def page(name):
    return (ROOT / "man" / name).read_text()


def verbs():
    table = say(FLOTILLA, "--help").stdout.split("Verbs:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in table.splitlines()]


def help_options(verb):
    """What a verb's help offers: in its usage, and in its list of options."""
    text = say(FLOTILLA, verb, "--help").stdout
    usage, _, rest = text.partition("\n\n")
    found = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", usage))
    for line in rest.splitlines():
        if re.match(r"  -", line):
            heads = re.split(r"\s{3,}", line.strip())[0]
            found |= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", heads))
    return found | ({"--config"} if "-c" in found else set())


def verb_sections():
    """The sections of flotilla(1) by verb."""
    parts = re.split(r"^\.S[sh] ", page("flotilla.1"), flags=re.M)[1:]
    return {part.split()[0]: part for part in parts}


def page_options(section):
    words = re.findall(r"\bFl (-?[a-z][a-z-]*)", section)
    found = {"-" + word for word in words}
    return found | ({"--config"} if "-c" in found else set())


def keys():
    """The table of keys: path -> (what it takes, help, default, required)."""
    lines = say(FLOTILLA, "check", "--keys").stdout.splitlines()
    found = {}
    for head, text in zip(lines[::2], lines[1::2]):
        path, _, what = head.partition(": ")
        default = re.search(r" \(default (.*?)\)", text)
        zero = re.search(r"; 0: (.*)$", text)
        bare = re.sub(r" \((default .*?|required)\)", "", text.strip())
        found[path] = {"what": what, "help": bare, "default": default and default.group(1),
                       "required": "(required)" in text, "zero": zero and zero.group(1)}
    assert len(found) > 30
    return found


def flags():
    """The relay's table of flags, the same way."""
    text = re.sub(r"\n {20,}", "   ", say(RELAY, "--help").stdout)
    found = {}
    for name, what, rest in re.findall(r"^  --([a-z-]+) (\S+) {2,}(.*)$", text, re.M):
        default = re.search(r" \(default (.*?)\)", rest)
        found[name] = {"what": what, "default": default and default.group(1)}
    assert len(found) > 15
    return found


def items(text, macro):
    """A page's list items: name -> (argument, text)."""
    found = {}
    for part in re.split(r"^\.It ", text, flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        match = re.match(macro + r" (\S+)(?: Ar (.*))?$", head)
        if match:
            name, what = match.group(1), (match.group(2) or "").replace("\\&", "")
            assert name not in found, f"{name} stands there twice"
            found[name] = (what.replace(" | ", "|"), " ".join(body.split("\n.El")[0].split()))
    return found


def check_default(name, entry, text):
    said = re.search(r"\bDefault ([^ ]*)\.(?= |$)", text)
    assert (said and said.group(1)) == entry["default"], (name, entry["default"], text)


# Pages -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", PAGES)
def test_023_pages_are_well_made(name):
    if not shutil.which("mandoc"):
        pytest.skip("needs mandoc")
    said = say("mandoc", "-Tlint", "-W", "warning", ROOT / "man" / name).stdout
    # Examples come first here; mandoc would have them behind.
    faults = [line for line in said.splitlines() if "out of conventional order" not in line]
    assert not faults, "\n".join(faults)
    shown = say("mandoc", "-Tutf8", "-O", "width=78", ROOT / "man" / name)
    assert shown.returncode == 0 and "EXAMPLES" in re.sub(".\b", "", shown.stdout)


def test_023_every_key_is_in_its_page():
    table, said = keys(), items(page("fleet.yaml.5").split(".Sh KEYS")[1].split(".Sh ")[0], "Cm")
    assert list(said) == list(table), "keys of the page against `flotilla check --keys`"
    for name, entry in table.items():
        assert said[name][0] == entry["what"], name
        check_default(name, entry, said[name][1])
        assert ("Required." in said[name][1]) == entry["required"], name
        assert (f"0: {entry['zero']}." in said[name][1]) == bool(entry["zero"]), name


def test_023_every_flag_of_the_relay_is_in_its_page():
    table, said = flags(), items(page("flotilla-relay.1"), "Fl")
    assert {name.removeprefix("-") for name in said} == set(table) | {"help", "version"}
    for name, entry in table.items():
        assert said["-" + name][0] == entry["what"], name
        check_default(name, entry, said["-" + name][1])


def test_023_every_verb_and_option_is_in_its_page(tmp_path):
    sections = verb_sections()
    known = [name for name in sections if name.islower()]
    assert sorted(known) == sorted(verbs())
    for verb in verbs():
        offered, said = help_options(verb), page_options(sections[verb])
        assert said == offered, verb
        for option in said:  # and the verb itself knows it
            done = say(FLOTILLA, verb, option, "--no-such-option", cwd=tmp_path,
                       stdin=subprocess.DEVNULL)
            assert done.returncode != 0 and f"unknown option {option}\n" not in done.stderr, done


def test_023_states_counters_and_exit_codes():
    text = page("flotilla.1")
    states = list(items(text.split(".Sh STATES")[1].split(".Sh ")[0], "Cm"))
    assert states == STATES
    table = (ROOT / "src/channel/counters.c").read_text()
    counters = [("send_errors_" if kind == "CAUSE" else "") + name for kind, name
                in re.findall(r"^    (COUNTER|GAUGE|CAUSE)\((\w+)[,)]", table, re.M)]
    assert list(items(text.split(".Sh COUNTERS")[1].split(".Sh ")[0], "Cm")) == counters
    named = re.findall(r'\[REJECT_\w+\] = "(\w+)"', (ROOT / "src/avro/datum.c").read_text())
    reasons = list(items(text.split(".Sh REASONS")[1].split(".Sh ")[0], "Cm"))
    assert reasons == [name for name in named if name != "none"]
    codes = re.findall(r"^\.It (\d+)$", text.split(".Sh EXIT STATUS")[1].split(".Sh ")[0], re.M)
    header = (ROOT / "src/command/usage.h").read_text()
    assert codes == re.findall(r"EXIT_\w+ = (\d+)", header)
    relay = page("flotilla-relay.1").split(".Sh EXIT STATUS")[1].split(".Sh ")[0]
    main = (ROOT / "src/relay/relay.h").read_text()
    assert re.findall(r"^\.It (\d+)$", relay, re.M) == re.findall(r"EXIT_\w+ = (\d+)", main)


# The schema for editors --------------------------------------------------------------------------

class Core(yaml.SafeLoader):
    """YAML as fleet.yaml is read: `off` is a word."""


Core.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in pairs
             if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
    for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Core.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def validator():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def accepts(text):
    return validator().is_valid(yaml.load(text, Core))


def resolve(schema, node):
    """A node with what it refers to."""
    if "$ref" in node:
        return {**schema["$defs"][node["$ref"].rpartition("/")[2]], **node}
    return node


def schema_keys(schema, node, inside):
    for name, key in node.get("properties", {}).items():
        path = inside + name
        whole = resolve(schema, key)
        yield path, key
        if name not in ("defaults", "channels"):
            yield from schema_keys(schema, whole, path + ".")


def test_023_schema_has_the_table_s_keys():
    schema, table = json.loads(SCHEMA.read_text()), keys()
    found = dict(schema_keys(schema, schema, ""))
    found.update(schema_keys(schema, schema["$defs"]["channel"], "channels.NAME."))
    assert list(found) == list(table)
    for path, key in found.items():
        entry, whole = table[path], resolve(schema, key)
        assert key["description"] == entry["help"], path
        default = key.get("default")
        if default is not None:
            text = {True: "true", False: "false"}.get(default, str(default)) \
                if isinstance(default, bool) else str(default)
            assert text == entry["default"], path
        elif entry["default"]:
            assert entry["default"] in ("0", "0%"), path
        if "|" in entry["what"] and entry["what"] != "true|false":
            assert key["enum"] == entry["what"].split("|"), path
        if entry["what"] == "":
            assert whole["type"] == "object", path


def test_023_schema_takes_what_check_takes():
    assert accepts((ROOT / "examples/fleet.yaml").read_text())
    readme = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    assert accepts(readme)
    for example in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", page("fleet.yaml.5"),
                              re.M | re.S):
        assert example.startswith("#") or accepts(example), example
    printed = say(FLOTILLA, "check", "--print", "-c", ROOT / "examples/fleet.yaml")
    assert printed.returncode == 0 and accepts(printed.stdout)


CHANNEL = "channels: {{a: {{listen: '127.0.0.1:26000', interface: lo, schema: s.avsc, {}}}}}"
ALIKE = {  # one line each, and whether it is good
    "storage: {sync: 1s}": True, "storage: {sync: 0.5s}": True, "storage: {sync: 1}": False,
    "storage: {sync: 1 s}": False, "storage: {sync: 5m}": False, "storage: {sink: 1s}": False,
    "storage: {mounted: true}": True, "storage: {mounted: [a]}": False,
    "storage: {direct_io: off}": True, "storage: {direct_io: maybe}": False,
    "storage: {rotate: {size: 64MiB}}": True, "storage: {rotate: {size: 64M}}": False,
    "storage: {rotate: {size: 0}}": True, "storage: {rotate: {size: 1.5GiB, age: 0}}": True,
    "storage: {rotate: {sise: 1GiB}}": False, "storage: {retain: {free: 5%}}": True,
    "storage: {retain: {free: 5}}": False, "storage: {retain: {age: 7d, size: 1TB}}": True,
    "storrage: {}": False, "defaults: {ttl: 3}": True, "defaults: {tll: 3}": False,
    CHANNEL.format("ttl: 256"): False, CHANNEL.format("ttl: 0"): True,
    CHANNEL.format("record: maybe"): False, CHANNEL.format("record: false"): True,
    CHANNEL.format("sources: 10.0.0.0/8"): True, CHANNEL.format("sources: [127.0.0.1]"): True,
    CHANNEL.format("sources: [everybody]"): False, CHANNEL.format("on_invalid: drop"): True,
    CHANNEL.format("on_invalid: keep"): False, CHANNEL.format("full: '239.11.0.1'"): False,
    CHANNEL.format("full: '[ff15::1]:6000'"): True, CHANNEL.format("buffer: 64MiB"): True,
    CHANNEL.format("buffer: 64"): False, CHANNEL.format("time: ''"): False,
    CHANNEL.format("decimated: {to: '239.12.0.1:6001', factor: 0}"): False,
    CHANNEL.format("decimated: {to: '239.12.0.1:6001', factor: 5, algorithm: rms}"): True,
    CHANNEL.format("decimated: {to: '239.12.0.1:6001', algorithm: median}"): False,
    CHANNEL.format("encoding: confluent, schema_id: 7"): True,
    CHANNEL.format("encoding: json"): False, CHANNEL.format("lisen: lo"): False,
    "channels: {A: {listen: '127.0.0.1:26000', schema: s.avsc}}": False,
    "channels: {a: {schema: s.avsc}}": False,
}


@pytest.mark.parametrize("line", ALIKE)
def test_023_schema_and_check_agree(line, tmp_path):
    good = ALIKE[line]
    text = f"runtime: run\n{line}\n"
    if "channels" not in line:
        text += CHANNEL.format("ttl: 1") + "\n"
    (tmp_path / "s.avsc").write_text('{"type": "record", "name": "R", "fields": ['
                                     '{"name": "x", "type": "double"}]}')
    (tmp_path / "fleet.yaml").write_text(text)
    done = say(FLOTILLA, "check", cwd=tmp_path)
    assert done.returncode == (0 if good else 78), done.stderr
    assert accepts(text) == good


# Completion --------------------------------------------------------------------------------------

def complete(line, folder, command=FLOTILLA):
    """What a real bash offers behind `line`."""
    words = line.split(" ")
    script = """
        . "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        function=$(complete -p "${1##*/}" | sed 's/.*-F \\([a-z_]*\\).*/\\1/')
        "$function" 2>/dev/null
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = say("bash", "--norc", "-c", script, "bash", BASH, command, *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.split())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "s.avsc").write_text('"double"')
    (tmp_path / "fleet.yaml").write_text(
        "runtime: run\nchannels:\n" + "".join(
            f"  {name}: {{listen: '127.0.0.1:{port}', schema: s.avsc}}\n"
            for name, port in (("engine", 26001), ("engine2", 26002), ("gps", 26003))))
    (tmp_path / "other.yaml").write_text(
        "runtime: run\nchannels: {far: {listen: '127.0.0.1:26001', schema: s.avsc}}\n")
    (tmp_path / "recordings").mkdir()
    for name in ("a.avro", "a.avro.part", "a.txt", "b.layout"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_023_bash_completes_verbs_and_options(folder):
    assert complete("", folder) == sorted([*verbs(), "--help", "--version"])
    assert complete("re", folder) == ["recover", "reload", "replay", "restart"]
    for verb in verbs():
        assert set(complete(f"{verb} -", folder)) == help_options(verb) | {"--help"}, verb
    assert complete("check --k", folder) == ["--keys"]


def test_023_bash_completes_channels_and_files(folder):
    for verb in ("send", "listen", "restart"):
        assert complete(f"{verb} ", folder) == ["engine", "engine2", "gps"], verb
    assert complete("listen g", folder) == ["gps"]
    assert complete("listen -c other.yaml ", folder) == ["far"]
    assert complete("run -c ", folder) == ["fleet.yaml", "other.yaml", "recordings"]
    for verb in ("cat", "info", "verify", "recover"):
        assert complete(f"{verb} ", folder) == ["a.avro", "a.avro.part", "recordings"], verb
    assert complete("schema ", folder) == ["recordings", "s.avsc"]
    assert complete("send --to 127.0.0.1:9 --schema ", folder) == ["recordings", "s.avsc"]
    assert complete("cat --count ", folder) == []


def test_023_bash_completes_the_relay(folder):
    offered = complete("--", folder, RELAY)
    assert set(offered) == {"--" + name for name in flags()} | {"--help", "--version"}
    assert complete("--layout ", folder, RELAY) == ["b.layout", "recordings"]
    assert complete("--algorithm m", folder, RELAY) == ["min-max"]


def zsh_line(keys, folder):
    """The line that a real zsh on a terminal makes of `keys`."""
    environment = {**os.environ, "PATH": f"{FLOTILLA.parent}:{os.environ['PATH']}", "TERM": "dumb",
                   "HOME": str(folder), "PS1": "> "}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
    said = b""

    def read_until(wanted, seconds=60):
        nonlocal said
        end = time.monotonic() + seconds
        while wanted not in said:
            assert time.monotonic() < end, said
            if select.select([terminal], [], [], 0.1)[0]:
                said += os.read(terminal, 65536)
    try:
        os.write(terminal, f"unsetopt zle_bracketed_paste; fpath=({ZSH.parent} $fpath); "
                 "autoload -U compinit && compinit -u -D && print set-$((40 + 2))-up\n".encode())
        read_until(b"set-42-up")
        said = b""
        os.write(terminal, keys.encode() + b"\t")
        time.sleep(1.5)
        os.write(terminal, b"\x01print -r -- '<\x05>'\n")  # the line as it stands, quoted
        read_until(b">\r\n")
        return re.findall(rb"^<(.*?)>\r", said, re.M)[-1].decode().strip()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


@pytest.mark.parametrize("keys, line", [
    ("flotilla doc", "flotilla doctor"),
    ("flotilla listen g", "flotilla listen gps"),
    ("flotilla check --ke", "flotilla check --keys"),
    ("flotilla listen -c other.yaml f", "flotilla listen -c other.yaml far"),
    ("flotilla verify a.avro.", "flotilla verify a.avro.part"),
    ("flotilla-relay --algorithm m", "flotilla-relay --algorithm min-max"),
])
def test_023_zsh_completes(keys, line, folder):
    if not shutil.which("zsh"):
        pytest.skip("needs zsh")
    assert zsh_line(keys, folder) == line


def test_023_zsh_offers_what_bash_offers():
    text = ZSH.read_text()
    assert re.findall(r"^        ['\"](\w+):", text, re.M) == verbs_in_order(text)
    for verb in verbs():
        arm = re.search(rf"^    (?:\w+ \| )*{verb}(?: \| \w+)*\)(.*?);;", text, re.M | re.S)
        assert arm, verb
        body = arm.group(1).replace("$json", "--json").replace("$config", "-c --config")
        body = body.replace("{-o,--output}", " -o --output ")
        offered = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*(?=[\[ \n'])", body)) - {"-g"}
        assert offered == help_options(verb) | {"--help"}, verb


def verbs_in_order(text):
    listed = re.findall(r"^        ['\"](\w+):", text, re.M)
    assert sorted(listed) == sorted(verbs())
    return listed
