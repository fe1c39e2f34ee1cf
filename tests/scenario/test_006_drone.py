# SPDX-License-Identifier: MIT
"""006-drone: a flight log resampled to six channels of Avro rows at their own rates, sent as UDP:
relayed bytes identical, recorded datums identical, order kept. Needs the captured data."""
import re

import numpy
import pytest
import pyulog
from harness import avro, container, readers
from harness.fleet import Fleet

import canonical

SPEED = 10  # times the pace of the flight
RATES = {  # topic: rows a second, near the topic's own
    "sensor_combined": 250, "vehicle_attitude": 100, "actuator_outputs": 20,
    "vehicle_local_position": 10, "vehicle_status": 5, "cpuload": 1,
}
KINDS = {"f4": "float", "f8": "double", "i1": "int", "i2": "int", "i4": "int", "i8": "long",
         "u1": "int", "u2": "int", "u4": "long", "u8": "long", "b1": "boolean"}


def rows(topic, rate):
    """(schema, values) of a topic at a uniform rate: reals are interpolated, the rest holds its
    last value; name[0], name[1] ... become one array."""
    columns = {name: column for name, column in topic.data.items() if name != "timestamp"}
    stamps = topic.data["timestamp"].astype(numpy.int64)
    times = numpy.arange(stamps[0], stamps[-1], 1000000 / rate)
    held = numpy.searchsorted(stamps, times, side="right") - 1
    fields, values = {}, [{"timestamp": int(time)} for time in times]
    for name, column in columns.items():
        code = column.dtype.str.lstrip("<>|=")
        kind = KINDS[code]
        if kind in ("float", "double"):
            column = numpy.interp(times, stamps, column).astype(column.dtype)
        else:
            column = column[held]
        stem, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", name).groups()
        fields[stem] = {"type": "array", "items": kind} if index else kind
        for value, item in zip(values, column.tolist()):
            if index:
                value.setdefault(stem, []).append(item)
            else:
                value[stem] = item
    schema = {"type": "record", "name": topic.name, "namespace": "px4", "fields": [
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        *({"name": name, "type": kind} for name, kind in fields.items())]}
    order = ["timestamp", *fields]
    return avro.Schema(schema), [{name: value[name] for name in order} for value in values]


@pytest.fixture
def flight(data):
    path = data / "px4-sample.ulg"
    if not path.exists():
        pytest.skip(f"needs captured data: no {path.name}")
    log = pyulog.ULog(str(path))
    return {name.replace("_", "-"): rows(next(t for t in log.data_list if t.name == name), rate)
            for name, rate in RATES.items()}


def test_006_drone(flight, seed):
    datums = {name: [avro.encode(schema, value) for value in values]
              for name, (schema, values) in flight.items()}
    assert sum(map(len, datums.values())) > 20000
    with Fleet({name: {"schema": schema, "full": True, "time": "timestamp"}
                for name, (schema, _) in flight.items()}) as fleet:
        sinks = {name: fleet.sink(fleet.address(name, "full")) for name in flight}
        loads = {name: fleet.source(name, datums[name],
                                    rate=RATES[name.replace("-", "_")] * SPEED)
                 for name in flight}
        for load in loads.values():
            load.finish()
        fleet.settle({name: len(sent) for name, sent in datums.items()})
        for name, sink in sinks.items():
            assert sink.stop() == datums[name], f"{name}: relayed bytes differ"
        fleet.stop()
        for name, (_, values) in flight.items():
            files = fleet.files(name)
            assert container.payload(files)[0] == b"".join(datums[name])
            wanted = "{}\t{}".format(*canonical.of_values(values))
            for reader in ("fastavro", "libavro"):
                assert list(readers.run(reader, files).values()) == [wanted], (reader, name)
