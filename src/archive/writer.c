/* SPDX-License-Identifier: MIT
 * Blocks are built where they are written from, one behind the other, and handed over a megabyte at
 * a time. A write that fails is never tried again: what is behind the last sync is given up. */
#include "archive/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/packed.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/varint.h"
#include "channel/recording_name.h"
#include "os/direct.h"
#include "os/folder.h"
#include "os/host.h"
#include "os/memory.h"
#include "os/storage.h"

#define PENDING_BYTES    (1u << 20) /* that are handed over at once */
#define BUFFER_BYTES     (PENDING_BYTES + BLOCK_BYTES_MAX)
#define HEADER_BYTES_MAX (LAYOUT_SCHEMA_BYTES_MAX + (1u << 20))

struct writer {
    descriptor_t folder;
    char name[RECORDING_NAME_BYTES], part[RECORDING_NAME_BYTES + sizeof(RECORDING_PART_SUFFIX)];
    struct direct_file file;
    uint8_t sync[BLOCK_SYNC_BYTES];
    uint8_t *buffer;
    size_t pending;   /* bytes of ended blocks in it, not written yet; the block at hand behind */
    uint64_t written; /* bytes of the file */
    size_t data_bytes;
    uint64_t count, arrival_ns; /* of the block at hand */
    int failed;                 /* a negative errno, from then on */
};

/* ---- the header ---- */

static size_t put(uint8_t *out, size_t at, const void *bytes, size_t count)
{
    if (out != NULL && count > 0)
        memcpy(out + at, bytes, count);
    return at + count;
}

static size_t put_long(uint8_t *out, size_t at, int64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    return put(out, at, bytes, varint_write(bytes, value));
}

static size_t put_entry(uint8_t *out, size_t at, const char *key, struct span value)
{
    at = put_long(out, at, (int64_t)strlen(key));
    at = put(out, at, key, strlen(key));
    at = put_long(out, at, (int64_t)value.bytes);
    return put(out, at, value.at, value.bytes);
}

static struct span text_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* What the header says of the blocks. */
struct form {
    const char *format;
    enum codec codec;
};

static const struct form plain = {BLOCK_FORMAT, CODEC_DEFLATE};

/* Everything up to the value of the padding. */
static size_t put_entries(uint8_t *out, const struct writer_entry *entries, size_t entry_count,
                          const struct form *form)
{
    static const char padding_key[] = "flotilla.padding";
    size_t at = put(out, 0, "Obj\x01", 4);
    at = put_long(out, at, (int64_t)entry_count + 4);
    for (size_t i = 0; i < entry_count; i++)
        at = put_entry(out, at, entries[i].key, entries[i].value);
    at = put_entry(out, at, "avro.codec", text_span(codec_name(form->codec)));
    at = put_entry(out, at, "flotilla.format", text_span(form->format));
    at = put_long(out, at, (int64_t)strlen(padding_key));
    return put(out, at, padding_key, strlen(padding_key));
}

/* Writes a header of these entries and the format's own to `image` of `room` bytes, padded to a
 * multiple of `alignment`. Its size or -ENOSPC. */
static long make_header(uint8_t *image, size_t room, const struct writer_entry *entries,
                        size_t entry_count, const struct form *form,
                        const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment)
{
    static const char checksum_key[] = "flotilla.crc32c";
    enum { DIGITS = 8, DIGITS_BACK = DIGITS + 1 + BLOCK_SYNC_BYTES };
    size_t before = put_entries(NULL, entries, entry_count, form), padding = 0;
    size_t behind = put_entry(NULL, 0, checksum_key, text_span("........")) + 1 + BLOCK_SYNC_BYTES;
    size_t total = (before + 1 + behind + alignment - 1) / alignment * alignment;
    for (;; total += alignment) { /* its length takes part in it, and may not come out even */
        size_t left = total - before - behind, length_bytes = 1;
        while (varint_bytes((int64_t)(left - length_bytes)) > length_bytes)
            length_bytes++;
        padding = left - length_bytes;
        if (varint_bytes((int64_t)padding) == length_bytes)
            break;
    }
    if (total > room)
        return -ENOSPC;
    size_t at = put_entries(image, entries, entry_count, form);
    at = put_long(image, at, (int64_t)padding);
    memset(image + at, ' ', padding);
    at = put_entry(image, at + padding, checksum_key, text_span("........"));
    at = put_long(image, at, 0);
    at = put(image, at, sync, BLOCK_SYNC_BYTES);
    CHECK(at == total);
    uint8_t *digits = image + total - DIGITS_BACK;
    uint32_t checksum = crc32c(0, image, total - DIGITS_BACK);
    checksum = crc32c(checksum, digits + DIGITS, DIGITS_BACK - DIGITS);
    for (int i = 0; i < DIGITS; i++)
        digits[i] = (uint8_t) "0123456789abcdef"[checksum >> (28 - 4 * i) & 15];
    return (long)total;
}

/* ---- opening ---- */

static struct writer *make_writer(descriptor_t folder, const char *name)
{
    struct writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return NULL;
    writer->folder = folder;
    writer->file.descriptor = -1;
    snprintf(writer->name, sizeof(writer->name), "%s", name);
    snprintf(writer->part, sizeof(writer->part), "%s" RECORDING_PART_SUFFIX, writer->name);
    writer->buffer = private_memory_map(BUFFER_BYTES);
    if (writer->buffer == NULL) {
        free(writer);
        return NULL;
    }
    return writer;
}

static int open_file(struct writer *writer, enum file_open how, bool direct)
{
    int status = direct_file_open(&writer->file, writer->folder, writer->part, how, direct);
    if (direct && (status == -EINVAL || status == -EOPNOTSUPP || status == -EPERM))
        status = direct_file_open(&writer->file, writer->folder, writer->part, how, false);
    return status;
}

/* Writes the header by itself: it may be larger than the buffer. */
static int write_header(struct writer *writer, const struct writer_entry *entries,
                        size_t entry_count, const struct form *form)
{
    size_t alignment = writer->file.alignment;
    size_t room = put_entries(NULL, entries, entry_count, form) + 3 * alignment;
    room = room / alignment * alignment;
    uint8_t *image = room > HEADER_BYTES_MAX ? NULL : private_memory_map(room);
    if (image == NULL)
        return -ENOMEM;
    long bytes = make_header(image, room, entries, entry_count, form, writer->sync, alignment);
    int status = bytes < 0 ? (int)bytes : 0;
    struct span part = {image, bytes > 0 ? (size_t)bytes : 0};
    if (status == 0)
        status = direct_file_write(&writer->file, &part, 1, 0);
    if (status == 0)
        writer->written = (uint64_t)bytes;
    private_memory_unmap(image, room);
    return status;
}

/* Makes the file and writes its header. */
static int begin(struct writer *made, const struct writer_entry *entries, size_t entry_count,
                 const struct form *form, bool direct)
{
    int status = open_file(made, FILE_CREATE, direct);
    if (status < 0)
        return status;
    status = write_header(made, entries, entry_count, form);
    if (direct && status == -EINVAL) { /* taken at open, and refused by the first write */
        direct_file_close(&made->file);
        status = direct_file_open(&made->file, made->folder, made->part, FILE_EXISTING, false);
        if (status == 0)
            status = write_header(made, entries, entry_count, form);
    }
    if (status < 0)
        folder_remove(made->folder, made->part);
    return status;
}

int writer_begin(struct writer **writer, descriptor_t folder, const char *name,
                 const struct writer_entry *entries, size_t entry_count, bool direct)
{
    struct writer *made = make_writer(folder, name);
    if (made == NULL)
        return -ENOMEM;
    int status = host_random(made->sync, sizeof(made->sync));
    if (status == 0)
        status = begin(made, entries, entry_count, &plain, direct);
    if (status < 0) {
        writer_close(made);
        return status;
    }
    *writer = made;
    return 0;
}

int writer_begin_beside(struct writer **writer, descriptor_t folder, const char *name,
                        const char *beside, const struct writer_entry *entries, size_t entry_count,
                        enum codec codec, const uint8_t sync[BLOCK_SYNC_BYTES], bool direct)
{
    const struct form form = {packed_format(codec), codec};
    struct writer *made = make_writer(folder, name);
    if (made == NULL)
        return -ENOMEM;
    snprintf(made->part, sizeof(made->part), "%s", beside);
    memcpy(made->sync, sync, BLOCK_SYNC_BYTES);
    folder_remove(folder, beside);
    int status = begin(made, entries, entry_count, &form, direct);
    if (status < 0) {
        writer_close(made);
        return status;
    }
    *writer = made;
    return 0;
}

int writer_resume(struct writer **writer, descriptor_t folder, const char *name, uint64_t end,
                  bool direct)
{
    struct writer *made = make_writer(folder, name);
    if (made == NULL)
        return -ENOMEM;
    int status = open_file(made, FILE_EXISTING, direct);
    int64_t size = status == 0 ? direct_file_size(&made->file) : 0;
    if (size < 0)
        status = (int)size;
    if (status == 0 && (end % made->file.alignment != 0 || end > (uint64_t)size || end == 0))
        status = -EBADMSG;
    if (status == 0) { /* the marker ends what stands in front of `end` */
        long got =
            direct_file_read(&made->file, made->buffer, BLOCK_PAGE_BYTES, end - BLOCK_PAGE_BYTES);
        status = got < 0 ? (int)got : got < (long)BLOCK_PAGE_BYTES ? -EBADMSG : 0;
        memcpy(made->sync, made->buffer + BLOCK_PAGE_BYTES - BLOCK_SYNC_BYTES, BLOCK_SYNC_BYTES);
    }
    uint8_t marker[BLOCK_SYNC_BYTES];
    if (status == 0) {
        long got = direct_file_read(&made->file, made->buffer, BUFFER_BYTES, 0);
        long header =
            got < 0 ? got : block_read_header((struct span){made->buffer, (size_t)got}, marker);
        /* A header longer than the buffer is believed for the marker in front of `end` alone. */
        if (header < 0 && header != -ENODATA)
            status = (int)header;
        else if (header > 0 && memcmp(marker, made->sync, sizeof(marker)) != 0)
            status = -EBADMSG;
    }
    if (status == 0)
        status = direct_file_truncate(&made->file, end);
    if (status < 0) {
        writer_close(made);
        return status;
    }
    made->written = end;
    *writer = made;
    return 0;
}

void writer_close(struct writer *writer)
{
    if (writer == NULL)
        return;
    direct_file_close(&writer->file);
    private_memory_unmap(writer->buffer, BUFFER_BYTES);
    free(writer);
}

/* ---- blocks ---- */

bool writer_fits(const struct writer *writer, size_t datum_bytes, size_t bytes_max)
{
    size_t most = writer->count == 0 ? BLOCK_BYTES_MAX : bytes_max;
    return writer->count < BLOCK_DATUMS_MAX &&
           block_finished_bytes(writer->data_bytes + datum_bytes, writer->file.alignment) <= most;
}

void writer_add(struct writer *writer, struct span datum, uint64_t arrival_ns)
{
    if (writer->count == 0)
        writer->arrival_ns = arrival_ns;
    block_append(writer->buffer + writer->pending, writer->data_bytes, datum);
    writer->data_bytes += datum.bytes;
    writer->count++;
}

size_t writer_block_data(const struct writer *writer)
{
    return writer->data_bytes;
}

size_t writer_block_bytes(const struct writer *writer)
{
    return writer->count == 0 ? 0
                              : block_finished_bytes(writer->data_bytes, writer->file.alignment);
}

static int hand_over(struct writer *writer)
{
    if (writer->failed == 0 && writer->pending > 0) {
        struct span part = {writer->buffer, writer->pending};
        writer->failed = direct_file_write(&writer->file, &part, 1, writer->written);
        writer->written += writer->pending;
        if (writer->count > 0) /* the block at hand moves to the front */
            memmove(writer->buffer, writer->buffer + writer->pending, writer_block_bytes(writer));
        writer->pending = 0;
    }
    return writer->failed;
}

int writer_end_block(struct writer *writer)
{
    if (writer->count > 0 && writer->failed == 0) {
        writer->pending += block_finish_at(
            writer->buffer + writer->pending, writer->data_bytes, writer->count, writer->arrival_ns,
            writer->sync, writer->file.alignment, block_place(writer_bytes(writer)));
        writer->count = writer->data_bytes = 0;
    }
    return writer->pending >= PENDING_BYTES ? hand_over(writer) : writer->failed;
}

int writer_add_block(struct writer *writer, struct span image)
{
    CHECK(writer->count == 0 && image.bytes <= BLOCK_BYTES_MAX &&
          image.bytes % writer->file.alignment == 0);
    memcpy(writer->buffer + writer->pending, image.at, image.bytes);
    writer->pending += image.bytes;
    return writer->pending >= PENDING_BYTES ? hand_over(writer) : writer->failed;
}

int writer_sync(struct writer *writer)
{
    int status = hand_over(writer);
    if (status == 0)
        status = writer->failed = direct_file_sync(&writer->file);
    return status;
}

uint64_t writer_bytes(const struct writer *writer)
{
    return writer->written + writer->pending;
}

size_t writer_alignment(const struct writer *writer)
{
    return writer->file.alignment;
}

int writer_finish(struct writer *writer)
{
    int status = writer_end_block(writer);
    if (status == 0)
        status = writer_sync(writer);
    if (status == 0)
        status = folder_rename(writer->folder, writer->part, writer->name);
    if (status == 0)
        status = folder_sync(writer->folder);
    writer_close(writer);
    return status;
}

/* Takes the place of a file that is there. Not by renaming: that would bring back one which was
 * removed in that moment. */
static int take_place(struct writer *writer)
{
    int status = folder_exchange(writer->folder, writer->part, writer->name);
    if (status == -EOPNOTSUPP) { /* NFS, FUSE and others: looked at, then renamed */
        struct storage_entry entry;
        status = storage_look(writer->folder, writer->name, &entry);
        return status < 0 ? status : folder_replace(writer->folder, writer->part, writer->name);
    }
    if (status == 0)
        status = folder_sync(writer->folder);
    return status < 0 ? status : folder_remove(writer->folder, writer->part);
}

int writer_replace(struct writer *writer, uint64_t modified_ns)
{
    int status = hand_over(writer);
    if (status == 0)
        status = direct_file_set_modified(&writer->file, modified_ns);
    if (status == 0)
        status = writer_sync(writer);
    if (status == 0)
        status = take_place(writer);
    if (status == 0)
        status = folder_sync(writer->folder);
    writer_close(writer);
    return status;
}
