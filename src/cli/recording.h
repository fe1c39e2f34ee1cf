/* SPDX-License-Identifier: MIT
 * What the verbs on files tell people and machines in the same words. Relies on archive/scan. */
#ifndef FLOTILLA_CLI_RECORDING_H
#define FLOTILLA_CLI_RECORDING_H

#include <jansson.h>

#include "archive/catalog.h"
#include "archive/scan.h"
#include "archive/search.h"

/* Whether one of these is a folder: then a command sums up, too. */
bool recording_any_folder(int count, char *const *paths);

/* Takes every event of `scan`, tells it and counts it, SCAN_END included. 0 or a negative errno. */
int recording_scan(struct scan *scan, void (*tell)(void *context, const struct scan_event *event),
                   void *context, struct scan_totals *totals);

/* Whether the event is one to tell: a fault, or a file that was joined behind. */
bool recording_is_fault(const struct scan_event *event);

/* What of a file cannot be judged here, and is no fault. All zero to begin with. */
struct recording_unread {
    char what[160];  /* of the first block; "" for none */
    bool codec_told; /* of the part at hand */
};
/* Whether the event is such a block and to be told: of a codec that is not known the first one. */
bool recording_is_unread(struct recording_unread *unread, const struct scan *scan,
                         const struct scan_event *event);

/* Prints "PATH: offset N: what" of it to stderr, with the bytes that are lost. */
void recording_tell_fault(const char *path, const struct scan_event *event);
/* Prints what arrival times that go back tell, if they do, to stderr. */
void recording_tell_order(const char *path, const struct scan_totals *totals);
/* {"offset": ..., "bytes": ..., "missing_bytes": ..., "partial_datums": ..., "what": ...}. */
json_t *recording_fault_json(const struct scan_event *event);
/* A JSON string of bytes, as json_of_bytes has it; JSON's null if there is no text. */
json_t *recording_text_json(struct span text);
/* The same of a NUL-terminated string. */
json_t *recording_string_json(const char *text);
/* Prints `line` to stdout as one line and gives it up. */
void recording_print_json(json_t *line);
/* Copies `text` to `out`, NUL-terminated and cut to fit, with "?" for control characters: it goes
 * to a terminal. Returns `out`. */
char *recording_text(char *out, size_t out_bytes, struct span text);

#endif
