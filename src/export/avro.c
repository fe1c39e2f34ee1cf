/* SPDX-License-Identifier: MIT
 * Avro: the datums as they were recorded, in a container file like those that they are from
 * (avro/block.h), which every Avro reader reads and every verb of `flotilla`: with arrival times
 * and checksums. Goes to a pipe as well. In memory is one block.
 * Known limit: a datum that is larger than a block of Flotilla's, as programs of others write it,
 * is refused. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "avro/layout.h"
#include "base/calendar.h"
#include "export/format.h"
#include "os/clock.h"
#include "os/host.h"

#define LEAST_BYTES 3000u         /* of a block that is ended because the time has gone on ... */
#define MOST_NS     1000000000ull /* ... unless it has by as much */
#define HEADER_MAX  (LAYOUT_SCHEMA_BYTES_MAX + (1u << 20))

struct avro {
    struct made *made;
    uint8_t sync[BLOCK_SYNC_BYTES];
    uint8_t *image; /* of the block at hand */
    size_t data_bytes, data_max;
    uint64_t count, first_ns, last_ns; /* arrival of its first datum and its last one */
    uint64_t offset;
};

static void release(void *file)
{
    struct avro *avro = file;
    free(avro->image);
    free(avro);
}

static int begin(void **file, struct made *made, const struct export_options *options, char *error,
                 size_t error_bytes)
{
    if (options->field_count > 0) {
        snprintf(error, error_bytes, "avro holds datums as they were recorded, whole: no --fields");
        return -EINVAL;
    }
    struct avro *avro = calloc(1, sizeof(*avro));
    if (avro == NULL)
        return -ENOMEM;
    avro->made = made;
    avro->image = malloc(BLOCK_BYTES_MAX);
    avro->data_max = block_data_max(BLOCK_BYTES_MAX);
    int status = avro->image == NULL ? -ENOMEM : host_random(avro->sync, sizeof(avro->sync));
    if (status < 0)
        release(avro);
    else
        *file = avro;
    return status;
}

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, text != NULL ? strlen(text) : 0};
}

static int begin_table(void *file, const struct export_table *table, void **state, char *error,
                       size_t error_bytes)
{
    struct avro *avro = file;
    char started[CALENDAR_TEXT_BYTES], host[256];
    *state = avro;
    host_name(host, sizeof(host));
    const struct block_header_text text = {.schema = schema_text(table->schema),
                                           .channel = table->channel,
                                           .host = host,
                                           .started = calendar_write(started, clock_realtime_ns(),
                                                                     6),
                                           .version = FLOTILLA_VERSION,
                                           .time = span_of(table->time_path),
                                           .sequence = span_of(table->sequence_path)};
    uint8_t *header = malloc(HEADER_MAX);
    long bytes = header == NULL ? -ENOMEM
                                : block_write_header(header, HEADER_MAX, &text, avro->sync,
                                                     BLOCK_PAGE_BYTES);
    if (bytes == -ENOSPC)
        snprintf(error, error_bytes, "the schema is longer than %u MiB",
                 LAYOUT_SCHEMA_BYTES_MAX >> 20);
    int status = bytes < 0 ? (int)bytes
                           : made_write(avro->made, (struct span){header, (size_t)bytes});
    if (status == 0)
        avro->offset = (uint64_t)bytes;
    free(header);
    return status;
}

static int end_block(struct avro *avro)
{
    if (avro->count == 0)
        return 0;
    size_t bytes = block_finish_at(avro->image, avro->data_bytes, avro->count, avro->first_ns,
                                   avro->sync, BLOCK_PAGE_BYTES, block_place(avro->offset));
    int status = made_write(avro->made, (struct span){avro->image, bytes});
    avro->offset += bytes;
    avro->data_bytes = avro->count = 0;
    return status;
}

/* When a datum came in is known of a block's first one alone, so that one which came in with
 * another block begins another. */
static bool is_full(const struct avro *avro, size_t bytes, uint64_t arrival_ns)
{
    if (avro->count == 0)
        return false;
    bool later = arrival_ns != avro->last_ns &&
                 (avro->data_bytes >= LEAST_BYTES || arrival_ns < avro->first_ns ||
                  arrival_ns - avro->first_ns > MOST_NS);
    return later || avro->data_bytes + bytes > avro->data_max || avro->count == BLOCK_DATUMS_MAX;
}

static int append(void *file, void *state, const struct export_batch *batch, char *error,
                  size_t error_bytes)
{
    struct avro *avro = file;
    (void)state;
    for (uint32_t i = 0; i < batch->rows; i++) {
        struct span datum = batch->datums[i];
        int status = is_full(avro, datum.bytes, batch->arrival_ns[i]) ? end_block(avro) : 0;
        if (status < 0)
            return status;
        if (datum.bytes > avro->data_max) {
            snprintf(error, error_bytes, "a datum of %zu bytes is larger than a block may be",
                     datum.bytes);
            return -EFBIG;
        }
        if (avro->count++ == 0)
            avro->first_ns = batch->arrival_ns[i];
        avro->last_ns = batch->arrival_ns[i];
        block_append(avro->image, avro->data_bytes, datum);
        avro->data_bytes += datum.bytes;
    }
    return 0;
}

static int end_table(void *file, void *state, const struct export_origin *origin, char *error,
                     size_t error_bytes)
{
    (void)state;
    (void)origin;
    (void)error;
    (void)error_bytes;
    return end_block(file);
}

static int end(void *file, char *error, size_t error_bytes)
{
    (void)error;
    (void)error_bytes;
    release(file);
    return 0;
}

const struct export_format format_avro = {
    .name = "avro",
    .extensions = ".avro",
    .summary = "what reads recordings: the datums as they are, of one channel",
    .pipe = true,
    .one_table = true,
    .rows = EXPORT_DATUMS,
    .begin = begin,
    .begin_table = begin_table,
    .append = append,
    .end_table = end_table,
    .end = end,
    .abort = release,
};
