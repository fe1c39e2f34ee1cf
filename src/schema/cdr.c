/* SPDX-License-Identifier: MIT
 * Writes CDR. Relies on room being made for a whole step before its bytes are written, and, as all
 * of schema/ does, on a little-endian machine. No known faults. */
#include "schema/cdr.h"

#include <math.h>
#include <string.h>

#define NS_PER_S   1000000000u
#define VALUE_ROOM 16u /* a number with what it is aligned by, twice */

struct writer {
    struct text *out;
    size_t origin; /* what alignment counts from */
};

/* Room for `bytes` and VALUE_ROOM more. */
static bool make_room(struct text *out, size_t bytes)
{
    size_t most = out->bytes + bytes + VALUE_ROOM + 1;
    if (most <= out->room)
        return true;
    char *grown = most < bytes ? NULL : room_grow(out->at, &out->room, most, 1);
    out->failed |= grown == NULL;
    if (grown != NULL)
        out->at = grown;
    return grown != NULL;
}

/* Pads for a number of `bytes`, writes the low ones of `value`. There is room. */
static inline void put(struct writer *writer, uint64_t value, size_t bytes)
{
    struct text *out = writer->out;
    while ((out->bytes - writer->origin) & (bytes - 1))
        out->at[out->bytes++] = 0;
    memcpy(out->at + out->bytes, &value, 8);
    out->bytes += bytes;
}

static inline bool put_number(struct writer *writer, uint64_t value, size_t bytes)
{
    if (!make_room(writer->out, 0))
        return false;
    put(writer, value, bytes);
    return true;
}

static uint64_t float_bits(double value)
{
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, 4);
    return bits;
}

static uint64_t double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

static bool put_count(struct writer *writer, uint64_t count)
{
    return count < UINT32_MAX && put_number(writer, count, 4);
}

/* Bytes as they are, `zeros` behind them. */
static bool put_bytes(struct writer *writer, struct span bytes, size_t zeros)
{
    struct text *out = writer->out;
    if (bytes.bytes > SIZE_MAX / 2 - zeros || !make_room(out, bytes.bytes + zeros))
        return false;
    if (bytes.bytes > 0)
        memcpy(out->at + out->bytes, bytes.at, bytes.bytes);
    memset(out->at + out->bytes + bytes.bytes, 0, zeros);
    out->bytes += bytes.bytes + zeros;
    return true;
}

static bool put_string(struct writer *writer, struct span text)
{
    return put_count(writer, (uint64_t)text.bytes + 1) && put_bytes(writer, text, 1);
}

static bool put_steps(struct writer *writer, const struct cdr_steps *steps,
                      struct column_value *values);

static bool put_items(struct writer *writer, const struct cdr_steps *steps,
                      const struct cdr_step *step, struct column_value *values)
{
    const struct column_value *value = &values[step->column];
    struct column_value *item = values + steps->columns;
    if (!value->present)
        return put_count(writer, 0);
    struct column_items items = column_items(step->array, value);
    if (!put_count(writer, value->item_count))
        return false;
    while (column_items_next(&items, item)) {
        if (items.is_map && !put_string(writer, items.key))
            return false;
        if (!put_steps(writer, step->items, item))
            return false;
    }
    return true;
}

static bool is_valid(const struct cdr_step *step, const struct column_value *values)
{
    for (uint32_t i = 0; i < step->count; i++)
        if (values[step->column + i].present)
            return true;
    return false;
}

static bool put_steps(struct writer *writer, const struct cdr_steps *steps,
                      struct column_value *values)
{
    bool good = true;
    for (const struct cdr_step *step = steps->list; good && step < steps->list + steps->count;
         step++) {
        const struct column_value *value = &values[step->column];
        bool present = value->present;
        struct span bytes = present ? value->bytes : (struct span){NULL, 0};
        switch (step->kind) {
        case CDR_BOOLEAN:
            good = put_number(writer, present ? (uint64_t)value->integer : 0, 1);
            break;
        case CDR_INT:
            good = put_number(writer, present ? (uint64_t)value->integer : 0, 4);
            break;
        case CDR_LONG:
            good = put_number(writer, present ? (uint64_t)value->integer : 0, 8);
            break;
        case CDR_FLOAT:
            good = put_number(writer, float_bits(present ? value->real : (double)NAN), 4);
            break;
        case CDR_DOUBLE:
            good = put_number(writer, double_bits(present ? value->real : (double)NAN), 8);
            break;
        case CDR_STRING:
            good = put_string(writer, bytes);
            break;
        case CDR_BYTES:
            good = put_count(writer, bytes.bytes) && put_bytes(writer, bytes, 0);
            break;
        case CDR_FIXED:
            good = put_bytes(writer, bytes, step->count - bytes.bytes);
            break;
        case CDR_VALID:
            good = put_number(writer, is_valid(step, values), 1);
            break;
        default:
            good = put_items(writer, steps, step, values);
            break;
        }
    }
    return good;
}

bool cdr_write(const struct cdr_steps *steps, uint64_t time_ns, struct column_value *values,
               struct text *out)
{
    static const uint8_t front[CDR_FRONT_BYTES] = {0, 1, 0, 0};
    size_t before = out->bytes;
    uint64_t seconds = time_ns / NS_PER_S;
    struct writer writer = {out, before + CDR_FRONT_BYTES};
    bool good = put_bytes(&writer, (struct span){front, sizeof(front)}, 0) &&
                put_number(&writer, seconds < INT32_MAX ? seconds : INT32_MAX, 4) &&
                put_number(&writer, time_ns % NS_PER_S, 4) &&
                put_string(&writer, (struct span){NULL, 0}) && put_steps(&writer, steps, values);
    if (!good)
        out->bytes = before;
    return good;
}
