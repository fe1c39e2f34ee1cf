/* SPDX-License-Identifier: MIT
 * Datums into vectors. Everything of fixed width has room for a full batch from the start, so that
 * a number costs a store; what is in arrays and strings grows. */
#include "export/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct batch_column {
    const struct export_column *column;
    uint64_t rows, rows_room; /* values that stand there; for as many there is room */
    uint64_t nulls;
    uint8_t *values; /* of fixed width; or bytes of strings */
    size_t bytes, bytes_room;
    uint64_t *offsets;
    uint8_t *valid;
    struct batch_column *items;
    struct export_vector *vectors; /* of the items */
    struct column_value *item;     /* room for an item's values */
    size_t item_room;
};

static void free_columns(struct batch_column *columns, const struct export_columns *of)
{
    for (uint32_t i = 0; columns != NULL && i < of->count; i++) {
        struct batch_column *column = &columns[i];
        if (column->column != NULL && column->column->items != NULL)
            free_columns(column->items, column->column->items);
        free(column->values);
        free(column->offsets);
        free(column->valid);
        free(column->vectors);
        free(column->item);
    }
    free(columns);
}

static void clear(struct batch *batch)
{
    if (batch->table != NULL)
        free_columns(batch->columns, &batch->table->of_format.columns);
    free(batch->vectors);
    free(batch->times);
    free(batch->arrivals);
    free(batch->ends);
    free(batch->spans);
    batch->columns = NULL;
    batch->vectors = NULL;
    batch->times = NULL;
    batch->arrivals = NULL;
    batch->ends = NULL;
    batch->spans = NULL;
    batch->table = NULL;
}

void batch_free(struct batch *batch)
{
    clear(batch);
    free(batch->datums);
    *batch = (struct batch){0};
}

/* Whether a column has a length of its own in each row. */
static bool varies(const struct export_column *column)
{
    return column->kind == EXPORT_STRING || column->kind == EXPORT_BYTES || column->items != NULL;
}

static bool grow_to(void *memory, size_t *room, size_t count, size_t each)
{
    void *at;
    memcpy(&at, memory, sizeof(at));
    if (count <= *room)
        return true;
    at = realloc(at, count * each);
    if (at == NULL)
        return false;
    memcpy(memory, &at, sizeof(at));
    *room = count;
    return true;
}

/* Room for `wanted` values in all; false as well where there are more than can be addressed. */
static bool reserve(struct batch_column *column, uint64_t wanted)
{
    size_t room = (size_t)column->rows_room, width = column->column->width;
    size_t most = SIZE_MAX / 4 / (width > sizeof(uint64_t) ? width : sizeof(uint64_t));
    if (wanted <= room)
        return true;
    if (wanted > most)
        return false;
    size_t rows = wanted < room + room / 2 ? room + room / 2 : (size_t)wanted;
    rows = rows < 16 ? 16 : rows;
    if (width > 0) {
        size_t values_room = room;
        if (!grow_to(&column->values, &values_room, rows, width))
            return false;
    }
    if (varies(column->column)) {
        size_t offsets_room = room == 0 ? 0 : room + 1;
        if (!grow_to(&column->offsets, &offsets_room, rows + 1, sizeof(uint64_t)))
            return false;
        column->offsets[0] = 0;
    }
    if (column->column->nullable) {
        size_t valid_room = room;
        if (!grow_to(&column->valid, &valid_room, rows, 1))
            return false;
    }
    column->rows_room = rows;
    return true;
}

static struct batch_column *make_columns(const struct export_columns *of, uint64_t rows)
{
    struct batch_column *columns = calloc((size_t)of->count + 1, sizeof(*columns));
    for (uint32_t i = 0; columns != NULL && i < of->count; i++) {
        struct batch_column *column = &columns[i];
        column->column = &of->list[i];
        bool made = reserve(column, rows);
        if (made && of->list[i].items != NULL) {
            column->items = make_columns(of->list[i].items, 0);
            column->vectors =
                calloc((size_t)of->list[i].items->count + 1, sizeof(*column->vectors));
            made = column->items != NULL && column->vectors != NULL;
        }
        if (!made) {
            free_columns(columns, of);
            return NULL;
        }
    }
    return columns;
}

static void empty_columns(struct batch_column *columns, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        columns[i].rows = columns[i].nulls = columns[i].bytes = 0;
        if (columns[i].items != NULL)
            empty_columns(columns[i].items, columns[i].column->items->count);
    }
}

int batch_begin(struct batch *batch, struct table *table, enum export_rows rows)
{
    const struct export_columns *of = &table->of_format.columns;
    batch->rows = 0;
    batch->bytes = 0;
    batch->of_datums = rows == EXPORT_DATUMS;
    if (batch->table == table) {
        if (batch->columns != NULL)
            empty_columns(batch->columns, of->count);
        return 0;
    }
    clear(batch);
    batch->rows_max = batch->rows_most > 0 ? batch->rows_most : table->of_format.rows_max;
    batch->table = table;
    batch->times = calloc(batch->rows_max, sizeof(*batch->times));
    batch->arrivals = calloc(batch->rows_max, sizeof(*batch->arrivals));
    bool made = batch->times != NULL && batch->arrivals != NULL;
    if (batch->of_datums) {
        batch->ends = calloc(batch->rows_max, sizeof(*batch->ends));
        batch->spans = calloc(batch->rows_max, sizeof(*batch->spans));
        return made && batch->ends != NULL && batch->spans != NULL ? 0 : -ENOMEM;
    }
    batch->columns = make_columns(of, batch->rows_max);
    batch->vectors = calloc((size_t)of->count + 1, sizeof(*batch->vectors));
    return made && batch->columns != NULL && batch->vectors != NULL ? 0 : -ENOMEM;
}

/* Values that are not there, up to `rows` in all. */
static bool pad(struct batch_column *column, uint64_t rows)
{
    if (!reserve(column, rows))
        return false;
    size_t more = (size_t)(rows - column->rows), width = column->column->width;
    if (more == 0)
        return true;
    if (width > 0)
        memset(column->values + column->rows * width, 0, more * width);
    if (column->offsets != NULL)
        for (uint64_t i = column->rows; i < rows; i++)
            column->offsets[i + 1] = column->offsets[i];
    if (column->valid != NULL) {
        memset(column->valid + column->rows, 0, more);
        column->nulls += more;
    }
    column->rows = rows;
    return true;
}

static bool add_text(struct batch *batch, struct batch_column *column, struct span text)
{
    if (column->bytes + text.bytes > column->bytes_room) {
        size_t room = (column->bytes + text.bytes) * 3 / 2 + 256;
        if (!grow_to(&column->values, &column->bytes_room, room, 1))
            return false;
    }
    if (text.bytes > 0)
        memcpy(column->values + column->bytes, text.at, text.bytes);
    column->bytes += text.bytes;
    column->offsets[column->rows + 1] = column->bytes;
    batch->bytes += text.bytes;
    return true;
}

static bool put(struct batch *batch, struct batch_column *to, const struct columns *columns,
                const struct table_map *maps, const struct column_value *values, uint64_t row);

static bool add_items(struct batch *batch, struct batch_column *column, const struct column *from,
                      const struct table_map *map, const struct column_value *value)
{
    struct column_items items = column_items(from, value);
    const struct export_columns *of = column->column->items;
    uint64_t row = column->offsets[column->rows];
    if (!grow_to(&column->item, &column->item_room, from->items->value_room + 1u,
                 sizeof(struct column_value)))
        return false;
    for (; column_items_next(&items, column->item); row++) {
        if (items.is_map) {
            if (!pad(&column->items[0], row) || !reserve(&column->items[0], row + 1) ||
                !add_text(batch, &column->items[0], items.key))
                return false;
            column->items[0].rows = row + 1;
        }
        if (!put(batch, column->items, from->items, map->items, column->item, row))
            return false;
    }
    for (uint32_t i = 0; i < of->count; i++) {
        if (!pad(&column->items[i], row))
            return false;
        batch->bytes += (row - column->offsets[column->rows]) * (of->list[i].width + 1u);
    }
    column->offsets[column->rows + 1] = row;
    return true;
}

static bool add_value(struct batch *batch, struct batch_column *column, const struct column *from,
                      const struct table_map *map, const struct column_value *value)
{
    uint64_t row = column->rows;
    switch (column->column->kind) {
    case EXPORT_BOOLEAN:
        column->values[row] = (uint8_t)value->integer;
        break;
    case EXPORT_INT:
    case EXPORT_ENUM:
        ((int32_t *)(void *)column->values)[row] = (int32_t)value->integer;
        break;
    case EXPORT_LONG:
        ((int64_t *)(void *)column->values)[row] = value->integer;
        break;
    case EXPORT_FLOAT:
        ((float *)(void *)column->values)[row] = (float)value->real;
        break;
    case EXPORT_DOUBLE:
        ((double *)(void *)column->values)[row] = value->real;
        break;
    case EXPORT_FIXED:
        if (value->bytes.bytes > 0)
            memcpy(column->values + row * column->column->width, value->bytes.at,
                   column->column->width);
        break;
    case EXPORT_STRING:
    case EXPORT_BYTES:
        if (!add_text(batch, column, value->bytes))
            return false;
        break;
    case EXPORT_ARRAY:
    case EXPORT_MAP:
        if (!add_items(batch, column, from, map, value))
            return false;
        break;
    case EXPORT_NULL:
        return true;
    }
    if (column->valid != NULL)
        column->valid[row] = 1;
    column->rows++;
    return true;
}

/* The values of a datum or an item as row `row`. */
static bool put(struct batch *batch, struct batch_column *to, const struct columns *columns,
                const struct table_map *maps, const struct column_value *values, uint64_t row)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        if (maps[i].to == EXPORT_COLUMN_NONE || !values[i].present)
            continue;
        struct batch_column *column = &to[maps[i].to];
        if ((column->rows < row || row >= column->rows_room) &&
            (!pad(column, row) || !reserve(column, row + 1)))
            return false;
        if (!add_value(batch, column, &columns->list[i], &maps[i], &values[i]))
            return false;
    }
    return true;
}

void batch_end_row(struct batch *batch, int64_t time_ns, uint64_t arrival_ns)
{
    CHECK(batch->rows < batch->rows_max);
    batch->times[batch->rows] = time_ns;
    batch->arrivals[batch->rows] = arrival_ns;
    batch->rows++;
}

/* Adds rows `first` to `end` of a vector. */
static bool copy(struct batch *batch, struct batch_column *to, const struct export_vector *from,
                 uint64_t first, uint64_t end)
{
    const struct export_column *column = to->column;
    size_t width = column->width;
    uint64_t rows = end - first;
    if (!reserve(to, to->rows + rows))
        return false;
    if (width > 0 && rows > 0)
        memcpy(to->values + to->rows * width, (const uint8_t *)from->values + first * width,
               (size_t)rows * width);
    for (uint64_t i = first; i < end; i++, to->rows++) {
        bool there = from->valid == NULL || from->valid[i] != 0;
        if (to->valid != NULL)
            to->valid[to->rows] = there;
        to->nulls += to->valid != NULL && !there;
        if (to->offsets == NULL)
            continue;
        uint64_t begin = from->offsets[i], count = from->offsets[i + 1] - begin;
        if (column->items == NULL) {
            if (!add_text(batch, to, (struct span){from->bytes + begin, (size_t)count}))
                return false;
            continue;
        }
        to->offsets[to->rows + 1] = to->offsets[to->rows] + count;
        for (uint32_t item = 0; item < column->items->count; item++) {
            batch->bytes += count * (column->items->list[item].width + 1u);
            if (!pad(&to->items[item], to->offsets[to->rows]) ||
                !copy(batch, &to->items[item], &from->items[item], begin, begin + count))
                return false;
        }
    }
    return true;
}

int batch_copy(struct batch *batch, uint32_t first, const struct batch *from)
{
    uint32_t count = from->table->of_format.columns.count;
    for (uint32_t i = 0; i < count; i++) {
        struct batch_column *to = &batch->columns[first + i];
        if (to->column->kind == EXPORT_NULL)
            continue;
        if (!pad(to, batch->rows) || !copy(batch, to, &from->vectors[i], 0, 1))
            return -ENOMEM;
    }
    return 0;
}

static int add_datum(struct batch *batch, struct span datum)
{
    if (batch->bytes + datum.bytes > batch->datums_room &&
        !grow_to(&batch->datums, &batch->datums_room, (batch->bytes + datum.bytes) * 3 / 2 + 4096,
                 1))
        return -ENOMEM;
    if (datum.bytes > 0)
        memcpy(batch->datums + batch->bytes, datum.at, datum.bytes);
    batch->bytes += datum.bytes;
    batch->ends[batch->rows] = batch->bytes;
    return 0;
}

int batch_add(struct batch *batch, const struct table_reading *reading, struct span datum,
              int64_t time_ns, uint64_t arrival_ns)
{
    int status =
        batch->of_datums ? add_datum(batch, datum)
        : put(batch, batch->columns, reading->columns, reading->maps, reading->values, batch->rows)
            ? 0
            : -ENOMEM;
    if (status == 0)
        batch_end_row(batch, time_ns, arrival_ns);
    return status;
}

bool batch_is_full(const struct batch *batch)
{
    return batch->rows == batch->rows_max || batch->bytes >= TABLE_BATCH_BYTES;
}

/* Sets `vectors` to what the columns hold, each padded to `rows`. */
static bool seal(struct export_vector *vectors, struct batch_column *columns,
                 const struct export_columns *of, uint64_t rows)
{
    for (uint32_t i = 0; i < of->count; i++) {
        struct batch_column *column = &columns[i];
        if (!pad(column, rows))
            return false;
        vectors[i] = (struct export_vector){.values = column->values,
                                            .offsets = column->offsets,
                                            .valid = column->valid,
                                            .null_count = column->nulls,
                                            .items = column->vectors};
        if (column->items != NULL && !seal(column->vectors, column->items, of->list[i].items,
                                           rows > 0 ? column->offsets[rows] : 0))
            return false;
    }
    return true;
}

int batch_seal(struct batch *batch)
{
    const struct export_table *table = &batch->table->of_format;
    batch->of_format = (struct export_batch){
        .table = table,
        .rows = batch->rows,
        .time_ns = table->time == EXPORT_TIME_NONE ? NULL : batch->times,
        .arrival_ns = batch->arrivals,
        .vectors = batch->of_datums ? NULL : batch->vectors,
        .datums = batch->of_datums ? batch->spans : NULL,
    };
    for (uint32_t i = 0; batch->of_datums && i < batch->rows; i++) {
        size_t begin = i > 0 ? batch->ends[i - 1] : 0;
        batch->spans[i] = (struct span){batch->datums + begin, batch->ends[i] - begin};
    }
    return batch->of_datums || seal(batch->vectors, batch->columns, &table->columns, batch->rows)
               ? 0
               : -ENOMEM;
}
