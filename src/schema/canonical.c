/* SPDX-License-Identifier: MIT
 * Writes a schema's tree in Parsing Canonical Form: full names, no other attributes than those that
 * decide over a datum's bytes, in a fixed order, without blanks. A named type is written out where
 * it stands first. Known difference between implementations: a type "error" is written as "record",
 * as Apache's Java does; the specification does not say. */
#include "schema/canonical.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "schema/json.h"

#define CRC64_EMPTY 0xc15d213aa4d7a795u

struct writer {
    struct text text;
    bool *written; /* by schema.node: the named types that stand in the text already */
    int status;
};

static void add(struct writer *writer, const char *text)
{
    if (writer->status == 0 && strlen(text) > CANONICAL_BYTES_MAX - writer->text.bytes)
        writer->status = -EFBIG;
    if (writer->status == 0)
        text_add_string(&writer->text, text);
    if (writer->text.failed)
        writer->status = -ENOMEM;
}

/* A foreign file's names and symbols may be any text. */
static void add_quoted(struct writer *writer, const char *text)
{
    size_t bytes = strlen(text);
    if (writer->status == 0 && bytes > CANONICAL_BYTES_MAX - writer->text.bytes)
        writer->status = -EFBIG;
    if (writer->status == 0)
        json_add_string(&writer->text, (struct span){(const uint8_t *)text, bytes});
    if (writer->text.failed)
        writer->status = -ENOMEM;
}

static void add_type(struct writer *writer, const struct schema *type);

static void add_record(struct writer *writer, const struct schema *type)
{
    add(writer, ",\"fields\":[");
    for (uint32_t i = 0; i < type->count && writer->status == 0; i++) {
        add(writer, i > 0 ? ",{\"name\":" : "{\"name\":");
        add_quoted(writer, type->fields[i].name);
        add(writer, ",\"type\":");
        add_type(writer, type->fields[i].type);
        add(writer, "}");
    }
    add(writer, "]}");
}

static void add_named(struct writer *writer, const struct schema *type)
{
    char size[40];
    if (writer->written[type->node]) {
        add_quoted(writer, type->name);
        return;
    }
    writer->written[type->node] = true;
    add(writer, "{\"name\":");
    add_quoted(writer, type->name);
    add(writer, ",\"type\":");
    add_quoted(writer, schema_kind_name(type->kind));
    if (type->kind == LAYOUT_RECORD) {
        add_record(writer, type);
    } else if (type->kind == LAYOUT_ENUM) {
        add(writer, ",\"symbols\":[");
        for (uint32_t i = 0; i < type->count; i++) {
            add(writer, i > 0 ? "," : "");
            add_quoted(writer, type->symbols[i]);
        }
        add(writer, "]}");
    } else {
        snprintf(size, sizeof(size), ",\"size\":%lu}", (unsigned long)type->count);
        add(writer, size);
    }
}

/* Nests as deep as the schema's text does, which schema_parse bounds. */
static void add_type(struct writer *writer, const struct schema *type)
{
    if (writer->status < 0)
        return;
    switch (type->kind) {
    case LAYOUT_RECORD:
    case LAYOUT_ENUM:
    case LAYOUT_FIXED:
        add_named(writer, type);
        break;
    case LAYOUT_UNION:
        add(writer, "[");
        for (uint32_t i = 0; i < type->count; i++) {
            add(writer, i > 0 ? "," : "");
            add_type(writer, type->branches[i]);
        }
        add(writer, "]");
        break;
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        add(writer, type->kind == LAYOUT_ARRAY ? "{\"type\":\"array\",\"items\":"
                                               : "{\"type\":\"map\",\"values\":");
        add_type(writer, type->items);
        add(writer, "}");
        break;
    default:
        add_quoted(writer, schema_kind_name(type->kind));
        break;
    }
}

int schema_canonical(const struct schema_file *file, char **text, size_t *bytes)
{
    uint32_t count;
    struct writer writer = {0};
    schema_types(file, &count);
    writer.written = calloc(count, sizeof(bool));
    if (writer.written == NULL)
        return -ENOMEM;
    add_type(&writer, schema_root(file));
    free(writer.written);
    if (writer.status < 0) {
        text_free(&writer.text);
        return writer.status;
    }
    *bytes = writer.text.bytes;
    *text = text_take(&writer.text);
    return *text == NULL ? -ENOMEM : 0;
}

uint64_t canonical_crc64(struct span bytes)
{
    uint64_t table[256], crc = CRC64_EMPTY;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? CRC64_EMPTY : 0);
    }
    for (size_t i = 0; i < bytes.bytes; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes.at[i]) & 0xff];
    return crc;
}

int schema_fingerprint(const struct schema_file *file, uint64_t *fingerprint)
{
    char *text;
    size_t bytes;
    int status = schema_canonical(file, &text, &bytes);
    if (status < 0)
        return status;
    *fingerprint = canonical_crc64((struct span){(const uint8_t *)text, bytes});
    free(text);
    return 0;
}
