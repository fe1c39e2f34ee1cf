/* SPDX-License-Identifier: MIT
 * Foxglove's protocol, as Foxglove, Lichtblick and PlotJuggler speak it: subprotocols
 * foxglove.sdk.v1 and foxglove.websocket.v1, messages in encoding cdr with schemas in ros2msg.
 * Nothing can be published, called or set by it. */
#ifndef FLOTILLA_GATEWAY_FOXGLOVE_H
#define FLOTILLA_GATEWAY_FOXGLOVE_H

#include "gateway/hub.h"

/* What is live: at "/foxglove", and at "/" for tools in which people say but a host and a port. */
extern const struct dialect foxglove_live, foxglove_live_at_root;
/* What is recorded, at "/foxglove/recordings", with playback control: from where each client seeks
 * to, as fast as it asks for. */
extern const struct dialect foxglove_recordings;

#endif
