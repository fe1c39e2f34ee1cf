/* SPDX-License-Identifier: MIT
 * The printer walks the schema tree and the bytes together, by the rules of datum_check.
 * Relies on the C locale for the decimal point (the programs never call setlocale).
 * Known limits: a map with a key twice prints both; a JSON reader then takes the last. */
#include "schema/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/varint.h"

#define JSON_TEXT_FIRST_BYTES 1024u

void json_text_clear(struct json_text *text)
{
    text->bytes = 0;
    text->failed = false;
}

void json_text_free(struct json_text *text)
{
    free(text->at);
    *text = (struct json_text){0};
}

void json_text_add(struct json_text *text, const char *characters, size_t bytes)
{
    if (text->room - text->bytes <= bytes) {
        size_t room = text->room ? text->room : JSON_TEXT_FIRST_BYTES;
        while (room - text->bytes <= bytes && room <= SIZE_MAX / 4)
            room *= 2;
        char *at = room - text->bytes > bytes ? realloc(text->at, room) : NULL;
        if (at == NULL) {
            text->failed = true;
            return;
        }
        text->at = at;
        text->room = room;
    }
    if (bytes > 0)
        memcpy(text->at + text->bytes, characters, bytes);
    text->bytes += bytes;
    text->at[text->bytes] = '\0';
}

static void add_text(struct json_text *text, const char *characters)
{
    json_text_add(text, characters, strlen(characters));
}

/* `latin` escapes bytes above 0x7f too, as the characters of the same number. */
static void add_string(struct json_text *text, struct span value, bool latin)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = value.at, *end = value.at + value.bytes, *plain = at;
    add_text(text, "\"");
    for (; at < end; at++) {
        uint8_t byte = *at;
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f && (byte < 0x80 || !latin))
            continue;
        json_text_add(text, (const char *)plain, (size_t)(at - plain));
        plain = at + 1;
        char escape[6] = {'\\', (char)byte};
        size_t bytes = 2;
        switch (byte) {
        case '"':
        case '\\':
            break;
        case '\n':
            escape[1] = 'n';
            break;
        case '\r':
            escape[1] = 'r';
            break;
        case '\t':
            escape[1] = 't';
            break;
        default:
            escape[1] = 'u';
            escape[2] = escape[3] = '0';
            escape[4] = digits[byte >> 4];
            escape[5] = digits[byte & 15];
            bytes = 6;
        }
        json_text_add(text, escape, bytes);
    }
    json_text_add(text, (const char *)plain, (size_t)(at - plain));
    add_text(text, "\"");
}

void json_text_string(struct json_text *text, struct span value)
{
    add_string(text, value, false);
}

void json_text_bytes(struct json_text *text, struct span value)
{
    add_string(text, value, true);
}

void json_text_real(struct json_text *text, double value)
{
    char digits[40];
    if (isnan(value)) {
        add_text(text, "\"NaN\"");
        return;
    }
    if (isinf(value)) {
        add_text(text, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    add_text(text, digits);
    if (strpbrk(digits, ".e") == NULL)
        add_text(text, ".0"); /* so that it stays a real for readers that tell */
}

struct printer {
    const uint8_t *at, *end;
    uint64_t empty_items;
    struct json_text *text;
};

static enum reject read_long(struct printer *printer, int64_t *value)
{
    int bytes = varint_read(printer->at, printer->end, value);
    if (bytes <= 0)
        return bytes == 0 ? REJECT_TRUNCATED : REJECT_VARINT;
    printer->at += bytes;
    return REJECT_NONE;
}

static enum reject read_int(struct printer *printer, int64_t *value)
{
    const uint8_t *first = printer->at;
    enum reject reason = read_long(printer, value);
    if (reason == REJECT_NONE &&
        (printer->at - first > 5 || *value < INT32_MIN || *value > INT32_MAX)) {
        printer->at = first;
        return REJECT_VARINT;
    }
    return reason;
}

static enum reject read_bytes(struct printer *printer, uint64_t bytes, struct span *value)
{
    if (bytes > (uint64_t)(printer->end - printer->at))
        return REJECT_TRUNCATED;
    *value = (struct span){printer->at, bytes};
    printer->at += bytes;
    return REJECT_NONE;
}

static enum reject read_counted(struct printer *printer, struct span *value)
{
    const uint8_t *first = printer->at;
    int64_t length;
    enum reject reason = read_long(printer, &length);
    if (reason != REJECT_NONE)
        return reason;
    if (length < 0) {
        printer->at = first;
        return REJECT_LENGTH;
    }
    return read_bytes(printer, (uint64_t)length, value);
}

static bool is_utf8(struct span value)
{
    size_t i = 0;
    while (i < value.bytes) {
        uint8_t lead = value.at[i++];
        if (lead < 0x80)
            continue;
        /* RFC 3629: the second byte's range keeps out overlong forms, surrogates and > U+10FFFF. */
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || value.bytes - i < more)
            return false;
        for (unsigned k = 0; k < more; k++, i++, low = 0x80, high = 0xbf)
            if (value.at[i] < low || value.at[i] > high)
                return false;
    }
    return true;
}

static enum reject print_string(struct printer *printer)
{
    struct span value;
    enum reject reason = read_counted(printer, &value);
    if (reason != REJECT_NONE)
        return reason;
    if (!is_utf8(value)) {
        printer->at = value.at;
        return REJECT_UTF8;
    }
    add_string(printer->text, value, false);
    return REJECT_NONE;
}

static enum reject print_type(struct printer *printer, const struct schema *type, uint32_t depth);

static enum reject print_items(struct printer *printer, const struct schema *type, uint32_t depth)
{
    bool map = type->kind == LAYOUT_MAP, first_item = true;
    add_text(printer->text, map ? "{" : "[");
    for (;;) {
        const uint8_t *first = printer->at, *block_end = NULL;
        int64_t count, bytes;
        enum reject reason = read_long(printer, &count);
        if (reason != REJECT_NONE)
            return reason;
        if (count == 0)
            break;
        if (count < 0) {
            if (count == INT64_MIN) {
                printer->at = first;
                return REJECT_COUNT;
            }
            count = -count;
            reason = read_long(printer, &bytes);
            if (reason != REJECT_NONE)
                return reason;
            if (bytes < 0 || bytes > printer->end - printer->at) {
                printer->at = first;
                return REJECT_BLOCK_SIZE;
            }
            block_end = printer->at + bytes;
        }
        for (int64_t i = 0; i < count; i++) {
            const uint8_t *before = printer->at;
            if (!first_item)
                add_text(printer->text, ", ");
            first_item = false;
            if (map) {
                reason = print_string(printer);
                if (reason != REJECT_NONE)
                    return reason;
                add_text(printer->text, ": ");
            }
            reason = print_type(printer, type->items, depth + 1);
            if (reason != REJECT_NONE)
                return reason;
            if (printer->at == before && ++printer->empty_items > LAYOUT_EMPTY_ITEMS_MAX) {
                printer->at = first;
                return REJECT_COUNT;
            }
        }
        if (block_end != NULL && printer->at != block_end) {
            printer->at = first;
            return REJECT_BLOCK_SIZE;
        }
    }
    add_text(printer->text, map ? "}" : "]");
    return REJECT_NONE;
}

static enum reject print_simple(struct printer *printer, const struct schema *type)
{
    char digits[24];
    int64_t integer;
    struct span value;
    enum reject reason;

    switch (type->kind) {
    case LAYOUT_NULL:
        add_text(printer->text, "null");
        return REJECT_NONE;
    case LAYOUT_BOOLEAN:
        if (printer->at >= printer->end)
            return REJECT_TRUNCATED;
        if (*printer->at > 1)
            return REJECT_BOOLEAN;
        add_text(printer->text, *printer->at++ ? "true" : "false");
        return REJECT_NONE;
    case LAYOUT_INT:
    case LAYOUT_LONG:
        reason =
            type->kind == LAYOUT_INT ? read_int(printer, &integer) : read_long(printer, &integer);
        if (reason != REJECT_NONE)
            return reason;
        snprintf(digits, sizeof(digits), "%" PRId64, integer);
        add_text(printer->text, digits);
        return REJECT_NONE;
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        reason = read_bytes(printer, type->kind == LAYOUT_FLOAT ? 4 : 8, &value);
        if (reason != REJECT_NONE)
            return reason;
        if (type->kind == LAYOUT_FLOAT) {
            float real;
            memcpy(&real, value.at, 4);
            json_text_real(printer->text, (double)real);
        } else {
            double real;
            memcpy(&real, value.at, 8);
            json_text_real(printer->text, real);
        }
        return REJECT_NONE;
    case LAYOUT_STRING:
        return print_string(printer);
    case LAYOUT_ENUM: {
        const uint8_t *first = printer->at;
        reason = read_int(printer, &integer);
        if (reason == REJECT_NONE && (integer < 0 || integer >= (int64_t)type->count)) {
            printer->at = first;
            return REJECT_ENUM;
        }
        if (reason == REJECT_NONE) {
            const char *symbol = type->symbols[integer];
            add_string(printer->text, (struct span){(const uint8_t *)symbol, strlen(symbol)},
                       false);
        }
        return reason;
    }
    default: /* bytes and fixed */
        reason = type->kind == LAYOUT_BYTES ? read_counted(printer, &value)
                                            : read_bytes(printer, type->count, &value);
        if (reason == REJECT_NONE)
            add_string(printer->text, value, true);
        return reason;
    }
}

static enum reject print_type(struct printer *printer, const struct schema *type, uint32_t depth)
{
    if (type->kind < LAYOUT_UNION)
        return print_simple(printer, type);
    if (depth >= LAYOUT_DEPTH_MAX)
        return REJECT_DEPTH;
    switch (type->kind) {
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return print_items(printer, type, depth);
    case LAYOUT_UNION: {
        const uint8_t *first = printer->at;
        int64_t branch;
        enum reject reason = read_long(printer, &branch);
        if (reason != REJECT_NONE)
            return reason;
        if (branch < 0 || branch >= (int64_t)type->count) {
            printer->at = first;
            return REJECT_UNION;
        }
        return print_type(printer, type->branches[branch], depth + 1);
    }
    default: /* LAYOUT_RECORD */
        add_text(printer->text, "{");
        for (uint32_t i = 0; i < type->count; i++) {
            const char *name = type->fields[i].name; /* checked: nothing in it needs an escape */
            add_text(printer->text, i > 0 ? ", \"" : "\"");
            add_text(printer->text, name);
            add_text(printer->text, "\": ");
            enum reject reason = print_type(printer, type->fields[i].type, depth + 1);
            if (reason != REJECT_NONE)
                return reason;
        }
        add_text(printer->text, "}");
        return REJECT_NONE;
    }
}

enum reject datum_write_json(const struct schema *schema, struct span bytes, size_t *datum_bytes,
                             struct json_text *text)
{
    struct printer printer = {.at = bytes.at, .end = bytes.at + bytes.bytes, .text = text};
    size_t before = text->bytes;
    enum reject reason = print_type(&printer, schema, 0);
    *datum_bytes = (size_t)(printer.at - bytes.at);
    if (reason != REJECT_NONE) {
        text->bytes = before;
        if (text->at != NULL)
            text->at[before] = '\0';
    }
    return reason;
}
