/* SPDX-License-Identifier: MIT
 * What feed.c, feed_inlet.c, feed_trail.c and feed_gaps.c share: an inlet, which is one of a
 * channel's streams as it is received for all who look at it. */
#ifndef FLOTILLA_GATEWAY_FEED_PARTS_H
#define FLOTILLA_GATEWAY_FEED_PARTS_H

#include "avro/datum.h"
#include "avro/framing.h"
#include "gateway/feed.h"
#include "gateway/hub.h"
#include "gateway/news.h"
#include "gateway/sequence_watch.h"
#include "os/loop.h"
#include "os/net.h"

#define FEED_MESSAGES 32u

struct inlet;
struct trail;

struct feed {
    struct inlet *inlet;
    struct feed *next; /* of those who look at it */
    const struct feed_use *use;
    void *context;
    bool full;   /* what it would look at */
    bool told;   /* that it has begun */
    bool closed; /* to be freed once nobody is in the middle of anything */
};

/* What is to be told of a stretch once nothing more may change about it. */
struct inlet_gap {
    uint64_t from_ns, to_ns, count;
    uint64_t noted_ns; /* monotonic; 0: there is none */
    char more[40];
};
enum inlet_gap_kind { GAP_MISSING, GAP_OVERRUN, GAP_INVALID, INLET_GAPS };

struct inlet {
    struct feeds *feeds;
    struct inlet *next;
    struct feed *viewers;
    bool full;
    char name[CHANNEL_NAME_BYTES_MAX + 1];

    bool begun; /* as follows */
    bool ready; /* datums come; of a recording, once its end is found */
    struct feed_subject subject;
    struct news_ways ways;
    uint32_t checksum; /* of the layout */
    struct framing framing;

    descriptor_t descriptor; /* DESCRIPTOR_NONE: none was joined */
    struct loop_watch watch;
    struct inlet *next_resting; /* read when the tick comes, not by its watch */
    bool resting;
    unsigned quiet;    /* ticks that nothing came in */
    int interface;     /* its number */
    uint32_t dropped;  /* of the socket, as told */
    uint64_t last_ns;  /* when the newest datagram came in; 0: none yet */
    uint64_t state_ns; /* since when the channel's state is no good one; 0: it is */
    struct sequence_watch sequence;
    struct leaf *leaves; /* for a sequence that is not easily read; else NULL */
    struct inlet_gap gaps[INLET_GAPS];

    struct trail *trail; /* FEED_RECORDING */
};

struct feeds {
    struct hub *hub;
    struct news *news;
    struct inlet *inlets, *resting;
    struct feed_fleet *fleets;
    struct loop_timer settle, tick, flush;
    unsigned calling; /* in the middle of telling somebody: nothing is freed */
    bool swept;       /* something is to be freed */
    struct net_batch *batch;
    uint32_t ends[NET_DATAGRAM_BYTES_MAX + 1]; /* of the datums of a datagram */
    uint8_t *opaque;                           /* room for one of these */
};

/* ---- feed.c ---- */

void inlet_tell_datum(struct inlet *inlet, struct span datum, uint64_t at_ns);
void inlet_tell_gap(struct inlet *inlet, uint64_t from_ns, uint64_t to_ns, uint64_t count,
                    const char *why);
/* Tells those that were not told that it has begun. */
void inlet_tell_begins(struct inlet *inlet);
void inlet_end(struct inlet *inlet, bool refused, const char *why);
/* Around all that may tell somebody something. */
void feeds_enter(struct feeds *feeds);
void feeds_leave(struct feeds *feeds);

/* ---- feed_inlet.c ---- */

/* Joins the group that `subject.source` names. 0, or a negative errno with a text. */
int inlet_join(struct inlet *inlet, char *error, size_t error_bytes);
void inlet_leave(struct inlet *inlet);
/* The tick: reads those that rest. */
void feeds_read_resting(void *context);
/* What the socket dropped shows in what comes behind it, if anything does: else here. */
void inlet_look_for_drops(struct inlet *inlet);
/* Once a second: whether the interface is another. */
bool inlet_lost_interface(const struct inlet *inlet);

/* ---- feed_gaps.c ---- */

void inlet_note_gap(struct inlet *inlet, enum inlet_gap_kind kind, uint64_t from_ns, uint64_t to_ns,
                    int64_t count, const char *more);
/* Tells what was noted some time ago; `all`: whatever was noted. */
void inlet_flush_gaps(struct inlet *inlet, bool all);
/* What the relay's counters and the channel's state say, once a second. */
void inlet_tell_counters(struct inlet *inlet, const struct news_channel *channel);

/* ---- feed_trail.c ---- */

/* Follows the channel's recordings; the stream begins once their end is found. 0 or -ENOMEM. */
int trail_open(struct trail **trail, struct inlet *inlet);
void trail_close(struct trail *trail);

#endif
