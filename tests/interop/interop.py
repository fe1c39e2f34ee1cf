# SPDX-License-Identifier: MIT
"""What `make interop` runs: recordings made by real relays, read in full by every Avro reader that
could be had, and the table readers x files, with versions.

Recorded are random schemas of every type in every encoding; the files are read still open, ended,
rotated, after their relay was killed, as a kill of manager and relays left them, as the next start
ended those, and as `flotilla recover` wrote them from damaged and from sound ones. What each file
must hold is what was sent, cut by a reader written from the specification (harness/container.py);
count and digest of all values must be equal. Ends with 1 if one cell fails.

The readers of columns (polars, DuckDB) have no notion of every schema, and hamba's generic values
do not tell apart two kinds of time in one union. Whether it is the schema or the file that they
stumble on is found with a control: the same datums in the plainest container file there is (codec
null, one block, no further metadata). Where that is not read either, the schema is beyond the
reader; such files are counted apart and their reasons are shown.

Relies on build/ as `make interop` leaves it."""
import argparse
import ipaddress
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "tests/scenario"), str(ROOT / "tests/readers")]

import canonical  # noqa: E402
import fastavro  # noqa: E402
from fastavro._schema_py import fingerprint, to_parsing_canonical_form  # noqa: E402
from harness import avro, container, readers  # noqa: E402
from harness.fleet import Fleet, flotilla, new_folder, wait_until  # noqa: E402
from test_002_readers import every_type, kinds_of  # noqa: E402

OUT = ROOT / "build/interop"
PYTHON = ROOT / "build/interop-venv/bin/python"
JAVA = ["java", "-XX:+UseSerialGC", "-cp", f"{OUT}/java:{OUT}/java/avro-tools.jar",
        "ReadAvro"]
READERS = {
    **readers.COMMANDS,
    "fastavro (compiled)": [PYTHON, ROOT / "tests/readers/read_fastavro.py"],
    "Java avro": [*JAVA, "values"],
    "Java avro-tools": [*JAVA, "tools"],
    "Rust apache-avro": [OUT / "rust/release/flotilla-interop"],
    "Go hamba/avro": [OUT / "read_go", "hamba"],
    "Go goavro": [OUT / "read_go", "goavro"],
    "polars": [PYTHON, HERE / "read_polars.py"],
    "DuckDB": [PYTHON, HERE / "read_duckdb.py"],
}
COUNT_ONLY = {"Java avro-tools"}  # prints JSON; its lines and its own count are compared
CONTROLLED = {"polars", "DuckDB", "Go hamba/avro"}
STATES = ["open", "ended", "rotated", "relay killed", "all killed", "next start", "recovered"]
ENCODINGS = ["datum", "single-object", "confluent", "opaque"]


# Schemas ------------------------------------------------------------------------------------------

def column_schema(rng):
    """A schema that the readers of columns can have: rows of scalars, lists and nested rows."""
    count = [0]

    def any_type(level):
        choice = rng.random()
        if level and choice < 0.15:
            return {"type": "array", "items": rng.choice(["int", "double", "string"])}
        if level and choice < 0.30:
            return record(level - 1)
        if level == 2 and choice < 0.40:  # polars has enums at the top only
            count[0] += 1
            return {"type": "enum", "name": f"E{count[0]}", "symbols": ["IDLE", "RUN", "FAULT"]}
        if choice < 0.50:
            return {"type": "long", "logicalType": "timestamp-micros"}
        if choice < 0.60:
            return {"type": "int", "logicalType": "date"}
        kind = rng.choice(["boolean", "int", "long", "float", "double", "bytes", "string"])
        return ["null", kind] if choice < 0.75 else kind

    def record(level):
        count[0] += 1
        name = f"Row{count[0]}"
        return {"type": "record", "name": name, "fields": [
            {"name": f"c{index}", "type": any_type(level)} for index in range(rng.randint(3, 8))]}
    return avro.Schema(record(2))


# What is sent -------------------------------------------------------------------------------------

class Channel:
    """A channel's schema and encoding, what was sent to it, and what its files must hold."""

    def __init__(self, rng, name, encoding, schema, columns=False):
        self.rng, self.name, self.encoding, self.schema = rng, name, encoding, schema
        self.columns = columns  # drawn for readers of columns: they must be able to have it
        self.datums, self.values = [], []
        self.rate = 5000 if schema else 1000
        self.keys = {"schema": schema, "encoding": encoding, "buffer": "4MiB"}
        self.front = b""
        if encoding == "single-object":
            canon = to_parsing_canonical_form(fastavro.parse_schema(
                canonical.without_logical_types(schema.json)))
            self.front = b"\xc3\x01" + bytes.fromhex(fingerprint(canon, "CRC-64-AVRO"))
        elif encoding == "confluent":
            self.keys["schema_id"] = 4711
            self.front = b"\0" + (4711).to_bytes(4, "big")

    def draw(self, number, count, bytes_min=0):
        """Datagrams of new random values; they are noted as sent."""
        if not self.schema:
            fresh = [self.rng.randbytes(self.rng.choice((0, 1, 48, 1400, 8448)))
                     for _ in range(count)]
            self.datums += fresh
            return fresh
        values = [avro.random_value(self.rng, self.schema, nonfinite=number % 5 == 4)
                  for _ in range(count)]
        pairs = [(avro.plain(value), avro.encode(self.schema, value, rng=self.rng))
                 for value in values]
        pairs = [pair for pair in pairs if pair[1]]  # no datum without bytes
        total = sum(len(datum) for _, datum in pairs)
        pairs *= max(1, min(20, bytes_min // max(1, total)))
        self.values += [value for value, _ in pairs]
        self.datums += [datum for _, datum in pairs]
        return [self.front + datum for _, datum in pairs]

    def expect(self, paths, begin=0, begun_ns=0):
        """{path: (count, digest)} of files that hold all that was sent from datum `begin`
        on, or its beginning; and how many datums that is. Asserts the datums' bytes."""
        answer, at = {}, begin
        for path in paths:
            metadata, blocks = container.read(path)
            body = b"".join(body for _, body, _, _ in blocks)
            count = sum(count for count, _, _, _ in blocks)
            if self.schema:
                assert body == b"".join(self.datums[at:at + count]), f"{path}: other bytes"
                values = self.values[at:at + count]
            else:
                values = self.datagrams(metadata, body, begun_ns)
                assert [one["payload"] for one in values] == self.datums[at:at + count], path
            answer[str(path)] = canonical.of_values(values)
            at += count
        return answer, at - begin

    @staticmethod
    def datagrams(metadata, body, begun_ns):
        schema, at, found = avro.Schema(json.loads(metadata["avro.schema"])), 0, []
        while at < len(body):
            value, at = avro.decode(schema, body, at)
            assert begun_ns <= value["received"] <= time.time_ns(), value["received"]
            address, _, port = value["source"].rpartition(":")
            assert ipaddress.ip_address(address) and 0 < int(port) < 65536, value["source"]
            found.append(value)
        assert found == sorted(found, key=lambda one: one["received"])
        return found


def draw_channels(rng, schemas):
    """Channels of all encodings, `schemas` of them random ones of bare datums."""
    drawn = [("datum", every_type())]
    drawn += [("datum", avro.random_schema(rng)) for _ in range(schemas)]
    drawn += [("datum", column_schema(rng), True) for _ in range(4)]
    for encoding in ("single-object", "confluent"):
        drawn += [(encoding, every_type())]
        drawn += [(encoding, avro.random_schema(rng)) for _ in range(3)]
        drawn += [(encoding, column_schema(rng), True) for _ in range(2)]
    drawn += [("opaque", None, True), ("opaque", None, True)]
    channels = [Channel(rng, f"c{number:02}-{one[0]}", *one) for number, one in enumerate(drawn)]
    missing = (set(avro.PRIMITIVES) | {"record", "enum", "fixed", "array", "map", "union"}) - \
        set().union(*(kinds_of(one.schema) for one in channels if one.schema))
    assert not missing, f"no schema has {missing}"
    return channels


def send(fleet, channels, count, bytes_min=0, meanwhile=None):
    """Sends to all channels, four at once; returns datagrams by channel."""
    batches = {one.name: one.draw(number, min(count, one.rate), bytes_min)
               for number, one in enumerate(channels)}
    loads = []
    for number, one in enumerate(channels):
        loads.append(fleet.source(one.name, batches[one.name], rate=one.rate))
        if meanwhile and number % 7 == 3:
            time.sleep(0.02)  # let it be under way; when exactly does not matter
            meanwhile()
        if len(loads) == 4:
            for load in loads:
                load.finish()
            loads = []
    for load in loads:
        load.finish()
    return {name: len(batch) for name, batch in batches.items()}


# Reading ------------------------------------------------------------------------------------------

def control(folder, one, files):
    """Writes the datums of a channel's files in order to the plainest container file there is."""
    bodies, counts, schema = [], 0, None
    for path in files:
        metadata, blocks = container.read(path)
        schema = metadata["avro.schema"]
        bodies += [body for _, body, _, _ in blocks]
        counts += sum(count for count, _, _, _ in blocks)
    body, sync = b"".join(bodies), bytes(range(16))
    (folder / one.name).write_bytes(
        b"Obj\x01" + avro.long(1) + avro.long(11) + b"avro.schema" + avro.long(len(schema)) + schema
        + b"\0" + sync + avro.long(counts) + avro.long(len(body)) + body + sync)
    parsed, values, at = avro.Schema(json.loads(schema)), [], 0
    while at < len(body):
        value, at = avro.decode(parsed, body, at)
        values.append(avro.plain(value))
    return canonical.of_values(values)


class Table:
    def __init__(self):
        self.cells = {}  # (reader, encoding, state) -> [read in full, asked, datums]
        self.failures = []
        self.beyond = {}  # (reader, what it said of the control) -> channels

    def within(self, reader, channels, expected):
        """The channels whose schema the reader can have, by their controls."""
        if reader not in CONTROLLED:
            return channels
        folder, can = new_folder("flotilla-control-"), []
        try:
            controls = {str(folder / one.name): (one, *control(folder, one, expected[one.name]))
                        for one in channels}
            for path, answer in run(reader, controls).items():
                one, count, digest = controls[path]
                if answer == f"{count}\t{digest}":
                    can.append(one)
                    continue
                assert not one.columns, (reader, answer, one.schema and one.schema.json)
                said = answer.split("\t", 1)[1] if answer.startswith("error") else "other values"
                said = re.sub(r"\d|: (Record|Top|Tree).*", "", said)
                said = re.sub(r"(UNION|UnionType|Union).*", r"\1", said)[:90]
                self.beyond[reader, said] = self.beyond.get((reader, said), 0) + 1
        finally:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
        return can

    def read(self, state, channels, expected):
        """Every reader reads all files; expected is {channel name: {path: expectation}}."""
        assert all(expected.values()), "a channel without a file shows nothing"
        for reader in READERS:
            can = self.within(reader, channels, expected)
            wanted = {}
            for one in can:
                wanted.update({path: (one, *want) for path, want in expected[one.name].items()})
            results = run(reader, wanted)
            for path, (one, count, digest) in wanted.items():
                want = f"{count}\t{'-' if reader in COUNT_ONLY else digest}"
                cell = self.cells.setdefault((reader, one.encoding, state), [0, 0, 0])
                cell[1] += 1
                if results[path] == want:
                    cell[0] += 1
                    cell[2] += count
                else:
                    self.failures.append((reader, state, one, path, want, results[path]))
            for encoding in ENCODINGS:
                assert self.cells[reader, encoding, state][1], "an empty cell shows nothing"
        print(f"{state}: read, {len(self.failures)} failures so far", flush=True)

    def show(self, versions):
        print("\nFiles read in full, of files asked for; datums in all states behind them.\n")
        print(f"{'reader':20} {'encoding':14}" + "".join(f"{state:>13}" for state in STATES)
              + f"{'datums':>9}")
        for reader in READERS:
            for encoding in ENCODINGS:
                cells = [self.cells.get((reader, encoding, state)) for state in STATES]
                texts = [f"{cell[0]}/{cell[1]}" if cell else "-" for cell in cells]
                print(f"{reader:20} {encoding:14}" + "".join(f"{text:>13}" for text in texts)
                      + f"{sum(cell[2] for cell in cells if cell):>9}")
        print("\nVersions:")
        for reader, version in versions.items():
            print(f"  {reader:20} {version}")
        print("Not asked for, because the same datums in the plainest file are not read either:")
        for (reader, said), channels in sorted(self.beyond.items()):
            print(f"  {reader:20} {channels:3} times: {said}")
        print("pyarrow has no reader for Avro.")
        for reader, state, one, path, want, got in self.failures[:40]:
            print(f"FAILED {reader}, {state}, {path}:\n  wanted {want!r}, got {got[:300]!r}\n"
                  f"  schema {json.dumps(one.schema.json)[:600] if one.schema else 'opaque'}")


def environment():
    return dict(os.environ, NODE_PATH=str(ROOT / "build/node/node_modules"), TZ="UTC",
                PYTHONPATH=str(ROOT / "tests/readers"), RUST_BACKTRACE="0")


def run(reader, paths):
    """{path: answer} of a reader; one that dies answers for the files it did not come to."""
    results, rest = {}, list(paths)
    while rest:
        done = subprocess.run([str(word) for word in READERS[reader]] + rest[:200],
                              capture_output=True, text=True, timeout=300, env=environment())
        for line in done.stdout.splitlines():
            path, tab, answer = line.partition("\t")
            if tab:
                results[path] = answer
        missing = [path for path in rest[:200] if path not in results]
        if missing:  # it died on the first one missing
            words = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            results[missing[0]] = f"error\tended with {done.returncode}: {words}"
        rest = missing[1:] + rest[200:]
    return results


def versions():
    def said(*command):
        return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              check=True, env=environment()).stdout.strip()

    def python(program, module, extra=""):
        return said(program, "-W", "ignore", "-c", f"import {module} as m; print(m.__version__"
                    f"{extra})")
    compiled = ", m._read.__file__.rpartition('/')[2]"
    modules = dict(line.split() for line in said(OUT / "read_go", "version").splitlines())
    node = said("node", "--version")
    lock = (HERE / "rust/Cargo.lock").read_text()
    rust = lock.split('name = "apache-avro"\nversion = "')[1].split('"')[0]
    package = {name: json.loads((ROOT / f"build/node/node_modules/{name}/package.json")
                                .read_text())["version"] for name in ("avsc", "avro-js")}
    java = said(*JAVA, "version") + ", Java " + said(
        "java", "--version").splitlines()[0].split()[1]
    found = {
        "python3-avro": python(readers.SYSTEM_PYTHON, "avro"),
        "fastavro": python(sys.executable, "fastavro", compiled),
        "avsc": f"{package['avsc']}, node {node}",
        "avro-js": f"{package['avro-js']}, node {node}",
        "libavro": said("pkg-config", "--modversion", "avro-c"),
        "fastavro (compiled)": python(PYTHON, "fastavro", compiled),
        "Java avro": java,
        "Java avro-tools": java,
        "Rust apache-avro": f"{rust}, {said('rustc', '--version')}",
        "Go hamba/avro": f"{modules['github.com/hamba/avro/v2']}, {said('go', 'env', 'GOVERSION')}",
        "Go goavro": f"{modules['github.com/linkedin/goavro/v2']}, "
                     f"{said('go', 'env', 'GOVERSION')}",
        "polars": python(PYTHON, "polars"),
        "DuckDB": python(PYTHON, "duckdb") + ", avro extension " + said(
            PYTHON, "-c", "import importlib.metadata as m; "
            "print(m.version('duckdb-extension-avro'))"),
    }
    assert found["fastavro (compiled)"].endswith(".so"), "fastavro is not the compiled one"
    assert set(found) == set(READERS)
    return found


# The files ----------------------------------------------------------------------------------------

def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it was replaced in the meantime


def expect_all(fleet, channels, begun):
    expected = {}
    for one in channels:
        expected[one.name], count = one.expect(fleet.files(one.name), 0, begun)
        assert count == len(one.datums), f"{one.name}: {count} of {len(one.datums)} datums"
    return expected


def open_and_ended(rng, table, schemas):
    begun = time.time_ns()
    channels = draw_channels(rng, schemas)
    with Fleet({one.name: one.keys for one in channels}, storage={"sync": "1s"}) as fleet:
        first = fleet.settle(send(fleet, channels, 150), seconds=60)
        more = send(fleet, channels, 150)
        fleet.settle({name: first[name]["datagrams_received"] + more[name] for name in more},
                     seconds=60)
        assert all(str(path).endswith(".part") for one in channels
                   for path in fleet.files(one.name))
        table.read("open", channels, expect_all(fleet, channels, begun))
        fleet.stop()
        longest = max(end - begin for one in channels for path in fleet.files(one.name)
                      for _, _, begin, end in container.read(path)[1])
        assert longest > 200 << 10, f"no full block: {longest} bytes at most"
        table.read("ended", channels, expect_all(fleet, channels, begun))
        recovered(rng, table, channels, fleet, begun)


def recovered(rng, table, channels, fleet, begun):
    """`flotilla recover` on each sound file, and on each with a bit of a block's datums flipped."""
    folder = new_folder("flotilla-recovered-")
    try:
        expected = {}
        for one in channels:
            expected[one.name] = {}
            for path in fleet.files(one.name):
                out = folder / path.name
                flotilla("recover", path, "-o", out, check=0)
                answer, count = one.expect([out], 0, begun)
                assert count == len(one.datums), path
                expected[one.name].update(answer)
                expected[one.name].update(damaged(rng, one, path, folder, begun))
        table.read("recovered", channels, expected)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def damaged(rng, one, path, folder, begun):
    """The expectation of what is salvaged of a file that lost one of its blocks."""
    metadata, blocks = container.read(path)
    if len(blocks) < 2:
        return {}
    lost = rng.randrange(len(blocks))
    count, _, begin, end = blocks[lost]
    data = bytearray(path.read_bytes())
    data[begin + 132 + rng.randrange(0, 8)] ^= 1 << rng.randrange(8)  # a datum's first bytes
    bad, out = folder / f"damaged-{path.name}", folder / f"salvaged-{path.name}"
    bad.write_bytes(data)
    flotilla("recover", bad, "-o", out, check=3)
    first = sum(block[0] for block in blocks[:lost])
    kept = b"".join(body for index, (_, body, _, _) in enumerate(blocks) if index != lost)
    assert container.payload([out])[0] == kept, f"{bad}: other datums salvaged"
    if one.schema:
        values = one.values[:first] + one.values[first + count:]
    else:
        values = one.datagrams(metadata, kept, begun)
    return {str(out): canonical.of_values(values)}


def rotated(rng, table, schemas):
    begun = time.time_ns()
    channels = draw_channels(rng, schemas)
    with Fleet({one.name: one.keys for one in channels},
               storage={"rotate": {"size": "64KiB"}}) as fleet:
        fleet.settle(send(fleet, channels, 150, 150000), seconds=60)
        fleet.stop()
        several = [one for one in channels if len(fleet.files(one.name)) > 1]
        assert len(several) > len(channels) // 3, "too few rotated to show anything"
        table.read("rotated", channels, expect_all(fleet, channels, begun))


def killed(rng, table, schemas):
    """Relays are killed under load: nothing is lost. Then manager and relays are: what was synced
    is in the file as the kill left it, and in the file as the next start ended it."""
    begun = time.time_ns()
    channels = draw_channels(rng, schemas)
    channels[1].rate = channels[-1].rate = 25  # their open page is rewritten time and again
    with Fleet({one.name: one.keys for one in channels}) as fleet:
        def kill_relays():
            for pid in fleet.relay_processes():
                kill(pid)
        now = fleet.settle(send(fleet, channels, 300, meanwhile=kill_relays), seconds=60)
        assert sum(one["restarts"] for one in now.values()) >= len(channels)
        # Left open by their last relay; its predecessors died over them.
        table.read("relay killed", channels, expect_all(fleet, channels, begun))

        settled = {one.name: len(one.datums) for one in channels}
        loads = [fleet.source(one.name, one.draw(number, 2000), rate=2000)
                 for number, one in enumerate(channels[::4])]
        wait_until(lambda: all(fleet.channel(one.name)["datums_recorded"] > settled[one.name]
                               for one in channels[::4]), what="recording under the last load")
        fleet.manager.kill()
        fleet.manager.wait()
        fleet.manager = None
        wait_until(lambda: [kill(pid) for pid in fleet.relay_processes()] == [],
                   what="relays to end")
        for load in loads:
            load.stop()
        left = {}
        for one in channels:
            left[one.name], count = one.expect(fleet.files(one.name), 0, begun)
            assert count >= settled[one.name], f"{one.name}: {count} of {settled[one.name]} left"
        table.read("all killed", channels, left)
        before = {one.name: fleet.files(one.name) for one in channels}
        fleet.start()
        fleet.stop()
        after = {}
        for one in channels:
            files = [path for path in fleet.files(one.name)
                     if path.with_name(path.name + ".part") in before[one.name]
                     or path in before[one.name]]
            assert len(files) == len(before[one.name]), (one.name, before[one.name], files)
            after[one.name], count = one.expect(files, 0, begun)
            assert count >= settled[one.name], f"{one.name}: {count} of {settled[one.name]} kept"
        table.read("next start", channels, after)


def can_fail(rng):
    """A file with one bit of one datum changed must differ for every reader."""
    schema = avro.Schema({"type": "record", "name": "R", "fields": [
        {"name": "x", "type": "double"}]})
    values = [{"x": float(number) + 0.5} for number in range(50)]
    body = bytearray(b"".join(avro.encode(schema, value) for value in values))
    text, sync = json.dumps(schema.json).encode(), rng.randbytes(16)
    header = b"Obj\x01" + avro.long(1) + avro.long(11) + b"avro.schema" + avro.long(len(text)) \
        + text + b"\0" + sync
    good = "{}\t{}".format(*canonical.of_values(values))
    folder = new_folder("flotilla-wrong-")
    path = folder / "file.avro"
    try:
        for flip in (False, True):
            body[100] ^= flip
            path.write_bytes(header + avro.long(50) + avro.long(len(body)) + body + sync)
            for reader in READERS:
                if reader not in COUNT_ONLY:
                    got = run(reader, [str(path)])[str(path)]
                    assert (got == good) == (not flip), (reader, flip, got)
        path.write_bytes(path.read_bytes()[:-20])
        for reader in READERS:
            got = run(reader, [str(path)])[str(path)]
            assert got.partition("\t")[0] != "50", f"{reader} saw 50 datums in half a block"
    finally:
        path.unlink()
        folder.rmdir()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schemas", type=int, default=14, metavar="N",
                        help="random schemas of bare datums in each state")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}; again with --seed", flush=True)
    rng, table, found = random.Random(arguments.seed), Table(), versions()
    can_fail(rng)
    open_and_ended(rng, table, arguments.schemas)
    rotated(rng, table, arguments.schemas)
    killed(rng, table, arguments.schemas)
    table.show(found)
    if table.failures:
        print(f"\n{len(table.failures)} FAILED", file=sys.stderr)
        return 1
    print("\nevery reader read every file in full")
    return 0


if __name__ == "__main__":
    sys.exit(main())
