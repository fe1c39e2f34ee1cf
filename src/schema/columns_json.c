/* SPDX-License-Identifier: MIT
 * Prints a datum's columns as JSON, in the shape that the whole datum has there. Relies on the
 * columns' places, which are the records and unions around them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "schema/json.h"

struct printer {
    const struct columns *columns;
    struct column_value *values; /* of the columns; behind them, room for items */
    struct json_text *text;
};

static void add_text(struct printer *printer, const char *characters)
{
    json_text_add(printer->text, characters, strlen(characters));
}

static void print_items(struct printer *printer, const struct column *column,
                        const struct column_value *value)
{
    struct column_items items = column_items(column, value);
    struct column_value *values = printer->values + printer->columns->count;
    bool first = true;
    add_text(printer, items.is_map ? "{" : "[");
    while (column_items_next(&items, values)) {
        if (!first)
            add_text(printer, ", ");
        first = false;
        if (items.is_map) {
            json_text_string(printer->text, items.key);
            add_text(printer, ": ");
        }
        columns_write_json(items.columns, values, printer->text);
    }
    add_text(printer, items.is_map ? "}" : "]");
}

static void print_value(struct printer *printer, uint32_t index)
{
    const struct column *column = &printer->columns->list[index];
    const struct column_value *value = &printer->values[index];
    char digits[24];
    if (!value->present) {
        add_text(printer, "null");
        return;
    }
    switch (column->type->kind) {
    case LAYOUT_BOOLEAN:
        add_text(printer, value->integer ? "true" : "false");
        return;
    case LAYOUT_INT:
    case LAYOUT_LONG:
        snprintf(digits, sizeof(digits), "%" PRId64, value->integer);
        add_text(printer, digits);
        return;
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        json_text_real(printer->text, value->real);
        return;
    case LAYOUT_ENUM: {
        const char *symbol = column->type->symbols[value->integer];
        json_text_string(printer->text, (struct span){(const uint8_t *)symbol, strlen(symbol)});
        return;
    }
    case LAYOUT_STRING:
        json_text_string(printer->text, value->bytes);
        return;
    case LAYOUT_BYTES:
    case LAYOUT_FIXED:
        json_text_bytes(printer->text, value->bytes);
        return;
    default:
        print_items(printer, column, value);
        return;
    }
}

static bool has_value(const struct printer *printer, const struct column_place *place)
{
    for (uint32_t i = place->first; i < place->end; i++)
        if (printer->values[i].present)
            return true;
    return false;
}

static void print_place(struct printer *printer, uint32_t index)
{
    const struct column_place *places = printer->columns->places, *place = &places[index];
    bool is_union = place->type->kind == LAYOUT_UNION;
    if (!is_union && place->type->kind != LAYOUT_RECORD) {
        print_value(printer, place->first);
        return;
    }
    if ((is_union || place->nullable) && !has_value(printer, place)) {
        add_text(printer, "null");
        return;
    }
    if (is_union) {
        uint32_t branch = index + 1;
        while (!has_value(printer, &places[branch]))
            branch = places[branch].next;
        print_place(printer, branch);
        return;
    }
    for (uint32_t i = index + 1; i < place->next; i = places[i].next) {
        add_text(printer, i == index + 1 ? "{\"" : ", \"");
        add_text(printer, places[i].name); /* checked: nothing in it needs an escape */
        add_text(printer, "\": ");
        print_place(printer, i);
    }
    add_text(printer, "}");
}

void columns_write_json(const struct columns *columns, struct column_value *values,
                        struct json_text *text)
{
    struct printer printer = {columns, values, text};
    if (columns->place_count == 0)
        add_text(&printer, "null");
    else
        print_place(&printer, 0);
}
