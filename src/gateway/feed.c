/* SPDX-License-Identifier: MIT
 * Who looks at what. Streams are settled, joined and left, in turns of their own, so that nothing
 * changes under whoever is being told something; what was closed meanwhile is freed behind it. */
#include "gateway/feed_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/envelope.h"
#include "os/clock.h"
#include "os/memory.h"

#define FLUSH_NS (250 * NS_PER_MS)

struct feed_fleet {
    struct feeds *feeds;
    struct feed_fleet *next;
    const struct feed_fleet_use *use;
    void *context;
    bool told; /* all that there is */
    bool closed;
};

static bool anybody(const struct feeds *feeds)
{
    return feeds->inlets != NULL || feeds->fleets != NULL;
}

static void settle_soon(struct feeds *feeds)
{
    if (feeds->settle.link_from == NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->settle, clock_monotonic_ns());
}

/* ---- telling, and what may be freed when ---- */

static void free_inlet(struct inlet *inlet)
{
    inlet_leave(inlet);
    free(inlet->leaves);
    free(inlet);
}

/* Whether a stream is to stay: somebody looks at it. */
static bool sweep_viewers(struct inlet *inlet)
{
    for (struct feed **link = &inlet->viewers; *link != NULL;) {
        struct feed *feed = *link;
        if (!feed->closed) {
            link = &feed->next;
            continue;
        }
        *link = feed->next;
        free(feed);
    }
    return inlet->viewers != NULL;
}

static void sweep(struct feeds *feeds)
{
    feeds->swept = false;
    for (struct inlet **link = &feeds->inlets; *link != NULL;) {
        struct inlet *inlet = *link;
        if (sweep_viewers(inlet)) {
            link = &inlet->next;
            continue;
        }
        *link = inlet->next;
        free_inlet(inlet);
    }
    for (struct feed_fleet **link = &feeds->fleets; *link != NULL;) {
        struct feed_fleet *fleet = *link;
        if (!fleet->closed) {
            link = &fleet->next;
            continue;
        }
        *link = fleet->next;
        free(fleet);
    }
    news_want(feeds->news, anybody(feeds));
    if (feeds->inlets == NULL)
        loop_disarm(&feeds->flush);
}

void feeds_enter(struct feeds *feeds)
{
    feeds->calling++;
}

void feeds_leave(struct feeds *feeds)
{
    if (--feeds->calling == 0 && feeds->swept)
        sweep(feeds);
}

void inlet_tell_datum(struct inlet *inlet, struct span datum, uint64_t at_ns)
{
    for (struct feed *feed = inlet->viewers; feed != NULL; feed = feed->next)
        if (feed->told && !feed->closed)
            feed->use->datum(feed->context, datum, at_ns);
}

void inlet_tell_gap(struct inlet *inlet, uint64_t from_ns, uint64_t to_ns, uint64_t count,
                    const char *why)
{
    for (struct feed *feed = inlet->viewers; feed != NULL; feed = feed->next)
        if (feed->told && !feed->closed)
            feed->use->gap(feed->context, from_ns, to_ns, count, why);
}

void inlet_tell_begins(struct inlet *inlet)
{
    inlet->ready = true;
    if (inlet->subject.source != FEED_RECORDING)
        inlet->subject.since_ns = clock_realtime_ns();
    for (struct feed *feed = inlet->viewers; feed != NULL; feed = feed->next)
        if (!feed->told && !feed->closed) {
            feed->told = true;
            feed->use->begins(feed->context, &inlet->subject);
        }
}

void inlet_end(struct inlet *inlet, bool refused, const char *why)
{
    inlet->begun = false;
    for (struct feed *feed = inlet->viewers; feed != NULL; feed = feed->next)
        if (!feed->closed) {
            feed->closed = true;
            feed->use->ended(feed->context, refused, why);
        }
    inlet->feeds->swept = true;
}

/* ---- settling ---- */

static bool can_join(const struct address *address)
{
    return address->family != 0 && address_is_multicast(address);
}

/* Where the stream is to come from; false: from nowhere. */
static bool choose_source(const struct news_ways *ways, bool full, enum feed_source *source)
{
    bool has_full = can_join(&ways->full), has_decimated = can_join(&ways->decimated);
    if (full)
        *source = has_full ? FEED_FULL : ways->records ? FEED_RECORDING : FEED_DECIMATED;
    else
        *source = has_decimated ? FEED_DECIMATED : has_full ? FEED_FULL : FEED_RECORDING;
    return has_full || has_decimated || ways->records;
}

static void copy_path(char *to, size_t room, struct span path)
{
    size_t bytes = path.bytes < room ? path.bytes : 0;
    if (bytes > 0)
        memcpy(to, path.at, bytes);
    to[bytes] = '\0';
}

static void fill_subject(struct feed_subject *subject, const struct news_channel *channel,
                         enum feed_source source)
{
    *subject = (struct feed_subject){.channel = channel->name,
                                     .schema = channel->schema,
                                     .layout = &channel->layout,
                                     .source = source,
                                     .factor = 1,
                                     .has_full = can_join(&channel->ways.full)};
    copy_path(subject->time, sizeof(subject->time), channel->layout.time);
    copy_path(subject->sequence, sizeof(subject->sequence), channel->layout.sequence);
    if (source == FEED_DECIMATED) {
        subject->algorithm = channel->ways.algorithm;
        subject->factor = channel->ways.factor;
    }
}

/* Begins, or begins anew, as the channel is now. */
static void begin(struct inlet *inlet, const struct news_channel *channel, enum feed_source source)
{
    char why[400];
    bool was_begun = inlet->begun;
    bool other_schema = inlet->subject.schema != channel->schema;
    inlet_flush_gaps(inlet, true);
    inlet_leave(inlet);
    fill_subject(&inlet->subject, channel, source);
    inlet->ways = channel->ways;
    inlet->checksum = channel->layout.checksum;
    framing_set(&inlet->framing, channel->ways.encoding, channel->layout.fingerprint,
                channel->ways.schema_id);
    inlet->sequence = (struct sequence_watch){.factor = inlet->subject.factor};
    free(inlet->leaves);
    inlet->leaves = NULL;
    if (channel->layout.sequence_leaf != LAYOUT_NO_LEAF &&
        channel->layout.sequence_step == LAYOUT_NO_STEP)
        inlet->leaves = calloc(channel->layout.leaf_count + 1u, sizeof(*inlet->leaves));
    for (struct feed *feed = inlet->viewers; feed != NULL; feed = feed->next)
        feed->told = false;
    inlet->begun = true;
    inlet->ready = false;
    if (source == FEED_RECORDING) {
        /* It tells once it is there, and the schema they look by is gone before that. */
        if (was_begun && other_schema)
            inlet_end(inlet, false, "its schema has become another");
        else if (trail_open(&inlet->trail, inlet) < 0)
            inlet_end(inlet, false, strerror(ENOMEM));
        return;
    }
    if (inlet_join(inlet, why, sizeof(why)) < 0)
        inlet_end(inlet, false, why);
    else
        inlet_tell_begins(inlet);
}

static void settle_inlet(struct inlet *inlet)
{
    char why[1400];
    const char *reason;
    enum feed_source source;
    if (inlet->viewers == NULL || !news_are_known(inlet->feeds->news))
        return;
    const struct news_channel *channel = news_channel(inlet->feeds->news, inlet->name);
    if (channel == NULL) {
        bool answered = news_status(inlet->feeds->news, &reason) != NULL;
        snprintf(why, sizeof(why), answered ? "no channel is called \"%s\"" : "%s",
                 answered ? inlet->name : reason);
        inlet_end(inlet, answered && !inlet->begun, why);
    } else if (channel->schema == NULL) {
        inlet_end(inlet, false, "its schema could not be read yet");
    } else if (!choose_source(&channel->ways, inlet->full, &source)) {
        inlet_end(inlet, true, "it has no stream that can be joined, and is not recorded");
    } else if (!inlet->begun || inlet->subject.source != source ||
               inlet->checksum != channel->layout.checksum ||
               inlet->subject.schema != channel->schema ||
               memcmp(&inlet->ways, &channel->ways, sizeof(inlet->ways)) != 0) {
        begin(inlet, channel, source);
    } else if (inlet->ready) {
        inlet_tell_begins(inlet);
    }
}

static struct inlet *find_inlet(struct feeds *feeds, const char *channel, bool full)
{
    for (struct inlet *inlet = feeds->inlets; inlet != NULL; inlet = inlet->next)
        if (inlet->full == full && strcmp(inlet->name, channel) == 0)
            return inlet;
    struct inlet *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->feeds = feeds;
    made->full = full;
    snprintf(made->name, sizeof(made->name), "%s", channel);
    made->descriptor = DESCRIPTOR_NONE;
    made->next = feeds->inlets;
    feeds->inlets = made;
    if (feeds->flush.link_from == NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->flush, clock_monotonic_ns() + FLUSH_NS);
    return made;
}

static void add_viewer(struct inlet *inlet, struct feed *feed)
{
    feed->inlet = inlet;
    feed->told = false;
    feed->next = inlet->viewers;
    inlet->viewers = feed;
}

/* Those who would rather look at the other stream go there. */
static void move_viewers(struct inlet *inlet)
{
    for (struct feed **link = &inlet->viewers; *link != NULL;) {
        struct feed *feed = *link;
        struct inlet *other = feed->full == inlet->full || feed->closed
                                  ? NULL
                                  : find_inlet(inlet->feeds, inlet->name, feed->full);
        if (other == NULL) {
            link = &feed->next;
            continue;
        }
        *link = feed->next;
        add_viewer(other, feed);
        inlet->feeds->swept = true;
    }
}

static void tell_fleet(struct feed_fleet *fleet)
{
    const char *reason;
    const struct news *news = fleet->feeds->news;
    if (fleet->told || fleet->closed || !news_are_known(news))
        return;
    fleet->told = true;
    const json_t *status = news_status(news, &reason);
    if (fleet->use->status != NULL)
        fleet->use->status(fleet->context, status, reason);
    const struct news_channel *channel = NULL;
    while (fleet->use->channel != NULL && !fleet->closed &&
           (channel = news_next(news, channel)) != NULL) {
        struct feed_subject subject;
        enum feed_source source;
        if (channel->schema == NULL)
            continue;
        choose_source(&channel->ways, false, &source);
        fill_subject(&subject, channel, source);
        fleet->use->channel(fleet->context, &subject);
    }
}

static void settle(void *context)
{
    struct feeds *feeds = context;
    feeds_enter(feeds);
    for (struct feed_fleet *fleet = feeds->fleets; fleet != NULL; fleet = fleet->next)
        tell_fleet(fleet);
    for (struct inlet *inlet = feeds->inlets; inlet != NULL; inlet = inlet->next)
        move_viewers(inlet);
    for (struct inlet *inlet = feeds->inlets; inlet != NULL; inlet = inlet->next)
        settle_inlet(inlet);
    feeds_leave(feeds);
}

static void flush(void *context)
{
    struct feeds *feeds = context;
    feeds_enter(feeds);
    for (struct inlet *inlet = feeds->inlets; inlet != NULL; inlet = inlet->next) {
        inlet_look_for_drops(inlet);
        inlet_flush_gaps(inlet, false);
    }
    loop_arm(hub_loop(feeds->hub), &feeds->flush, clock_monotonic_ns() + FLUSH_NS);
    feeds_leave(feeds);
}

/* ---- news ---- */

static void channel_changed(void *context, const struct news_channel *channel)
{
    struct feeds *feeds = context;
    struct feed_subject subject;
    enum feed_source source;
    feeds_enter(feeds);
    for (struct inlet *inlet = feeds->inlets; inlet != NULL; inlet = inlet->next)
        if (inlet->begun && strcmp(inlet->name, channel->name) == 0)
            settle_inlet(inlet);
    choose_source(&channel->ways, false, &source);
    fill_subject(&subject, channel, source);
    for (struct feed_fleet *fleet = feeds->fleets; fleet != NULL; fleet = fleet->next)
        if (fleet->told && !fleet->closed && fleet->use->channel != NULL && channel->schema != NULL)
            fleet->use->channel(fleet->context, &subject);
    feeds_leave(feeds);
}

static void channel_gone(void *context, const struct news_channel *channel)
{
    struct feeds *feeds = context;
    feeds_enter(feeds);
    for (struct inlet *inlet = feeds->inlets; inlet != NULL; inlet = inlet->next)
        if (strcmp(inlet->name, channel->name) == 0)
            inlet_end(inlet, false, "the channel is not in the configuration any more");
    for (struct feed_fleet *fleet = feeds->fleets; fleet != NULL; fleet = fleet->next)
        if (fleet->told && !fleet->closed && fleet->use->gone != NULL)
            fleet->use->gone(fleet->context, channel->name);
    feeds_leave(feeds);
}

static void was_asked(void *context)
{
    struct feeds *feeds = context;
    const char *reason;
    const json_t *status = news_status(feeds->news, &reason);
    feeds_enter(feeds);
    for (struct feed_fleet *fleet = feeds->fleets; fleet != NULL; fleet = fleet->next)
        if (fleet->told && !fleet->closed && fleet->use->status != NULL)
            fleet->use->status(fleet->context, status, reason);
    for (struct inlet *inlet = feeds->inlets; inlet != NULL; inlet = inlet->next) {
        const struct news_channel *channel = news_channel(feeds->news, inlet->name);
        if (!inlet->begun || channel == NULL || status == NULL)
            continue;
        inlet_tell_counters(inlet, channel);
        if (inlet->descriptor != DESCRIPTOR_NONE && inlet_lost_interface(inlet)) {
            inlet_tell_gap(inlet, inlet->last_ns > 0 ? inlet->last_ns : clock_realtime_ns(),
                           clock_realtime_ns(), UINT64_MAX, "the interface was made anew");
            begin(inlet, channel, inlet->subject.source);
        }
    }
    settle_soon(feeds);
    feeds_leave(feeds);
}

static const struct news_use news_use = {
    .channel = channel_changed, .gone = channel_gone, .asked = was_asked};

/* ---- the outside ---- */

int feeds_open(struct feeds **feeds, struct hub *hub)
{
    struct feeds *made = calloc(1, sizeof(*made));
    void *memory = private_memory_map(net_batch_bytes(FEED_MESSAGES));
    uint8_t *opaque = malloc(ENVELOPE_FRONT_BYTES_MAX + NET_DATAGRAM_BYTES_MAX);
    int status = made == NULL || memory == NULL || opaque == NULL
                     ? -ENOMEM
                     : news_open(&made->news, hub, &news_use, made);
    if (status < 0) {
        if (memory != NULL)
            private_memory_unmap(memory, net_batch_bytes(FEED_MESSAGES));
        free(opaque);
        free(made);
        return status;
    }
    made->hub = hub;
    made->batch = net_batch_place(memory, FEED_MESSAGES);
    made->opaque = opaque;
    made->settle = (struct loop_timer){.due = settle, .context = made};
    made->tick = (struct loop_timer){.due = feeds_read_resting, .context = made};
    made->flush = (struct loop_timer){.due = flush, .context = made};
    *feeds = made;
    return 0;
}

int feed_open(struct feed **feed, struct feeds *feeds, const char *channel, bool full,
              const struct feed_use *use, void *context)
{
    struct feed *made = calloc(1, sizeof(*made));
    struct inlet *inlet = made != NULL ? find_inlet(feeds, channel, full) : NULL;
    if (inlet == NULL) {
        free(made);
        return -ENOMEM;
    }
    *made = (struct feed){.use = use, .context = context, .full = full};
    add_viewer(inlet, made);
    news_want(feeds->news, true);
    settle_soon(feeds);
    *feed = made;
    return 0;
}

void feed_choose(struct feed *feed, bool full)
{
    if (feed->full == full)
        return;
    feed->full = full;
    settle_soon(feed->inlet->feeds);
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    struct feeds *feeds = feed->inlet->feeds;
    feed->closed = true;
    feeds->swept = true;
    feeds_enter(feeds);
    feeds_leave(feeds);
}

int feed_follow(struct feed_fleet **fleet, struct feeds *feeds, const struct feed_fleet_use *use,
                void *context)
{
    struct feed_fleet *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    *made =
        (struct feed_fleet){.feeds = feeds, .use = use, .context = context, .next = feeds->fleets};
    feeds->fleets = made;
    news_want(feeds->news, true);
    settle_soon(feeds);
    *fleet = made;
    return 0;
}

void feed_unfollow(struct feed_fleet *fleet)
{
    if (fleet == NULL)
        return;
    fleet->closed = true;
    fleet->feeds->swept = true;
    feeds_enter(fleet->feeds);
    feeds_leave(fleet->feeds);
}
