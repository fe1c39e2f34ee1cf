/* SPDX-License-Identifier: MIT
 * An answer that is made while it is sent: what comes out of a pipe, by the manager's leave. Its
 * length is not known, so it goes out in chunks; where the work behind it fails, the connection is
 * broken off, by which a client tells that it has not got all. */
#ifndef FLOTILLA_GATEWAY_STREAM_H
#define FLOTILLA_GATEWAY_STREAM_H

#include <stdint.h>

#include "control/client.h"
#include "os/loop.h"

struct MHD_Connection;
struct MHD_Response;

struct stream; /* opaque */

/* Takes over the pipe and the talk (which are closed with it), whose last line says how the work
 * has ended; `first` bytes of the pipe, from malloc, were read already. NULL without memory. */
struct stream *stream_make(descriptor_t pipe, const struct control_talk *talk, uint8_t *first,
                           size_t bytes);
/* Whether the line says that all of it was made. */
bool stream_is_whole(const json_t *line);
/* The answer that it is, sent in the loop's thread; `bell` is rung when there is more to send. The
 * stream is the answer's. NULL without memory. */
struct MHD_Response *stream_answer(struct stream *stream, struct MHD_Connection *connection,
                                   struct loop *loop, descriptor_t bell);
/* Of one that is not to be answered; harmless on NULL. */
void stream_free(struct stream *stream);

#endif
