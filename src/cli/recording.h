/* SPDX-License-Identifier: MIT
 * A file as info, verify and recover read it: in pieces, by the size it had when it was opened, and
 * on behind bytes that the medium does not give back. Where interrupt_install was called, reading
 * ends with -EINTR once a signal has come. Relies on os/file, os/interrupt and archive/scan. */
#ifndef FLOTILLA_CLI_RECORDING_H
#define FLOTILLA_CLI_RECORDING_H

#include <jansson.h>

#include "archive/scan.h"

struct recording {
    const char *path;
    int descriptor;
    struct scan_source source; /* its context is the recording, which must not move */
    struct recording_range {
        uint64_t from, to;
        int error;
    } * unreadable; /* read as zeros */
    size_t unreadable_count;
};

/* Opens `path`. 0, or a negative errno. recording_close in any case. */
int recording_open(struct recording *recording, const char *path);
void recording_close(struct recording *recording);
/* What a refusal of recording_open, or of reading, means to people. */
const char *recording_error_text(int status);

/* Turns a block that was read over unreadable bytes into a fault, and says of a fault whether that
 * is its cause. Whether it is a block still. */
bool recording_keep(const struct recording *recording, struct scan_event *event);

/* Takes every event of `scan`, tells it and counts it, SCAN_END included. What a file that grows
 * meanwhile has not shown whole is no fault. 0 or a negative errno. */
int recording_scan(struct recording *recording, struct scan *scan,
                   void (*tell)(void *context, const struct scan_event *event), void *context,
                   struct scan_totals *totals);

/* Prints "PATH: offset N: what" to stderr, with the bytes that are lost. */
void recording_tell_fault(const char *path, const struct scan_event *event);
/* Prints what arrival times that go back tell, if they do, to stderr. */
void recording_tell_order(const char *path, const struct scan_totals *totals);
/* {"offset": ..., "bytes": ..., "missing_bytes": ..., "what": ...}. */
json_t *recording_fault_json(const struct scan_event *event);
/* A JSON string of bytes that may not be UTF-8: then each that is not ASCII shows as "?". NULL if
 * there is no text. */
json_t *recording_text_json(struct span text);
/* Prints `line` to stdout as one line and gives it up. */
void recording_print_json(json_t *line);
/* Copies `text` to `out`, NUL-terminated and cut to fit, with "?" for control characters: it goes
 * to a terminal. Returns `out`. */
char *recording_text(char *out, size_t out_bytes, struct span text);

#endif
