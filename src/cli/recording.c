/* SPDX-License-Identifier: MIT
 * What the verbs on files share. Where the medium fails, the rest of the file is still read, page
 * by page; what was not read shows as zeros and is kept out of every result. Relies on os/file. */
#include "cli/recording.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "os/file.h"
#include "os/interrupt.h"

static int note_unreadable(struct recording *recording, uint64_t from, uint64_t to, int error)
{
    struct recording_range *last = recording->unreadable + recording->unreadable_count - 1;
    if (recording->unreadable_count > 0 && last->to == from && last->error == error) {
        last->to = to;
        return 0;
    }
    struct recording_range *grown =
        realloc(recording->unreadable, (recording->unreadable_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    grown[recording->unreadable_count++] = (struct recording_range){from, to, error};
    recording->unreadable = grown;
    return 0;
}

static long read_source(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    struct recording *recording = context;
    /* Here, for each way through a file comes by, also a long search that finds nothing. */
    if (interrupt_seen())
        return -EINTR;
    long got = file_read_at(recording->descriptor, into, bytes, offset);
    if (got != -EIO)
        return got;
    for (size_t done = 0; done < bytes; done += BLOCK_PAGE_BYTES) {
        size_t part = bytes - done < BLOCK_PAGE_BYTES ? bytes - done : BLOCK_PAGE_BYTES;
        got = file_read_at(recording->descriptor, into + done, part, offset + done);
        if (got >= 0 && (size_t)got < part)
            return (long)done + got;
        if (got < 0 && got != -EIO)
            return got;
        if (got < 0) {
            memset(into + done, 0, part);
            int status = note_unreadable(recording, offset + done, offset + done + part, EIO);
            if (status < 0)
                return status;
        }
    }
    return (long)bytes;
}

int recording_open(struct recording *recording, const char *path)
{
    *recording = (struct recording){.path = path, .descriptor = file_open_read(path)};
    if (recording->descriptor < 0)
        return recording->descriptor;
    int64_t bytes = file_bytes(recording->descriptor);
    if (bytes < 0)
        return (int)bytes;
    recording->source = (struct scan_source){read_source, recording, (uint64_t)bytes};
    return 0;
}

const char *recording_error_text(int status)
{
    return status == -ESPIPE ? "is a pipe or device, not a file" : strerror(-status);
}

void recording_close(struct recording *recording)
{
    descriptor_close(recording->descriptor);
    free(recording->unreadable);
    *recording = (struct recording){.descriptor = -1};
}

bool recording_keep(const struct recording *recording, struct scan_event *event)
{
    for (size_t i = 0; i < recording->unreadable_count; i++) {
        const struct recording_range *range = &recording->unreadable[i];
        if (event->bytes == 0 || range->from >= event->offset + event->bytes ||
            range->to <= event->offset)
            continue;
        event->kind = SCAN_FAULT;
        snprintf(event->what, sizeof(event->what),
                 "from offset %" PRIu64 " on, %" PRIu64 " bytes cannot be read: %s", range->from,
                 range->to - range->from, strerror(range->error));
        return false;
    }
    return event->kind == SCAN_BLOCK;
}

int recording_scan(struct recording *recording, struct scan *scan,
                   void (*tell)(void *context, const struct scan_event *event), void *context,
                   struct scan_totals *totals)
{
    struct scan_event event;
    do {
        int status = scan_next(scan, &event);
        if (status < 0)
            return status;
        recording_keep(recording, &event);
        if (event.kind == SCAN_FAULT && event.cut &&
            event.offset + event.bytes == scan_bytes(scan) &&
            file_bytes(recording->descriptor) > (int64_t)scan_bytes(scan))
            continue; /* it is being written right now */
        if (event.kind != SCAN_END)
            tell(context, &event);
        scan_count(totals, &event);
    } while (event.kind != SCAN_END);
    return 0;
}

void recording_tell_fault(const char *path, const struct scan_event *event)
{
    fprintf(stderr, "%s: offset %" PRIu64 ": %s", path, event->offset, event->what);
    if (event->bytes > 0)
        fprintf(stderr, "; lost up to offset %" PRIu64 ", %" PRIu64 " bytes",
                event->offset + event->bytes, event->bytes);
    if (event->bytes > 0 && event->count > 0)
        fprintf(stderr, " that claim to be %" PRIu64 " datums", event->count);
    fputc('\n', stderr);
}

void recording_tell_order(const char *path, const struct scan_totals *totals)
{
    if (totals->times_back > 0)
        fprintf(stderr,
                "%s: offset %" PRIu64 ": note: the arrival time goes back here (%" PRIu64
                " times in all, by up to %.6f s): a clock was set back, or blocks are out of"
                " order\n",
                path, totals->back_offset, totals->times_back, (double)totals->back_ns_max / 1e9);
}

json_t *recording_fault_json(const struct scan_event *event)
{
    return json_pack("{s:I,s:I,s:I,s:s}", "offset", (json_int_t)event->offset, "bytes",
                     (json_int_t)event->bytes, "missing_bytes", (json_int_t)event->missing_bytes,
                     "what", event->what);
}

char *recording_text(char *out, size_t out_bytes, struct span text)
{
    size_t bytes = text.bytes < out_bytes ? text.bytes : out_bytes - 1;
    for (size_t i = 0; i < bytes; i++)
        out[i] = text.at[i] < 0x20 || text.at[i] == 0x7f ? '?' : (char)text.at[i];
    out[bytes] = '\0';
    return out;
}

json_t *recording_text_json(struct span text)
{
    if (text.at == NULL)
        return json_null();
    json_t *value = json_stringn((const char *)text.at, text.bytes);
    if (value != NULL)
        return value;
    char *plain = malloc(text.bytes + 1);
    if (plain == NULL)
        return NULL;
    for (size_t i = 0; i < text.bytes; i++)
        plain[i] = text.at[i] >= 0x80 ? '?' : (char)text.at[i];
    value = json_stringn(plain, text.bytes);
    free(plain);
    return value;
}

void recording_print_json(json_t *line)
{
    if (line == NULL || json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) < 0)
        fputs("flotilla: no memory for the answer", stderr);
    putchar('\n');
    json_decref(line);
}
