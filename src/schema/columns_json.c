/* SPDX-License-Identifier: MIT
 * Prints a datum's columns as JSON, in the shape that the whole datum has there. Relies on the
 * columns' places, which are the records and unions around them. */
#include <string.h>

#include "base/digits.h"
#include "schema/json.h"

struct printer {
    const struct columns *columns;
    struct column_value *values; /* of the columns; behind them, room for items */
    struct text *text;
};

void columns_write_items(const struct column *column, const struct column_value *value,
                         struct column_value *room, struct text *text)
{
    struct column_items items = column_items(column, value);
    bool first = true;
    text_put(text, items.is_map ? "{" : "[", 1);
    while (column_items_next(&items, room)) {
        if (!first)
            text_put_literal(text, ", ");
        first = false;
        if (items.is_map) {
            json_add_string(text, items.key);
            text_put_literal(text, ": ");
        }
        columns_write_json(items.columns, room, text);
    }
    text_put(text, items.is_map ? "}" : "]", 1);
    text_end(text);
}

static void print_value(struct printer *printer, uint32_t index)
{
    const struct column *column = &printer->columns->list[index];
    const struct column_value *value = &printer->values[index];
    struct text *text = printer->text;
    char digits[DIGITS_BYTES_MAX];
    if (!value->present) {
        text_put_literal(text, "null");
        return;
    }
    switch (column->type->kind) {
    case LAYOUT_BOOLEAN:
        text_put(text, value->integer ? "true" : "false", value->integer ? 4 : 5);
        return;
    case LAYOUT_INT:
    case LAYOUT_LONG:
        text_put(text, digits, digits_integer(digits, value->integer));
        return;
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        json_add_real(text, value->real);
        return;
    case LAYOUT_ENUM: {
        const char *symbol = column->type->symbols[value->integer];
        json_add_string(text, (struct span){(const uint8_t *)symbol, strlen(symbol)});
        return;
    }
    case LAYOUT_STRING:
        json_add_string(text, value->bytes);
        return;
    case LAYOUT_BYTES:
    case LAYOUT_FIXED:
        json_add_bytes(text, value->bytes);
        return;
    default:
        columns_write_items(column, value, printer->values + printer->columns->count, text);
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
        text_put_literal(printer->text, "null");
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
        const char *name = places[i].name;
        text_put(printer->text, i == index + 1 ? "{" : ", ", i == index + 1 ? 1 : 2);
        json_add_string(printer->text, (struct span){(const uint8_t *)name, strlen(name)});
        text_put_literal(printer->text, ": ");
        print_place(printer, i);
    }
    text_put_literal(printer->text, "}");
}

void columns_write_json(const struct columns *columns, struct column_value *values,
                        struct text *text)
{
    struct printer printer = {columns, values, text};
    if (columns->place_count == 0)
        text_put_literal(text, "null");
    else
        print_place(&printer, 0);
    text_end(text);
}

void columns_write_value(const struct columns *columns, struct column_value *values, uint32_t index,
                         struct text *text)
{
    struct printer printer = {columns, values, text};
    print_value(&printer, index);
    text_end(text);
}
