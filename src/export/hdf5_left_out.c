/* SPDX-License-Identifier: MIT
 * What there is of HDF5 where its library was not there: its name, and why. */
#include "export/format.h"

const struct export_format format_hdf5 = {
    .name = "hdf5",
    .extensions = ".h5 .hdf5 .nc",
    .summary = "netCDF-4 layout: xarray, netCDF4, h5py, MATLAB, Octave, Julia",
    .left_out = "was built without libhdf5 and libdeflate",
    .gzip = true,
};
