/* SPDX-License-Identifier: MIT
 * What the manager says of the fleet, asked once a second while somebody wants to know: the state
 * of each channel, by which ways its streams go, and its schema, which the manager leaves compiled
 * in the runtime folder. Asked in a work thread; all else in the hub's. While no manager answers,
 * the channels are what was known last. */
#ifndef FLOTILLA_GATEWAY_NEWS_H
#define FLOTILLA_GATEWAY_NEWS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "avro/layout.h"
#include "channel/settings.h"
#include "schema/schema.h"

struct hub;
struct news; /* opaque */

/* How a channel's streams go. Two that are the same are so byte for byte. */
struct news_ways {
    struct address full, decimated;    /* family 0: none */
    char full_by[NET_INTERFACE_BYTES]; /* interfaces; "": the routing table's */
    char decimated_by[NET_INTERFACE_BYTES];
    uint32_t factor, schema_id;
    enum algorithm algorithm;
    enum encoding encoding;
    bool records;
};

struct news_channel {
    char name[CHANNEL_NAME_BYTES_MAX + 1];
    struct news_ways ways;
    /* NULL: it could not be read (yet). The layout is in `image`. */
    struct schema_file *schema;
    uint8_t *image;
    struct layout layout;
    uint64_t image_ns; /* when its file was written */
    /* Its part of the newest status, and of the one before; NULL: there is none. When they were
     * asked for, realtime. */
    json_t *is, *was;
    uint64_t is_ns, was_ns;
    bool told; /* to news_use.channel */
    bool seen; /* in the answer at hand */
};

/* Calls come in the hub's thread, never from within news_open or news_want. */
struct news_use {
    /* The channel is new, or its ways or schema are others; what it had is freed behind the call.
     */
    void (*channel)(void *context, const struct news_channel *channel);
    void (*gone)(void *context, const struct news_channel *channel);
    /* Once a second, behind those. */
    void (*asked)(void *context);
};

int news_open(struct news **news, struct hub *hub, const struct news_use *use, void *context);
/* Begins to ask, at once, or ceases to. */
void news_want(struct news *news, bool wanted);
/* Whether the manager was asked since asking began, with whatever success. */
bool news_are_known(const struct news *news);
/* The manager's newest status; NULL with the reason where it did not answer. Borrowed. */
const json_t *news_status(const struct news *news, const char **reason);
/* NULL: there is none of that name. */
const struct news_channel *news_channel(const struct news *news, const char *name);
/* The first for NULL; NULL behind the last. */
const struct news_channel *news_next(const struct news *news, const struct news_channel *channel);

#endif
