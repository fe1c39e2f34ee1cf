/* SPDX-License-Identifier: MIT
 * What comes in on the streams of channels, to whoever looks: each stream is received once, however
 * many look, and left when nobody does. In the hub's thread; the manager is asked in another, once
 * a second while anybody looks (control verbs `status` and `describe`), and what it says is
 * followed: another address, interface, schema, encoding. A stream is read 50 times a second, more
 * often where much comes, so that a datum costs no wake-up of its own.
 * A channel none of whose streams can be joined (there is none, or they go to a single address) is
 * followed in its recordings, as they are synced. */
#ifndef FLOTILLA_GATEWAY_FEED_H
#define FLOTILLA_GATEWAY_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "avro/decimator.h"
#include "avro/layout.h"
#include "base/span.h"
#include "schema/schema.h"

struct hub;
struct feeds; /* opaque; hub_feeds */

/* Once, by the hub. 0 or a negative errno. */
int feeds_open(struct feeds **feeds, struct hub *hub);

/* ---- one channel ---- */

struct feed; /* opaque: one who looks at one channel */

enum feed_source {
    FEED_DECIMATED,
    FEED_FULL,
    FEED_RECORDING, /* neither can be joined: what is synced, out of its file */
};

/* What is looked at; it and all in it lives until the next begins or ended of the feed, or
 * feed_close. */
struct feed_subject {
    const char *channel;
    const struct schema_file *schema;
    const struct layout *layout; /* of it, with the channel's time and sequence fields */
    char time[LAYOUT_PATH_BYTES_MAX], sequence[LAYOUT_PATH_BYTES_MAX]; /* "": none */
    enum feed_source source;
    enum algorithm algorithm; /* FEED_DECIMATED ... */
    uint32_t factor;          /* ... of so many datums; else 1 */
    bool has_full;            /* the full stream could be joined */
    /* Realtime: what comes in from then on is handed out. 0 of a recording: what is not in the file
     * when it begins. */
    uint64_t since_ns;
};

/* What one who looks is told; calls come in the hub's thread, never from within feed_open. Any of
 * them may call feed_close. */
struct feed_use {
    /* Datums follow, of this (again where any of it changes). */
    void (*begins)(void *context, const struct feed_subject *subject);
    /* One datum, valid by the schema, and when it came in, ns since 1970. */
    void (*datum)(void *context, struct span datum, uint64_t at_ns);
    /* A stretch of the stream did not come to us, or was not good, and why. UINT64_MAX: nobody
     * knows how many. One with the same `from_ns` and `why` as the last goes on: it stands for
     * that one, too. */
    void (*gap)(void *context, uint64_t from_ns, uint64_t to_ns, uint64_t count, const char *why);
    /* The channel is gone, or cannot be looked at; nothing more comes. `refused`: there is no such
     * channel; else it may be worth another try. */
    void (*ended)(void *context, bool refused, const char *why);
};

/* `full`: each datum, not the decimated ones: where the full stream cannot be joined, the
 * recording; and the full stream where there is no decimated one. 0 or -ENOMEM. */
int feed_open(struct feed **feed, struct feeds *feeds, const char *channel, bool full,
              const struct feed_use *use, void *context);
/* Has it look at the other stream, from the next turn on: `begins` tells. */
void feed_choose(struct feed *feed, bool full);
void feed_close(struct feed *feed);

/* ---- the fleet ---- */

struct feed_fleet; /* opaque: one who follows the fleet */

/* Any may be NULL. Calls come in the hub's thread, never from within feed_follow. */
struct feed_fleet_use {
    /* As `flotilla status --json` has it; NULL: no manager answers, and why. First in a later turn,
     * then whenever it has changed, at most once a second. Borrowed. */
    void (*status)(void *context, const json_t *status, const char *reason);
    /* A channel is there and has this schema (source and what hangs on it: of the decimated
     * stream); again where it becomes another. It lives until the next call about that name. */
    void (*channel)(void *context, const struct feed_subject *subject);
    void (*gone)(void *context, const char *name);
};
int feed_follow(struct feed_fleet **fleet, struct feeds *feeds, const struct feed_fleet_use *use,
                void *context);
void feed_unfollow(struct feed_fleet *fleet);

#endif
