/* SPDX-License-Identifier: MIT
 * Between the files of the HDF5 format: an open file, the datasets that grow in it, and what stands
 * beside them. Relies on libhdf5. Functions return 0 or a negative errno
 * and leave a message in the file's `error`.
 * Sources: HDF5 1.10 reference manual; netCDF-4 format specification ("Dimension scales"); CF
 * conventions 1.8 (3.5 flags, 4.4 time, 9.3.3 contiguous ragged arrays). */
#ifndef FLOTILLA_EXPORT_HDF5_H
#define FLOTILLA_EXPORT_HDF5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "export/deflate.h"
#include "export/format.h"

#define H5_AXES_MAX 3u

struct h5_file {
    hid_t id;
    struct made *made;
    const struct export_options *options;
    struct deflate *deflate; /* NULL: uncompressed */
    bool root_taken;         /* a table stands in the root group */
    hid_t text_type;
    uint64_t cut_texts; /* that hold a NUL, in the tables that are open */
    int status;         /* of what was read or written last and failed */
    void *scratch;      /* for one call of h5_stream_add */
    size_t scratch_room;
    char *error;
    size_t error_bytes;
    struct h5_chunk { /* to be compressed and written */
        struct h5_stream *stream;
        hsize_t at;
        uint8_t *owned; /* the bytes, if nobody else keeps them */
    } * chunks;
    struct deflate_job *jobs; /* for each chunk */
    size_t chunk_count, chunk_room, job_room;
    size_t chunk_bytes; /* that are waiting */
};

/* Takes what failed last in libhdf5 for the message, led by `what`. Returns a negative errno. */
int h5_fail(struct h5_file *file, const char *what);

/* Makes the file in what `file->made` holds open (hdf5_driver.c). */
int h5_create(struct h5_file *file, hid_t how, hid_t access);

/* ---- names and attributes (hdf5_names.c) ---- */

/* What `name` is to be called in `group`, where it is free there and fit for netCDF. */
#define H5_NAME_BYTES 256u
void h5_free_name(char name[H5_NAME_BYTES], hid_t group, const char *wanted);
/* The group `name` in `group`, made where it is not there. Below 0: it cannot be made. */
hid_t h5_group(hid_t group, const char *name);
int h5_set_text(struct h5_file *file, hid_t object, const char *name, const char *text);
/* `count` values of `type` (the file's), one if it is 0; and values of the same type in memory. */
int h5_set_numbers(struct h5_file *file, hid_t object, const char *name, hid_t type,
                   const int64_t *values, size_t count);
int h5_set_values(struct h5_file *file, hid_t object, const char *name, hid_t type,
                  const void *values, size_t count);

/* ---- scales (hdf5_scale.c) ---- */

/* A dimension scale, with what is along it: that is noted in it at its end. */
struct h5_scale {
    hid_t dataset;
    hsize_t size; /* 0: it grows */
    struct h5_reference {
        hobj_ref_t dataset;
        int dimension;
    } * references;
    size_t count, room;
};

/* Makes a dataset that is there (`id`, taken over) the scale `name`. */
int h5_scale_of(struct h5_file *file, struct h5_scale *scale, hid_t id, const char *name);
/* A dimension without values of its own, as netCDF-4 marks it; of `size`, or growing if it is 0. */
int h5_scale_plain(struct h5_file *file, struct h5_scale *scale, hid_t group, const char *name,
                   hsize_t size);
/* Notes what is along it; one that grows has become `length` long. */
int h5_scale_end(struct h5_file *file, struct h5_scale *scale, hsize_t length);
/* A dataset along it is to be no more. */
void h5_scale_forget(struct h5_scale *scale, hid_t dataset);
void h5_scale_close(struct h5_scale *scale);

/* The dimensions that values stand along: of the first the rows are added, the others are fixed. */
struct h5_axes {
    uint32_t count;
    struct h5_scale *scales[H5_AXES_MAX]; /* borrowed; the first NULL: of a dataset that is one */
};

/* Says of a dataset along which scales it is. */
int h5_attach(struct h5_file *file, hid_t dataset, const struct h5_axes *axes);

/* ---- streams (hdf5_stream.c) ---- */

/* A dataset that grows: values go in through a buffer of one chunk, past libhdf5's cache. */
struct h5_stream {
    hid_t dataset;
    hid_t type; /* of a value, in memory as in the file; borrowed */
    bool text;  /* of variable length: values are char * */
    uint32_t dimensions;
    hsize_t sizes[H5_AXES_MAX]; /* of a chunk; but for the first, of the dataset */
    hsize_t rows;               /* that were handed in */
    hsize_t written;            /* of these are in chunks that are full */
    uint32_t row_bytes;         /* all values of a row */
    uint32_t value_bytes;
    uint8_t *buffer; /* the rows behind `written`, NULL: none yet */
};

/* What a dataset is to be. */
struct h5_made {
    hid_t group;
    const char *name; /* wanted */
    hid_t type;
    const struct h5_axes *axes;
    uint32_t chunk_rows;
    const void *fill; /* a value of the type; NULL: none */
};

/* Makes the dataset. `stream->dataset` is -1 after a failure. */
int h5_stream_open(struct h5_file *file, struct h5_stream *stream, const struct h5_made *made);
/* Adds rows. With `stays` the values stay where they are until h5_flush. */
int h5_stream_add(struct h5_file *file, struct h5_stream *stream, const void *values, uint64_t rows,
                  bool stays);
/* Reads rows that were added before, for who lays them out anew. */
int h5_stream_read(struct h5_file *file, struct h5_stream *stream, void *values, hsize_t at,
                   hsize_t rows);
/* Frees what texts that were read have from libhdf5. */
void h5_stream_free_texts(struct h5_stream *stream, void *values, hsize_t rows);
/* Writes what the buffer holds, and the final length. */
int h5_stream_end(struct h5_file *file, struct h5_stream *stream);
void h5_stream_close(struct h5_stream *stream);
/* Compresses and writes the chunks that wait. */
int h5_flush(struct h5_file *file);

/* ---- columns (hdf5_column.c) ---- */

struct h5_column;

/* Makes the datasets of a table's or an array's columns, along `axes`. `*made` in any case. `skip`:
 * the column that is left out, or EXPORT_COLUMN_NONE. */
struct h5_place {
    hid_t group;
    const struct h5_axes *axes;
    uint32_t chunk_rows;
    /* Of an item that has no name: that of its values, and what others beside it begin with. */
    const char *lead, *stem;
};
int h5_columns_open(struct h5_file *file, struct h5_column **made,
                    const struct export_columns *columns, const struct h5_place *place,
                    uint32_t skip);
/* Adds `rows` rows. */
int h5_columns_add(struct h5_file *file, struct h5_column *list,
                   const struct export_columns *columns, const struct export_vector *vectors,
                   uint64_t rows);
int h5_columns_end(struct h5_file *file, struct h5_column *list,
                   const struct export_columns *columns);
void h5_columns_close(struct h5_column *list, const struct export_columns *columns);

#endif
