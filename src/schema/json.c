/* SPDX-License-Identifier: MIT
 * The printer walks the schema tree and the bytes together, by the rules of datum_check.
 * Relies on base/digits.
 * Known limits: a map with a key twice prints both; a JSON reader then takes the last. */
#include "schema/json.h"

#include <math.h>
#include <string.h>

#include "base/digits.h"
#include "base/utf8.h"
#include "base/varint.h"

/* ---- strings ---- */

#define EACH_BYTE(byte) ((uint64_t)(byte)*0x0101010101010101u)

/* Whether one of the word's bytes is 0. */
static inline uint64_t zero_byte(uint64_t word)
{
    return (word - EACH_BYTE(1)) & ~word & EACH_BYTE(0x80);
}

static inline bool is_plain(uint8_t byte, bool latin)
{
    return byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f && (byte < 0x80 || !latin);
}

/* The first byte in [at, end) that cannot stand in a JSON string as it is; eight at a time. */
static inline const uint8_t *past_plain(const uint8_t *at, const uint8_t *end, bool latin)
{
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        uint64_t low = (word - EACH_BYTE(0x20)) & ~word & EACH_BYTE(0x80);
        uint64_t other = zero_byte(word ^ EACH_BYTE('"')) | zero_byte(word ^ EACH_BYTE('\\')) |
                         zero_byte(word ^ EACH_BYTE(0x7f));
        if (low | other | (latin ? word & EACH_BYTE(0x80) : 0))
            break;
    }
    while (at < end && is_plain(*at, latin))
        at++;
    return at;
}

static void add_escape(struct text *text, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
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
    text_put(text, escape, bytes);
}

/* `latin` escapes bytes above 0x7f too, as the characters of the same number. */
static void add_string(struct text *text, struct span value, bool latin)
{
    const uint8_t *at = value.at, *end = value.at + value.bytes;
    text_put_literal(text, "\"");
    for (;;) {
        const uint8_t *plain = at;
        at = past_plain(at, end, latin);
        if (at > plain)
            text_put(text, plain, (size_t)(at - plain));
        if (at == end)
            break;
        add_escape(text, *at++);
    }
    text_put_literal(text, "\"");
}

void json_add_string(struct text *text, struct span value)
{
    add_string(text, value, false);
    text_end(text);
}

void json_add_bytes(struct text *text, struct span value)
{
    add_string(text, value, true);
    text_end(text);
}

void json_add_real(struct text *text, double value)
{
    char digits[DIGITS_BYTES_MAX + 2];
    size_t bytes = digits_double(digits + 1, value);
    bool number = isfinite(value);
    digits[0] = digits[bytes + 1] = '"';
    text_add_bytes(text, digits + number, number ? bytes : bytes + 2);
}

/* ---- datums ---- */

struct printer {
    const uint8_t *at, *end;
    uint64_t empty_items;
    struct text *text;
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
    *value = (struct span){printer->at, (size_t)bytes};
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

static enum reject print_string(struct printer *printer)
{
    struct span value;
    enum reject reason = read_counted(printer, &value);
    if (reason != REJECT_NONE)
        return reason;
    if (!utf8_valid(value.at, value.at + value.bytes)) {
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
    text_put(printer->text, map ? "{" : "[", 1);
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
                text_put_literal(printer->text, ", ");
            first_item = false;
            if (map) {
                reason = print_string(printer);
                if (reason != REJECT_NONE)
                    return reason;
                text_put_literal(printer->text, ": ");
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
    text_put(printer->text, map ? "}" : "]", 1);
    return REJECT_NONE;
}

static enum reject print_simple(struct printer *printer, const struct schema *type)
{
    char digits[DIGITS_BYTES_MAX];
    int64_t integer;
    struct span value;
    enum reject reason;

    switch (type->kind) {
    case LAYOUT_NULL:
        text_put_literal(printer->text, "null");
        return REJECT_NONE;
    case LAYOUT_BOOLEAN:
        if (printer->at >= printer->end)
            return REJECT_TRUNCATED;
        if (*printer->at > 1)
            return REJECT_BOOLEAN;
        if (*printer->at++)
            text_put_literal(printer->text, "true");
        else
            text_put_literal(printer->text, "false");
        return REJECT_NONE;
    case LAYOUT_INT:
    case LAYOUT_LONG:
        reason =
            type->kind == LAYOUT_INT ? read_int(printer, &integer) : read_long(printer, &integer);
        if (reason != REJECT_NONE)
            return reason;
        text_put(printer->text, digits, digits_integer(digits, integer));
        return REJECT_NONE;
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        reason = read_bytes(printer, type->kind == LAYOUT_FLOAT ? 4 : 8, &value);
        if (reason != REJECT_NONE)
            return reason;
        if (type->kind == LAYOUT_FLOAT) {
            float real;
            memcpy(&real, value.at, 4);
            json_add_real(printer->text, (double)real);
        } else {
            double real;
            memcpy(&real, value.at, 8);
            json_add_real(printer->text, real);
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
        text_put_literal(printer->text, "{");
        for (uint32_t i = 0; i < type->count; i++) {
            if (i > 0)
                text_put_literal(printer->text, ", ");
            text_put(printer->text, type->fields[i].json, type->fields[i].json_bytes);
            enum reject reason = print_type(printer, type->fields[i].type, depth + 1);
            if (reason != REJECT_NONE)
                return reason;
        }
        text_put_literal(printer->text, "}");
        return REJECT_NONE;
    }
}

enum reject datum_write_json(const struct schema *schema, struct span bytes, size_t *datum_bytes,
                             struct text *text)
{
    struct printer printer = {.at = bytes.at, .end = bytes.at + bytes.bytes, .text = text};
    size_t before = text->bytes;
    enum reject reason = print_type(&printer, schema, 0);
    *datum_bytes = (size_t)(printer.at - bytes.at);
    if (reason != REJECT_NONE)
        text->bytes = before;
    text_end(text);
    return reason;
}
