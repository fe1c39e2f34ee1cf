/* SPDX-License-Identifier: MIT
 * A client's messages of flotilla.live.v1 (docs/internals/live.md), read strictly: what is not
 * exactly as it is written there is refused, with a reason. Pure. Relies on jansson. */
#ifndef FLOTILLA_GATEWAY_LIVE_WORDS_H
#define FLOTILLA_GATEWAY_LIVE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/span.h"
#include "channel/settings.h"

#define LIVE_FIELDS_MAX  1024u
#define LIVE_BINS_MAX    100000u
#define LIVE_POINTS_MAX  40000u     /* of a history; its bins are up to 2.5 times as many */
#define LIVE_CELLS_MAX   (1u << 19) /* of a history: points times fields */
#define LIVE_TIME_NS_MAX (INT64_C(1) << 61)

enum live_op {
    LIVE_SUBSCRIBE,
    LIVE_UNSUBSCRIBE,
    LIVE_HISTORY,
    LIVE_CANCEL,
};

struct live_request {
    enum live_op op;
    bool has_id;
    uint32_t id; /* 0: there was none that could be read */
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    uint32_t field_count;
    const char *fields[LIVE_FIELDS_MAX]; /* of `message` */
    uint64_t bin_ns, back_ns;
    bool latest;
    int64_t from_ns, to_ns;
    uint32_t points;
    json_t *message; /* to be released with json_decref, also after a refusal; may be NULL */
};

/* False: it is refused, with a text for people in `error`; `id` is what could be read of it. */
bool live_read(struct live_request *request, struct span message, char *error, size_t error_bytes);

/* The largest width, 1, 2 or 5 times a power of ten ns, of which at least `points` are in
 * `span_ns`; 1 where that is shorter. */
uint64_t live_width(uint64_t span_ns, uint32_t points);

#endif
