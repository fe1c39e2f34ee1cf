/* SPDX-License-Identifier: MIT
 * What is spoken at which path: the dialects, in the one place where they are listed. */
#ifndef FLOTILLA_GATEWAY_DIALECTS_H
#define FLOTILLA_GATEWAY_DIALECTS_H

#include "gateway/hub.h"

/* NULL at their end. */
extern const struct dialect *const dialects[];

#endif
