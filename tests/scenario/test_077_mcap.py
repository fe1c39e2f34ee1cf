# SPDX-License-Identifier: MIT
"""077-mcap: `flotilla export` to MCAP, read by the mcap package and its decoder of ROS 2 messages:
each message is its row, whatever the types; the index, the checksums and the summary hold."""
import json
import os
import shutil
import signal
import subprocess

import pytest
from harness import avro, columns, exports
from harness.fleet import FLOTILLA, ROOT
from harness.ros2 import message_is, plain
from mcap.reader import NonSeekingReader, make_reader
from mcap_ros2.decoder import DecoderFactory

ROUNDS = 25


def messages(path):
    """[(schema, channel, message, decoded)] in the order of the file, by one that only reads on;
    the one that goes by the index finds as many."""
    with open(path, "rb") as file:
        reader = NonSeekingReader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        found = list(reader.iter_decoded_messages(log_time_order=False))
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary.statistics.message_count == len(found)
        assert sum(1 for _ in reader.iter_messages()) == len(found)
        times = [one[2].log_time for one in found] or [0]
        for index in summary.chunk_indexes:
            assert min(times) <= index.message_start_time <= index.message_end_time <= max(times)
    return found


def check(path, topic, schema, values):
    tree, (time, unit) = columns.shape(schema), exports.time_of(schema)
    found = [one for one in messages(path) if one[1].topic == topic]
    assert len(found) == len(values)
    for index, ((described, channel, message, decoded), value) in enumerate(zip(found, values)):
        assert (channel.message_encoding, described.encoding) == ("cdr", "ros2msg")
        assert message.sequence == index
        assert message.log_time == message.publish_time == value[time] * unit
        stamp = decoded.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == value[time] * unit
        message_is(tree, value, decoded, "")
    return found


def test_077_random_schemas(flotilla, seed, tmp_path):
    """Also by the libraries that Foxglove and Lichtblick read with."""
    paths, lines = [], []
    for index, rng in enumerate(exports.rounds("mcap", ROUNDS, seed)):
        schema, values = exports.drawn(rng)
        exports.write(tmp_path / f"r{index}.avro", schema, values, rng)
        paths.append(tmp_path / f"r{index}.mcap")
        flotilla("export", f"r{index}.avro", "-o", paths[-1], cwd=tmp_path, check=0)
        found = check(paths[-1], f"/r{index}", schema, values)
        found.sort(key=lambda one: one[2].log_time)
        lines += [[channel.topic, str(message.log_time), plain(decoded)]
                  for _, channel, message, decoded in found]
    modules = ROOT / "build/node/node_modules"
    if shutil.which("node") is None or not (modules / "@mcap").is_dir():
        pytest.skip("needs Foxglove's libraries: make setup")
    done = subprocess.run(["node", ROOT / "tests/readers/read_mcap.js", *paths], text=True,
                          env=dict(os.environ, NODE_PATH=str(modules)), capture_output=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == lines


ODD = avro.Schema({"type": "record", "name": "engine_sample", "namespace": "Acme.v2", "fields": [
    exports.TIME, {"name": "oilTemp", "type": ["null", "float"], "unit": "degC", "doc": "sump"},
    {"name": "oil_temp", "type": "int"}, {"name": "header", "type": "string"},
    {"name": "state", "type": {"type": "enum", "name": "E", "symbols": ["Off", "ON"]}}]})


def test_077_names(flotilla, tmp_path):
    """What ROS does not take in a name is changed, what falls together kept apart, and what it was
    stands beside it; the channel's name is the topic and the package."""
    values = [{"time": 5, "oilTemp": avro.Branch(1, 0.5), "oil_temp": 7, "header": "h",
               "state": "ON"}]
    exports.write(tmp_path / "Engine-1.avro", ODD, values)
    flotilla("export", "Engine-1.avro", "-o", "r.mcap", cwd=tmp_path, check=0)
    ((schema, channel, _, decoded),) = messages(tmp_path / "r.mcap")
    assert (schema.name, channel.topic) == ("engine_1/msg/EngineSample", "/Engine-1")
    assert (decoded.oil_temp, decoded.oil_temp_2, decoded.header_2) == (0.5, 7, "h")
    text = schema.data.decode()
    assert 'float32 oil_temp  # [degC] sump; "oilTemp"\n' in text
    assert 'int32 STATE_OFF=0  # "Off"\nint32 STATE_ON=1  # "ON"\nint32 state\n' in text


def test_077_several_channels_and_chosen_fields(flotilla, tmp_path):
    schema = avro.Schema({"type": "record", "name": "S", "fields": [
        exports.TIME, {"name": "a", "type": "double"}, {"name": "b", "type": "string"}]})
    values = {name: [{"time": 10**15 + row * 7, "a": row / 4, "b": name * (row % 50)}
                     for row in range(3000)] for name in ("left", "right")}
    for name, rows in values.items():
        exports.write(tmp_path / f"{name}.avro", schema, rows, block=500)
    flotilla("export", "left.avro", "right.avro", "-o", "all.mcap", cwd=tmp_path, check=0)
    for name, rows in values.items():
        check(tmp_path / "all.mcap", f"/{name}", schema, rows)
    with open(tmp_path / "all.mcap", "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert {channel.topic: reader.get_summary().statistics.channel_message_counts[number]
                for number, channel in reader.get_summary().channels.items()} == \
            {"/left": 3000, "/right": 3000}
        some = list(reader.iter_messages(topics=["/left"], starting_at=(10**15 + 70) * 1000,
                                         ending_before=(10**15 + 140) * 1000))
        assert len(some) == 10
        origins = {record.name: record.metadata for record in reader.iter_metadata()}
        assert {one["rows"] for one in origins.values()} == {"3000"} and len(origins) == 2
    flotilla("export", "left.avro", "-o", "b.mcap", "--fields", "b", cwd=tmp_path, check=0)
    decoded = [one[3] for one in messages(tmp_path / "b.mcap")]
    assert [one.b for one in decoded] == [row["b"] for row in values["left"]]
    assert not hasattr(decoded[0], "a")


def test_077_fields_that_one_channel_has(flotilla, tmp_path):
    for name, field in (("left", "a"), ("right", "b")):
        schema = avro.Schema({"type": "record", "name": "S", "fields": [
            exports.TIME, {"name": field, "type": "int"}, {"name": "c", "type": "int"}]})
        exports.write(tmp_path / f"{name}.avro", schema, [{"time": 1, field: 2, "c": 3}])
    flotilla("export", "left.avro", "right.avro", "-o", "two.mcap", "--fields", "a,b", cwd=tmp_path,
             check=0)
    left, right = messages(tmp_path / "two.mcap")
    assert (left[3].a, right[3].b) == (2, 2)
    assert not hasattr(left[3], "c") and not hasattr(right[3], "a")
    done = flotilla("export", "left.avro", "-o", "one.mcap", "--fields", "a,d", cwd=tmp_path)
    assert done.returncode != 0 and 'no field "d"' in done.stderr


def test_077_into_a_pipe(flotilla, tmp_path):
    """The same bytes but for the words of the command; and one that nobody reads is no crash."""
    schema = avro.Schema({"type": "record", "name": "S", "fields": [
        exports.TIME, {"name": "text", "type": "string"}]})
    values = [{"time": 10**15 + row, "text": "x" * 1000} for row in range(3000)]
    exports.write(tmp_path / "s.avro", schema, values, block=500)
    done = flotilla("export", "s.avro", "-o", "-", "--format", "mcap", cwd=tmp_path, check=0,
                    text=False)
    (tmp_path / "piped.mcap").write_bytes(done.stdout)
    check(tmp_path / "piped.mcap", "/s", schema, values)
    read, written = os.pipe()
    process = subprocess.Popen([str(FLOTILLA), "export", "s.avro", "-o", "-", "--format", "mcap"],
                               cwd=tmp_path, stdout=written, stderr=subprocess.PIPE, text=True)
    os.close(written)
    os.read(read, 1000)
    os.close(read)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGPIPE and said == ""  # as cat ends


@pytest.mark.parametrize("cut", [20000, -1])
def test_077_what_is_cut_off_is_told_by_a_reader(flotilla, tmp_path, cut):
    """That the checks above can fail."""
    schema, values = exports.drawn(exports.rounds("cut", 1, 0)[0], rows=3000)
    exports.write(tmp_path / "r.avro", schema, values, block=500)
    flotilla("export", "r.avro", "-o", "r.mcap", cwd=tmp_path, check=0)
    data = bytearray((tmp_path / "r.mcap").read_bytes())
    assert len(data) > 40000
    data[cut] ^= 1
    (tmp_path / "r.mcap").write_bytes(data)
    with pytest.raises(Exception):
        check(tmp_path / "r.mcap", "/r", schema, values)
