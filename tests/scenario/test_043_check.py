# SPDX-License-Identifier: MIT
"""043-check: wrong configurations with exactly what is said about each, and what a right one
comes to. Every case runs in a folder of its own beside the schemas s, bad and json.avsc."""
from pathlib import Path

import pytest
from harness.checking import INCLUDE, SCHEMA, channel, check

# What fleet.yaml holds, and what goes to stderr. The exit code is 78.
WRONG = {
    "misspelt_key": ("""\
runtime: run
channels:
  a:
    lisen: 239.10.0.1:26000
    schema: s.avsc
""", """\
fleet.yaml:4:5: unknown key "lisen"; did you mean "listen"?
    lisen: 239.10.0.1:26000
    ^
"""),
    "misspelt_top": ("""\
runtme: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
""", """\
fleet.yaml:1:1: unknown key "runtme"; did you mean "runtime"?
runtme: run
^
"""),
    "unknown_key": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    colour: blue
""", """\
fleet.yaml:6:5: unknown key "colour"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, encoding, \
schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, receive_queue, \
offload, latency, limits
    colour: blue
    ^
"""),
    "key_in_wrong_map": ("""\
runtime: run
rotate: {size: 1GiB}
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    to: 239.12.0.1:6001
""", """\
fleet.yaml:2:1: unknown key "rotate" here; it belongs in storage
rotate: {size: 1GiB}
^
fleet.yaml:7:5: unknown key "to" here; it belongs in a channel's decimated
    to: 239.12.0.1:6001
    ^
"""),
    "missing_required": ("""\
runtime: run
channels:
  a:
    full: 239.11.0.1:6000
""", """\
fleet.yaml:3:3: listen is missing: where datagrams arrive; a group is joined
  a:
  ^
fleet.yaml:3:3: schema is missing: the Avro schema of the datums
  a:
  ^
"""),
    "no_port": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1
    schema: s.avsc
""", """\
fleet.yaml:4:13: listen: "239.10.0.1" is not ADDRESS:PORT, such as 239.10.0.1:26000 or \
[ff15::1]:26000; the port is missing
    listen: 239.10.0.1
            ^
"""),
    "bad_address": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.300:26000
    schema: s.avsc
""", """\
fleet.yaml:4:13: listen: "239.10.0.300:26000" is not ADDRESS:PORT, such as 239.10.0.1:26000 or \
[ff15::1]:26000
    listen: 239.10.0.300:26000
            ^
"""),
    "bad_unit": ("""\
runtime: run
storage:
  sync: 1
  rotate: {size: 1Gb, age: 1hour}
  retain: {free: 5}
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
""", """\
fleet.yaml:3:9: sync: "1" is not a duration with its unit, such as 100ms, 10s, 5min, 1h or 7d
  sync: 1
        ^
fleet.yaml:4:18: size: "1Gb" is not a size with its unit, such as 512KiB, 64MiB or 1GiB
  rotate: {size: 1Gb, age: 1hour}
                 ^
fleet.yaml:4:28: age: "1hour" is not a duration with its unit, such as 100ms, 10s, 5min, 1h or \
7d
  rotate: {size: 1Gb, age: 1hour}
                           ^
fleet.yaml:5:18: free: "5" is not a percentage from 0% to 100%, such as 5%
  retain: {free: 5}
                 ^
"""),
    "out_of_range": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    ttl: 256
    buffer: 1KiB
    decimated: {to: 239.12.0.1:6001, factor: 0}
""", """\
fleet.yaml:6:10: ttl: "256" is not a whole number from 0 to 255
    ttl: 256
         ^
fleet.yaml:7:13: buffer: 1KiB is out of range: 1MiB to 16GiB
    buffer: 1KiB
            ^
fleet.yaml:8:46: factor: "0" is not a whole number from 1 to 1000000000
    decimated: {to: 239.12.0.1:6001, factor: 0}
                                             ^
"""),
    "wrong_choice": ("""\
runtime: run
storage: {direct_io: yes}
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    decimated: {to: 239.12.0.1:6001, algorithm: minmax}
    record: maybe
""", """\
fleet.yaml:2:22: direct_io: unknown value "yes"; one of: auto, required, off
storage: {direct_io: yes}
                     ^
fleet.yaml:7:49: algorithm: unknown value "minmax"; did you mean "min-max"?
    decimated: {to: 239.12.0.1:6001, algorithm: minmax}
                                                ^
fleet.yaml:8:13: record: "maybe" is neither true nor false
    record: maybe
            ^
"""),
    "list_for_map": ("""\
runtime: run
channels:
  - a
  - b
""", """\
fleet.yaml:3:3: channels is a map (key: value), found a list
  - a
  ^
"""),
    "value_for_map": ("""\
runtime: run
storage: recordings
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
""", """\
fleet.yaml:2:10: storage is a map (key: value), found a value
storage: recordings
         ^
"""),
    "map_for_value": ("""\
runtime: run
channels:
  a:
    listen: {address: 239.10.0.1, port: 26000}
    schema: [s.avsc]
""", """\
fleet.yaml:4:13: listen is a single value (ADDRESS:PORT), found a map
    listen: {address: 239.10.0.1, port: 26000}
            ^
fleet.yaml:5:13: schema is a single value (PATH), found a list
    schema: [s.avsc]
            ^
"""),
    "empty_value": ("""\
runtime: run
channels:
  a:
    listen:
    schema: s.avsc
""", """\
fleet.yaml:4:12: listen needs a value: ADDRESS:PORT
    listen:
           ^
"""),
    "duplicate_key": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    ttl: 1
    ttl: 2
""", """\
fleet.yaml:7:5: duplicate key "ttl"; first on line 6
    ttl: 2
    ^
"""),
    "duplicate_channel": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:1
    schema: s.avsc
  a:
    listen: 239.10.0.1:2
    schema: s.avsc
""", """\
fleet.yaml:6:3: duplicate key "a"; first on line 3
  a:
  ^
"""),
    "bad_name": ("""\
runtime: run
channels:
  Engine:
    listen: 239.10.0.1:1
    schema: s.avsc
  ../up:
    listen: 239.10.0.1:2
    schema: s.avsc
""", """\
fleet.yaml:3:3: "Engine" is not a channel name: 1 to 64 of a-z 0-9 _ . -, beginning with a \
letter or digit
  Engine:
  ^
fleet.yaml:6:3: "../up" is not a channel name: 1 to 64 of a-z 0-9 _ . -, beginning with a \
letter or digit
  ../up:
  ^
"""),
    "anchor_alias_tag": ("""\
runtime: run
defaults: &d {ttl: 1}
channels:
  a: *d
  b: !!map {listen: ! "239.10.0.1:26000", schema: !x s.avsc}
""", """\
fleet.yaml:2:11: anchors are not allowed
defaults: &d {ttl: 1}
          ^
fleet.yaml:4:6: aliases are not allowed
  a: *d
     ^
fleet.yaml:5:6: tags are not allowed
  b: !!map {listen: ! "239.10.0.1:26000", schema: !x s.avsc}
     ^
fleet.yaml:5:21: tags are not allowed
  b: !!map {listen: ! "239.10.0.1:26000", schema: !x s.avsc}
                    ^
fleet.yaml:5:51: tags are not allowed
  b: !!map {listen: ! "239.10.0.1:26000", schema: !x s.avsc}
                                                  ^
"""),
    "merge_key": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:1
    schema: s.avsc
    <<: {ttl: 3}
""", """\
fleet.yaml:6:5: unknown key "<<"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, encoding, \
schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, receive_queue, \
offload, latency, limits
    <<: {ttl: 3}
    ^
"""),
    "tab": ("""\
runtime: run
channels:
  a:
\tlisten: 239.10.0.1:26000
""", """\
fleet.yaml:4:1: a tab cannot indent; use spaces
\tlisten: 239.10.0.1:26000
^
"""),
    "syntax": ("""\
runtime: run
channels:
  a: {listen: 239.10.0.1:26000
  b: 1
""", """\
fleet.yaml:4:4: not YAML: did not find expected ',' or '}' while parsing a flow mapping that \
began on line 3
  b: 1
   ^
"""),
    "unclosed_quote": ("""\
runtime: run
channels:
  a:
    listen: "239.10.0.1:26000
""", """\
fleet.yaml:5:1: not YAML: found unexpected end of stream while scanning a quoted scalar that \
began on line 4

^
"""),
    "control_character": ("""\
runtime: run
channels:
  a:
    schema: "s\\0.avsc"
    listen: 239.10.0.1:26000
""", """\
fleet.yaml:4:13: a value is one line of text without control characters
    schema: "s\\0.avsc"
            ^
"""),
    "second_document": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
---
runtime: x
""", """\
fleet.yaml:6:1: a second document is not allowed
---
^
"""),
    "empty": ("""\
# nothing
""", """\
fleet.yaml:1:1: the file says nothing
# nothing
^
"""),
    "not_a_map": ("""\
- a
""", """\
fleet.yaml:1:1: the file is a map (key: value), found a list
- a
^
"""),
    "no_channels": ("""\
runtime: run
""", """\
fleet.yaml:1:1: channels is missing: the channels, each a map under its name
runtime: run
^
"""),
    "no_interface": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    interface: nosuch0
""", """\
fleet.yaml:6:16: there is no interface "nosuch0" on this machine
    interface: nosuch0
               ^
"""),
    "no_schema_file": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: missing.avsc
""", """\
fleet.yaml:5:13: missing.avsc: No such file or directory
    schema: missing.avsc
            ^
"""),
    "bad_schema": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: bad.avsc
""", """\
fleet.yaml:5:13: bad.avsc:5:29: fields[3].type: unknown type "flaot"; did you mean "float"?
    schema: bad.avsc
            ^
"""),
    "bad_schema_json": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: json.avsc
""", """\
fleet.yaml:5:13: json.avsc:3:3: not JSON: '}' expected near '{'
    schema: json.avsc
            ^
"""),
    "bad_time_and_sequence": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    time: tme
    sequence: value
""", """\
fleet.yaml:6:11: time: record "r" has no field "tme"
    time: tme
          ^
fleet.yaml:7:15: sequence: field "value" is of type double, not int or long
    sequence: value
              ^
"""),
    "own_input": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    full: 239.10.0.1:26000
""", """\
fleet.yaml:6:11: full: 239.10.0.1:26000 is the channel's own input (fleet.yaml:4:13)
    full: 239.10.0.1:26000
          ^
"""),
    "others_input": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:1
    schema: s.avsc
    full: 239.10.0.1:2
  b:
    listen: 239.10.0.1:2
    schema: s.avsc
    decimated: {to: 239.10.0.1:1}
""", """\
fleet.yaml:6:11: full: 239.10.0.1:2 is the input of channel "b" (fleet.yaml:8:13)
    full: 239.10.0.1:2
          ^
fleet.yaml:10:21: decimated: 239.10.0.1:1 is the input of channel "a" (fleet.yaml:4:13)
    decimated: {to: 239.10.0.1:1}
                    ^
"""),
    "same_input": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:1
    schema: s.avsc
  b:
    listen: 239.10.0.1:1
    schema: s.avsc
""", """\
fleet.yaml:7:13: listen: 239.10.0.1:1 is the input of channel "a" already (fleet.yaml:4:13)
    listen: 239.10.0.1:1
            ^
"""),
    "same_output": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:1
    schema: s.avsc
    full: 239.11.0.1:9
    decimated: {to: 239.11.0.1:9}
  b:
    listen: 239.10.0.1:2
    schema: s.avsc
    full: 239.11.0.1:9
""", """\
fleet.yaml:7:21: decimated: channel "a" sends to 239.11.0.1:9 already (fleet.yaml:6:11)
    decimated: {to: 239.11.0.1:9}
                    ^
fleet.yaml:11:11: full: channel "a" sends to 239.11.0.1:9 already (fleet.yaml:6:11)
    full: 239.11.0.1:9
          ^
"""),
    "decimated_without_to": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    decimated: {factor: 10}
""", """\
fleet.yaml:6:5: to is missing: where the decimated stream is sent to
    decimated: {factor: 10}
    ^
"""),
    "sources": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    sources: [10.0.0.1/24, fd00::/8, 10.0.0.7]
""", """\
fleet.yaml:6:14: sources: IPv4 and IPv6 differ from listen
    sources: [10.0.0.1/24, fd00::/8, 10.0.0.7]
             ^
fleet.yaml:6:15: sources: "10.0.0.1/24" is not ADDRESS or NETWORK/BITS, such as 10.0.0.7 or \
10.0.0.0/24
    sources: [10.0.0.1/24, fd00::/8, 10.0.0.7]
              ^
"""),
    "gateway_open_to_all": ("""\
runtime: run
gateway: {listen: 0.0.0.0:8080}
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    encoding: confluent
    on_invalid: quarantine
""", """\
fleet.yaml:2:19: listen: other computers reach this address: token_file is needed, a file with a \
secret that every request must carry
gateway: {listen: 0.0.0.0:8080}
                  ^
fleet.yaml:7:15: encoding: confluent needs schema_id, the id every datum must carry
    encoding: confluent
              ^
"""),
    "encodings": ("""\
runtime: run
channels:
  a: {listen: 239.10.0.1:1, encoding: opaque, sequence: counter}
  b: {listen: 239.10.0.1:2, schema: s.avsc, encoding: single-object, schema_id: 7}
  c: {listen: 239.10.0.1:3, encoding: datum}
  d: {listen: 239.10.0.1:4, encoding: opaque, decimated: {to: 239.10.0.9:4, algorithm: rms}}
  e: {listen: 239.10.0.1:5, encoding: opaque, schema: s.avsc, time: time}
""", """\
fleet.yaml:3:57: encoding: opaque has no fields to count by
  a: {listen: 239.10.0.1:1, encoding: opaque, sequence: counter}
                                                        ^
fleet.yaml:4:81: schema_id belongs to encoding: confluent
  b: {listen: 239.10.0.1:2, schema: s.avsc, encoding: single-object, schema_id: 7}
                                                                                ^
fleet.yaml:5:3: schema is missing: the Avro schema of the datums
  c: {listen: 239.10.0.1:3, encoding: datum}
  ^
fleet.yaml:6:47: algorithm: rms needs numbers, and encoding: opaque has none; use downsample
  d: {listen: 239.10.0.1:4, encoding: opaque, decimated: {to: 239.10.0.9:4, algorithm: rms}}
                                              ^
fleet.yaml:7:55: warning: not used: what encoding: opaque records has a schema of its own
  e: {listen: 239.10.0.1:5, encoding: opaque, schema: s.avsc, time: time}
                                                      ^
fleet.yaml:7:69: encoding: opaque has no fields; its time is that of arrival
  e: {listen: 239.10.0.1:5, encoding: opaque, schema: s.avsc, time: time}
                                                                    ^
"""),
    "include_missing": ("""\
runtime: run
include: more.yaml
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
""", """\
fleet.yaml:2:10: include: there is no such file
include: more.yaml
         ^
"""),
    "wildcard_output": ("""\
runtime: run
channels:
  a:
    listen: 239.10.0.1:26000
    schema: s.avsc
    full: 0.0.0.0:6000
""", """\
fleet.yaml:6:11: full: nothing can be sent to the wildcard address
    full: 0.0.0.0:6000
          ^
"""),
    "utf8_column": ("""\
runtime: run
channels:
  a: {schema: "Größe.avsc", lisen: 239.10.0.1:26000}
""", """\
fleet.yaml:3:15: Größe.avsc: No such file or directory
  a: {schema: "Größe.avsc", lisen: 239.10.0.1:26000}
              ^
fleet.yaml:3:29: unknown key "lisen"; did you mean "listen"?
  a: {schema: "Größe.avsc", lisen: 239.10.0.1:26000}
                            ^
"""),
    "defaults_once": ("""\
runtime: run
defaults: {interface: nosuch0, ttl: 300}
channels:
  a:
    listen: 239.10.0.1:1
    schema: s.avsc
  b:
    listen: 239.10.0.1:2
    schema: s.avsc
""", """\
fleet.yaml:2:23: there is no interface "nosuch0" on this machine
defaults: {interface: nosuch0, ttl: 300}
                      ^
fleet.yaml:2:37: ttl: "300" is not a whole number from 0 to 255
defaults: {interface: nosuch0, ttl: 300}
                                    ^
"""),
    "long_line": ("""\
runtime: run
channels: {c0: {listen: 239.10.0.1:1, schema: s.avsc, xyzzy: 1}, c1: {listen: 239.10.0.1:2, \
schema: s.avsc, xyzzy: 1}, c2: {listen: 239.10.0.1:3, schema: s.avsc, xyzzy: 1}, c3: {listen: \
239.10.0.1:4, schema: s.avsc, xyzzy: 1}, c4: {listen: 239.10.0.1:5, schema: s.avsc, xyzzy: 1}, \
c5: {listen: 239.10.0.1:6, schema: s.avsc, xyzzy: 1}}
""", """\
fleet.yaml:2:55: unknown key "xyzzy"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, encoding, \
schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, receive_queue, \
offload, latency, limits
channels: {c0: {listen: 239.10.0.1:1, schema: s.avsc, xyzzy: 1}, c1: {listen: 239.10.0.1:2, \
schema: s.avsc, xyzzy: 1}, c2: {listen: 23...
                                                      ^
fleet.yaml:2:109: unknown key "xyzzy"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, \
encoding, schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, \
receive_queue, offload, latency, limits
channels: {c0: {listen: 239.10.0.1:1, schema: s.avsc, xyzzy: 1}, c1: {listen: 239.10.0.1:2, \
schema: s.avsc, xyzzy: 1}, c2: {listen: 239.10.0.1:3, schema: s.avsc, xyzzy: 1}, c3: {listen: \
23...
                                                                                                \
            ^
fleet.yaml:2:163: unknown key "xyzzy"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, \
encoding, schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, \
receive_queue, offload, latency, limits
...}, c1: {listen: 239.10.0.1:2, schema: s.avsc, xyzzy: 1}, c2: {listen: 239.10.0.1:3, schema: \
s.avsc, xyzzy: 1}, c3: {listen: 239.10.0.1:4, schema: s.avsc, xyzzy: 1}, c4: {listen: 23...
                                                                                                \
       ^
fleet.yaml:2:217: unknown key "xyzzy"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, \
encoding, schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, \
receive_queue, offload, latency, limits
...}, c2: {listen: 239.10.0.1:3, schema: s.avsc, xyzzy: 1}, c3: {listen: 239.10.0.1:4, schema: \
s.avsc, xyzzy: 1}, c4: {listen: 239.10.0.1:5, schema: s.avsc, xyzzy: 1}, c5: {listen: 23...
                                                                                                \
       ^
fleet.yaml:2:271: unknown key "xyzzy"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, \
encoding, schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, \
receive_queue, offload, latency, limits
...}, c3: {listen: 239.10.0.1:4, schema: s.avsc, xyzzy: 1}, c4: {listen: 239.10.0.1:5, schema: \
s.avsc, xyzzy: 1}, c5: {listen: 239.10.0.1:6, schema: s.avsc, xyzzy: 1}}
                                                                                                \
       ^
fleet.yaml:2:325: unknown key "xyzzy"; known here: listen, interface, \
listen_interface, send_interface, sources, schema, \
encoding, schema_id, time, sequence, full, decimated, ttl, record, on_invalid, buffer, \
receive_queue, offload, latency, limits
...}, c4: {listen: 239.10.0.1:5, schema: s.avsc, xyzzy: 1}, c5: {listen: 239.10.0.1:6, schema: \
s.avsc, xyzzy: 1}}
                                                                                                \
       ^
"""),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(check, name):
    text, expected = WRONG[name]
    done = check(text)
    assert done.stderr == expected
    assert done.returncode == 78
    assert done.stdout == ""


def test_enough_wrong_ones():
    assert len(WRONG) >= 25


@pytest.mark.parametrize("text, expected", [
    (b"runtime: run\n# gr\xfc\xdfe\nchannels: {}\n",
     "fleet.yaml:2:5: not UTF-8: invalid leading UTF-8 octet\n# gr??e\n    ^\n"),
    (b"runtime: run\nchannels: \x07\n",
     "fleet.yaml:2:11: control characters are not allowed\nchannels: ?\n          ^\n"),
    # A byte order mark is not a column, and a line may end as on Windows.
    (b"\xef\xbb\xbfruntme: run\r\nchannels: {}\r\n",
     'fleet.yaml:1:1: unknown key "runtme"; did you mean "runtime"?\nruntme: run\n^\n'),
    (b"runtime: run\r\nchannels:\r\n  a: 1\r\n",
     "fleet.yaml:3:6: a channel is a map (key: value), found a value\n  a: 1\n     ^\n"),
])
def test_wrong_bytes(check, text, expected):
    done = check(text)
    assert (done.returncode, done.stderr) == (78, expected)


def test_terminal_is_safe(check):
    """What steers a terminal is never passed on to it."""
    done = check(b"runtime: run\nchannels: {}\ncolour: \xc2\x9b31m\x7f \xe2\x80\xa8 x\n")
    assert done.returncode == 78
    assert "\x9b" not in done.stderr and "\x7f" not in done.stderr


def test_no_file(check, tmp_path):
    done = check("", "-c", "nothing.yaml")
    assert done.returncode == 78
    assert done.stderr == "nothing.yaml: No such file or directory\n"
    done = check("", "-c", tmp_path)
    assert done.returncode == 78
    assert "directory" in done.stderr


def test_usage(check):
    text = "runtime: run\nchannels: {}\n"
    for arguments in (["--prnt"], ["--print", "--json"], ["fleet.yaml"], ["-c"]):
        done = check(text, *arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("flotilla check: "), arguments
        assert done.stdout == "", arguments


def test_include_wrong(check):
    done = check(INCLUDE, files={
        "channels.d/1.yaml": "channels:\n" + channel("a", 2).replace("s.avsc", "../s.avsc"),
        "channels.d/2.yaml": "runtime: x\ninclude: y\nchannels: [\n",
        "channels.d/3.yaml": "defaults: {ttl: 2}\nchannels:\n"
                             + channel("c", 1).replace("s.avsc", "../s.avsc")})
    assert done.returncode == 78
    assert done.stderr == """\
channels.d/1.yaml:2:3: duplicate channel "a"; first at fleet.yaml:4:3
  a:
  ^
channels.d/2.yaml:4:1: not YAML: did not find expected node content

^
channels.d/3.yaml:1:1: unknown key "defaults"; an included file holds only "channels"
defaults: {ttl: 2}
^
channels.d/3.yaml:4:13: listen: 239.10.0.1:1 is the input of channel "a" already (fleet.yaml:5:13)
    listen: 239.10.0.1:1
            ^
"""


def test_include_of_itself(check):
    """A pattern may match the file it stands in; a folder's name is never taken for a pattern."""
    done = check("runtime: run\ninclude: '*.yaml'\nchannels:\n" + channel("a", 1), "-c",
                 "odd[1]/fleet.yaml", files={
                     "odd[1]/fleet.yaml": "runtime: run\ninclude: '*.yaml'\nchannels: {}\n",
                     "odd[1]/more.yaml": "channels:\n" + channel("b", 2),
                     "odd[1]/s.avsc": SCHEMA})
    assert (done.returncode, done.stderr) == (0, "")
    assert "odd[1]/fleet.yaml: 1 channel." in done.stdout


def limited():
    """Whether this machine has both controllers in cgroup v2."""
    found = [path for path in (Path("/sys/fs/cgroup/cgroup.controllers"),
                               Path("/sys/fs/cgroup/unified/cgroup.controllers")) if path.exists()]
    return bool(found) and {"memory", "cpu"} <= set(found[0].read_text().split())


def test_limits_that_cannot_be_had(check):
    """Told once, at the first that asks."""
    limits = "limits: {memory: 256MiB, cpu: 50%}"
    done = check("runtime: run\nchannels:\n" + channel("a", 1, limits) + channel("b", 2, limits))
    assert done.returncode == 0
    if limited():
        assert done.stderr == ""
    else:
        first, line, caret = done.stderr.splitlines()
        assert first.startswith("fleet.yaml:6:5: warning: ")
        assert "not applied on this machine: " in first
        assert (line, caret) == ("    " + limits, "    ^")


def test_limits_that_would_kill(check):
    """A relay that may fill its buffer, but not have it, dies when it is needed most."""
    done = check("""\
runtime: run
defaults: {limits: {memory: 80MiB}}
channels:
  a: {listen: 239.10.0.1:1, schema: s.avsc}
  b: {listen: 239.10.0.1:2, schema: s.avsc, buffer: 100MiB}
  c:
    listen: 239.10.0.1:3
    schema: s.avsc
    limits: {memory: 70MiB}
  d: {listen: 239.10.0.1:4, schema: s.avsc, limits: {memory: 0, cpu: 0.05%}}
  e: {listen: 239.10.0.1:5, schema: s.avsc, limits: {memory: 0, cpu: 0.1%}}
""")
    assert done.returncode == 78
    said = [line for line in done.stderr.splitlines() if line.startswith("fleet.yaml:")]
    assert [line for line in said if "warning: " not in line] == [
        "fleet.yaml:2:29: memory: 80MiB is less than the relay may need with a buffer of 100MiB; "
        "allow 117MiB, or make the buffer smaller",
        "fleet.yaml:9:22: memory: 70MiB is less than the relay may need with a buffer of 64MiB; "
        "allow 80MiB, or make the buffer smaller",
        "fleet.yaml:10:70: cpu: less than 0.1% cannot be had"]


def test_errors_without_end(check):
    """A hundred are shown, the rest is counted."""
    text = "runtime: run\nchannels: {}\n" + "".join(f"colour{i}: 1\n" for i in range(250))
    done = check(text)
    assert done.returncode == 78
    assert done.stderr.count("^") == 100
    assert done.stderr.endswith("... and 150 more\n")
