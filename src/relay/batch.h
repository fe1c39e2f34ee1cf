/* SPDX-License-Identifier: MIT
 * What becomes of a batch of datagrams: each is checked, sent on, decimated and staged. */
#ifndef FLOTILLA_RELAY_BATCH_H
#define FLOTILLA_RELAY_BATCH_H

#include <stdint.h>

#include "relay/receiver.h"

/* Does the batch of `taken` messages that is in flight and commits it as a whole: until then
 * nothing of it has happened but the sending. Wakes the writing thread where that has to know. */
void batch_do(struct receiver *receiver, uint32_t taken);
/* Counts what was dropped behind the newest message, up to the socket's count `dropped`: it is
 * taken to be as that message. To be committed by the caller. */
void batch_note_dropped(const struct receiver *receiver, struct receiver_state *next,
                        uint32_t dropped);
/* Counts what the outboxes have sent and not sent since the last time. To be committed by the
 * caller. */
void batch_note_sent(struct receiver *receiver, struct receiver_state *next);

#endif
