/* SPDX-License-Identifier: MIT
 * A file as a scan reads it. A regular file: in pieces, by the size it had when it was opened, and
 * on behind bytes that the medium does not give back, which show as zeros and are kept out of every
 * result. What can be read only once (a pipe): forward. Where interrupt_install was called, reading
 * ends with -EINTR once a signal has come. Relies on archive/ahead, os/file and os/interrupt. */
#ifndef FLOTILLA_ARCHIVE_SOURCE_H
#define FLOTILLA_ARCHIVE_SOURCE_H

#include "archive/scan.h"
#include "os/descriptor.h"

struct source {
    descriptor_t descriptor;
    struct scan_source of_scan; /* for scan_open; its context is this struct, which must not move */
    struct source_range {
        uint64_t from, to;
    } * unreadable;
    size_t unreadable_count;
    uint64_t stream_at;    /* of what is read only once: how much was */
    struct ahead *ahead;   /* NULL: nothing is read ahead */
    struct scan_cost cost; /* of a file that is read in pieces */
};

enum source_kinds { SOURCE_FILES, SOURCE_STREAMS /* pipes, too */ };

/* Opens `path`. 0; -ESPIPE for what is no regular file where only those are taken; or another
 * negative errno. source_close in any case. */
int source_open(struct source *source, const char *path, enum source_kinds kinds);
/* The same, and a scan of it. 0, or what source_open or scan_open has returned, with its text in
 * `error`. scan_close and source_close in any case. */
int source_scan(struct source *source, struct scan **scan, const char *path,
                enum source_kinds kinds, char *error, size_t error_bytes);
/* From here on most of it will be read in order: a large file is read ahead (archive/ahead.h) from
 * `path`, which it was opened by, where that can be. */
void source_read_ahead(struct source *source, const char *path);
void source_close(struct source *source);

/* What a refusal of source_open, or of reading, means to people. */
const char *source_error_text(int status);

#endif
