/* SPDX-License-Identifier: MIT
 * What was recorded of a channel in a span, as binary messages of flotilla.live.v1: bins of
 * absolute time, or single datums where they are few. Made a slice at a time, in a work thread, so
 * that it is cancelled by not going on, and takes no more memory than a slice.
 *
 * The axis is the channel's own time where that is an instant, else the arrival. Recordings are
 * found by arrival; how far apart the two are is read at both ends of the span.
 * Known: what came in more than PAST_MARGIN_NS later, or earlier, than its own time beside what
 * came in then lets expect, is not found at the ends of a span.
 * Relies on archive/overview, archive/history. */
#ifndef FLOTILLA_GATEWAY_PAST_H
#define FLOTILLA_GATEWAY_PAST_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/text.h"

#define PAST_MARGIN_NS UINT64_C(2000000000)

struct past; /* opaque */

struct past_request {
    const char *directory, *channel; /* copied, as the names are */
    const char *const *names;
    uint32_t name_count, id;
    /* Of the axis. With `since_arrival` it is of arrival, and all that came in from `from_ns` on is
     * wanted, whatever its own time. */
    int64_t from_ns, to_ns;
    bool since_arrival;
    uint64_t width_ns; /* of a bin ... */
    uint32_t points;   /* ... or, where it is 0, so many; single datums where there are no more */
    bool only_fine;    /* no coarse answer comes first */
};

enum past_state {
    PAST_MORE,   /* there is more to be made */
    PAST_DONE,   /* that was all */
    PAST_REFUSED /* `error` says why */
};

/* What has been made of it, since the last slice. */
struct past_told {
    enum past_state state;
    char error[400];
    struct text bytes; /* messages, one behind the other ... */
    size_t *ends;      /* ... which end here */
    size_t end_count, end_room;

    /* At the end. */
    bool exact, own, recorded; /* single datums, or of all of them; its own time; there are files */
    uint64_t width_ns, level, rows_read, bytes_read;
    uint64_t reached_ns; /* when the newest row came in; 0: there was none */
    json_t *gaps;        /* [{"from", "to", "reason", "count"}] */
};

/* NULL: no memory. Freed by past_close, not while a slice is being made. */
struct past *past_open(const struct past_request *request);
void past_close(struct past *past);
/* Makes the next slice; in any one thread at a time. */
void past_go_on(struct past *past);
/* As of the last slice; the messages are the caller's to send, and gone with the next one. */
struct past_told *past_told(struct past *past);
/* Begins again, behind the end, with what came in from `from_ns` on: what was not synced before. */
void past_again(struct past *past, int64_t from_ns);

#endif
