/* SPDX-License-Identifier: MIT
 * Writes blocks. A block begins on a multiple of 8: "##" and two letters, 4 bytes of 0, its length
 * and how many links, each 8 bytes; then the links, then what is its own. Relies on a little-endian
 * machine. No known faults. */
#include "export/mdf4_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "export/deflate.h"

#define FRONT_BYTES    24u
#define IDENTITY_BYTES 64u
#define HEADER_LINKS   6u
#define HEADER_BYTES   32u /* behind the links */
#define OUT_BYTES      (256u << 10)

static void fail(struct mdf4_file *file, int status)
{
    if (file->status == 0)
        file->status = status;
}

static void write_bytes(struct mdf4_file *file, const void *bytes, size_t count)
{
    int status = file->status < 0 ? 0 : made_write(file->made, (struct span){bytes, count});
    if (status < 0)
        fail(file, status);
    file->offset += count;
}

static void flush(struct mdf4_file *file)
{
    if (file->out.failed)
        fail(file, -ENOMEM);
    else if (file->out.bytes > 0)
        write_bytes(file, file->out.at, file->out.bytes);
    text_clear(&file->out);
}

static void pad(struct mdf4_file *file)
{
    static const uint8_t zeros[8];
    text_add_bytes(&file->out, zeros, -(file->offset + file->out.bytes) & 7);
}

/* Appends the front of a block with `bytes` behind its links. Returns where it is. */
static uint64_t add_front(struct mdf4_file *file, const char *id, uint64_t link_count,
                          uint64_t bytes)
{
    uint64_t front[3] = {0, FRONT_BYTES + 8 * link_count + bytes, link_count};
    const char letters[4] = {'#', '#', id[0], id[1]};
    pad(file);
    uint64_t offset = file->offset + file->out.bytes;
    memcpy(front, letters, 4);
    text_add_bytes(&file->out, front, sizeof(front));
    return offset;
}

uint64_t mdf4_block(struct mdf4_file *file, const char *id, const uint64_t *links,
                    uint64_t link_count, const void *bytes, size_t byte_count)
{
    uint64_t offset = add_front(file, id, link_count, byte_count);
    text_add_bytes(&file->out, links, 8 * (size_t)link_count);
    text_add_bytes(&file->out, bytes, byte_count);
    if (file->out.bytes >= OUT_BYTES || file->out.failed)
        flush(file);
    return offset;
}

uint64_t mdf4_text(struct mdf4_file *file, const char *text)
{
    return text == NULL || *text == '\0' ? 0
                                         : mdf4_block(file, "TX", NULL, 0, text, strlen(text) + 1);
}

uint64_t mdf4_xml(struct mdf4_file *file, const char *xml)
{
    return mdf4_block(file, "MD", NULL, 0, xml, strlen(xml) + 1);
}

int mdf4_file_begin(struct mdf4_file *file, struct made *made, unsigned gzip)
{
    uint8_t identity[IDENTITY_BYTES] = "MDF     4.10    flotilla";
    const uint16_t version = 410;
    const uint64_t links[HEADER_LINKS] = {0};
    const uint8_t header[HEADER_BYTES] = {0};
    *file = (struct mdf4_file){.made = made};
    int status = gzip > 0 ? deflate_open(&file->deflate, gzip) : 0;
    if (status < 0)
        fail(file, status);
    memcpy(identity + 28, &version, sizeof(version));
    text_add_bytes(&file->out, identity, sizeof(identity));
    mdf4_block(file, "HD", links, HEADER_LINKS, header, sizeof(header));
    return file->status;
}

int mdf4_file_end(struct mdf4_file *file, uint64_t first_group, uint64_t history, uint64_t comment,
                  uint64_t start_ns)
{
    uint64_t links[HEADER_LINKS] = {first_group, history, 0, 0, 0, comment};
    flush(file);
    for (int i = 0; i < 2 && file->status == 0; i++) {
        struct span span = {i == 0 ? (const uint8_t *)links : (const uint8_t *)&start_ns,
                            i == 0 ? sizeof(links) : sizeof(start_ns)};
        int status = made_write_at(file->made, span,
                                   IDENTITY_BYTES + FRONT_BYTES + (i == 0 ? 0 : sizeof(links)));
        if (status < 0)
            fail(file, status);
    }
    return file->status;
}

void mdf4_file_free(struct mdf4_file *file)
{
    deflate_close(file->deflate);
    text_free(&file->out);
}

/* ---- data ---- */

bool mdf4_data_begin(const struct mdf4_file *file, struct mdf4_data *data, const char *id,
                     size_t record_bytes, size_t block_bytes)
{
    size_t records = block_bytes / record_bytes;
    *data = (struct mdf4_data){.id = id, .record_bytes = record_bytes};
    data->block_bytes = (records > 0 ? records : 1) * record_bytes;
    /* Two at a time are compressed by two threads; texts in one, which ends with one of them. */
    data->room = data->block_bytes * (file->deflate != NULL && record_bytes > 1 ? 2 : 1);
    data->bytes = malloc(data->room);
    return data->bytes != NULL;
}

/* Notes that a block of `bytes` comes next. False without memory. */
static bool note_place(struct mdf4_file *file, struct mdf4_data *data, size_t bytes)
{
    struct mdf4_place *grown =
        room_grow(data->places, &data->place_room, data->count + 1, sizeof(*data->places));
    if (grown == NULL) {
        fail(file, -ENOMEM);
        return false;
    }
    pad(file);
    data->places = grown;
    grown[data->count++] = (struct mdf4_place){file->offset + file->out.bytes, data->total};
    data->total += bytes;
    return true;
}

static void write_packed(struct mdf4_file *file, struct mdf4_data *data,
                         const struct deflate_job *job)
{
    struct {
        char id[2];
        uint8_t transposed, zero;
        uint32_t width;
        uint64_t bytes, packed_bytes;
    } front = {.bytes = job->bytes, .packed_bytes = job->made_bytes};
    memcpy(front.id, data->id, sizeof(front.id));
    front.transposed = job->width > 1;
    front.width = job->width > 1 ? job->width : 0;
    if (!note_place(file, data, job->bytes))
        return;
    add_front(file, "DZ", 0, sizeof(front) + job->made_bytes);
    text_add_bytes(&file->out, &front, sizeof(front));
    flush(file);
    write_bytes(file, job->made, job->made_bytes);
}

/* Writes the blocks at hand compressed, of records the bytes of one place together. */
static void pack(struct mdf4_file *file, struct mdf4_data *data)
{
    struct deflate_job jobs[2] = {0};
    size_t first = data->used < data->block_bytes ? data->used : data->block_bytes, count = 1;
    jobs[0] = (struct deflate_job){data->bytes, first, (uint32_t)data->record_bytes, NULL, 0};
    if (data->used > first)
        jobs[count++] = (struct deflate_job){data->bytes + first, data->used - first,
                                             (uint32_t)data->record_bytes, NULL, 0};
    int status = deflate_run(file->deflate, jobs, count);
    if (status < 0)
        fail(file, status);
    for (size_t i = 0; i < count; i++) {
        if (status == 0)
            write_packed(file, data, &jobs[i]);
        free(jobs[i].made);
    }
}

void mdf4_data_flush(struct mdf4_file *file, struct mdf4_data *data)
{
    if (data->used > 0 && file->deflate != NULL)
        pack(file, data);
    else if (data->used > 0 && note_place(file, data, data->used)) {
        add_front(file, data->id, 0, data->used);
        flush(file);
        write_bytes(file, data->bytes, data->used);
    }
    data->used = 0;
}

uint64_t mdf4_data_add(struct mdf4_file *file, struct mdf4_data *data, const void *bytes,
                       size_t byte_count, size_t zeros)
{
    uint32_t length = (uint32_t)(byte_count + zeros);
    if (byte_count > UINT32_MAX - 8)
        fail(file, -E2BIG);
    if (data->used + 4 + length > data->room)
        mdf4_data_flush(file, data);
    if (4 + (size_t)length > data->room) {
        uint8_t *grown = realloc(data->bytes, 4 + (size_t)length);
        if (grown == NULL) {
            fail(file, -ENOMEM);
            return 0;
        }
        data->bytes = grown;
        data->room = data->block_bytes = 4 + (size_t)length;
    }
    uint64_t first = data->total + data->used;
    uint8_t *at = data->bytes + data->used;
    memcpy(at, &length, 4);
    if (byte_count > 0)
        memcpy(at + 4, bytes, byte_count);
    memset(at + 4 + byte_count, 0, zeros);
    data->used += 4 + (size_t)length;
    return first;
}

/* The list of the blocks: how long they are, all but the last, or where each begins. */
static uint64_t write_list(struct mdf4_file *file, const struct mdf4_data *data)
{
    bool equal = data->record_bytes > 1;
    size_t bytes = 8 + 8 * (equal ? 1 : data->count);
    uint64_t offset = add_front(file, "DL", 1 + data->count, bytes), zero = 0;
    const uint32_t flags = equal, count = (uint32_t)data->count;
    text_add_bytes(&file->out, &zero, 8); /* no further list */
    for (size_t i = 0; i < data->count; i++)
        text_add_bytes(&file->out, &data->places[i].offset, 8);
    text_add_bytes(&file->out, &flags, 4);
    text_add_bytes(&file->out, &count, 4);
    for (size_t i = 0; i < data->count && !equal; i++)
        text_add_bytes(&file->out, &data->places[i].first, 8);
    if (equal)
        text_add_bytes(&file->out, &data->places[1].first, 8);
    flush(file);
    return offset;
}

uint64_t mdf4_data_end(struct mdf4_file *file, struct mdf4_data *data)
{
    mdf4_data_flush(file, data);
    uint64_t link = data->count == 0 ? 0 : data->places[0].offset;
    if (data->count > 1)
        link = write_list(file, data);
    if (data->count > 1 && file->deflate != NULL) {
        const uint16_t front[4] = {data->record_bytes > 1, data->record_bytes > 1};
        link = mdf4_block(file, "HL", &link, 1, front, sizeof(front));
    }
    mdf4_data_free(data);
    return link;
}

void mdf4_data_free(struct mdf4_data *data)
{
    free(data->bytes);
    free(data->places);
    *data = (struct mdf4_data){0};
}
