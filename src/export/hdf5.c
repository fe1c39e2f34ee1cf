/* SPDX-License-Identifier: MIT
 * HDF5 in the layout of netCDF-4, so that xarray, netCDF4, h5py, pandas, MATLAB and Octave see time
 * series at once: one channel in the root group, several in a group each; a dataset a field, along
 * a time in nanoseconds. Readable by HDF5 1.8.
 * Known limit: a text ends at its first NUL, of which the core is told. */
#include "export/hdf5.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define H5_FEW_ROWS 64u

struct h5_table {
    const struct export_table *table;
    hid_t group;
    struct h5_scale rows;
    struct h5_stream time;
    struct h5_axes axes;
    struct h5_column *columns;
    struct h5_table *next; /* of those that are open */
};

struct h5_whole {
    struct h5_file file;
    struct h5_table *open;
};

/* ---- the file ---- */

static void close_table(struct h5_table *state)
{
    h5_columns_close(state->columns, &state->table->columns);
    h5_stream_close(&state->time);
    h5_scale_close(&state->rows);
    if (state->group >= 0)
        H5Idec_ref(state->group);
    free(state);
}

/* Frees everything; the file is closed by then, or never will be. */
static void free_whole(struct h5_whole *whole)
{
    struct h5_file *file = &whole->file;
    for (struct h5_table *table = whole->open; table != NULL;) {
        struct h5_table *next = table->next;
        close_table(table);
        table = next;
    }
    for (size_t i = 0; i < file->chunk_count; i++)
        free(file->chunks[i].owned);
    deflate_close(file->deflate);
    if (file->text_type >= 0)
        H5Tclose(file->text_type);
    free(file->chunks);
    free(file->jobs);
    free(file->scratch);
    free(whole);
}

static int create(struct h5_file *file)
{
    hid_t how = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_link_creation_order(how, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    H5Pset_attr_creation_order(how, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
    int status = h5_create(file, how, access);
    H5Pclose(access);
    H5Pclose(how);
    return status;
}

static int begin(void **opened, struct made *made, const struct export_options *options,
                 char *error, size_t error_bytes)
{
    struct h5_whole *whole = calloc(1, sizeof(*whole));
    if (whole == NULL)
        return -ENOMEM;
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    whole->file = (struct h5_file){
        .id = -1, .made = made, .options = options, .error = error, .error_bytes = error_bytes};
    struct h5_file *file = &whole->file;
    error[0] = '\0';
    file->text_type = H5Tcopy(H5T_C_S1);
    H5Tset_size(file->text_type, H5T_VARIABLE);
    H5Tset_cset(file->text_type, H5T_CSET_UTF8);
    int status = options->gzip > 0 ? deflate_open(&file->deflate, options->gzip) : 0;
    if (status == 0)
        status = create(file);
    if (status == 0)
        status = h5_set_text(file, file->id, "Conventions", "CF-1.8");
    if (status == 0)
        status = h5_set_text(file, file->id, "source", "flotilla-export " FLOTILLA_VERSION);
    if (status == 0)
        status = h5_set_text(file, file->id, "history", options->command);
    if (status < 0) {
        free_whole(whole);
        return status;
    }
    *opened = whole;
    return 0;
}

static int end(void *opened, char *error, size_t error_bytes)
{
    struct h5_whole *whole = opened;
    int status = H5Fclose(whole->file.id) < 0 ? h5_fail(&whole->file, "close the file") : 0;
    (void)error;
    (void)error_bytes;
    if (status == 0)
        free_whole(whole);
    return status;
}

/* The file stays open: nobody will see it. */
static void abort_file(void *opened)
{
    free_whole(opened);
}

/* ---- tables ---- */

/* The line that gives MATLAB a time it knows. */
static int set_matlab(struct h5_file *file, struct h5_table *state)
{
    char path[1024], line[1300];
    if (H5Iget_name(state->time.dataset, path, sizeof(path)) <= 0)
        return h5_fail(file, "name a dataset");
    snprintf(line, sizeof(line),
             "t = datetime(h5read(file, '%s'), 'ConvertFrom', 'epochtime', 'Epoch', '1970-01-01', "
             "'TicksPerSecond', 1e9)",
             path);
    return h5_set_text(file, state->group, "matlab", line);
}

static int open_time(struct h5_file *file, struct h5_table *state, uint32_t chunk_rows)
{
    static const char *const meanings[] = {
        [EXPORT_TIME_FIELD] = "time of the datum, as it says itself",
        [EXPORT_TIME_ARRIVAL] = "when the first datum of the block came in that this one is in",
        [EXPORT_TIME_GRID] = "multiples of the interval that was asked for",
    };
    const struct h5_axes bare = {.count = 1};
    int status = h5_stream_open(file, &state->time,
                                &(struct h5_made){.group = state->group,
                                                  .name = "time",
                                                  .type = H5T_STD_I64LE,
                                                  .axes = &bare,
                                                  .chunk_rows = chunk_rows});
    hid_t dataset = state->time.dataset;
    if (status < 0)
        return status;
    H5Iinc_ref(dataset);
    status = h5_scale_of(file, &state->rows, dataset, "time");
    if (status == 0)
        status = h5_set_text(file, dataset, "units", "nanoseconds since 1970-01-01 00:00:00");
    if (status == 0)
        status = h5_set_text(file, dataset, "calendar", "proleptic_gregorian");
    if (status == 0)
        status = h5_set_text(file, dataset, "standard_name", "time");
    if (status == 0)
        status = h5_set_text(file, dataset, "long_name", meanings[state->table->time]);
    return status < 0 ? status : set_matlab(file, state);
}

static int begin_table(void *opened, const struct export_table *table, void **made, char *error,
                       size_t error_bytes)
{
    struct h5_whole *whole = opened;
    struct h5_file *file = &whole->file;
    struct h5_table *state = calloc(1, sizeof(*state));
    (void)error;
    (void)error_bytes;
    if (state == NULL)
        return -ENOMEM;
    *state = (struct h5_table){.table = table,
                               .group = -1,
                               .rows = {.dataset = -1},
                               .time = {.dataset = -1},
                               .next = whole->open};
    whole->open = state;
    *made = state;
    bool root = !file->options->several && !file->root_taken;
    file->root_taken = true;
    state->group = root ? H5Gopen2(file->id, "/", H5P_DEFAULT) : h5_group(file->id, table->name);
    return state->group < 0 ? h5_fail(file, "make a group") : 0;
}

/* The datasets, for which the first `rows` wait. A table of few gets small chunks: the last one of
 * each dataset is whole in the file. */
static int open_datasets(struct h5_file *file, struct h5_table *state, uint32_t rows)
{
    const struct export_table *table = state->table;
    uint32_t chunk_rows = rows == table->rows_max ? rows : H5_FEW_ROWS;
    while (chunk_rows < rows)
        chunk_rows *= 2;
    chunk_rows = chunk_rows > table->rows_max ? table->rows_max : chunk_rows;
    int status = table->time != EXPORT_TIME_NONE
                     ? open_time(file, state, chunk_rows)
                     : h5_scale_plain(file, &state->rows, state->group, "row", 0);
    if (status < 0)
        return status;
    state->axes = (struct h5_axes){.count = 1, .scales = {&state->rows}};
    return h5_columns_open(file, &state->columns, &table->columns,
                           &(struct h5_place){.group = state->group,
                                              .axes = &state->axes,
                                              .chunk_rows = chunk_rows,
                                              .lead = "value",
                                              .stem = "value"},
                           table->time_exact ? table->time_column : EXPORT_COLUMN_NONE);
}

static int append(void *opened, void *of_table, const struct export_batch *batch, char *error,
                  size_t error_bytes)
{
    struct h5_whole *whole = opened;
    struct h5_file *file = &whole->file;
    struct h5_table *state = of_table;
    int status = state->columns == NULL ? open_datasets(file, state, batch->rows) : 0;
    (void)error;
    (void)error_bytes;
    if (status == 0 && batch->time_ns != NULL)
        status = h5_stream_add(file, &state->time, batch->time_ns, batch->rows, true);
    if (status == 0)
        status = h5_columns_add(file, state->columns, &batch->table->columns, batch->vectors,
                                batch->rows);
    return status < 0 ? status : h5_flush(file);
}

static int set_count(struct h5_file *file, hid_t group, const char *name, uint64_t count)
{
    int64_t value = count > INT64_MAX ? INT64_MAX : (int64_t)count;
    return h5_set_numbers(file, group, name, H5T_STD_I64LE, &value, 0);
}

/* Where the table comes from and what is known to be missing of it. */
static int set_origin(struct h5_file *file, struct h5_table *state,
                      const struct export_origin *origin)
{
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {
        {"flotilla_file_count", origin->file_count},
        {"flotilla_rows", origin->rows},
        {"flotilla_damaged_places", origin->loss_count},
        {"flotilla_lost_bytes", origin->lost_bytes},
        {"flotilla_missing_files", origin->missing_files},
        {"flotilla_missing_sequence_numbers", origin->missing_datums},
        {"flotilla_times_back", origin->times_back},
    };
    hid_t group = state->group;
    int status = h5_set_text(file, group, "flotilla_channel", state->table->channel);
    if (status == 0)
        status = h5_set_text(file, group, "flotilla_files", origin->files);
    for (size_t i = 0; status == 0 && i < sizeof(counts) / sizeof(counts[0]); i++)
        status = set_count(file, group, counts[i].name, counts[i].count);
    if (status == 0 && origin->losses[0] != '\0')
        status = h5_set_text(file, group, "flotilla_losses", origin->losses);
    if (status == 0 && state->table->time != EXPORT_TIME_NONE) {
        const int64_t span[] = {origin->first_ns, origin->last_ns};
        status = h5_set_numbers(file, group, "flotilla_time_span", H5T_STD_I64LE, span, 2);
    }
    return status;
}

static int end_table(void *opened, void *of_table, const struct export_origin *origin, char *error,
                     size_t error_bytes)
{
    struct h5_whole *whole = opened;
    struct h5_file *file = &whole->file;
    struct h5_table *state = of_table;
    int status = state->columns == NULL ? open_datasets(file, state, 1) : h5_flush(file);
    (void)error;
    (void)error_bytes;
    if (status == 0 && state->time.dataset >= 0)
        status = h5_stream_end(file, &state->time);
    if (status == 0)
        status = h5_columns_end(file, state->columns, &state->table->columns);
    if (status == 0)
        status = h5_scale_end(file, &state->rows, origin->rows);
    if (status == 0)
        status = set_origin(file, state, origin);
    if (status == 0 && file->cut_texts > 0) {
        char what[128];
        snprintf(what, sizeof(what),
                 "%" PRIu64 " texts hold a NUL: HDF5 knows no such text, they end there",
                 file->cut_texts);
        file->options->tell(file->options->context, what);
        file->cut_texts = 0;
    }
    if (status < 0)
        return status;
    struct h5_table **at = &whole->open;
    while (*at != state)
        at = &(*at)->next;
    *at = state->next;
    close_table(state);
    return 0;
}

const struct export_format format_hdf5 = {
    .name = "hdf5",
    .extensions = ".h5 .hdf5 .nc",
    .summary = "netCDF-4 layout: xarray, netCDF4, h5py, MATLAB, Octave, Julia",
    .gzip = true,
    .begin = begin,
    .begin_table = begin_table,
    .append = append,
    .end_table = end_table,
    .end = end,
    .abort = abort_file,
};
