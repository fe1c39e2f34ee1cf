/* SPDX-License-Identifier: MIT
 * Words and JSON of what a scan comes upon. What a file says goes to a terminal: cleaned. */
#include "cli/recording.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verb.h"
#include "control/json_text.h"
#include "os/storage.h"

bool recording_any_folder(int count, char *const *paths)
{
    struct storage_entry entry;
    for (int i = 0; i < count; i++)
        if (storage_look_at(paths[i], &entry) == 0 && entry.folder)
            return true;
    return false;
}

int recording_scan(struct scan *scan, void (*tell)(void *context, const struct scan_event *event),
                   void *context, struct scan_totals *totals)
{
    struct scan_event event;
    do {
        int status = scan_next(scan, &event);
        if (status < 0)
            return status;
        if (event.kind != SCAN_END)
            tell(context, &event);
        scan_count(totals, &event);
    } while (event.kind != SCAN_END);
    return 0;
}

bool recording_is_fault(const struct scan_event *event)
{
    return event->kind == SCAN_FAULT || event->kind == SCAN_HEADER;
}

bool recording_is_unread(struct recording_unread *unread, const struct scan *scan,
                         const struct scan_event *event)
{
    if (event->kind == SCAN_HEADER)
        unread->codec_told = false;
    if (event->kind != SCAN_UNREAD)
        return false;
    if (unread->what[0] == '\0')
        snprintf(unread->what, sizeof(unread->what), "%s", event->what);
    bool tell = !unread->codec_told;
    unread->codec_told = scan_header(scan)->codec == CODEC_UNKNOWN;
    return tell;
}

static const char *fault_text(const struct scan_event *event)
{
    return event->kind != SCAN_HEADER
               ? event->what
               : "another Avro file begins here, joined behind this one; most"
                 " other readers end here";
}

void recording_tell_fault(const char *path, const struct scan_event *event)
{
    fprintf(stderr, "%s: offset %" PRIu64 ": %s", path, event->offset, fault_text(event));
    if (event->kind == SCAN_FAULT && event->bytes > 0)
        fprintf(stderr, "; lost up to offset %" PRIu64 ", %" PRIu64 " bytes",
                event->offset + event->bytes, event->bytes);
    if (event->kind == SCAN_FAULT && event->bytes > 0 && event->count > 0)
        fprintf(stderr, " that claim to be %" PRIu64 " datums", event->count);
    if (event->kind == SCAN_FAULT && event->shown > 0)
        fprintf(stderr,
                ", but for the first %" PRIu64 ", which decode (nothing proves the last of them)",
                event->shown);
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
    return json_pack("{s:I,s:I,s:I,s:I,s:o}", "offset", (json_int_t)event->offset, "bytes",
                     (json_int_t)(event->kind == SCAN_FAULT ? event->bytes : 0), "missing_bytes",
                     (json_int_t)event->missing_bytes, "partial_datums",
                     (json_int_t)(event->kind == SCAN_FAULT ? event->shown : 0), "what",
                     json_of_text(fault_text(event)));
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
    return text.at == NULL ? json_null() : json_of_bytes((const char *)text.at, text.bytes);
}

json_t *recording_string_json(const char *text)
{
    return recording_text_json(
        (struct span){text[0] == '\0' ? NULL : (const uint8_t *)text, strlen(text)});
}

void recording_print_json(json_t *line)
{
    if (line == NULL || json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) < 0)
        fputs("flotilla: no memory for the answer", stderr);
    putchar('\n');
    json_decref(line);
}
