/* SPDX-License-Identifier: MIT
 * Columns as datasets. Of a field x, with names that begin with its own:
 *
 *     numbers, texts   x along the rows; with one of 0 and 1 ("valid") where there may be none, but
 *                      for reals, which are NaN then
 *     fixed            x along the rows and its bytes
 *     bytes            how many there are ("count") along the rows; x has all of them, one behind
 *                      the other, along items
 *     arrays, maps     the same: a count, and what each item consists of along items. An array
 *                      that had one length in all rows so far is along rows and an index
 *
 * What stands beside such items themselves is named after the items' axis.
 * Arrays that turn out to differ in length after all are laid out anew. Items that are records
 * stand in a group x, those of a map with their key. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "export/hdf5.h"

#define ITEM_CHUNK_BYTES (64u << 10)
#define FIXED_COUNT_MAX  65536u
#define ANEW_BYTES       (256u << 10)

enum h5_shape { SHAPE_OPEN, SHAPE_FIXED, SHAPE_RAGGED };

struct h5_column {
    const struct export_column *column;
    char name[H5_NAME_BYTES]; /* of what has its values */
    char stem[H5_NAME_BYTES]; /* what the names of all beside it begin with */
    hid_t group;              /* that its datasets stand in */
    struct h5_axes axes;      /* of its rows */
    uint64_t per_row;         /* values for each of the rows of the first axis */
    uint32_t chunk_rows;
    struct h5_stream values, valid, counts;
    struct h5_scale second; /* of items or of bytes */
    enum h5_shape shape;
    uint64_t rows, item_rows;
    struct h5_column *items;
};

static hid_t type_of(const struct export_column *column)
{
    switch (column->kind) {
    case EXPORT_BOOLEAN:
        return H5T_STD_I8LE;
    case EXPORT_INT:
        return H5T_STD_I32LE;
    case EXPORT_LONG:
        return H5T_STD_I64LE;
    case EXPORT_FLOAT:
        return H5T_IEEE_F32LE;
    case EXPORT_DOUBLE:
        return H5T_IEEE_F64LE;
    case EXPORT_ENUM:
        return column->type->count <= 128 ? H5T_STD_I8LE : H5T_STD_I32LE;
    default:
        return H5T_STD_U8LE;
    }
}

static bool is_real(const struct export_column *column)
{
    return column->kind == EXPORT_FLOAT || column->kind == EXPORT_DOUBLE;
}

static bool is_list(const struct export_column *column)
{
    return column->items != NULL || column->kind == EXPORT_BYTES;
}

/* ---- attributes ---- */

/* What a logical type's numbers count. NULL: none. */
static const char *unit_of_logical(const struct schema *type)
{
    static const char *const units[][2] = {
        {"timestamp-millis", "milliseconds since 1970-01-01 00:00:00"},
        {"timestamp-micros", "microseconds since 1970-01-01 00:00:00"},
        {"timestamp-nanos", "nanoseconds since 1970-01-01 00:00:00"},
        {"local-timestamp-millis", "milliseconds since 1970-01-01 00:00:00"},
        {"local-timestamp-micros", "microseconds since 1970-01-01 00:00:00"},
        {"local-timestamp-nanos", "nanoseconds since 1970-01-01 00:00:00"},
        {"date", "days since 1970-01-01"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(units); i++)
        if (type->logical_holds && strcmp(type->logical, units[i][0]) == 0)
            return units[i][1];
    return NULL;
}

static int set_symbols(struct h5_file *file, hid_t dataset, const struct export_column *column)
{
    struct text meanings = {0};
    const struct schema *type = column->type;
    int64_t *values = calloc(type->count + 1u, sizeof(*values));
    if (values == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < type->count; i++) {
        size_t begin = meanings.bytes;
        values[i] = i;
        text_add(&meanings, "%s%s", i > 0 ? " " : "", type->symbols[i]);
        for (size_t at = begin + (i > 0); at < meanings.bytes; at++)
            if (meanings.at[at] == ' ')
                meanings.at[at] = '_';
    }
    int status = meanings.failed ? -ENOMEM : 0;
    if (status == 0 && type->count > 0)
        status = h5_set_numbers(file, dataset, "flag_values", type_of(column), values, type->count);
    if (status == 0 && type->count > 0)
        status = h5_set_text(file, dataset, "flag_meanings", meanings.at);
    text_free(&meanings);
    free(values);
    return status;
}

static int describe(struct h5_file *file, hid_t dataset, const struct export_column *column)
{
    const struct schema *type = column->type;
    int status = 0;
    if (column->doc != NULL && column->doc[0] != '\0')
        status = h5_set_text(file, dataset, "long_name", column->doc);
    const char *unit = type != NULL ? unit_of_logical(type) : NULL;
    if (status == 0 && unit != NULL && type->kind == LAYOUT_LONG)
        status = h5_set_text(file, dataset, "calendar", "proleptic_gregorian");
    unit = unit != NULL ? unit : column->unit;
    if (status == 0 && unit != NULL && unit[0] != '\0')
        status = h5_set_text(file, dataset, "units", unit);
    if (status == 0 && type != NULL && type->logical_holds)
        status = h5_set_text(file, dataset, "logical_type", type->logical);
    if (status == 0 && type != NULL && type->precision > 0) {
        const int64_t digits[] = {type->precision, type->scale};
        status = h5_set_numbers(file, dataset, "decimal_precision_scale", H5T_STD_I32LE, digits, 2);
    }
    if (status == 0 && column->kind == EXPORT_BOOLEAN)
        status = h5_set_text(file, dataset, "dtype", "bool");
    if (status == 0 && column->kind == EXPORT_ENUM)
        status = set_symbols(file, dataset, column);
    return status;
}

/* ---- opening ---- */

static uint32_t chunk_for(uint32_t bytes_each)
{
    uint32_t rows = ITEM_CHUNK_BYTES / (bytes_each > 0 ? bytes_each : 1);
    return rows > 0 ? rows : 1;
}

static int open_beside(struct h5_file *file, struct h5_column *made, struct h5_stream *stream,
                       const char *end, hid_t type)
{
    char name[H5_NAME_BYTES + 16];
    snprintf(name, sizeof(name), "%s%s", made->stem, end);
    return h5_stream_open(file, stream,
                          &(struct h5_made){.group = made->group,
                                            .name = name,
                                            .type = type,
                                            .axes = &made->axes,
                                            .chunk_rows = made->chunk_rows});
}

/* The values of what has one for each row; a fixed's bytes are an axis more. */
static int open_values(struct h5_file *file, struct h5_column *made)
{
    static const float no_float = NAN;
    static const double no_double = NAN;
    const struct export_column *column = made->column;
    struct h5_axes axes = made->axes;
    bool real = is_real(column) && column->nullable;
    const void *fill = !real                          ? NULL
                       : column->kind == EXPORT_FLOAT ? (const void *)&no_float
                                                      : (const void *)&no_double;
    hid_t type = column->kind == EXPORT_STRING ? file->text_type : type_of(column);
    if (column->kind == EXPORT_FIXED)
        axes.scales[axes.count++] = &made->second;
    int status = h5_stream_open(file, &made->values,
                                &(struct h5_made){.group = made->group,
                                                  .name = made->name,
                                                  .type = type,
                                                  .axes = &axes,
                                                  .chunk_rows = made->chunk_rows,
                                                  .fill = fill});
    if (status == 0 && real)
        status = h5_set_values(file, made->values.dataset, "_FillValue", type, fill, 1);
    return status < 0 ? status : describe(file, made->values.dataset, column);
}

static int open_counts(struct h5_file *file, struct h5_column *made)
{
    char item[H5_NAME_BYTES + 16];
    snprintf(item, sizeof(item), "%s_item", made->stem);
    int status = open_beside(file, made, &made->counts, "_count", H5T_STD_I64LE);
    return status < 0 ? status : h5_set_text(file, made->counts.dataset, "sample_dimension", item);
}

/* What stands along the rows themselves. */
static int open_rows(struct h5_file *file, struct h5_column *made)
{
    const struct export_column *column = made->column;
    int status = 0;
    if (!is_list(column))
        status = open_values(file, made);
    else if (made->shape == SHAPE_RAGGED)
        status = open_counts(file, made);
    if (status == 0 && column->nullable && !is_real(column))
        status = open_beside(file, made, &made->valid, "_valid", H5T_STD_U8LE);
    return status;
}

/* Bytes are one behind the other; items have columns of their own, in a group if they are records.
 */
static int open_items(struct h5_file *file, struct h5_column *made)
{
    const struct export_column *column = made->column;
    struct h5_axes axes = {.count = 1, .scales = {&made->second}};
    if (made->shape == SHAPE_FIXED)
        axes = (struct h5_axes){.count = 2, .scales = {made->axes.scales[0], &made->second}};
    if (column->kind == EXPORT_BYTES) {
        int status = h5_stream_open(file, &made->values,
                                    &(struct h5_made){.group = made->group,
                                                      .name = made->name,
                                                      .type = H5T_STD_U8LE,
                                                      .axes = &axes,
                                                      .chunk_rows = ITEM_CHUNK_BYTES});
        return status < 0 ? status : describe(file, made->values.dataset, column);
    }
    uint32_t chunk_rows = 0;
    char stem[H5_NAME_BYTES + 16];
    snprintf(stem, sizeof(stem), "%s_item", made->stem);
    if (made->shape == SHAPE_FIXED) {
        uint64_t most = ITEM_CHUNK_BYTES / made->second.size + 1;
        chunk_rows = most < made->chunk_rows ? (uint32_t)most : made->chunk_rows;
    }
    bool plain = column->items->count == 1 && column->items->list[0].name_count == 0;
    hid_t group = plain ? made->group : h5_group(made->group, made->name);
    if (group < 0)
        return h5_fail(file, "make a group");
    int status = h5_columns_open(file, &made->items, column->items,
                                 &(struct h5_place){.group = group,
                                                    .axes = &axes,
                                                    .chunk_rows = chunk_rows,
                                                    .lead = plain ? made->name : "value",
                                                    .stem = plain ? stem : "value"},
                                 EXPORT_COLUMN_NONE);
    if (!plain)
        H5Gclose(group);
    return status;
}

static int open_second(struct h5_file *file, struct h5_column *made, const char *end, hsize_t size)
{
    char name[H5_NAME_BYTES + 16];
    snprintf(name, sizeof(name), "%s%s", made->stem, end);
    return h5_scale_plain(file, &made->second, made->group, name, size);
}

static int open_list(struct h5_file *file, struct h5_column *made, enum h5_shape shape,
                     uint64_t count)
{
    made->shape = shape;
    int status = open_second(file, made, shape == SHAPE_FIXED ? "_index" : "_item", count);
    if (status == 0)
        status = open_rows(file, made);
    return status < 0 ? status : open_items(file, made);
}

static int open_column(struct h5_file *file, struct h5_column *made,
                       const struct export_column *column, const struct h5_place *place)
{
    hid_t group = place->group;
    made->column = column;
    made->axes = *place->axes;
    made->per_row = 1;
    for (uint32_t i = 1; i < made->axes.count; i++)
        made->per_row *= made->axes.scales[i]->size;
    made->chunk_rows = place->chunk_rows > 0 ? place->chunk_rows : chunk_for(column->width);
    H5Iinc_ref(group);
    for (uint32_t i = 0; i + 1 < column->name_count; i++) {
        hid_t below = h5_group(group, column->names[i]);
        H5Gclose(group);
        if (below < 0)
            return h5_fail(file, "make a group");
        group = below;
    }
    made->group = group;
    const char *own = column->name_count > 0 ? column->names[column->name_count - 1] : NULL;
    snprintf(made->name, sizeof(made->name) - 64, "%s", own != NULL ? own : place->lead);
    snprintf(made->stem, sizeof(made->stem) - 64, "%s", own != NULL ? own : place->stem);
    if (is_list(column)) /* of one length or not: the first rows tell */
        return column->kind == EXPORT_ARRAY && made->axes.count == 1 && place->chunk_rows > 0
                   ? 0
                   : open_list(file, made, SHAPE_RAGGED, 0);
    int status = 0;
    if (column->kind == EXPORT_FIXED)
        status = open_second(file, made, "_byte", column->width);
    return status < 0 ? status : open_rows(file, made);
}

int h5_columns_open(struct h5_file *file, struct h5_column **made,
                    const struct export_columns *columns, const struct h5_place *place,
                    uint32_t skip)
{
    struct h5_column *list = calloc((size_t)columns->count + 1, sizeof(*list));
    int status = 0;
    *made = list;
    if (list == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < columns->count; i++) {
        list[i].group = list[i].values.dataset = list[i].valid.dataset = -1;
        list[i].counts.dataset = list[i].second.dataset = -1;
    }
    for (uint32_t i = 0; status == 0 && i < columns->count; i++) {
        const struct export_column *column = &columns->list[i];
        bool empty =
            column->kind == EXPORT_NULL || (column->kind == EXPORT_FIXED && column->width == 0);
        if (i != skip && !empty)
            status = open_column(file, &list[i], column, place);
    }
    return status;
}

/* ---- adding ---- */

static void *scratch(struct h5_file *file, size_t bytes)
{
    if (bytes > file->scratch_room) {
        free(file->scratch);
        file->scratch = malloc(bytes);
        file->scratch_room = file->scratch != NULL ? bytes : 0;
    }
    return file->scratch;
}

/* Texts as C has them. One with a NUL inside ends there: HDF5 knows no other. */
static int add_texts(struct h5_file *file, struct h5_column *to, const struct export_vector *vector,
                     uint64_t rows)
{
    uint64_t count = rows * to->per_row;
    size_t pointers = count * sizeof(char *);
    char **list = scratch(file, pointers + vector->offsets[count] + count);
    if (list == NULL)
        return -ENOMEM;
    char *at = (char *)list + pointers;
    for (uint64_t i = 0; i < count; i++) {
        size_t bytes = vector->offsets[i + 1] - vector->offsets[i];
        list[i] = at;
        if (bytes > 0)
            memcpy(at, vector->bytes + vector->offsets[i], bytes);
        at[bytes] = '\0';
        file->cut_texts += memchr(at, '\0', bytes) != NULL;
        at += bytes + 1;
    }
    return h5_stream_add(file, &to->values, list, rows, false);
}

/* Reals that are not there are NaN. */
static int add_reals(struct h5_file *file, struct h5_column *to, const struct export_vector *vector,
                     uint64_t rows)
{
    uint64_t count = rows * to->per_row;
    uint32_t width = to->column->width;
    uint8_t *copy = scratch(file, count * width);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, vector->values, count * width);
    for (uint64_t i = 0; i < count; i++)
        if (!vector->valid[i] && width == sizeof(float))
            ((float *)(void *)copy)[i] = NAN;
        else if (!vector->valid[i])
            ((double *)(void *)copy)[i] = NAN;
    return h5_stream_add(file, &to->values, copy, rows, false);
}

static int add_small(struct h5_file *file, struct h5_column *to, const struct export_vector *vector,
                     uint64_t rows)
{
    uint64_t count = rows * to->per_row;
    const int32_t *values = vector->values;
    int8_t *copy = scratch(file, count);
    if (copy == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < count; i++)
        copy[i] = (int8_t)values[i];
    return h5_stream_add(file, &to->values, copy, rows, false);
}

static int add_values(struct h5_file *file, struct h5_column *to,
                      const struct export_vector *vector, uint64_t rows)
{
    const struct export_column *column = to->column;
    if (column->kind == EXPORT_STRING)
        return add_texts(file, to, vector, rows);
    if (column->kind == EXPORT_ENUM && to->values.value_bytes == 1)
        return add_small(file, to, vector, rows);
    if (is_real(column) && vector->null_count > 0)
        return add_reals(file, to, vector, rows);
    return h5_stream_add(file, &to->values, vector->values, rows, true);
}

/* How many items each of the rows has, if it is one number; else 0. */
static uint64_t common_count(const struct export_vector *vector, uint64_t rows)
{
    uint64_t count = rows > 0 ? vector->offsets[1] : 0;
    if (count == 0 || count > FIXED_COUNT_MAX || vector->null_count > 0)
        return 0;
    for (uint64_t i = 1; i < rows; i++)
        if (vector->offsets[i + 1] - vector->offsets[i] != count)
            return 0;
    return count;
}

static int add_counts(struct h5_file *file, struct h5_column *to,
                      const struct export_vector *vector, uint64_t rows)
{
    uint64_t count = rows * to->per_row;
    int64_t *counts = scratch(file, count * sizeof(*counts));
    if (counts == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < count; i++)
        counts[i] = (int64_t)(vector->offsets[i + 1] - vector->offsets[i]);
    return h5_stream_add(file, &to->counts, counts, rows, false);
}

static int lay_out_anew(struct h5_file *file, struct h5_column *column);

static int add_list(struct h5_file *file, struct h5_column *to, const struct export_vector *vector,
                    uint64_t rows)
{
    uint64_t items = vector->offsets[rows * to->per_row];
    uint64_t common = to->shape == SHAPE_RAGGED ? 0 : common_count(vector, rows);
    int status = 0;
    if (to->shape == SHAPE_OPEN)
        status = open_list(file, to, common > 0 ? SHAPE_FIXED : SHAPE_RAGGED, common);
    else if (to->shape == SHAPE_FIXED && common != to->second.size)
        status = lay_out_anew(file, to);
    if (status == 0 && to->shape == SHAPE_RAGGED)
        status = add_counts(file, to, vector, rows);
    to->item_rows += items;
    if (status < 0)
        return status;
    if (to->column->kind == EXPORT_BYTES)
        return h5_stream_add(file, &to->values, vector->bytes, items, true);
    return h5_columns_add(file, to->items, to->column->items, vector->items,
                          to->shape == SHAPE_FIXED ? rows : items);
}

int h5_columns_add(struct h5_file *file, struct h5_column *list,
                   const struct export_columns *columns, const struct export_vector *vectors,
                   uint64_t rows)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < columns->count && rows > 0; i++) {
        struct h5_column *to = &list[i];
        if (to->column == NULL)
            continue;
        status = is_list(to->column) ? add_list(file, to, &vectors[i], rows)
                                     : add_values(file, to, &vectors[i], rows);
        if (status == 0 && to->valid.dataset >= 0)
            status = h5_stream_add(file, &to->valid, vectors[i].valid, rows, true);
        to->rows += rows;
    }
    return status;
}

/* ---- laying out anew ---- */

/* Takes the dataset of a stream out of the file, which keeps it until it is closed. */
static int unlink_dataset(struct h5_file *file, hid_t dataset)
{
    char path[4096];
    if (H5Iget_name(dataset, path, sizeof(path)) <= 0 || H5Ldelete(file->id, path, H5P_DEFAULT) < 0)
        return h5_fail(file, "lay out an array anew");
    return 0;
}

/* Copies what stands along rows and `count` items to where it stands along items alone. */
static int copy_rows(struct h5_file *file, struct h5_stream *to, struct h5_stream *from,
                     uint64_t count)
{
    hsize_t step = ANEW_BYTES / (from->row_bytes > 0 ? from->row_bytes : 1) + 1;
    uint8_t *values = malloc(step * from->row_bytes);
    int status = values == NULL ? -ENOMEM : h5_stream_end(file, from);
    for (hsize_t at = 0; status == 0 && at < from->rows; at += step) {
        hsize_t rows = from->rows - at < step ? from->rows - at : step;
        status = h5_stream_read(file, from, values, at, rows);
        if (status == 0)
            status = h5_stream_add(file, to, values, rows * count, false);
        if (from->text && status == 0)
            h5_stream_free_texts(from, values, rows);
    }
    free(values);
    return status;
}

/* Of an item's column: what it has along rows and items goes along items alone. */
static int move_column(struct h5_file *file, struct h5_column *column, struct h5_scale *rows,
                       struct h5_scale *items, uint64_t count)
{
    struct h5_stream *const streams[] = {&column->values, &column->valid, &column->counts};
    struct h5_stream old[3];
    bool bytes = column->column->kind == EXPORT_BYTES;
    int status = 0;
    for (size_t i = bytes ? 1 : 0; i < 3; i++) {
        old[i] = *streams[i];
        streams[i]->dataset = -1;
        streams[i]->buffer = NULL;
        if (status == 0 && old[i].dataset >= 0) {
            h5_scale_forget(rows, old[i].dataset);
            h5_scale_forget(&column->second, old[i].dataset);
            status = unlink_dataset(file, old[i].dataset);
        }
    }
    column->axes = (struct h5_axes){.count = 1, .scales = {items}};
    column->per_row = 1;
    column->chunk_rows = chunk_for(column->column->width);
    if (status == 0)
        status = open_rows(file, column);
    for (size_t i = bytes ? 1 : 0; i < 3; i++) {
        if (status == 0 && old[i].dataset >= 0)
            status = copy_rows(file, streams[i], &old[i], count);
        h5_stream_close(&old[i]);
    }
    return status;
}

/* Arrays that had one length so far get a count each. */
static int lay_out_anew(struct h5_file *file, struct h5_column *column)
{
    struct h5_scale index = column->second;
    const struct export_columns *items = column->column->items;
    uint64_t count = index.size;
    int status = h5_flush(file);
    column->shape = SHAPE_RAGGED;
    column->second = (struct h5_scale){.dataset = -1};
    if (status == 0)
        status = unlink_dataset(file, index.dataset);
    if (status == 0)
        status = open_second(file, column, "_item", 0);
    if (status == 0)
        status = open_counts(file, column);
    for (uint32_t i = 0; status == 0 && i < items->count; i++)
        if (column->items[i].column != NULL)
            status = move_column(file, &column->items[i], column->axes.scales[0], &column->second,
                                 count);
    int64_t each = (int64_t)count;
    for (uint64_t i = 0; status == 0 && i < column->rows; i++)
        status = h5_stream_add(file, &column->counts, &each, 1, false);
    h5_scale_close(&index);
    return status;
}

/* ---- the end ---- */

int h5_columns_end(struct h5_file *file, struct h5_column *list,
                   const struct export_columns *columns)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < columns->count; i++) {
        struct h5_column *column = &list[i];
        struct h5_stream *const streams[] = {&column->values, &column->valid, &column->counts};
        if (column->column == NULL)
            continue;
        if (is_list(column->column) && column->shape == SHAPE_OPEN)
            status = open_list(file, column, SHAPE_RAGGED, 0);
        for (size_t stream = 0; status == 0 && stream < 3; stream++)
            if (streams[stream]->dataset >= 0)
                status = h5_stream_end(file, streams[stream]);
        if (status == 0 && column->items != NULL)
            status = h5_columns_end(file, column->items, column->column->items);
        if (status == 0 && column->second.dataset >= 0)
            status = h5_scale_end(file, &column->second, column->item_rows);
    }
    return status;
}

void h5_columns_close(struct h5_column *list, const struct export_columns *columns)
{
    for (uint32_t i = 0; list != NULL && i < columns->count; i++) {
        struct h5_column *column = &list[i];
        h5_stream_close(&column->values);
        h5_stream_close(&column->valid);
        h5_stream_close(&column->counts);
        if (column->items != NULL)
            h5_columns_close(column->items, column->column->items);
        h5_scale_close(&column->second);
        if (column->group >= 0)
            H5Idec_ref(column->group);
    }
    free(list);
}
