/* SPDX-License-Identifier: MIT
 * What did not come, in words. What is seen in the stream is gathered for a moment, so that numbers
 * which overtook one another are not told as missing, and a stream that loses much does not make as
 * many messages; what the relay counts is told once a second, by how much it has risen. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "gateway/feed_parts.h"
#include "os/clock.h"

#define GATHER_NS (250 * NS_PER_MS)

void inlet_note_gap(struct inlet *inlet, enum inlet_gap_kind kind, uint64_t from_ns, uint64_t to_ns,
                    int64_t count, const char *more)
{
    struct inlet_gap *gap = &inlet->gaps[kind];
    if (gap->noted_ns == 0 && count < 0)
        return; /* it was told already */
    if (gap->noted_ns == 0)
        *gap = (struct inlet_gap){.from_ns = from_ns, .noted_ns = clock_monotonic_ns()};
    if (count > 0) {
        gap->to_ns = to_ns;
        gap->count += (uint64_t)count;
        snprintf(gap->more, sizeof(gap->more), "%s", more);
    } else {
        gap->count -= gap->count < (uint64_t)-count ? gap->count : (uint64_t)-count;
    }
}

void inlet_flush_gaps(struct inlet *inlet, bool all)
{
    static const char *const words[INLET_GAPS] = {
        [GAP_MISSING] = "numbers are missing in the sequence",
        [GAP_OVERRUN] = "the gateway did not keep up: datagrams were dropped in front of it",
        [GAP_INVALID] = "datagrams of the stream are not the channel's",
    };
    uint64_t now_ns = clock_monotonic_ns();
    for (int kind = 0; kind < INLET_GAPS; kind++) {
        struct inlet_gap *gap = &inlet->gaps[kind];
        char why[160];
        if (gap->noted_ns == 0 || (!all && now_ns - gap->noted_ns < GATHER_NS))
            continue;
        snprintf(why, sizeof(why), "%s%s%s", words[kind], gap->more[0] != '\0' ? ": " : "",
                 gap->more);
        if (gap->count > 0)
            inlet_tell_gap(inlet, gap->from_ns, gap->to_ns, gap->count, why);
        gap->noted_ns = 0;
    }
}

/* ---- counters of the relay ---- */

/* By how much a counter has risen; 0 where that is not known. */
static uint64_t risen(const json_t *was, const json_t *is, const char *key)
{
    const json_t *before = json_object_get(was, key), *now = json_object_get(is, key);
    if (!json_is_integer(now) || (before != NULL && !json_is_integer(before)))
        return 0;
    json_int_t more = json_integer_value(now) - json_integer_value(before);
    return more > 0 ? (uint64_t)more : 0;
}

static void tell_rejects(struct inlet *inlet, const struct news_channel *channel)
{
    const json_t *was = json_object_get(channel->was, "rejected");
    json_t *is = json_object_get(channel->is, "rejected"), *value;
    const char *reason;
    char why[400];
    size_t used = (size_t)snprintf(why, sizeof(why), "the relay rejected");
    uint64_t count = risen(channel->was, channel->is, "datagrams_rejected");
    if (count == 0)
        return;
    const char *between = " ";
    json_object_foreach(is, reason, value)
    {
        uint64_t more = risen(was, is, reason);
        if (more == 0 || used >= sizeof(why))
            continue;
        used += (size_t)snprintf(why + used, sizeof(why) - used, "%s%" PRIu64 " %s", between, more,
                                 reason);
        between = ", ";
    }
    inlet_tell_gap(inlet, channel->was_ns, channel->is_ns, count, why);
}

static void tell_relay(struct inlet *inlet, const struct news_channel *channel)
{
    char why[200];
    const json_t *was = json_object_get(channel->was, "pid");
    const json_t *is = json_object_get(channel->is, "pid");
    uint64_t restarts = risen(channel->was, channel->is, "restarts");
    bool other = json_is_integer(was) && json_is_integer(is) && !json_equal(was, is);
    if (restarts == 0 && !other)
        return;
    snprintf(why, sizeof(why), "another relay has the channel; what came meanwhile waited");
    inlet_tell_gap(inlet, channel->was_ns, channel->is_ns, 0, why);
}

/* Whether datums come in a state; those of starting do not yet, and that is soon over. */
static bool is_good(const char *state)
{
    static const char *const good[] = {"running", "starting", "not_recording"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        if (strcmp(state, good[i]) == 0)
            return true;
    return false;
}

/* While nothing comes: one gap, told again as it grows. */
static void tell_state(struct inlet *inlet, const struct news_channel *channel)
{
    const char *state = json_string_value(json_object_get(channel->is, "state"));
    const char *reason = json_string_value(json_object_get(channel->is, "reason"));
    char why[400];
    if (state == NULL || is_good(state)) {
        inlet->state_ns = 0;
        return;
    }
    if (inlet->state_ns == 0)
        inlet->state_ns = inlet->last_ns > 0 ? inlet->last_ns : channel->is_ns;
    /* Behind a semicolon stands what changes from moment to moment. */
    size_t bytes = reason != NULL ? strcspn(reason, ";") : 0;
    bool silent = strcmp(state, "silent") == 0;
    snprintf(why, sizeof(why), "%s%s%s%.*s", silent ? "nothing comes in" : "the channel is ",
             silent ? "" : state, bytes > 0 ? ": " : "", (int)bytes, reason != NULL ? reason : "");
    inlet_tell_gap(inlet, inlet->state_ns, channel->is_ns, UINT64_MAX, why);
}

void inlet_tell_counters(struct inlet *inlet, const struct news_channel *channel)
{
    if (channel->is == NULL)
        return;
    tell_state(inlet, channel);
    if (channel->was == NULL)
        return;
    uint64_t dropped = risen(channel->was, channel->is, "datagrams_dropped");
    uint64_t unrecorded = risen(channel->was, channel->is, "datums_unrecorded");
    if (dropped > 0)
        inlet_tell_gap(inlet, channel->was_ns, channel->is_ns, dropped,
                       "the kernel dropped datagrams in front of the relay: its queue was full");
    if (unrecorded > 0)
        inlet_tell_gap(inlet, channel->was_ns, channel->is_ns, unrecorded,
                       "datums were not recorded");
    tell_rejects(inlet, channel);
    tell_relay(inlet, channel);
}
