/* SPDX-License-Identifier: MIT
 * Datasets that grow by whole chunks, which are written as they are or compressed here: libhdf5's
 * own way goes through its cache and compresses on one thread, four times as slow. Texts of
 * variable length go through libhdf5, which keeps them in its heap. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "export/hdf5.h"

#define CHUNKS_BYTES_WAITING (8u << 20)

/* How the dataset is laid out; -1: it cannot be. */
static hid_t make_layout(const struct h5_file *file, const struct h5_stream *stream,
                         const struct h5_made *made)
{
    hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    bool good = how >= 0 && H5Pset_chunk(how, (int)stream->dimensions, stream->sizes) >= 0;
    if (file->deflate != NULL && !stream->text)
        good = good && (stream->value_bytes == 1 || H5Pset_shuffle(how) >= 0) &&
               H5Pset_deflate(how, file->options->gzip > 9 ? 9 : file->options->gzip) >= 0;
    if (made->fill != NULL)
        good = good && H5Pset_fill_value(how, made->type, made->fill) >= 0;
    H5Pset_fill_time(how, H5D_FILL_TIME_NEVER);
    if (stream->text)
        H5Pset_fill_time(how, H5D_FILL_TIME_IFSET);
    H5Pset_attr_creation_order(how, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    if (!good)
        H5Pclose(how);
    return good ? how : -1;
}

int h5_stream_open(struct h5_file *file, struct h5_stream *stream, const struct h5_made *made)
{
    char name[H5_NAME_BYTES];
    hsize_t most[H5_AXES_MAX], now[H5_AXES_MAX];
    *stream = (struct h5_stream){.dataset = -1,
                                 .type = made->type,
                                 .text = H5Tis_variable_str(made->type) > 0,
                                 .dimensions = made->axes->count,
                                 .value_bytes = (uint32_t)H5Tget_size(made->type)};
    stream->row_bytes = stream->value_bytes;
    stream->sizes[0] = made->chunk_rows;
    now[0] = 0;
    most[0] = H5S_UNLIMITED;
    for (uint32_t i = 1; i < stream->dimensions; i++) {
        now[i] = most[i] = stream->sizes[i] = made->axes->scales[i]->size;
        stream->row_bytes *= (uint32_t)stream->sizes[i];
    }
    h5_free_name(name, made->group, made->name);
    hid_t space = H5Screate_simple((int)stream->dimensions, now, most);
    hid_t how = make_layout(file, stream, made), cache = H5Pcreate(H5P_DATASET_ACCESS);
    /* Nothing of ours but text goes through it. */
    H5Pset_chunk_cache(cache, stream->text ? 13 : 1, stream->text ? 256u << 10 : 0, 1.0);
    if (how >= 0)
        stream->dataset = H5Dcreate2(made->group, name, made->type, space, H5P_DEFAULT, how, cache);
    H5Pclose(cache);
    H5Sclose(space);
    if (how >= 0)
        H5Pclose(how);
    if (stream->dataset < 0)
        return h5_fail(file, "make a dataset");
    int status = h5_attach(file, stream->dataset, made->axes);
    return status == 0 && strcmp(name, made->name) != 0
               ? h5_set_text(file, stream->dataset, "original_name", made->name)
               : status;
}

void h5_stream_close(struct h5_stream *stream)
{
    if (stream->dataset > 0)
        H5Dclose(stream->dataset);
    free(stream->buffer);
    *stream = (struct h5_stream){.dataset = -1};
}

static int set_rows(struct h5_file *file, struct h5_stream *stream, hsize_t rows)
{
    hsize_t sizes[H5_AXES_MAX];
    memcpy(sizes, stream->sizes, sizeof(sizes));
    sizes[0] = rows;
    return H5Dset_extent(stream->dataset, sizes) < 0 ? h5_fail(file, "make a dataset longer") : 0;
}

/* Writes a chunk's bytes as they are in the file. */
static int write_chunk(struct h5_file *file, struct h5_stream *stream, hsize_t at,
                       const void *bytes, size_t byte_count)
{
    hsize_t place[H5_AXES_MAX] = {at};
    return H5Dwrite_chunk(stream->dataset, H5P_DEFAULT, 0, place, byte_count, bytes) < 0
               ? h5_fail(file, "write")
               : 0;
}

int h5_flush(struct h5_file *file)
{
    size_t count = file->chunk_count;
    int status = count > 0 ? deflate_run(file->deflate, file->jobs, count) : 0;
    for (size_t i = 0; i < count; i++) {
        struct h5_chunk *chunk = &file->chunks[i];
        struct deflate_job *job = &file->jobs[i];
        if (status == 0)
            status = write_chunk(file, chunk->stream, chunk->at, job->made, job->made_bytes);
        free(job->made);
        free(chunk->owned);
    }
    file->chunk_count = 0;
    file->chunk_bytes = 0;
    return status;
}

/* Puts a chunk where it waits to be compressed; `owned` is taken over. */
static int put_chunk(struct h5_file *file, struct h5_stream *stream, hsize_t at,
                     const uint8_t *bytes, uint8_t *owned)
{
    void *chunks =
        room_grow(file->chunks, &file->chunk_room, file->chunk_count + 1, sizeof(*file->chunks));
    file->chunks = chunks != NULL ? chunks : file->chunks;
    void *jobs = room_grow(file->jobs, &file->job_room, file->chunk_count + 1, sizeof(*file->jobs));
    file->jobs = jobs != NULL ? jobs : file->jobs;
    if (chunks == NULL || jobs == NULL) {
        free(owned);
        return -ENOMEM;
    }
    size_t bytes_of_chunk = (size_t)stream->sizes[0] * stream->row_bytes;
    file->chunks[file->chunk_count] = (struct h5_chunk){stream, at, owned};
    file->jobs[file->chunk_count++] =
        (struct deflate_job){.from = bytes, .bytes = bytes_of_chunk, .width = stream->value_bytes};
    file->chunk_bytes += bytes_of_chunk;
    return file->chunk_bytes >= CHUNKS_BYTES_WAITING ? h5_flush(file) : 0;
}

/* A whole chunk goes into the file: from the buffer, which is another one then, or from where it
 * stays. */
static int take_chunk(struct h5_file *file, struct h5_stream *stream, const uint8_t *bytes)
{
    hsize_t at = stream->written;
    bool buffered = bytes == stream->buffer;
    int status = set_rows(file, stream, at + stream->sizes[0]);
    if (status < 0)
        return status;
    stream->written += stream->sizes[0];
    if (file->deflate == NULL)
        return write_chunk(file, stream, at, bytes, (size_t)stream->sizes[0] * stream->row_bytes);
    if (buffered)
        stream->buffer = NULL;
    return put_chunk(file, stream, at, bytes, buffered ? (uint8_t *)(uintptr_t)bytes : NULL);
}

/* Texts: libhdf5 copies them. */
static int add_texts(struct h5_file *file, struct h5_stream *stream, const void *values,
                     hsize_t rows)
{
    hsize_t at[H5_AXES_MAX] = {stream->rows}, count[H5_AXES_MAX];
    int status = set_rows(file, stream, stream->rows + rows);
    if (status < 0)
        return status;
    memcpy(count, stream->sizes, sizeof(count));
    count[0] = rows;
    hid_t space = H5Dget_space(stream->dataset);
    hid_t memory = H5Screate_simple((int)stream->dimensions, count, NULL);
    bool good = H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, count, NULL) >= 0 &&
                H5Dwrite(stream->dataset, stream->type, memory, space, H5P_DEFAULT, values) >= 0;
    status = good ? 0 : h5_fail(file, "write text");
    H5Sclose(memory);
    H5Sclose(space);
    stream->rows += rows;
    stream->written = stream->rows;
    return status;
}

int h5_stream_add(struct h5_file *file, struct h5_stream *stream, const void *values, uint64_t rows,
                  bool stays)
{
    const uint8_t *at = values;
    int status = 0;
    if (stream->text)
        return rows > 0 ? add_texts(file, stream, values, rows) : 0;
    while (rows > 0 && status == 0) {
        hsize_t chunk_rows = stream->sizes[0], filled = stream->rows - stream->written;
        hsize_t taken = rows < chunk_rows - filled ? rows : chunk_rows - filled;
        size_t bytes = (size_t)taken * stream->row_bytes;
        bool whole = filled + taken == chunk_rows;
        stream->rows += taken;
        if (whole && filled == 0 && (stays || file->deflate == NULL)) {
            status = take_chunk(file, stream, at);
        } else {
            if (stream->buffer == NULL)
                stream->buffer = calloc(chunk_rows, stream->row_bytes);
            if (stream->buffer == NULL)
                return -ENOMEM;
            memcpy(stream->buffer + filled * stream->row_bytes, at, bytes);
            if (whole)
                status = take_chunk(file, stream, stream->buffer);
        }
        at += bytes;
        rows -= taken;
    }
    return status;
}

int h5_stream_read(struct h5_file *file, struct h5_stream *stream, void *values, hsize_t at,
                   hsize_t rows)
{
    hsize_t from[H5_AXES_MAX] = {at}, count[H5_AXES_MAX];
    memcpy(count, stream->sizes, sizeof(count));
    count[0] = rows;
    hid_t space = H5Dget_space(stream->dataset);
    hid_t memory = H5Screate_simple((int)stream->dimensions, count, NULL);
    bool good = H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, count, NULL) >= 0 &&
                H5Dread(stream->dataset, stream->type, memory, space, H5P_DEFAULT, values) >= 0;
    int status = good ? 0 : h5_fail(file, "read what was written");
    H5Sclose(memory);
    H5Sclose(space);
    return status;
}

void h5_stream_free_texts(struct h5_stream *stream, void *values, hsize_t rows)
{
    hsize_t count[H5_AXES_MAX];
    memcpy(count, stream->sizes, sizeof(count));
    count[0] = rows;
    hid_t space = H5Screate_simple((int)stream->dimensions, count, NULL);
    H5Dvlen_reclaim(stream->type, space, H5P_DEFAULT, values);
    H5Sclose(space);
}

int h5_stream_end(struct h5_file *file, struct h5_stream *stream)
{
    if (stream->text || stream->written == stream->rows)
        return 0;
    hsize_t rows = stream->rows, filled = rows - stream->written;
    memset(stream->buffer + filled * stream->row_bytes, 0,
           (size_t)(stream->sizes[0] - filled) * stream->row_bytes);
    int status = take_chunk(file, stream, stream->buffer);
    if (status == 0)
        status = h5_flush(file);
    return status < 0 ? status : set_rows(file, stream, rows);
}
