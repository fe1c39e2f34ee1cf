/* SPDX-License-Identifier: MIT
 * One pass over the metadata, a map of blocks. Lengths are believed as far as bytes are there.
 * Relies on avro/block for the name of our own format. */
#include "archive/header.h"

#include <string.h>

#include "archive/packed.h"
#include "avro/block.h"
#include "base/check.h"
#include "base/utf8.h"
#include "base/varint.h"

#define MAGIC       "Obj\x01"
#define MAGIC_BYTES 4u
#define TEXT_BYTES  64u /* of text that tell it from data */

struct cursor {
    const uint8_t *start, *at, *end;
    uint64_t needed; /* the bytes end inside, before this many; 0: not so */
    const char *bad; /* what is wrong */
};

static bool goes_on(const struct cursor *cursor)
{
    return cursor->needed == 0 && cursor->bad == NULL;
}

static void need(struct cursor *cursor, uint64_t more)
{
    cursor->needed = (uint64_t)(cursor->at - cursor->start) + more;
}

static int64_t cursor_long(struct cursor *cursor)
{
    int64_t value = 0;
    if (!goes_on(cursor))
        return 0;
    int used = varint_read(cursor->at, cursor->end, &value);
    if (used == 0)
        need(cursor, (uint64_t)(cursor->end - cursor->at) + 1);
    else if (used < 0)
        cursor->bad = "a number is too long";
    else
        cursor->at += used;
    return used > 0 ? value : 0;
}

static struct span cursor_counted(struct cursor *cursor)
{
    int64_t bytes = cursor_long(cursor);
    struct span text = {cursor->at, 0};
    if (!goes_on(cursor))
        return text;
    if (bytes < 0) {
        cursor->bad = "a length is negative";
    } else if (bytes > cursor->end - cursor->at) {
        need(cursor, (uint64_t)bytes);
    } else {
        text.bytes = (size_t)bytes;
        cursor->at += bytes;
    }
    return text;
}

static bool is_word(struct span text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.at, word, text.bytes) == 0;
}

/* Of an entry that is there twice the last counts, as for who reads them into a map. */
static void take_entry(struct scan_header *header, struct span key, struct span value)
{
    const struct {
        const char *key;
        struct span *into;
    } known[] = {
        {"avro.schema", &header->schema},         {"avro.codec", &header->codec_name},
        {"flotilla.channel", &header->channel},   {"flotilla.host", &header->host},
        {"flotilla.started", &header->started},   {"flotilla.version", &header->version},
        {"flotilla.format", &header->format},     {"flotilla.time", &header->time},
        {"flotilla.sequence", &header->sequence},
    };
    if (key.bytes > 9 && memcmp(key.at, "flotilla.", 9) == 0)
        header->ours = true;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (is_word(key, known[i].key))
            *known[i].into = value;
}

static void read_entries(struct scan_header *header, struct cursor *cursor)
{
    for (;;) {
        int64_t count = cursor_long(cursor);
        uint64_t left = count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
        if (count < 0)
            cursor_long(cursor); /* the block's bytes, which nobody needs */
        if (left == 0 || !goes_on(cursor))
            break;
        if (left > (uint64_t)(cursor->end - cursor->at) / 2) /* each takes two bytes and more */
            need(cursor, left < UINT64_MAX / 4 ? 2 * left : UINT64_MAX / 4);
        for (; left > 0 && goes_on(cursor); left--) {
            struct span key = cursor_counted(cursor);
            struct span value = cursor_counted(cursor);
            if (goes_on(cursor))
                take_entry(header, key, value);
        }
    }
}

/* ---- what else it may be ---- */

static bool is_text(struct span bytes)
{
    size_t count = bytes.bytes < TEXT_BYTES ? bytes.bytes : TEXT_BYTES;
    for (size_t i = 0; i < count; i++)
        if (bytes.at[i] < 0x20 && bytes.at[i] != '\t' && bytes.at[i] != '\n' && bytes.at[i] != '\r')
            return false;
    while (count > 0 && count < bytes.bytes && (bytes.at[count] & 0xc0) == 0x80)
        count++; /* to the end of a character */
    return count >= 8 && utf8_valid(bytes.at, bytes.at + count);
}

#define NO_CONTAINER "not an Avro container file: "

/* What a file is by its first bytes; NULL if that is not known. */
static const char *other_kind(struct span bytes)
{
    static const struct {
        const char *magic;
        uint8_t count;
        const char *what;
    } known[] = {
        {"\x1f\x8b", 2, NO_CONTAINER "this is gzip; try: zcat FILE | flotilla cat -"},
        {"\x28\xb5\x2f\xfd", 4, NO_CONTAINER "this is zstd; try: zstdcat FILE | flotilla cat -"},
        {"\xfd\x37zXZ", 5, NO_CONTAINER "this is xz; try: xzcat FILE | flotilla cat -"},
        {"BZh", 3, NO_CONTAINER "this is bzip2; try: bzcat FILE | flotilla cat -"},
        {"PK\3\4", 4, NO_CONTAINER "this is a zip archive; unpack it first"},
        {"PAR1", 4, NO_CONTAINER "this is Parquet"},
        {"ORC", 3, NO_CONTAINER "this is ORC"},
        {"SQLite format 3", 15, NO_CONTAINER "this is an SQLite database"},
        {"\xc3\x01", 2, NO_CONTAINER "this is one datum in Avro's single-object encoding"},
        {"\xff\xfe", 2, NO_CONTAINER "this is text in UTF-16"},
        {"\xfe\xff", 2, NO_CONTAINER "this is text in UTF-16"},
        {"\xef\xbb\xbf", 3, NO_CONTAINER "this is text"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (bytes.bytes >= known[i].count && memcmp(bytes.at, known[i].magic, known[i].count) == 0)
            return known[i].what;
    if (bytes.bytes >= MAGIC_BYTES && memcmp(bytes.at, "Obj", 3) == 0)
        return "a container file of a version of Avro that is not known here";
    if (!is_text(bytes))
        return NULL;
    if (bytes.at[0] == '{' || bytes.at[0] == '[')
        return NO_CONTAINER "this is JSON text (of a schema: see flotilla schema)";
    return NO_CONTAINER "this is text, CSV perhaps";
}

enum header_kind header_read(struct scan_header *header, struct span bytes,
                             struct header_place *place)
{
    struct cursor cursor = {.start = bytes.at, .at = bytes.at, .end = bytes.at + bytes.bytes};
    *header = (struct scan_header){.sound = true};
    *place = (struct header_place){0};
    if (bytes.bytes < MAGIC_BYTES || memcmp(bytes.at, MAGIC, MAGIC_BYTES) != 0) {
        place->why = other_kind(bytes);
        if (place->why != NULL)
            return HEADER_OTHER;
        place->why = "not an Avro container file";
        return HEADER_BAD;
    }
    cursor.at += MAGIC_BYTES;
    read_entries(header, &cursor);
    if (goes_on(&cursor) && cursor.end - cursor.at < (ptrdiff_t)SCAN_SYNC_BYTES)
        need(&cursor, SCAN_SYNC_BYTES);
    place->at = (uint64_t)(cursor.at - cursor.start);
    place->why = cursor.bad;
    place->needed = cursor.needed;
    if (cursor.bad != NULL)
        return HEADER_BAD;
    if (cursor.needed > 0)
        return HEADER_CUT;
    /* Of a later form only what any reader sees is known. */
    header->packed =
        header->ours && header->format.at != NULL && packed_codec(header->format) != CODEC_UNKNOWN;
    if (header->format.at != NULL && !is_word(header->format, BLOCK_FORMAT) && !header->packed)
        header->ours = false;
    memcpy(header->sync, cursor.at, SCAN_SYNC_BYTES);
    header->image = (struct span){bytes.at, (size_t)place->at + SCAN_SYNC_BYTES};
    place->why = header->schema.at == NULL ? "it has no schema" : NULL;
    header->codec = codec_of(header->codec_name);
    if (header->ours && header->codec == CODEC_UNKNOWN)
        header->codec = header->packed ? packed_codec(header->format) : CODEC_DEFLATE;
    return header->schema.at == NULL ? HEADER_BAD : HEADER_WHOLE;
}
