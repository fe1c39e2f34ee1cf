/* SPDX-License-Identifier: MIT
 * Values as text. No known faults. */
#include "export/cell.h"

#include <math.h>
#include <string.h>

#include "base/digits.h"
#include "base/utf8.h"
#include "schema/csv.h"
#include "schema/json.h"

struct span cell_bytes(const struct export_column *column, const struct export_vector *vector,
                       uint64_t row)
{
    if (column->kind == EXPORT_FIXED)
        return (struct span){(const uint8_t *)vector->values + row * column->width, column->width};
    uint64_t first = vector->offsets[row], end = vector->offsets[row + 1];
    return (struct span){end > first ? vector->bytes + first : NULL, (size_t)(end - first)};
}

struct span cell_symbol(const struct export_column *column, const struct export_vector *vector,
                        uint64_t row)
{
    const char *symbol = column->type->symbols[((const int32_t *)vector->values)[row]];
    return (struct span){(const uint8_t *)symbol, strlen(symbol)};
}

/* Numbers and booleans. */
static void add_number(struct text *text, enum export_kind kind, const void *values, uint64_t row)
{
    char digits[DIGITS_BYTES_MAX];
    size_t bytes = 0;
    if (kind == EXPORT_BOOLEAN)
        text_add_string(text, ((const uint8_t *)values)[row] ? "true" : "false");
    else if (kind == EXPORT_INT)
        bytes = digits_integer(digits, ((const int32_t *)values)[row]);
    else if (kind == EXPORT_LONG)
        bytes = digits_integer(digits, ((const int64_t *)values)[row]);
    else if (kind == EXPORT_FLOAT)
        bytes = digits_float(digits, ((const float *)values)[row]);
    else
        bytes = digits_double(digits, ((const double *)values)[row]);
    text_add_bytes(text, digits, bytes);
}

/* What a real is that is no number: NULL where it is one. */
static const char *no_number(enum export_kind kind, const void *values, uint64_t row)
{
    double value =
        kind == EXPORT_FLOAT ? (double)((const float *)values)[row] : ((const double *)values)[row];
    return isnan(value) ? "NaN" : isinf(value) ? value > 0 ? "Infinity" : "-Infinity" : NULL;
}

/* ---- JSON, for what stands in arrays and maps ---- */

static void add_json(struct text *text, const struct export_column *column,
                     const struct export_vector *vector, uint64_t row);

/* A column's path below the item it belongs to: of "tracks[].x" the "x". */
static const char *below_item(const struct export_column *array, const struct export_column *column)
{
    const char *path = column->path + strlen(array->path) + strlen("[]");
    return *path == '.' ? path + 1 : path;
}

static void add_item(struct text *text, const struct export_column *array, uint32_t first,
                     const struct export_vector *items, uint64_t row)
{
    const struct export_columns *columns = array->items;
    const char *separator = "{";
    if (columns->count == first + 1 && *below_item(array, &columns->list[first]) == '\0') {
        add_json(text, &columns->list[first], &items[first], row);
        return;
    }
    for (uint32_t i = first; i < columns->count; i++) {
        const char *key = below_item(array, &columns->list[i]);
        if (!cell_is_there(&columns->list[i], &items[i], row))
            continue;
        text_add_string(text, separator);
        json_add_string(text, (struct span){(const uint8_t *)key, strlen(key)});
        text_add_string(text, ": ");
        add_json(text, &columns->list[i], &items[i], row);
        separator = ", ";
    }
    text_add_string(text, *separator == '{' ? "{}" : "}");
}

void cell_add_items(struct text *text, const struct export_column *column,
                    const struct export_vector *vector, uint64_t row)
{
    bool is_map = column->kind == EXPORT_MAP;
    uint64_t first = vector->offsets[row], end = vector->offsets[row + 1];
    text_add_char(text, is_map ? '{' : '[');
    for (uint64_t i = first; i < end; i++) {
        if (i > first)
            text_add_string(text, ", ");
        if (is_map) {
            add_json(text, &column->items->list[0], &vector->items[0], i);
            text_add_string(text, ": ");
        }
        add_item(text, column, is_map ? 1 : 0, vector->items, i);
    }
    text_add_char(text, is_map ? '}' : ']');
}

static void add_json(struct text *text, const struct export_column *column,
                     const struct export_vector *vector, uint64_t row)
{
    if (!cell_is_there(column, vector, row)) {
        text_add_string(text, "null");
        return;
    }
    switch (column->kind) {
    case EXPORT_STRING:
        json_add_string(text, cell_bytes(column, vector, row));
        return;
    case EXPORT_ENUM:
        json_add_string(text, cell_symbol(column, vector, row));
        return;
    case EXPORT_BYTES:
    case EXPORT_FIXED:
        text_add_char(text, '"');
        csv_add_hex(text, cell_bytes(column, vector, row));
        text_add_char(text, '"');
        return;
    case EXPORT_ARRAY:
    case EXPORT_MAP:
        cell_add_items(text, column, vector, row);
        return;
    default:
        break;
    }
    bool real = column->kind == EXPORT_FLOAT || column->kind == EXPORT_DOUBLE;
    const char *word = real ? no_number(column->kind, vector->values, row) : NULL;
    if (word != NULL)
        json_add_string(text, (struct span){(const uint8_t *)word, strlen(word)});
    else
        add_number(text, column->kind, vector->values, row);
}

void cell_add_name(struct text *text, const char *name)
{
    for (const uint8_t *at = (const uint8_t *)name; *at != '\0';) {
        size_t bytes = 1;
        while (bytes < 4 && at[bytes] != '\0' && !utf8_valid(at, at + bytes))
            bytes++;
        bool valid = utf8_valid(at, at + bytes);
        text_add_bytes(text, valid ? (const char *)at : "?", valid ? bytes : 1);
        at += valid ? bytes : 1;
    }
}

bool cell_is_time(const struct export_table *table, uint32_t column)
{
    return table->time == EXPORT_TIME_FIELD && table->time_exact && column == table->time_column;
}

const char *cell_time_name(const struct export_table *table)
{
    for (uint32_t i = 0; i < table->columns.count; i++)
        if (cell_is_time(table, i))
            return table->columns.list[i].path;
    for (uint32_t i = 0; i < table->columns.count; i++)
        if (strcmp(table->columns.list[i].path, "time") == 0)
            return "t";
    return "time";
}
