# SPDX-License-Identifier: MIT
"""070-hdf5: recordings as HDF5. Every value is where the manual says, through h5py, netCDF4 and
xarray with both of its engines, for schemas and datums drawn at random."""
import random

import h5py
import netCDF4
import xarray
from harness import avro, hdf5
from harness.fleet import LONG
from harness.hdf5 import write

SCHEMAS = 400 if LONG else 24
SEED = 70


def export(flotilla, *words, check=0):
    return flotilla("export", *words, check=check, timeout=300)


def check_by_others(path):
    """netCDF4 and xarray see what h5py sees."""
    with h5py.File(path) as file:
        wanted = {name: (thing[()], thing.dtype.kind) for name, thing in
                  hdf5.datasets(file).items()}
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        file.set_auto_scale(False)
        for name, (values, _) in wanted.items():
            assert hdf5.same(values, file[name][:]), name
    for engine in ("netcdf4", "h5netcdf"):
        with xarray.open_datatree(path, engine=engine, decode_times=False,
                                  mask_and_scale=False) as tree:
            for name, (values, kind) in wanted.items():
                place, _, last = name.rpartition("/")
                got = tree[place][last] if place else tree[last]
                assert hdf5.same(values, got.values), (engine, name)


def test_070_random_schemas_and_datums(flotilla, tmp_path):
    for number in range(SCHEMAS):
        rng = avro_random(number)
        schema = avro.random_schema(rng)
        count = rng.choice([0, 1, 7, 300])
        values = [avro.random_value(rng, schema, nonfinite=True) for _ in range(count)]
        source, target = tmp_path / f"{number}.avro", tmp_path / f"{number}.h5"
        write(source, schema, values)
        words = ["--gzip=6"] if number % 3 == 0 else []
        export(flotilla, source, "-o", target, "--time", "arrival", *words)
        with h5py.File(target) as file:
            hdf5.check_hdf5(file, hdf5.columns(schema, values), count)
            assert file["time"].shape == (count,)
        if number % 2 == 0:
            check_by_others(target)
        source.unlink()
        target.unlink()


def avro_random(number):
    seed = random.SystemRandom().getrandbits(32) if LONG else SEED * 1000 + number
    print(f"seed {seed}")
    return random.Random(seed)
