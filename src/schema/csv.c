/* SPDX-License-Identifier: MIT
 * CSV. Known faults: no reader tells a string "NaN" from the number. */
#include "schema/csv.h"

#include <math.h>
#include <string.h>

#include "base/digits.h"
#include "schema/json.h"

void csv_add_text(struct text *text, struct span value)
{
    bool plain = value.bytes > 0;
    for (size_t i = 0; plain && i < value.bytes; i++)
        plain =
            value.at[i] != ',' && value.at[i] != '"' && value.at[i] != '\r' && value.at[i] != '\n';
    if (plain) {
        text_put(text, value.at, value.bytes);
        return;
    }
    text_put_literal(text, "\"");
    for (size_t first = 0, i = 0; i <= value.bytes; i++)
        if (i == value.bytes || value.at[i] == '"') {
            if (i > first)
                text_put(text, value.at + first, i - first);
            text_put(text, "\"\"", i == value.bytes ? 1 : 2);
            first = i + 1;
        }
}

void csv_add_heading(const struct columns *columns, struct text *text)
{
    struct text name = {0};
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct column *column = &columns->list[i];
        text_clear(&name);
        text_add_string(&name, column->path[0] != '\0' ? column->path : "value");
        if (column->unit != NULL)
            text_add(&name, " [%s]", column->unit);
        if (i > 0)
            text_add_char(text, ',');
        text->failed |= name.failed;
        if (!name.failed)
            csv_add_text(text, (struct span){(const uint8_t *)name.at, name.bytes});
    }
    text_add_string(text, "\r\n");
    text_free(&name);
}

void csv_add_hex(struct text *text, struct span bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.bytes; i++) {
        char pair[2] = {digits[bytes.at[i] >> 4], digits[bytes.at[i] & 15]};
        text_put(text, pair, sizeof(pair));
    }
}

void csv_add_double(struct text *text, double value)
{
    char digits[DIGITS_BYTES_MAX];
    if (isinf(value))
        text_put(text, value < 0 ? "-inf" : "inf", value < 0 ? 4 : 3);
    else
        text_put(text, digits, digits_double(digits, value));
}

void csv_add_float(struct text *text, float value)
{
    char digits[DIGITS_BYTES_MAX];
    if (isinf(value))
        csv_add_double(text, (double)value);
    else
        text_put(text, digits, digits_float(digits, value));
}

/* An array or a map: JSON, which has commas and quotes nearly always. */
static void add_items(const struct column *column, const struct column_value *value,
                      struct column_value *room, struct text *text)
{
    struct text json = {0};
    columns_write_items(column, value, room, &json);
    text->failed |= json.failed;
    if (!json.failed)
        csv_add_text(text, (struct span){(const uint8_t *)json.at, json.bytes});
    text_free(&json);
}

static void add_cell(const struct column *column, const struct column_value *value,
                     struct column_value *room, struct text *text)
{
    char digits[DIGITS_BYTES_MAX];
    switch (column->type->kind) {
    case LAYOUT_BOOLEAN:
        text_put(text, value->integer ? "true" : "false", value->integer ? 4 : 5);
        return;
    case LAYOUT_INT:
    case LAYOUT_LONG:
        text_put(text, digits, digits_integer(digits, value->integer));
        return;
    case LAYOUT_FLOAT:
        csv_add_float(text, (float)value->real);
        return;
    case LAYOUT_DOUBLE:
        csv_add_double(text, value->real);
        return;
    case LAYOUT_ENUM: {
        const char *symbol = column->type->symbols[value->integer];
        csv_add_text(text, (struct span){(const uint8_t *)symbol, strlen(symbol)});
        return;
    }
    case LAYOUT_STRING:
        csv_add_text(text, value->bytes);
        return;
    case LAYOUT_BYTES:
    case LAYOUT_FIXED:
        if (value->bytes.bytes == 0)
            text_put_literal(text, "\"\"");
        csv_add_hex(text, value->bytes);
        return;
    default:
        add_items(column, value, room, text);
        return;
    }
}

void csv_add_row(const struct columns *columns, struct column_value *values, struct text *text)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        if (i > 0)
            text_put_literal(text, ",");
        if (values[i].present)
            add_cell(&columns->list[i], &values[i], values + columns->count, text);
        else if (columns->count == 1) /* a line without anything is none to most readers */
            text_put_literal(text, "\"\"");
    }
    text_put_literal(text, "\r\n");
    text_end(text);
}
