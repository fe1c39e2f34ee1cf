/* SPDX-License-Identifier: MIT
 * Whether a datagram may pass: from its bytes and its sender to an outcome. Pure: no I/O, no
 * memory. */
#ifndef FLOTILLA_RELAY_CHECK_H
#define FLOTILLA_RELAY_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avro/framing.h"
#include "avro/layout.h"
#include "channel/settings.h"
#include "os/net.h"

/* Goes over the datagrams of a batch in their order: zeroed but for the messages, then cursor_next
 * for each. */
struct cursor {
    const struct net_message *messages;
    uint32_t message_count, next_message;
    size_t next_offset;

    const struct net_message *message;
    struct span datagram;
    uint32_t index;   /* in the batch, over all its messages */
    bool first, last; /* of its message */
};

static inline bool cursor_next(struct cursor *cursor)
{
    if (cursor->next_message == cursor->message_count)
        return false;
    cursor->index += cursor->message != NULL;
    cursor->message = &cursor->messages[cursor->next_message];
    cursor->datagram = net_message_datagram(cursor->message, cursor->next_offset);
    cursor->first = cursor->next_offset == 0;
    cursor->next_offset += cursor->datagram.bytes;
    cursor->last = cursor->next_offset == cursor->message->bytes.bytes;
    if (cursor->last) {
        cursor->next_message++;
        cursor->next_offset = 0;
    }
    return true;
}

/* What the check of a datagram said. */
struct outcome {
    uint8_t reason;  /* enum reject */
    bool single;     /* it is one datum, with what stands before it */
    uint16_t offset; /* of the fault in it */
};

struct checker {
    const struct channel_settings *settings;
    const struct layout *layout;
    struct framing framing;
};

/* From an allowed sender, whole, and one or more valid datums. Each datum is walked; of a datagram
 * that holds several only that is told, so whoever takes them apart walks each once more: keeping
 * where they end would cost every datagram, and one that is a single datum is walked once. */
struct outcome check_datagram(const struct checker *checker, const struct cursor *at);

#endif
