/* SPDX-License-Identifier: MIT
 * The four algorithms. Relies on leaves coming in the order of their bytes.
 * Sums of reals are compensated (Neumaier, 1974), so that a long window loses no digits. */
#include "relay/decimator.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/varint.h"

static bool is_integer(uint32_t kind)
{
    return kind == LAYOUT_INT || kind == LAYOUT_LONG;
}

static bool is_aggregated(const struct layout *layout, const struct leaf *leaf)
{
    return !(leaf->flags & LAYOUT_NODE_PLAIN_VALUE) && leaf->index != layout->time_leaf &&
           leaf->index != layout->sequence_leaf;
}

static void sum_add(struct accumulator *to, double value)
{
    double sum = to->of.sum.value + value;
    double lost = fabs(to->of.sum.value) >= fabs(value) ? (to->of.sum.value - sum) + value
                                                        : (value - sum) + to->of.sum.value;
    to->of.sum.value = sum;
    to->of.sum.rest += lost;
}

/* Once a sum is infinite or NaN its rest means nothing. */
static double sum_total(const struct accumulator *from)
{
    return isfinite(from->of.sum.value) ? from->of.sum.value + from->of.sum.rest
                                        : from->of.sum.value;
}

/* By one comparison, where isnan takes the number apart. */
static bool is_nan(double value)
{
    return value != value;
}

static void accumulate_min_max(struct accumulator *to, const struct leaf *leaf)
{
    if (is_integer(leaf->kind)) {
        int64_t value = leaf->value.integer;
        if (to->count == 0 || value < to->of.integers.low)
            to->of.integers.low = value;
        if (to->count == 0 || value > to->of.integers.high)
            to->of.integers.high = value;
        return;
    }
    double value = leaf->value.real;
    if (to->count == 0 || is_nan(to->of.reals.low) || value < to->of.reals.low)
        to->of.reals.low = value;
    if (to->count == 0 || is_nan(to->of.reals.high) || value > to->of.reals.high)
        to->of.reals.high = value;
}

static void accumulate(enum algorithm algorithm, struct accumulator *to, const struct leaf *leaf)
{
    if (algorithm == ALGORITHM_MIN_MAX) {
        accumulate_min_max(to, leaf);
    } else {
        if (to->count == 0)
            memset(&to->of, 0, sizeof(to->of));
        double real = is_integer(leaf->kind) ? (double)leaf->value.integer : leaf->value.real;
        if (algorithm == ALGORITHM_RMS)
            sum_add(to, real * real);
        else if (is_integer(leaf->kind))
            wide_add(&to->of.integer, leaf->value.integer);
        else
            sum_add(to, real);
    }
    to->count++;
    to->kind = leaf->kind;
}

static int64_t real_to_nearest(double value, uint32_t kind)
{
    int64_t high = kind == LAYOUT_INT ? INT32_MAX : INT64_MAX;
    if (value >= (double)high) /* rms of the lowest integer is one more than the highest */
        return high;
    double whole = floor(value);
    return (int64_t)whole + (value - whole >= 0.5 ? 1 : 0);
}

static size_t write_value(uint8_t *out, uint32_t kind, int64_t integer, double real)
{
    if (is_integer(kind))
        return varint_write(out, integer);
    if (kind == LAYOUT_FLOAT) {
        float narrow = (float)real;
        memcpy(out, &narrow, 4);
        return 4;
    }
    memcpy(out, &real, 8);
    return 8;
}

static size_t write_aggregate(uint8_t *out, enum algorithm algorithm,
                              const struct accumulator *from, bool maximum)
{
    int64_t integer = 0;
    double real = 0;
    if (algorithm == ALGORITHM_MIN_MAX) {
        if (is_integer(from->kind))
            integer = maximum ? from->of.integers.high : from->of.integers.low;
        else
            real = maximum ? from->of.reals.high : from->of.reals.low;
    } else if (algorithm == ALGORITHM_RMS) {
        real = sqrt(sum_total(from) / from->count);
        if (is_integer(from->kind))
            integer = real_to_nearest(real, from->kind);
    } else if (is_integer(from->kind)) {
        integer = wide_mean(&from->of.integer, from->count);
    } else {
        real = sum_total(from) / from->count;
    }
    return write_value(out, from->kind, integer, real);
}

static uint8_t *write_prefix(const struct decimator *decimator, uint8_t *out)
{
    if (decimator->prefix.bytes > 0)
        memcpy(out, decimator->prefix.at, decimator->prefix.bytes);
    return out + decimator->prefix.bytes;
}

/* The last datum's bytes with the aggregated leaves put in their places. */
static size_t write_datum(const struct decimator *decimator, const struct decimator_window *window,
                          struct span datum, const struct leaf *leaves, uint32_t leaf_count,
                          uint8_t *out, bool maximum)
{
    const struct layout *layout = decimator->layout;
    bool first_time = decimator->algorithm == ALGORITHM_MIN_MAX && !maximum;
    uint8_t *at = write_prefix(decimator, out);
    size_t copied = 0;
    for (uint32_t i = 0; i < leaf_count; i++) {
        const struct leaf *leaf = &leaves[i];
        bool is_time = leaf->index == layout->time_leaf && first_time && *window->time_known;
        if (!is_time && !is_aggregated(layout, leaf))
            continue;
        memcpy(at, datum.at + copied, leaf->offset - copied);
        at += leaf->offset - copied;
        copied = leaf->offset + leaf->bytes;
        if (is_time) {
            double real;
            memcpy(&real, window->time, sizeof(real));
            at += write_value(at, leaf->kind, (int64_t)*window->time, real);
        } else {
            at += write_aggregate(at, decimator->algorithm, &window->accumulators[leaf->index],
                                  maximum);
        }
    }
    memcpy(at, datum.at + copied, datum.bytes - copied);
    at += datum.bytes - copied;
    return (size_t)(at - out);
}

static void note_first(const struct decimator *decimator, struct decimator_window *window,
                       const struct leaf *leaves, uint32_t leaf_count)
{
    *window->time_known = 0;
    if (decimator->algorithm != ALGORITHM_DOWNSAMPLE)
        for (uint32_t i = 0; i < decimator->layout->leaf_count; i++)
            window->accumulators[i].count = 0;
    for (uint32_t i = 0; i < leaf_count; i++)
        if (leaves[i].index == decimator->layout->time_leaf) {
            memcpy(window->time, &leaves[i].value, sizeof(*window->time));
            *window->time_known = 1;
        }
}

uint32_t decimator_add(const struct decimator *decimator, struct decimator_window *window,
                       struct span datum, const struct leaf *leaves, uint32_t leaf_count,
                       uint8_t *out, size_t lengths[2])
{
    CHECK(*window->fill < decimator->factor && leaf_count <= decimator->layout->leaf_count);
    if (*window->fill == 0)
        note_first(decimator, window, leaves, leaf_count);
    if (decimator->algorithm != ALGORITHM_DOWNSAMPLE)
        for (uint32_t i = 0; i < leaf_count; i++)
            if (is_aggregated(decimator->layout, &leaves[i]))
                accumulate(decimator->algorithm, &window->accumulators[leaves[i].index],
                           &leaves[i]);
    if (++*window->fill < decimator->factor)
        return 0;

    *window->fill = 0;
    if (decimator->algorithm == ALGORITHM_DOWNSAMPLE) {
        uint8_t *at = write_prefix(decimator, out);
        if (datum.bytes > 0)
            memcpy(at, datum.at, datum.bytes);
        lengths[0] = decimator->prefix.bytes + datum.bytes;
        return 1;
    }
    lengths[0] = write_datum(decimator, window, datum, leaves, leaf_count, out, false);
    if (decimator->algorithm != ALGORITHM_MIN_MAX)
        return 1;
    lengths[1] = write_datum(decimator, window, datum, leaves, leaf_count, out + lengths[0], true);
    return 2;
}
