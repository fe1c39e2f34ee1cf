# SPDX-License-Identifier: MIT
"""What the scenarios of `flotilla check` share."""
import pytest

SCHEMA = """\
{"type": "record", "name": "r", "fields": [
  {"name": "time", "type": "long"},
  {"name": "counter", "type": "int"},
  {"name": "label", "type": "string"},
  {"name": "value", "type": "double"}]}
"""


@pytest.fixture
def check(flotilla, tmp_path):
    """check(text, *arguments, **more files) -> the finished `flotilla check` on that fleet.yaml."""
    (tmp_path / "s.avsc").write_text(SCHEMA)
    (tmp_path / "bad.avsc").write_text(SCHEMA.replace('"double"', '"flaot"'))
    (tmp_path / "json.avsc").write_text(SCHEMA.replace('"long"},', '"long"'))

    def run(text, *arguments, files=None, **kw):
        for name, content in {"fleet.yaml": text, **(files or {})}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return flotilla("check", *arguments, cwd=tmp_path, **kw)

    return run


def channel(name, port, *more):
    lines = [f"  {name}:", f"    listen: 239.10.0.1:{port}", "    schema: s.avsc"]
    return "\n".join(lines + ["    " + line for line in more]) + "\n"


INCLUDE = "runtime: run\ninclude: channels.d/*.yaml\nchannels:\n" + channel("a", 1)
