/* SPDX-License-Identifier: MIT
 * How libhdf5 reads and writes the file that is being made: it has no name yet, and libhdf5 opens
 * by names alone. A driver of its own also knows what went wrong, of which libhdf5 keeps but words.
 * Source: HDF5 1.10 reference manual, "Virtual File Layer". */
#include <stdlib.h>
#include <string.h>

#include "export/hdf5.h"
#include "os/file.h"

#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

struct driver_file {
    H5FD_t public; /* libhdf5's, in front */
    struct made *made;
    int *status;
    haddr_t end_of_space, end_of_file;
};

/* What H5Pset_driver hands to drive_open. */
struct driver_info {
    struct made *made;
    int *status;
};

static H5FD_t *drive_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    const struct driver_info *info = H5Pget_driver_info(access);
    struct driver_file *file = info != NULL ? calloc(1, sizeof(*file)) : NULL;
    (void)name;
    (void)flags;
    (void)most;
    if (file == NULL)
        return NULL;
    file->made = info->made;
    file->status = info->status;
    return &file->public;
}

static herr_t drive_close(H5FD_t *file)
{
    free(file);
    return 0;
}

static herr_t drive_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t drive_end_of_space(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct driver_file *)file)->end_of_space;
}

static herr_t drive_set_end_of_space(H5FD_t *file, H5FD_mem_t type, haddr_t at)
{
    (void)type;
    ((struct driver_file *)file)->end_of_space = at;
    return 0;
}

static haddr_t drive_end_of_file(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct driver_file *)file)->end_of_file;
}

static herr_t drive_read(H5FD_t *opened, H5FD_mem_t type, hid_t how, haddr_t at, size_t bytes,
                         void *into)
{
    struct driver_file *file = (struct driver_file *)opened;
    (void)type;
    (void)how;
    long got = file_read_at(file->made->descriptor, into, bytes, at);
    if (got < 0) {
        *file->status = (int)got;
        return -1;
    }
    memset((uint8_t *)into + got, 0, bytes - (size_t)got);
    return 0;
}

static herr_t drive_write(H5FD_t *opened, H5FD_mem_t type, hid_t how, haddr_t at, size_t bytes,
                          const void *from)
{
    struct driver_file *file = (struct driver_file *)opened;
    (void)type;
    (void)how;
    int status = made_write_at(file->made, (struct span){from, bytes}, at);
    if (status < 0) {
        *file->status = status;
        return -1;
    }
    file->end_of_file = at + bytes > file->end_of_file ? at + bytes : file->end_of_file;
    return 0;
}

static herr_t drive_truncate(H5FD_t *opened, hid_t how, hbool_t closing)
{
    struct driver_file *file = (struct driver_file *)opened;
    (void)how;
    (void)closing;
    if (file->end_of_space == file->end_of_file)
        return 0;
    int status = made_set_bytes(file->made, file->end_of_space);
    if (status < 0) {
        *file->status = status;
        return -1;
    }
    file->end_of_file = file->end_of_space;
    return 0;
}

int h5_create(struct h5_file *file, hid_t how, hid_t access)
{
    static const H5FD_class_t driver = {
#if H5_VERSION_GE(1, 13, 0)
        .version = H5FD_CLASS_VERSION,
        .value = (H5FD_class_value_t)600, /* of those that anybody may take */
#endif
        .name = "flotilla",
        .maxaddr = INT64_MAX,
        .fc_degree = H5F_CLOSE_WEAK,
        .fapl_size = sizeof(struct driver_info),
        .open = drive_open,
        .close = drive_close,
        .query = drive_query,
        .get_eoa = drive_end_of_space,
        .set_eoa = drive_set_end_of_space,
        .get_eof = drive_end_of_file,
        .read = drive_read,
        .write = drive_write,
        .truncate = drive_truncate,
        .fl_map = H5FD_FLMAP_DICHOTOMY,
    };
    const struct driver_info info = {.made = file->made, .status = &file->status};
    hid_t id = H5FDregister(&driver);
    if (id < 0 || H5Pset_driver(access, id, &info) < 0)
        return h5_fail(file, "make the file");
    file->id = H5Fcreate("unfinished", H5F_ACC_TRUNC, how, access);
    return file->id < 0 ? h5_fail(file, "make the file") : 0;
}
