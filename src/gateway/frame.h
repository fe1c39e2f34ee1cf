/* SPDX-License-Identifier: MIT
 * The front of a binary message of flotilla.live.v1, docs/internals/live.md. Little-endian.
 * Pure. */
#ifndef FLOTILLA_GATEWAY_FRAME_H
#define FLOTILLA_GATEWAY_FRAME_H

#include <stdint.h>
#include <string.h>

#define FRAME_BYTES     32u
#define FRAME_BYTES_MAX (128u << 10) /* of a whole message, where a row has no more */

enum frame_kind { FRAME_BINS = 1, FRAME_DATUMS = 2, FRAME_PAST = 3 };
enum frame_flags { FRAME_COARSE = 1, FRAME_FIRST = 2, FRAME_LAST = 4 };

struct frame {
    enum frame_kind kind;
    unsigned flags;
    uint32_t fields, id, rows;
    int64_t from_ns;
    uint64_t width_ns;
};

static inline void frame_write(uint8_t out[FRAME_BYTES], const struct frame *frame)
{
    const uint16_t fields = (uint16_t)frame->fields;
    memset(out, 0, FRAME_BYTES);
    out[0] = (uint8_t)frame->kind;
    out[1] = (uint8_t)frame->flags;
    memcpy(out + 2, &fields, 2);
    memcpy(out + 4, &frame->id, 4);
    memcpy(out + 8, &frame->rows, 4);
    memcpy(out + 16, &frame->from_ns, 8);
    memcpy(out + 24, &frame->width_ns, 8);
}

/* The most rows of so many doubles that a message has. */
static inline uint32_t frame_rows_max(uint32_t doubles)
{
    uint32_t rows = (FRAME_BYTES_MAX - FRAME_BYTES) / (8 * doubles);
    return rows > 0 ? rows : 1;
}

#endif
