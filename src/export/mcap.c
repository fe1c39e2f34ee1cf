/* SPDX-License-Identifier: MIT
 * MCAP: each datum a message in CDR of a ROS 2 message (schema/ros2msg), in chunks with their
 * index, and behind them the summary that readers begin with. A channel is the topic "/NAME". Goes
 * to a pipe as well: nothing is written over. In memory is one chunk, and 60 bytes of index for
 * each. Source: mcap.dev/spec, version "0"; its registry for "ros2", "cdr" and "ros2msg". Known
 * limits: chunks are not compressed; a message is at most 4 GiB; times are from 1970 on (an earlier
 * one is written as 1970), those of a message's header to 2038. */
#include <errno.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "export/cell.h"
#include "schema/columns.h"
#include "schema/ros2msg.h"

#define CHUNK_BYTES (1u << 20) /* a chunk is ended when it has as many */

static const uint8_t magic[8] = {0x89, 'M', 'C', 'A', 'P', '0', '\r', '\n'};

enum opcode {
    OP_HEADER = 1,
    OP_FOOTER = 2,
    OP_SCHEMA = 3,
    OP_CHANNEL = 4,
    OP_MESSAGE = 5,
    OP_CHUNK = 6,
    OP_MESSAGE_INDEX = 7,
    OP_CHUNK_INDEX = 8,
    OP_STATISTICS = 11,
    OP_METADATA = 12,
    OP_METADATA_INDEX = 13,
    OP_SUMMARY_OFFSET = 14,
    OP_DATA_END = 15
};

struct channel {
    uint16_t id; /* from 1; of the schema as well */
    uint64_t messages;
    const struct columns *columns;
    struct ros2msg message;
    struct column_value *values;
    struct text definition; /* the records of schema and channel */
    size_t schema_bytes;    /* of the first of them */
    struct text index;      /* of the chunk at hand: times and offsets of its messages */
};

struct mcap {
    struct made *made;
    const struct export_options *options;
    struct channel **channels;
    size_t count, room;
    struct text chunk;   /* the records of the chunk at hand */
    struct text out;     /* on its way to the file */
    struct text indexes; /* for the summary: of chunks and of metadata */
    struct text metadata;
    uint64_t offset; /* in the file, of what `out` begins with */
    uint64_t chunk_first_ns, chunk_last_ns, chunk_messages;
    uint64_t first_ns, last_ns, messages, metadata_count;
    uint32_t chunks;
};

/* ---- bytes ---- */

static void put(struct text *text, uint64_t value, size_t bytes)
{
    text_add_bytes(text, &value, bytes); /* the low ones: little-endian */
}

static void put_string(struct text *text, const char *string)
{
    put(text, strlen(string), 4);
    text_add_string(text, string);
}

/* A record's front, whose length record_end knows. Returns where it is. */
static size_t record_begin(struct text *text, enum opcode opcode)
{
    put(text, opcode, 1);
    put(text, 0, 8);
    return text->bytes;
}

static void set(struct text *text, size_t at, uint64_t value, size_t bytes)
{
    if (!text->failed)
        memcpy(text->at + at, &value, bytes);
}

static void record_end(struct text *text, size_t begin)
{
    set(text, begin - 8, text->bytes - begin, 8);
}

/* Hands `out` over to the file. */
static int flush(struct mcap *mcap)
{
    struct text *out = &mcap->out;
    if (out->failed || mcap->chunk.failed || mcap->indexes.failed || mcap->metadata.failed)
        return -ENOMEM;
    int status = made_write(mcap->made, (struct span){(const uint8_t *)out->at, out->bytes});
    mcap->offset += out->bytes;
    text_clear(out);
    return status;
}

static uint64_t offset_of_next(const struct mcap *mcap)
{
    return mcap->offset + mcap->out.bytes;
}

/* ---- chunks ---- */

/* Writes the message indexes behind a chunk, and its own index for the summary. */
static void index_chunk(struct mcap *mcap, uint64_t chunk_offset)
{
    struct text *indexes = &mcap->indexes, *out = &mcap->out;
    uint64_t first = offset_of_next(mcap);
    size_t record = record_begin(indexes, OP_CHUNK_INDEX);
    put(indexes, mcap->chunk_first_ns, 8);
    put(indexes, mcap->chunk_last_ns, 8);
    put(indexes, chunk_offset, 8);
    put(indexes, first - chunk_offset, 8);
    size_t map = indexes->bytes;
    put(indexes, 0, 4);
    for (size_t i = 0; i < mcap->count; i++) {
        struct channel *channel = mcap->channels[i];
        if (channel->index.bytes == 0)
            continue;
        put(indexes, channel->id, 2);
        put(indexes, offset_of_next(mcap), 8);
        size_t of_channel = record_begin(out, OP_MESSAGE_INDEX);
        put(out, channel->id, 2);
        put(out, channel->index.bytes, 4);
        text_add_bytes(out, channel->index.at, channel->index.bytes);
        record_end(out, of_channel);
        text_clear(&channel->index);
    }
    set(indexes, map, indexes->bytes - map - 4, 4);
    put(indexes, offset_of_next(mcap) - first, 8);
    put_string(indexes, "");
    put(indexes, mcap->chunk.bytes, 8);
    put(indexes, mcap->chunk.bytes, 8);
    record_end(indexes, record);
}

static int end_chunk(struct mcap *mcap)
{
    struct text *chunk = &mcap->chunk, *out = &mcap->out;
    uint64_t offset = offset_of_next(mcap);
    if (chunk->failed)
        return -ENOMEM;
    if (chunk->bytes == 0)
        return 0;
    size_t record = record_begin(out, OP_CHUNK);
    put(out, mcap->chunk_first_ns, 8);
    put(out, mcap->chunk_last_ns, 8);
    put(out, chunk->bytes, 8);
    put(out, libdeflate_crc32(0, chunk->at, chunk->bytes), 4);
    put_string(out, "");
    put(out, chunk->bytes, 8);
    /* The records themselves are not copied: their length goes in, they follow. */
    set(out, record - 8, out->bytes - record + chunk->bytes, 8);
    int status = flush(mcap);
    if (status == 0)
        status = made_write(mcap->made, (struct span){(const uint8_t *)chunk->at, chunk->bytes});
    mcap->offset += chunk->bytes;
    index_chunk(mcap, offset);
    text_clear(chunk);
    mcap->chunks++;
    mcap->chunk_first_ns = mcap->chunk_last_ns = mcap->chunk_messages = 0;
    return status;
}

static void count_time(uint64_t ns, uint64_t count, uint64_t *first, uint64_t *last)
{
    *first = count == 0 || ns < *first ? ns : *first;
    *last = count == 0 || ns > *last ? ns : *last;
}

/* ---- tables ---- */

static void free_channel(struct channel *channel)
{
    ros2msg_free(&channel->message);
    columns_free(channel->columns);
    free(channel->values);
    text_free(&channel->definition);
    text_free(&channel->index);
    free(channel);
}

static void release(void *file)
{
    struct mcap *mcap = file;
    for (size_t i = 0; i < mcap->count; i++)
        free_channel(mcap->channels[i]);
    free(mcap->channels);
    text_free(&mcap->chunk);
    text_free(&mcap->out);
    text_free(&mcap->indexes);
    text_free(&mcap->metadata);
    free(mcap);
}

static int begin(void **file, struct made *made, const struct export_options *options, char *error,
                 size_t error_bytes)
{
    struct mcap *mcap = calloc(1, sizeof(*mcap));
    (void)error;
    (void)error_bytes;
    if (mcap == NULL)
        return -ENOMEM;
    *mcap = (struct mcap){.made = made, .options = options};
    text_add_bytes(&mcap->out, magic, sizeof(magic));
    size_t record = record_begin(&mcap->out, OP_HEADER);
    put_string(&mcap->out, "ros2");
    put_string(&mcap->out, "flotilla " FLOTILLA_VERSION);
    record_end(&mcap->out, record);
    *file = mcap;
    return 0;
}

/* The records that say what the table's messages are. */
static void define(struct channel *channel, const char *name)
{
    struct text *text = &channel->definition;
    size_t record = record_begin(text, OP_SCHEMA);
    put(text, channel->id, 2);
    put_string(text, channel->message.name);
    put_string(text, "ros2msg");
    put_string(text, channel->message.text);
    record_end(text, record);
    channel->schema_bytes = text->bytes;
    record = record_begin(text, OP_CHANNEL);
    put(text, channel->id, 2);
    put(text, channel->id, 2);
    size_t topic = text->bytes;
    put(text, 0, 4);
    text_add_string(text, "/");
    cell_add_name(text, name);
    set(text, topic, text->bytes - topic - 4, 4);
    put_string(text, "cdr");
    put(text, 0, 4); /* no metadata */
    record_end(text, record);
}

/* The columns of those fields that the table has; the core has seen that each is in one. */
static int choose(const struct export_options *options, const struct export_table *table,
                  const struct columns **columns, char *error, size_t error_bytes)
{
    const char **fields = calloc(options->field_count + 1, sizeof(*fields));
    size_t count = 0;
    int status = fields == NULL ? -ENOMEM : 0;
    for (size_t i = 0; status == 0 && i < options->field_count; i++) {
        const struct columns *one;
        if (columns_select(table->schema, &options->fields[i], 1, &one, error, error_bytes) < 0)
            continue;
        columns_free(one);
        fields[count++] = options->fields[i];
    }
    error[0] = '\0';
    if (status == 0)
        status =
            columns_select(table->schema, count > 0 ? fields : options->fields,
                           count > 0 ? count : options->field_count, columns, error, error_bytes);
    free(fields);
    return status;
}

static int begin_table(void *file, const struct export_table *table, void **state, char *error,
                       size_t error_bytes)
{
    struct mcap *mcap = file;
    if (mcap->count == UINT16_MAX) {
        snprintf(error, error_bytes, "a file of MCAP has at most %u channels", UINT16_MAX);
        return -E2BIG;
    }
    struct channel **grown =
        room_grow(mcap->channels, &mcap->room, mcap->count + 1, sizeof(struct channel *));
    struct channel *channel = calloc(1, sizeof(*channel));
    if (grown != NULL)
        mcap->channels = grown;
    if (grown == NULL || channel == NULL) {
        free(channel);
        return -ENOMEM;
    }
    mcap->channels[mcap->count++] = channel;
    *state = channel;
    channel->id = (uint16_t)mcap->count;
    int status = choose(mcap->options, table, &channel->columns, error, error_bytes);
    if (status == 0)
        status = ros2msg_make(&channel->message, channel->columns, table->name);
    if (status == -E2BIG && channel->columns != NULL)
        snprintf(error, error_bytes, "the definition of its messages is longer than %u MiB",
                 ROS2MSG_TEXT_BYTES_MAX >> 20);
    if (status < 0)
        return status;
    channel->values = calloc(channel->columns->value_room + 1u, sizeof(*channel->values));
    define(channel, table->name);
    text_add_bytes(&mcap->chunk, channel->definition.at, channel->definition.bytes);
    return channel->values == NULL || channel->definition.failed ? -ENOMEM : 0;
}

static int append_datum(struct mcap *mcap, struct channel *channel, struct span datum, uint64_t ns,
                        char *error, size_t error_bytes)
{
    struct text *chunk = &mcap->chunk;
    size_t bytes, offset = chunk->bytes;
    enum reject reason = columns_read(channel->columns, datum, &bytes, channel->values);
    CHECK(reason == REJECT_NONE && bytes == datum.bytes); /* the core has checked it */
    size_t record = record_begin(chunk, OP_MESSAGE);
    put(chunk, channel->id, 2);
    put(chunk, channel->messages, 4);
    put(chunk, ns, 8);
    put(chunk, ns, 8);
    if (!cdr_write(&channel->message.steps, ns, channel->values, chunk)) {
        if (!chunk->failed)
            snprintf(error, error_bytes, "a datum is longer than a message may be");
        return chunk->failed ? -ENOMEM : -E2BIG;
    }
    record_end(chunk, record);
    put(&channel->index, ns, 8);
    put(&channel->index, offset, 8);
    count_time(ns, mcap->chunk_messages++, &mcap->chunk_first_ns, &mcap->chunk_last_ns);
    count_time(ns, mcap->messages++, &mcap->first_ns, &mcap->last_ns);
    channel->messages++;
    if (chunk->failed || channel->index.failed)
        return -ENOMEM;
    return chunk->bytes >= CHUNK_BYTES ? end_chunk(mcap) : 0;
}

static int append(void *file, void *state, const struct export_batch *batch, char *error,
                  size_t error_bytes)
{
    struct channel *channel = state;
    int status = 0;
    for (uint32_t row = 0; row < batch->rows && status == 0; row++) {
        /* Where nothing is known of the time the rows stand in their order, a nanosecond apart. */
        int64_t ns = batch->time_ns != NULL ? batch->time_ns[row] : (int64_t)channel->messages;
        status = append_datum(file, channel, batch->datums[row], ns < 0 ? 0 : (uint64_t)ns, error,
                              error_bytes);
    }
    return status;
}

static void put_pair(struct text *text, const char *key, const char *value)
{
    put_string(text, key);
    size_t begin = text->bytes;
    put(text, 0, 4);
    cell_add_name(text, value);
    set(text, begin, text->bytes - begin - 4, 4);
}

static void put_count(struct text *text, const char *key, uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRIu64, value);
    put_pair(text, key, digits);
}

static int end_table(void *file, void *state, const struct export_origin *origin, char *error,
                     size_t error_bytes)
{
    struct mcap *mcap = file;
    const struct channel *channel = state;
    struct text *out = &mcap->metadata;
    struct text name = {0};
    (void)error;
    (void)error_bytes;
    text_add(&name, "flotilla %s", channel->message.name);
    size_t record = record_begin(out, OP_METADATA);
    put_string(out, name.failed ? "" : name.at);
    size_t map = out->bytes;
    put(out, 0, 4);
    put_pair(out, "version", FLOTILLA_VERSION);
    put_pair(out, "command", mcap->options->command);
    put_pair(out, "files", origin->files);
    put_count(out, "file_count", origin->file_count);
    put_count(out, "rows", origin->rows);
    put_pair(out, "losses", origin->losses);
    put_count(out, "loss_count", origin->loss_count);
    put_count(out, "lost_bytes", origin->lost_bytes);
    put_count(out, "missing_files", origin->missing_files);
    put_count(out, "missing_sequence_numbers", origin->missing_datums);
    put_count(out, "times_back", origin->times_back);
    set(out, map, out->bytes - map - 4, 4);
    record_end(out, record);
    text_free(&name);
    return out->failed ? -ENOMEM : 0;
}

/* ---- the summary ---- */

/* Writes the metadata out, noting where each is. */
static void put_metadata(struct mcap *mcap, struct text *index)
{
    const struct text *from = &mcap->metadata;
    uint64_t length;
    uint32_t name;
    for (size_t at = 0; at < from->bytes; at += 9 + (size_t)length) {
        memcpy(&length, from->at + at + 1, 8);
        memcpy(&name, from->at + at + 9, 4);
        size_t record = record_begin(index, OP_METADATA_INDEX);
        put(index, offset_of_next(mcap), 8);
        put(index, 9 + length, 8);
        put(index, name, 4);
        text_add_bytes(index, from->at + at + 13, name);
        record_end(index, record);
        text_add_bytes(&mcap->out, from->at + at, 9 + (size_t)length);
        mcap->metadata_count++;
    }
}

static void put_statistics(struct mcap *mcap)
{
    struct text *out = &mcap->out;
    size_t record = record_begin(out, OP_STATISTICS);
    put(out, mcap->messages, 8);
    put(out, mcap->count, 2);
    put(out, mcap->count, 4);
    put(out, 0, 4); /* attachments */
    put(out, mcap->metadata_count, 4);
    put(out, mcap->chunks, 4);
    put(out, mcap->first_ns, 8);
    put(out, mcap->last_ns, 8);
    put(out, mcap->count * 10, 4);
    for (size_t i = 0; i < mcap->count; i++) {
        put(out, mcap->channels[i]->id, 2);
        put(out, mcap->channels[i]->messages, 8);
    }
    record_end(out, record);
}

/* Notes that a group of the summary goes from `begin` to here. */
static void put_group(struct mcap *mcap, struct text *groups, enum opcode opcode, uint64_t begin)
{
    if (offset_of_next(mcap) == begin)
        return;
    size_t record = record_begin(groups, OP_SUMMARY_OFFSET);
    put(groups, opcode, 1);
    put(groups, begin, 8);
    put(groups, offset_of_next(mcap) - begin, 8);
    record_end(groups, record);
}

static void put_definitions(struct mcap *mcap, bool schemas)
{
    for (size_t i = 0; i < mcap->count; i++) {
        const struct text *text = &mcap->channels[i]->definition;
        size_t middle = mcap->channels[i]->schema_bytes;
        if (schemas)
            text_add_bytes(&mcap->out, text->at, middle);
        else
            text_add_bytes(&mcap->out, text->at + middle, text->bytes - middle);
    }
}

static int put_summary(struct mcap *mcap)
{
    struct text *out = &mcap->out, groups = {0}, metadata = {0};
    put_metadata(mcap, &metadata);
    size_t record = record_begin(out, OP_DATA_END);
    put(out, 0, 4); /* no checksum of all: each chunk has its own */
    record_end(out, record);
    int status = flush(mcap);
    uint64_t summary = mcap->offset, begin = summary;
    put_definitions(mcap, true);
    put_group(mcap, &groups, OP_SCHEMA, begin);
    begin = offset_of_next(mcap);
    put_definitions(mcap, false);
    put_group(mcap, &groups, OP_CHANNEL, begin);
    begin = offset_of_next(mcap);
    put_statistics(mcap);
    put_group(mcap, &groups, OP_STATISTICS, begin);
    begin = offset_of_next(mcap);
    text_add_bytes(out, metadata.at, metadata.bytes);
    put_group(mcap, &groups, OP_METADATA_INDEX, begin);
    begin = offset_of_next(mcap);
    text_add_bytes(out, mcap->indexes.at, mcap->indexes.bytes);
    put_group(mcap, &groups, OP_CHUNK_INDEX, begin);
    begin = offset_of_next(mcap);
    text_add_bytes(out, groups.at, groups.bytes);
    record = record_begin(out, OP_FOOTER);
    put(out, summary, 8);
    put(out, begin, 8);
    set(out, record - 8, 20, 8); /* the checksum is over it as well */
    uint32_t checksum = out->failed ? 0 : libdeflate_crc32(0, out->at, out->bytes);
    put(out, checksum, 4);
    text_add_bytes(out, magic, sizeof(magic));
    if (status == 0)
        status = groups.failed || metadata.failed ? -ENOMEM : flush(mcap);
    text_free(&groups);
    text_free(&metadata);
    return status;
}

static int end(void *file, char *error, size_t error_bytes)
{
    int status = end_chunk(file);
    (void)error;
    (void)error_bytes;
    if (status == 0)
        status = put_summary(file);
    release(file);
    return status;
}

const struct export_format format_mcap = {
    .name = "mcap",
    .extensions = ".mcap",
    .summary = "Foxglove, Lichtblick, Rerun, PlotJuggler: ROS 2 messages",
    .pipe = true,
    .rows = EXPORT_DATUMS,
    .begin = begin,
    .begin_table = begin_table,
    .append = append,
    .end_table = end_table,
    .end = end,
    .abort = release,
};
