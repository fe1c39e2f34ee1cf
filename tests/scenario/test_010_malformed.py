# SPDX-License-Identifier: MIT
"""010-malformed: several datums in a datagram are all or nothing; what is malformed is turned away
and counted by its reason; random damage never ends a relay nor enters a file, and the laws hold."""
from harness import avro, container, signals
from harness.fleet import LONG, Fleet, wait_until

SCHEMA = avro.Schema({"type": "record", "name": "R", "fields": [
    {"name": "i", "type": "int"},
    {"name": "b", "type": "boolean"},
    {"name": "s", "type": "string"},
    {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
    {"name": "u", "type": ["null", "double"]},
    {"name": "a", "type": {"type": "array", "items": "int"}},
    {"name": "n", "type": {"type": "array", "items": "null"}},
    {"name": "r", "type": ["null", "R"]},
]})
I, B, S, E, U, A, N, R = b"\2", b"\1", b"\4ok", b"\0", b"\0", b"\2\2\0", b"\0", b"\0"
GOOD = I + B + S + E + U + A + N + R
BAD = {  # datagram: reason
    b"": "empty",
    GOOD[:-1]: "truncated",
    GOOD + GOOD[:5]: "truncated",
    I + B + b"\x50ok": "truncated",
    b"\xff" * 10 + b"\1" + GOOD: "varint",
    b"\x80\x80\x80\x80\x20" + GOOD[1:]: "varint",  # an int of 2^32
    I + b"\2" + S + E + U + A + N + R: "boolean",
    I + B + b"\3ok" + E + U + A + N + R: "length",  # a string of -2 bytes
    I + B + b"\4\xc0\x80" + E + U + A + N + R: "utf8",
    I + B + b"\6\xed\xa0\x80" + E + U + A + N + R: "utf8",  # a surrogate
    I + B + S + b"\4" + U + A + N + R: "enum",
    I + B + S + b"\1" + U + A + N + R: "enum",
    I + B + S + E + b"\4" + A + N + R: "union",
    I + B + S + E + U + avro.long(1 << 40) + b"\2": "count",
    I + B + S + E + U + A + avro.long(1 << 40) + b"\0" + R: "count",  # of nothing, but too many
    I + B + S + E + U + b"\3\6\2\4\0" + N + R: "block_size",  # two items of two bytes, not three
    (I + B + S + E + U + A + N + b"\2") * 300 + GOOD: "depth",
}


def test_010_reasons(seed):
    assert avro.encode(SCHEMA, avro.decode(SCHEMA, GOOD)[0]) == GOOD
    with Fleet({"c": {"schema": SCHEMA, "full": True}}) as fleet:
        sink = fleet.sink(fleet.address("c", "full"))
        wanted = {}
        for datagram, reason in BAD.items():
            fleet.source("c", [GOOD, datagram, GOOD]).finish()
            wanted[reason] = wanted.get(reason, 0) + 1
            seen = fleet.settle({"c": 3 * sum(wanted.values())})["c"]
            counted = {key: count for key, count in seen["rejected"].items() if count}
            assert counted == wanted, (reason, datagram.hex())
        assert seen["datagrams_received"] == 3 * len(BAD)
        assert seen["datagrams_rejected"] == sum(wanted.values()) == len(BAD)
        assert sink.stop() == [GOOD] * (2 * len(BAD)), "only what passes is sent on"
        fleet.stop()
        assert container.payload(fleet.files("c")) == (GOOD * (2 * len(BAD)), 2 * len(BAD))


def test_010_several_datums_in_a_datagram(rng):
    datums, datagrams, at = signals.samples(20000), [], 0
    while at < len(datums):
        several = rng.choice([1, 2, 3, 10, 40])
        datagrams.append(b"".join(datums[at:at + several]))
        at += several
    with Fleet({"c": {"schema": signals.SCHEMA, "full": True, "sequence": "counter",
                      "decimated": {"to": True, "factor": 7, "algorithm": "downsample"}}}) as fleet:
        full = fleet.sink(fleet.address("c", "full"))
        few = fleet.sink(fleet.address("c", "decimated"))
        fleet.source("c", datagrams, rate=4000).finish()
        channel = fleet.settle({"c": len(datagrams)})["c"]
        assert channel["datums_accepted"] == channel["datums_recorded"] == len(datums)
        assert channel["datagrams_sent_full"] == len(datagrams)
        assert channel["sequence_gaps"] == 0
        assert full.stop() == datagrams, "re-sent as they came"
        assert few.stop() == datums[6::7], "one datum a datagram"
        fleet.stop()
        assert container.payload(fleet.files("c"))[0] == b"".join(datums)


def test_010_sequence_gaps_are_counted(rng):
    datums = signals.samples(2000)
    kept = [datum for datum in datums if rng.random() > 0.1]
    kept = [datums[0], *kept, datums[-1]] if kept[0] != datums[0] else [*kept, datums[-1]]
    kept = list(dict.fromkeys(kept))
    with Fleet({"c": {"schema": signals.SCHEMA, "sequence": "counter"}}) as fleet:
        fleet.source("c", kept, rate=4000).finish()
        assert fleet.settle({"c": len(kept)})["c"]["sequence_gaps"] == 2000 - len(kept)


def test_010_random_damage(rng):
    """Random schemas, datums with flipped, cut and added bytes: the relay lives, and each datagram
    that was recorded or re-sent is one that an independent decoder reads to its end."""
    for _ in range(20 if LONG else 4):
        schema = avro.random_schema(rng)
        good = [avro.encode(schema, avro.random_value(rng, schema), rng=rng) for _ in range(300)]
        datagrams = []
        for datum in good:
            damaged = bytearray(datum)
            for _ in range(rng.choice([0, 1, 1, 3])):
                how = rng.choice(["flip", "cut", "add", "set"])
                at = rng.randrange(len(damaged)) if damaged else 0
                if how == "add" or not damaged:
                    damaged[at:at] = rng.randbytes(rng.randint(1, 4))
                elif how == "flip":
                    damaged[at] ^= 1 << rng.randrange(8)
                elif how == "set":
                    damaged[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
                else:
                    del damaged[at:]
            datagrams.append(bytes(damaged))
        with Fleet({"c": {"schema": schema, "full": True}}) as fleet:
            pid = fleet.channel("c")["pid"]
            sink = fleet.sink(fleet.address("c", "full"))
            fleet.source("c", datagrams, rate=3000).finish()
            channel = fleet.settle({"c": len(datagrams)})["c"]
            assert channel["pid"] == pid and channel["restarts"] == 0
            assert sum(channel["rejected"].values()) == channel["datagrams_rejected"]
            passed = sink.stop()
            assert len(passed) == channel["datagrams_accepted"]
            total = 0
            for datagram in passed:
                at = 0
                while at < len(datagram):
                    _, at = avro.decode(schema, datagram, at)
                    total += 1
                assert at == len(datagram)
            assert total == channel["datums_accepted"]
            fleet.stop()
            assert container.payload(fleet.files("c"))[0] == b"".join(passed)


def test_010_all_bad_is_a_schema_mismatch(seed):
    with Fleet({"c": {"schema": SCHEMA}}) as fleet:
        fleet.source("c", [GOOD[:-1]] * 50).finish()
        wait_until(lambda: fleet.channel("c")["state"] == "schema_mismatch")
        fleet.source("c", [GOOD]).finish()
        wait_until(lambda: fleet.channel("c")["state"] == "running")
