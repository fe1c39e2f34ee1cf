/* SPDX-License-Identifier: MIT
 * What is said in the protocol that Foxglove, Lichtblick and PlotJuggler speak: a client's messages
 * read, ours written. Pure. Text is JSON with an `op`; binary begins with an opcode, all numbers
 * are little-endian. Sources: the protocol's specification as of foxglove/ws-protocol 8e2a044
 * (subprotocol foxglove.websocket.v1); foxglove/foxglove-sdk, rust/foxglove/src/protocol
 * (foxglove.sdk.v1, the same on the wire, and playback control). */
#ifndef FLOTILLA_GATEWAY_FOXGLOVE_WORDS_H
#define FLOTILLA_GATEWAY_FOXGLOVE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/text.h"

/* ---- from a client ---- */

#define FOXGLOVE_MESSAGE_BYTES_MAX (256u << 10)
#define FOXGLOVE_PAIRS_MAX         4096u /* of one message */
#define FOXGLOVE_REQUEST_ID_MAX    256u

enum foxglove_word {
    FOXGLOVE_WRONG,       /* not of the protocol; `why` */
    FOXGLOVE_UNKNOWN,     /* well-formed, of what is not offered here; `why` */
    FOXGLOVE_SUBSCRIBE,   /* `pairs`: id and channel */
    FOXGLOVE_UNSUBSCRIBE, /* `pairs`: id */
    FOXGLOVE_PLAYBACK
};

struct foxglove_pair {
    uint32_t subscription, channel;
};

struct foxglove_request {
    enum foxglove_word word;
    char why[160];               /* for people; fit for JSON */
    struct foxglove_pair *pairs; /* from malloc, the caller's to free */
    size_t pair_count;
    struct {
        bool plays, seeks;
        float speed;
        uint64_t seek_ns;
        char id[FOXGLOVE_REQUEST_ID_MAX + 1]; /* UTF-8 without NUL */
    } playback;
};

/* Reads a whole message. 0 with what it is in `request`, or -ENOMEM. */
int foxglove_read(struct foxglove_request *request, bool text, struct span message);

/* ---- to a client ---- */

/* Each appends a whole message to `out`; without memory out->failed is set. */

struct foxglove_server {
    const char *name, *session;
    bool plays; /* recordings, of this span: playbackControl and time */
    uint64_t from_ns, to_ns;
};
void foxglove_write_server_info(struct text *out, const struct foxglove_server *server);

struct foxglove_channel {
    uint32_t id;
    const char *topic, *schema_name, *schema; /* of encodings cdr and ros2msg */
};
void foxglove_write_advertise(struct text *out, const struct foxglove_channel *channel);
void foxglove_write_unadvertise(struct text *out, uint32_t id);

enum foxglove_level { FOXGLOVE_INFO, FOXGLOVE_WARNING, FOXGLOVE_ERROR };
/* `id` NULL: none; else a later one with the same id stands for this one. `message` may hold any
 * bytes. */
void foxglove_write_status(struct text *out, enum foxglove_level level, const char *id,
                           const char *message);

/* What stands in front of a datum's payload; `to` has FOXGLOVE_DATA_BYTES. */
#define FOXGLOVE_DATA_BYTES 13u
void foxglove_write_data_front(char *to, uint32_t subscription, uint64_t time_ns);

void foxglove_write_time(struct text *out, uint64_t time_ns);

enum foxglove_playback { FOXGLOVE_PLAYING, FOXGLOVE_PAUSED, FOXGLOVE_BUFFERING, FOXGLOVE_ENDED };
/* `id`: of the request that it answers, or "". */
void foxglove_write_playback(struct text *out, enum foxglove_playback state, uint64_t time_ns,
                             float speed, bool did_seek, const char *id);

#endif
