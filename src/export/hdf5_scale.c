/* SPDX-License-Identifier: MIT
 * Dimension scales, written as the HDF5 Dimension Scale specification has them rather than by
 * its high-level library, which writes the list of what is along a scale anew for each dataset:
 * with thousands of columns that takes for ever. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "export/hdf5.h"

/* Text of fixed length with its NUL, as the specification has it. */
static int set_word(struct h5_file *file, hid_t object, const char *name, const char *word)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(word) + 1);
    int status = h5_set_values(file, object, name, type, word, 0);
    H5Tclose(type);
    return status;
}

int h5_scale_of(struct h5_file *file, struct h5_scale *scale, hid_t id, const char *name)
{
    *scale = (struct h5_scale){.dataset = id};
    int status = set_word(file, id, "CLASS", "DIMENSION_SCALE");
    return status < 0 ? status : set_word(file, id, "NAME", name);
}

int h5_scale_plain(struct h5_file *file, struct h5_scale *scale, hid_t group, const char *wanted,
                   hsize_t size)
{
    char name[H5_NAME_BYTES], mark[80];
    hsize_t most = size > 0 ? size : H5S_UNLIMITED, chunk = 4096;
    *scale = (struct h5_scale){.dataset = -1, .size = size};
    h5_free_name(name, group, wanted);
    hid_t space = H5Screate_simple(1, &size, &most);
    hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    if (size == 0)
        H5Pset_chunk(how, 1, &chunk);
    H5Pset_attr_creation_order(how, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    hid_t id = H5Dcreate2(group, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, how, H5P_DEFAULT);
    H5Pclose(how);
    H5Sclose(space);
    if (id < 0)
        return h5_fail(file, "make a dimension");
    snprintf(mark, sizeof(mark), "This is a netCDF dimension but not a netCDF variable.%10llu",
             (unsigned long long)size);
    int status = h5_scale_of(file, scale, id, mark);
    scale->size = size;
    return status;
}

/* The list of a scale's datasets, as REFERENCE_LIST. */
static int note_references(struct h5_file *file, struct h5_scale *scale)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(struct h5_reference));
    H5Tinsert(type, "dataset", HOFFSET(struct h5_reference, dataset), H5T_STD_REF_OBJ);
    H5Tinsert(type, "dimension", HOFFSET(struct h5_reference, dimension), H5T_NATIVE_INT);
    int status = h5_set_values(file, scale->dataset, "REFERENCE_LIST", type, scale->references,
                               scale->count);
    H5Tclose(type);
    return status;
}

int h5_scale_end(struct h5_file *file, struct h5_scale *scale, hsize_t length)
{
    if (scale->size == 0 && H5Dset_extent(scale->dataset, &length) < 0)
        return h5_fail(file, "set a length");
    return scale->count > 0 ? note_references(file, scale) : 0;
}

void h5_scale_forget(struct h5_scale *scale, hid_t dataset)
{
    hobj_ref_t gone;
    size_t kept = 0;
    if (H5Rcreate(&gone, dataset, ".", H5R_OBJECT, -1) < 0)
        return;
    for (size_t i = 0; i < scale->count; i++)
        if (scale->references[i].dataset != gone)
            scale->references[kept++] = scale->references[i];
    scale->count = kept;
}

void h5_scale_close(struct h5_scale *scale)
{
    if (scale->dataset >= 0)
        H5Dclose(scale->dataset);
    free(scale->references);
    *scale = (struct h5_scale){.dataset = -1};
}

static int refer(struct h5_file *file, struct h5_scale *scale, hid_t dataset, int dimension)
{
    void *grown =
        room_grow(scale->references, &scale->room, scale->count + 1, sizeof(*scale->references));
    if (grown == NULL)
        return -ENOMEM;
    scale->references = grown;
    struct h5_reference *reference = &scale->references[scale->count++];
    memset(reference, 0, sizeof(*reference));
    reference->dimension = dimension;
    return H5Rcreate(&reference->dataset, dataset, ".", H5R_OBJECT, -1) < 0
               ? h5_fail(file, "refer to a dataset")
               : 0;
}

int h5_attach(struct h5_file *file, hid_t dataset, const struct h5_axes *axes)
{
    hobj_ref_t references[H5_AXES_MAX];
    hvl_t lists[H5_AXES_MAX];
    if (axes->scales[0] == NULL)
        return 0;
    for (uint32_t i = 0; i < axes->count; i++) {
        int status = refer(file, axes->scales[i], dataset, (int)i);
        if (status < 0)
            return status;
        if (H5Rcreate(&references[i], axes->scales[i]->dataset, ".", H5R_OBJECT, -1) < 0)
            return h5_fail(file, "refer to a dimension");
        lists[i] = (hvl_t){.len = 1, .p = &references[i]};
    }
    hid_t type = H5Tvlen_create(H5T_STD_REF_OBJ);
    int status = h5_set_values(file, dataset, "DIMENSION_LIST", type, lists, axes->count);
    H5Tclose(type);
    return status;
}
