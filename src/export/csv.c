/* SPDX-License-Identifier: MIT
 * CSV: a line a row, the time first, a column for each of the table's. Relies on export/cell.
 * Source: RFC 4180; RFC 3339 for times. What stands for nothing is an empty cell, an empty string
 * is "", which readers that tell them apart do (polars, DuckDB). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/digits.h"
#include "export/cell.h"
#include "schema/csv.h"

#define WRITE_BYTES (256u << 10) /* handed over at a time, at least */
#define NS_PER_S    1000000000

struct csv {
    struct made *made;
    enum export_clock clock;
    struct text lines, cell;
    char stamp[CALENDAR_TEXT_BYTES]; /* the time that was written last; "" for none */
    int64_t stamp_second;
};

static int begin(void **file, struct made *made, const struct export_options *options, char *error,
                 size_t error_bytes)
{
    struct csv *csv = calloc(1, sizeof(*csv));
    (void)error;
    (void)error_bytes;
    if (csv == NULL)
        return -ENOMEM;
    *csv = (struct csv){.made = made, .clock = options->clock};
    *file = csv;
    return 0;
}

static void release(void *file)
{
    struct csv *csv = file;
    text_free(&csv->lines);
    text_free(&csv->cell);
    free(csv);
}

/* Writes the lines out if there are `least` bytes of them. */
static int flush(struct csv *csv, size_t least)
{
    if (csv->lines.failed || csv->cell.failed)
        return -ENOMEM;
    if (csv->lines.bytes < least)
        return 0;
    int status =
        made_write(csv->made, (struct span){(const uint8_t *)csv->lines.at, csv->lines.bytes});
    text_clear(&csv->lines);
    return status;
}

static void add_heading(struct csv *csv, const char *path, const char *unit)
{
    text_clear(&csv->cell);
    text_add_string(&csv->cell, path);
    if (unit != NULL)
        text_add(&csv->cell, "%s[%s]", *path != '\0' ? " " : "", unit);
    if (!csv->cell.failed)
        csv_add_text(&csv->lines, (struct span){(const uint8_t *)csv->cell.at, csv->cell.bytes});
}

static int begin_table(void *file, const struct export_table *table, void **state, char *error,
                       size_t error_bytes)
{
    static const char *const units[] = {
        [EXPORT_CLOCK_TEXT] = NULL, [EXPORT_CLOCK_SECONDS] = "s", [EXPORT_CLOCK_NS] = "ns"};
    struct csv *csv = file;
    const char *separator = "";
    (void)error;
    (void)error_bytes;
    *state = NULL;
    if (table->time != EXPORT_TIME_NONE) {
        add_heading(csv, cell_time_name(table), units[csv->clock]);
        separator = ",";
    }
    for (uint32_t i = 0; i < table->columns.count; i++) {
        const struct export_column *column = &table->columns.list[i];
        if (cell_is_time(table, i))
            continue;
        text_add_string(&csv->lines, separator);
        add_heading(csv, column->path[0] != '\0' ? column->path : "value", column->unit);
        separator = ",";
    }
    text_add_string(&csv->lines, "\r\n");
    return flush(csv, WRITE_BYTES);
}

#define FRACTION_OFFSET 20 /* in "2026-01-01T00:00:00.123456789Z" */
#define FRACTION_DIGITS 9

/* A time as RFC 3339. Of one in the same second as the last only the fraction is made anew. */
static void add_stamp(struct csv *csv, int64_t ns)
{
    int64_t second = ns / NS_PER_S, fraction = ns % NS_PER_S;
    if (fraction < 0) {
        second--;
        fraction += NS_PER_S;
    }
    if (csv->stamp[0] == '\0' || second != csv->stamp_second)
        calendar_write_signed(csv->stamp, ns, FRACTION_DIGITS);
    csv->stamp_second = second;
    for (int i = FRACTION_DIGITS - 1; i >= 0; i--, fraction /= 10)
        csv->stamp[FRACTION_OFFSET + i] = (char)('0' + fraction % 10);
    text_put(&csv->lines, csv->stamp, FRACTION_OFFSET + FRACTION_DIGITS + 1);
}

static void add_time(struct csv *csv, int64_t ns)
{
    char digits[DIGITS_BYTES_MAX];
    if (csv->clock == EXPORT_CLOCK_TEXT) {
        add_stamp(csv, ns);
        return;
    }
    if (csv->clock == EXPORT_CLOCK_NS) {
        text_put(&csv->lines, digits, digits_integer(digits, ns));
        return;
    }
    uint64_t size = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    text_add(&csv->lines, "%s%" PRIu64 ".%09" PRIu64, ns < 0 ? "-" : "", size / NS_PER_S,
             size % NS_PER_S);
}

static void add_items(struct csv *csv, const struct export_column *column,
                      const struct export_vector *vector, uint32_t row)
{
    text_clear(&csv->cell);
    cell_add_items(&csv->cell, column, vector, row);
    if (!csv->cell.failed)
        csv_add_text(&csv->lines, (struct span){(const uint8_t *)csv->cell.at, csv->cell.bytes});
}

static void add_cell(struct csv *csv, const struct export_column *column,
                     const struct export_vector *vector, uint32_t row)
{
    struct text *lines = &csv->lines;
    char digits[DIGITS_BYTES_MAX];
    bool yes;
    switch (column->kind) {
    case EXPORT_BOOLEAN:
        yes = ((const uint8_t *)vector->values)[row] != 0;
        text_put(lines, yes ? "true" : "false", yes ? 4 : 5);
        break;
    case EXPORT_INT:
        text_put(lines, digits, digits_integer(digits, ((const int32_t *)vector->values)[row]));
        break;
    case EXPORT_LONG:
        text_put(lines, digits, digits_integer(digits, ((const int64_t *)vector->values)[row]));
        break;
    case EXPORT_FLOAT:
        csv_add_float(lines, ((const float *)vector->values)[row]);
        break;
    case EXPORT_DOUBLE:
        csv_add_double(lines, ((const double *)vector->values)[row]);
        break;
    case EXPORT_ENUM:
        csv_add_text(lines, cell_symbol(column, vector, row));
        break;
    case EXPORT_STRING:
        csv_add_text(lines, cell_bytes(column, vector, row));
        break;
    case EXPORT_BYTES:
    case EXPORT_FIXED:
        if (cell_bytes(column, vector, row).bytes == 0)
            text_put_literal(lines, "\"\"");
        csv_add_hex(lines, cell_bytes(column, vector, row));
        break;
    case EXPORT_ARRAY:
    case EXPORT_MAP:
        add_items(csv, column, vector, row);
        break;
    case EXPORT_NULL:
        break;
    }
}

static void add_row(struct csv *csv, const struct export_batch *batch, uint32_t row)
{
    const struct export_table *table = batch->table;
    bool first = batch->time_ns == NULL;
    if (!first)
        add_time(csv, batch->time_ns[row]);
    for (uint32_t i = 0; i < table->columns.count; i++) {
        const struct export_column *column = &table->columns.list[i];
        if (cell_is_time(table, i))
            continue;
        if (!first)
            text_put_literal(&csv->lines, ",");
        if (cell_is_there(column, &batch->vectors[i], row))
            add_cell(csv, column, &batch->vectors[i], row);
        else if (first && table->columns.count == 1) /* an empty line is none to most readers */
            text_put_literal(&csv->lines, "\"\"");
        first = false;
    }
    text_put_literal(&csv->lines, "\r\n");
}

static int append(void *file, void *state, const struct export_batch *batch, char *error,
                  size_t error_bytes)
{
    struct csv *csv = file;
    int status = 0;
    (void)state;
    (void)error;
    (void)error_bytes;
    for (uint32_t row = 0; row < batch->rows && status == 0; row++) {
        add_row(csv, batch, row);
        status = flush(csv, WRITE_BYTES);
    }
    return status;
}

static int end_table(void *file, void *state, const struct export_origin *origin, char *error,
                     size_t error_bytes)
{
    (void)state;
    (void)origin; /* there is no place for it */
    (void)error;
    (void)error_bytes;
    return flush(file, 1);
}

static int end(void *file, char *error, size_t error_bytes)
{
    int status = flush(file, 1);
    (void)error;
    (void)error_bytes;
    release(file);
    return status;
}

const struct export_format format_csv = {
    .name = "csv",
    .extensions = ".csv",
    .summary = "spreadsheets, R, polars, DuckDB: a line a row",
    .pipe = true,
    .one_table = true,
    .clock = true,
    .rows = EXPORT_VECTORS,
    .begin = begin,
    .begin_table = begin_table,
    .append = append,
    .end_table = end_table,
    .end = end,
    .abort = release,
};
