/* SPDX-License-Identifier: MIT
 * Streaming reader of container files: header, then blocks, each checked before it is believed.
 * Reads in whole pages from page boundaries, so that a page another process rewrites meanwhile is
 * seen before or after, never half. Relies on stdio and zlib's raw inflate.
 * Known limits: a damaged block ends the reading; nothing is searched behind it. */
#include "archive/container.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "avro/datum.h"

#define CONTAINER_BUFFER_BYTES   (256u << 10) /* a multiple of any page's size */
#define CONTAINER_SYNC_BYTES     16u
#define CONTAINER_ENTRIES_MAX    10000u
#define CONTAINER_METADATA_BYTES (LAYOUT_SCHEMA_BYTES_MAX + (1u << 20))
#define CONTAINER_NAME_BYTES_MAX 4096u

struct container {
    FILE *file;
    uint8_t *buffer;
    size_t buffer_at, buffer_bytes;
    uint64_t offset; /* of buffer[buffer_at] in the file */
    bool at_end;     /* of the file; what is in the buffer is the last of it */

    struct schema_file *schema;
    uint8_t *image;
    struct layout layout;
    bool deflate;
    uint8_t sync[CONTAINER_SYNC_BYTES];

    uint8_t *stored, *decoded; /* of the block at hand */
    size_t stored_room, decoded_room;
    const uint8_t *at, *end; /* datums not taken yet */
    int64_t count, taken;    /* datums of the block */
    uint64_t block_offset;   /* of the block in the file */
    uint64_t empty_datums;

    int status; /* 1 while there may be more; else what container_next returns for good */
    char error[400];
};

/* Notes the fault for good, with the place it was met at. */
__attribute__((format(printf, 4, 5))) static int fault(struct container *container, int status,
                                                       uint64_t offset, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *at = text; *at != '\0'; at++) /* some of it is the file's, and goes to a terminal */
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    snprintf(container->error, sizeof(container->error), "offset %" PRIu64 ": %s", offset, text);
    container->status = status;
    return status;
}

/* Fills the empty buffer. 0 at the end of the file. */
static int refill(struct container *container)
{
    if (container->at_end)
        return 0;
    size_t bytes = fread(container->buffer, 1, CONTAINER_BUFFER_BYTES, container->file);
    if (bytes < CONTAINER_BUFFER_BYTES) {
        if (ferror(container->file)) {
            int status = errno > 0 ? -errno : -EIO;
            return fault(container, status, container->offset, "%s", strerror(-status));
        }
        container->at_end = true;
    }
    container->buffer_at = 0;
    container->buffer_bytes = bytes;
    return bytes > 0 ? 1 : 0;
}

/* Reads exactly `bytes`; a file that ends before is at fault. */
static int read_exactly(struct container *container, void *into, size_t bytes, const char *what)
{
    uint8_t *to = into;
    while (bytes > 0) {
        if (container->buffer_at == container->buffer_bytes) {
            int status = refill(container);
            if (status < 0)
                return status;
            if (status == 0)
                return fault(container, -EBADMSG, container->offset, "the file ends inside %s",
                             what);
        }
        size_t part = container->buffer_bytes - container->buffer_at;
        if (part > bytes)
            part = bytes;
        memcpy(to, container->buffer + container->buffer_at, part);
        to += part;
        bytes -= part;
        container->buffer_at += part;
        container->offset += part;
    }
    return 0;
}

static int read_long(struct container *container, int64_t *value, const char *what)
{
    uint64_t raw = 0, first = container->offset;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte;
        int status = read_exactly(container, &byte, 1, what);
        if (status < 0)
            return status;
        if (shift == 63 && byte > 1)
            return fault(container, -EBADMSG, first, "damaged: a number in %s is too long", what);
        raw |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    *value = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    return 0;
}

static int grow(struct container *container, uint8_t **memory, size_t *room, size_t bytes)
{
    if (bytes <= *room)
        return 0;
    uint8_t *grown = realloc(*memory, bytes);
    if (grown == NULL)
        return fault(container, -ENOMEM, container->block_offset, "%s", strerror(ENOMEM));
    *memory = grown;
    *room = bytes;
    return 0;
}

/* Reads a metadata key or value into memory from malloc, NUL-terminated. */
static int read_counted(struct container *container, size_t bytes_max, uint8_t **text,
                        size_t *text_bytes)
{
    uint64_t first = container->offset;
    int64_t length;
    int status = read_long(container, &length, "the header");
    if (status < 0)
        return status;
    if (length < 0 || (uint64_t)length > bytes_max)
        return fault(container, -EBADMSG, first, "damaged: a length of %" PRId64 " in the header",
                     length);
    /* A few bytes may claim megabytes: at most bytes_max, and freed at once if they are not there.
     */
    *text = malloc((size_t)length + 1);
    if (*text == NULL)
        return fault(container, -ENOMEM, first, "%s", strerror(ENOMEM));
    *text_bytes = (size_t)length;
    status = read_exactly(container, *text, *text_bytes, "the header");
    if (status < 0) {
        free(*text);
        *text = NULL;
        return status;
    }
    (*text)[length] = '\0';
    return 0;
}

static int take_schema(struct container *container, struct span text, uint64_t offset)
{
    char error[256];
    size_t image_bytes;
    if (container->schema != NULL)
        return fault(container, -EBADMSG, offset, "damaged: the header has two schemas");
    container->schema = schema_parse(text, error, sizeof(error));
    if (container->schema == NULL ||
        schema_compile(container->schema, NULL, NULL, &container->image, &image_bytes, error,
                       sizeof(error)) < 0)
        return fault(container, -EBADMSG, offset, "the file's schema: %s", error);
    int status = layout_load(&container->layout, (struct span){container->image, image_bytes});
    if (status < 0)
        return fault(container, status, offset, "the file's schema does not load");
    return 0;
}

static int take_entry(struct container *container)
{
    uint64_t offset = container->offset;
    uint8_t *key = NULL, *value = NULL;
    size_t key_bytes, value_bytes;
    int status = read_counted(container, CONTAINER_NAME_BYTES_MAX, &key, &key_bytes);
    if (status == 0)
        status = read_counted(container, CONTAINER_METADATA_BYTES, &value, &value_bytes);
    if (status < 0)
        goto out;
    if (strcmp((char *)key, "avro.schema") == 0)
        status = take_schema(container, (struct span){value, value_bytes}, offset);
    else if (strcmp((char *)key, "avro.codec") == 0) {
        container->deflate = strcmp((char *)value, "deflate") == 0;
        if (!container->deflate && strcmp((char *)value, "null") != 0 && value_bytes > 0)
            status =
                fault(container, -ENOTSUP, offset,
                      "codec \"%.40s\" is not known here (null and deflate are)", (char *)value);
    }
out:
    free(key);
    free(value);
    return status;
}

static int read_header(struct container *container)
{
    uint8_t magic[4];
    uint64_t entries = 0;
    int64_t count, bytes;
    int status = refill(container);
    if (status < 0)
        return status;
    if (container->buffer_bytes < sizeof(magic) ||
        memcmp(container->buffer, "Obj\x01", sizeof(magic)) != 0)
        return fault(container, -EBADMSG, 0, "not an Avro container file%s",
                     container->buffer_bytes == 0 ? " (it is empty)" : "");
    status = read_exactly(container, magic, sizeof(magic), "the header");
    while (status == 0) {
        uint64_t first = container->offset;
        status = read_long(container, &count, "the header");
        if (status < 0 || count == 0)
            break;
        if (count < 0) {
            status = read_long(container, &bytes, "the header");
            if (status < 0)
                break;
        }
        entries += count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
        if (entries > CONTAINER_ENTRIES_MAX) {
            status = fault(container, -EBADMSG, first,
                           "damaged: the header claims %" PRIu64 " entries", entries);
            break;
        }
        for (uint64_t left = count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
             left > 0 && status == 0; left--)
            status = take_entry(container);
    }
    if (status == 0 && container->schema == NULL)
        status = fault(container, -EBADMSG, 0, "the header has no schema");
    if (status == 0)
        status = read_exactly(container, container->sync, CONTAINER_SYNC_BYTES, "the header");
    return status;
}

int container_open(const char *path, struct container **container, char *error, size_t error_bytes)
{
    struct container *made = calloc(1, sizeof(*made));
    int status = -ENOMEM;
    if (made == NULL)
        goto out;
    made->status = 1;
    made->file = fopen(path, "rb");
    if (made->file == NULL) {
        status = -errno;
        goto out;
    }
    /* Without stdio's buffer each read goes to our own, a whole number of pages. */
    setvbuf(made->file, NULL, _IONBF, 0);
    made->buffer = malloc(CONTAINER_BUFFER_BYTES);
    if (made->buffer == NULL)
        goto out;
    status = read_header(made);
out:
    if (status < 0) {
        snprintf(error, error_bytes, "%s",
                 made && made->error[0] != '\0' ? made->error : strerror(-status));
        container_close(made);
        return status;
    }
    *container = made;
    return 0;
}

const struct schema_file *container_schema(const struct container *container)
{
    return container->schema;
}

const struct layout *container_layout(const struct container *container)
{
    return &container->layout;
}

static int inflate_block(struct container *container, size_t stored_bytes, size_t *decoded_bytes)
{
    z_stream stream = {.next_in = container->stored, .avail_in = (uInt)stored_bytes};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return fault(container, -ENOMEM, container->block_offset, "%s", strerror(ENOMEM));
    int status = 0, result = Z_OK;
    size_t bytes = 0;
    while (result != Z_STREAM_END) {
        if (bytes == CONTAINER_BLOCK_BYTES_MAX) {
            status = fault(container, -EFBIG, container->block_offset,
                           "the block unpacks to more than %u bytes", CONTAINER_BLOCK_BYTES_MAX);
            break;
        }
        if (bytes == container->decoded_room) {
            size_t room = bytes ? 2 * bytes : CONTAINER_BUFFER_BYTES;
            if (room > CONTAINER_BLOCK_BYTES_MAX)
                room = CONTAINER_BLOCK_BYTES_MAX;
            status = grow(container, &container->decoded, &container->decoded_room, room);
            if (status < 0)
                break;
        }
        stream.next_out = container->decoded + bytes;
        stream.avail_out = (uInt)(container->decoded_room - bytes);
        result = inflate(&stream, Z_NO_FLUSH);
        bytes = container->decoded_room - stream.avail_out;
        if (result != Z_OK && result != Z_STREAM_END) {
            status = fault(container, -EBADMSG, container->block_offset,
                           "damaged: the block does not unpack (%s)",
                           stream.msg ? stream.msg : "it is cut short");
            break;
        }
    }
    inflateEnd(&stream);
    *decoded_bytes = bytes;
    return status;
}

/* Reads the next block. 1, 0 at the end of the file, or a fault. */
static int next_block(struct container *container)
{
    if (container->buffer_at == container->buffer_bytes) {
        int filled = refill(container);
        if (filled <= 0)
            return filled;
    }
    container->block_offset = container->offset;
    int64_t bytes;
    int status = read_long(container, &container->count, "a block");
    if (status == 0)
        status = read_long(container, &bytes, "a block");
    if (status < 0)
        return status;
    if (container->count < 0 || bytes < 0)
        return fault(container, -EBADMSG, container->block_offset,
                     "damaged: a block of %" PRId64 " datums in %" PRId64 " bytes",
                     container->count, bytes);
    if (bytes > CONTAINER_BLOCK_BYTES_MAX)
        return fault(container, -EFBIG, container->block_offset,
                     "a block of %" PRId64 " bytes (damaged, or over the limit of %u)", bytes,
                     CONTAINER_BLOCK_BYTES_MAX);
    /* Grown as bytes arrive, not as they are claimed. */
    for (size_t have = 0; have < (size_t)bytes;) {
        size_t part = (size_t)bytes - have;
        if (part > CONTAINER_BUFFER_BYTES && part > have)
            part = have > CONTAINER_BUFFER_BYTES ? have : CONTAINER_BUFFER_BYTES;
        status = grow(container, &container->stored, &container->stored_room, have + part);
        if (status == 0)
            status = read_exactly(container, container->stored + have, part, "a block");
        if (status < 0)
            return status;
        have += part;
    }
    uint8_t sync[CONTAINER_SYNC_BYTES];
    uint64_t sync_offset = container->offset;
    status = read_exactly(container, sync, sizeof(sync), "a block");
    if (status < 0)
        return status;
    if (memcmp(sync, container->sync, sizeof(sync)) != 0)
        return fault(container, -EBADMSG, sync_offset,
                     "damaged: the block from offset %" PRIu64 " does not end in the sync marker",
                     container->block_offset);
    size_t data_bytes = (size_t)bytes;
    const uint8_t *data = bytes > 0 ? container->stored : container->sync; /* never NULL */
    if (container->deflate && bytes > 0) {
        status = inflate_block(container, (size_t)bytes, &data_bytes);
        if (status < 0)
            return status;
        data = container->decoded;
    }
    container->at = data;
    container->end = data + data_bytes;
    container->taken = 0;
    container->empty_datums = 0;
    return 1;
}

static int take_datum(struct container *container, struct span *datum)
{
    size_t bytes;
    struct span rest = {container->at, (size_t)(container->end - container->at)};
    enum reject reason = datum_check(&container->layout, rest, &bytes);
    if (reason != REJECT_NONE)
        return fault(container, -EBADMSG, container->block_offset,
                     "damaged: datum %" PRId64 " of %" PRId64 " in this block is not valid (%s)",
                     container->taken + 1, container->count, datum_reject_name(reason));
    if (bytes == 0 && ++container->empty_datums > LAYOUT_EMPTY_ITEMS_MAX)
        return fault(container, -EBADMSG, container->block_offset,
                     "a block of %" PRId64 " datums without bytes", container->count);
    *datum = (struct span){container->at, bytes};
    container->at += bytes;
    container->taken++;
    return 1;
}

int container_next(struct container *container, struct span *datum, char *error, size_t error_bytes)
{
    int status = container->status;
    while (status == 1 && container->taken == container->count) {
        if (container->at != container->end)
            status = fault(container, -EBADMSG, container->block_offset,
                           "damaged: %zu bytes behind the block's last datum",
                           (size_t)(container->end - container->at));
        else
            status = next_block(container);
    }
    if (status == 1)
        status = take_datum(container, datum);
    container->status = status;
    if (status < 0)
        snprintf(error, error_bytes, "%s", container->error);
    return status;
}

void container_block(const struct container *container, uint64_t *begin, uint64_t *end)
{
    *begin = container->block_offset;
    *end = container->block_offset ? container->offset : 0;
}

void container_close(struct container *container)
{
    if (container == NULL)
        return;
    if (container->file != NULL)
        fclose(container->file);
    schema_free(container->schema);
    free(container->image);
    free(container->buffer);
    free(container->stored);
    free(container->decoded);
    free(container);
}
