/* SPDX-License-Identifier: MIT
 * Samples in columns, for programs that would rather have arrays than JSON. */
#ifndef FLOTILLA_GATEWAY_REST_COLUMNS_H
#define FLOTILLA_GATEWAY_REST_COLUMNS_H

#include "archive/search.h"
#include "gateway/exchange.h"

/* Answers with what the live socket would answer `history` with, docs/internals/live.md: its binary
 * messages, one behind the other, id 1. Fields are as they are there. */
void rest_columns(const struct request *request, struct reply *reply, const struct time_span *span,
                  const char *const *fields, size_t field_count, uint32_t points);

#endif
