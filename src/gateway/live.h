/* SPDX-License-Identifier: MIT
 * flotilla.live.v1, what the page speaks: docs/internals/live.md. */
#ifndef FLOTILLA_GATEWAY_LIVE_H
#define FLOTILLA_GATEWAY_LIVE_H

#include "gateway/hub.h"

extern const struct dialect live_dialect;

#endif
