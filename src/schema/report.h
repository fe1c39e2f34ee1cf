/* SPDX-License-Identifier: MIT
 * Where the reading of a schema is, and what it found: every finding with line, column and path.
 * The JSON library keeps no positions of values, so the way to a value (keys and indices) is kept,
 * and when there is something to say the text is walked along it once more.
 * Relies on the text having been parsed as JSON before. Only for the files of schema/, but
 * report_clean. */
#ifndef FLOTILLA_SCHEMA_REPORT_H
#define FLOTILLA_SCHEMA_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "schema/schema.h"

#define REPORT_DEPTH_MAX 4096u /* JSON nests at most 2,048 deep here, a comparison less */

/* A place that outlives the way to it. */
struct report_place {
    const struct report_place *up; /* NULL at the top */
    const char *key;               /* NULL for an index */
    size_t index;
};

struct report_step {
    const char *key; /* NULL for an index; somebody else's */
    size_t index;
    const struct report_place *kept; /* once report_keep has been here */
};

struct report {
    struct span text;
    struct report_step *steps; /* REPORT_DEPTH_MAX of them, from malloc */
    size_t depth;
    struct schema_findings *findings;
    bool errors_only;
};

/* 0 or -ENOMEM. `findings` is all zero to begin with; report_end frees all but the findings. */
int report_begin(struct report *report, struct span text, struct schema_findings *findings);
void report_end(struct report *report);

/* A step further in, and back out. A key must stay as it is until then. */
void report_into_key(struct report *report, const char *key);
void report_into_index(struct report *report, size_t index);
void report_out(struct report *report);

/* Keeps an error or a warning at the value where the reading is. Returns NULL. */
void *report_error(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void report_warning(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An error at a byte of the text that has no path: for text that is no JSON. */
void report_error_at(struct report *report, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The place where the reading is, made of memory from `take`; NULL without memory. */
const struct report_place *report_keep(struct report *report, void *(*take)(void *, size_t),
                                       void *context);
/* Goes to a place that was kept. */
void report_go(struct report *report, const struct report_place *place);

/* Line and column (in characters), both from 1, of a place that was kept. */
void report_locate_place(const struct report *report, const struct report_place *place,
                         uint32_t *line, uint32_t *column);

/* Writes the way as people read it: fields[2].type. */
void report_path(const struct report *report, char *out, size_t out_bytes);

/* Replaces what could steer a terminal, and letters that were cut, by '?'. */
void report_clean(char *text);

/* The byte where the JSON token begins that ends at byte `end`, in text that may be no JSON. */
size_t report_token_start(struct span text, size_t end);

/* Puts the findings in the order of their places. */
void report_sort(struct schema_findings *findings);

#endif
