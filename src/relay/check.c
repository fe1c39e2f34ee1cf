/* SPDX-License-Identifier: MIT
 * The check of a datagram. Relies on the walk of avro/datum.h for what a datum is. */
#include "relay/check.h"

#include "avro/datum.h"

static bool is_source_allowed(const struct channel_settings *settings,
                              const struct net_message *message)
{
    struct address source;
    net_message_source(message, &source);
    for (uint32_t i = 0; i < settings->source_count; i++)
        if (prefix_covers(&settings->sources[i], &source))
            return true;
    return false;
}

/* Whether a datagram is one or more valid datums. */
static struct outcome check_datums(const struct checker *checker, struct span datagram)
{
    struct span left = datagram;
    uint32_t datums = 0;
    do {
        size_t bytes = 0;
        uint32_t prefix_bytes = checker->framing.prefix_bytes;
        enum reject reason =
            prefix_bytes == 0 ? REJECT_NONE : framing_check(&checker->framing, left);
        if (reason == REJECT_NONE) {
            left.at += prefix_bytes;
            left.bytes -= prefix_bytes;
            reason = datum_check(checker->layout, left, &bytes);
        }
        if (reason == REJECT_NONE && bytes == 0 && left.bytes > 0 && prefix_bytes == 0)
            reason = REJECT_TRAILING;
        if (reason != REJECT_NONE)
            return (struct outcome){.reason =
                                        (uint8_t)(datagram.bytes == 0 ? REJECT_EMPTY : reason),
                                    .offset = (uint16_t)(datagram.bytes - left.bytes + bytes)};
        left.at += bytes;
        left.bytes -= bytes;
        datums++;
    } while (left.bytes > 0);
    return (struct outcome){.single = datums == 1};
}

struct outcome check_datagram(const struct checker *checker, const struct cursor *at)
{
    if (checker->settings->source_count > 0 && !is_source_allowed(checker->settings, at->message))
        return (struct outcome){.reason = REJECT_SOURCE};
    if (at->message->truncated && at->last)
        return (struct outcome){.reason = REJECT_OVERSIZE};
    if (checker->framing.encoding == ENCODING_OPAQUE)
        return (struct outcome){.single = true};
    if (checker->layout->is_fixed && checker->framing.prefix_bytes == 0 &&
        at->datagram.bytes == checker->layout->fixed_bytes && at->datagram.bytes > 0)
        return (struct outcome){.single = true};
    return check_datums(checker, at->datagram);
}
