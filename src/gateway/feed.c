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
    return feeds->streams != NULL || feeds->fleets != NULL;
}

static void settle_soon(struct feeds *feeds)
{
    if (feeds->settle.link_from == NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->settle, clock_monotonic_ns());
}

/* ---- telling, and what may be freed when ---- */

static void free_stream(struct stream *stream)
{
    stream_leave(stream);
    free(stream->leaves);
    free(stream);
}

/* Whether a stream is to stay: somebody looks at it. */
static bool sweep_viewers(struct stream *stream)
{
    for (struct feed **link = &stream->viewers; *link != NULL;) {
        struct feed *feed = *link;
        if (!feed->closed) {
            link = &feed->next;
            continue;
        }
        *link = feed->next;
        free(feed);
    }
    return stream->viewers != NULL;
}

static void sweep(struct feeds *feeds)
{
    feeds->swept = false;
    for (struct stream **link = &feeds->streams; *link != NULL;) {
        struct stream *stream = *link;
        if (sweep_viewers(stream)) {
            link = &stream->next;
            continue;
        }
        *link = stream->next;
        free_stream(stream);
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
    if (feeds->streams == NULL)
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

void stream_tell_datum(struct stream *stream, struct span datum, uint64_t at_ns)
{
    for (struct feed *feed = stream->viewers; feed != NULL; feed = feed->next)
        if (feed->told && !feed->closed)
            feed->use->datum(feed->context, datum, at_ns);
}

void stream_tell_gap(struct stream *stream, uint64_t from_ns, uint64_t to_ns, uint64_t count,
                     const char *why)
{
    for (struct feed *feed = stream->viewers; feed != NULL; feed = feed->next)
        if (feed->told && !feed->closed)
            feed->use->gap(feed->context, from_ns, to_ns, count, why);
}

void stream_tell_begins(struct stream *stream)
{
    stream->ready = true;
    if (stream->subject.source != FEED_RECORDING)
        stream->subject.since_ns = clock_realtime_ns();
    for (struct feed *feed = stream->viewers; feed != NULL; feed = feed->next)
        if (!feed->told && !feed->closed) {
            feed->told = true;
            feed->use->begins(feed->context, &stream->subject);
        }
}

void stream_end(struct stream *stream, bool refused, const char *why)
{
    stream->begun = false;
    for (struct feed *feed = stream->viewers; feed != NULL; feed = feed->next)
        if (!feed->closed) {
            feed->closed = true;
            feed->use->ended(feed->context, refused, why);
        }
    stream->feeds->swept = true;
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
static void begin(struct stream *stream, const struct news_channel *channel,
                  enum feed_source source)
{
    char why[400];
    stream_flush_gaps(stream, true);
    stream_leave(stream);
    fill_subject(&stream->subject, channel, source);
    stream->ways = channel->ways;
    stream->checksum = channel->layout.checksum;
    framing_set(&stream->framing, channel->ways.encoding, channel->layout.fingerprint,
                channel->ways.schema_id);
    stream->sequence = (struct sequence_watch){.factor = stream->subject.factor};
    free(stream->leaves);
    stream->leaves = NULL;
    if (channel->layout.sequence_leaf != LAYOUT_NO_LEAF &&
        channel->layout.sequence_step == LAYOUT_NO_STEP)
        stream->leaves = calloc(channel->layout.leaf_count + 1u, sizeof(*stream->leaves));
    for (struct feed *feed = stream->viewers; feed != NULL; feed = feed->next)
        feed->told = false;
    stream->begun = true;
    stream->ready = false;
    if (source == FEED_RECORDING) {
        if (trail_open(&stream->trail, stream) < 0)
            stream_end(stream, false, strerror(ENOMEM));
        return; /* it tells once it is there */
    }
    if (stream_join(stream, why, sizeof(why)) < 0)
        stream_end(stream, false, why);
    else
        stream_tell_begins(stream);
}

static void settle_stream(struct stream *stream)
{
    char why[1400];
    const char *reason;
    enum feed_source source;
    if (stream->viewers == NULL || !news_are_known(stream->feeds->news))
        return;
    const struct news_channel *channel = news_channel(stream->feeds->news, stream->name);
    if (channel == NULL) {
        bool answered = news_status(stream->feeds->news, &reason) != NULL;
        snprintf(why, sizeof(why), answered ? "no channel is called \"%s\"" : "%s",
                 answered ? stream->name : reason);
        stream_end(stream, answered && !stream->begun, why);
    } else if (channel->schema == NULL) {
        stream_end(stream, false, "its schema could not be read yet");
    } else if (!choose_source(&channel->ways, stream->full, &source)) {
        stream_end(stream, true, "it has no stream that can be joined, and is not recorded");
    } else if (!stream->begun || stream->subject.source != source ||
               stream->checksum != channel->layout.checksum ||
               stream->subject.schema != channel->schema ||
               memcmp(&stream->ways, &channel->ways, sizeof(stream->ways)) != 0) {
        begin(stream, channel, source);
    } else if (stream->ready) {
        stream_tell_begins(stream);
    }
}

static struct stream *find_stream(struct feeds *feeds, const char *channel, bool full)
{
    for (struct stream *stream = feeds->streams; stream != NULL; stream = stream->next)
        if (stream->full == full && strcmp(stream->name, channel) == 0)
            return stream;
    struct stream *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->feeds = feeds;
    made->full = full;
    snprintf(made->name, sizeof(made->name), "%s", channel);
    made->descriptor = DESCRIPTOR_NONE;
    made->next = feeds->streams;
    feeds->streams = made;
    if (feeds->flush.link_from == NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->flush, clock_monotonic_ns() + FLUSH_NS);
    return made;
}

static void add_viewer(struct stream *stream, struct feed *feed)
{
    feed->stream = stream;
    feed->told = false;
    feed->next = stream->viewers;
    stream->viewers = feed;
}

/* Those who would rather look at the other stream go there. */
static void move_viewers(struct stream *stream)
{
    for (struct feed **link = &stream->viewers; *link != NULL;) {
        struct feed *feed = *link;
        struct stream *other = feed->full == stream->full || feed->closed
                                   ? NULL
                                   : find_stream(stream->feeds, stream->name, feed->full);
        if (other == NULL) {
            link = &feed->next;
            continue;
        }
        *link = feed->next;
        add_viewer(other, feed);
        stream->feeds->swept = true;
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
    for (struct stream *stream = feeds->streams; stream != NULL; stream = stream->next)
        move_viewers(stream);
    for (struct stream *stream = feeds->streams; stream != NULL; stream = stream->next)
        settle_stream(stream);
    for (struct feed_fleet *fleet = feeds->fleets; fleet != NULL; fleet = fleet->next)
        tell_fleet(fleet);
    feeds_leave(feeds);
}

static void flush(void *context)
{
    struct feeds *feeds = context;
    feeds_enter(feeds);
    for (struct stream *stream = feeds->streams; stream != NULL; stream = stream->next)
        stream_flush_gaps(stream, false);
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
    for (struct stream *stream = feeds->streams; stream != NULL; stream = stream->next)
        if (stream->begun && strcmp(stream->name, channel->name) == 0)
            settle_stream(stream);
    choose_source(&channel->ways, false, &source);
    fill_subject(&subject, channel, source);
    for (struct feed_fleet *fleet = feeds->fleets; fleet != NULL; fleet = fleet->next)
        if (fleet->told && !fleet->closed && fleet->use->channel != NULL &&
            channel->schema != NULL)
            fleet->use->channel(fleet->context, &subject);
    feeds_leave(feeds);
}

static void channel_gone(void *context, const struct news_channel *channel)
{
    struct feeds *feeds = context;
    feeds_enter(feeds);
    for (struct stream *stream = feeds->streams; stream != NULL; stream = stream->next)
        if (strcmp(stream->name, channel->name) == 0)
            stream_end(stream, false, "the channel is not in the configuration any more");
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
    for (struct stream *stream = feeds->streams; stream != NULL; stream = stream->next) {
        const struct news_channel *channel = news_channel(feeds->news, stream->name);
        if (!stream->begun || channel == NULL || status == NULL)
            continue;
        stream_tell_counters(stream, channel);
        if (stream->descriptor != DESCRIPTOR_NONE && stream_lost_interface(stream)) {
            stream_tell_gap(stream, stream->last_ns > 0 ? stream->last_ns : clock_realtime_ns(),
                            clock_realtime_ns(), UINT64_MAX, "the interface was made anew");
            begin(stream, channel, stream->subject.source);
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
    struct stream *stream = made != NULL ? find_stream(feeds, channel, full) : NULL;
    if (stream == NULL) {
        free(made);
        return -ENOMEM;
    }
    *made = (struct feed){.use = use, .context = context, .full = full};
    add_viewer(stream, made);
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
    settle_soon(feed->stream->feeds);
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    struct feeds *feeds = feed->stream->feeds;
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
    *made = (struct feed_fleet){
        .feeds = feeds, .use = use, .context = context, .next = feeds->fleets};
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
