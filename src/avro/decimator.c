/* SPDX-License-Identifier: MIT
 * The four algorithms. Relies on leaves coming in the order of their bytes.
 * Sums of reals are compensated (Neumaier, 1974), so that a long window loses no digits. */
#include "avro/decimator.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/varint.h"

static bool is_integer(uint32_t kind)
{
    return kind == LAYOUT_INT || kind == LAYOUT_LONG;
}

/* With downsample nothing is. */
static inline bool is_aggregated(const struct decimator *decimator, uint32_t leaf)
{
    return decimator->algorithm != ALGORITHM_DOWNSAMPLE && !layout_is_kept(decimator->layout, leaf);
}

static inline void sum_take(struct accumulator *to, double sum, double value)
{
    double lost = fabs(to->of.sum.value) >= fabs(value) ? (to->of.sum.value - sum) + value
                                                        : (value - sum) + to->of.sum.value;
    to->of.sum.value = sum;
    to->of.sum.rest += lost;
}

static void sum_shrink(struct accumulator *to, double factor)
{
    to->of.sum.value *= factor;
    to->of.sum.rest *= factor;
}

/* The sum of finite numbers leaves a double's range at the earliest with the second: from then on
 * it is a 2^64th, which the sum of 2^32 numbers does not leave. */
static inline void sum_add(struct accumulator *to, double value)
{
    if (to->scale != 0)
        value *= 0x1p-64;
    double sum = to->of.sum.value + value;
    if (isinf(sum) && isfinite(to->of.sum.value) && isfinite(value)) {
        to->scale = 64;
        sum_shrink(to, 0x1p-64);
        value *= 0x1p-64;
        sum = to->of.sum.value + value;
    }
    sum_take(to, sum, value);
}

/* Numbers whose squares, and 2^32 of them in a sum, are neither infinite nor lost. */
#define SQUARE_LOW   0x1p-480
#define SQUARE_HIGH  0x1p480
#define SQUARE_SCALE 600

static void square_add_scaled(struct accumulator *to, double value)
{
    double size = fabs(value);
    int scale = size > SQUARE_HIGH ? SQUARE_SCALE : size < SQUARE_LOW ? -SQUARE_SCALE : 0;
    if (size == 0)
        return;
    if (!isfinite(value)) {
        sum_take(to, to->of.sum.value + size, size);
        return;
    }
    if (to->of.sum.value == 0)
        to->scale = scale;
    for (; to->scale < scale; to->scale += SQUARE_SCALE)
        for (int i = 0; i < 2; i++) /* 2^-1200 is none that a double can have */
            sum_shrink(to, 0x1p-600);
    value *= to->scale > 0 ? 0x1p-600 : to->scale < 0 ? 0x1p600 : 1;
    sum_take(to, to->of.sum.value + value * value, value * value);
}

static inline void square_add(struct accumulator *to, double value)
{
    double size = fabs(value), square = value * value;
    if (to->scale == 0 && size >= SQUARE_LOW && size <= SQUARE_HIGH)
        sum_take(to, to->of.sum.value + square, square);
    else
        square_add_scaled(to, value);
}

/* Once a sum is infinite or NaN its rest means nothing; nor does one that makes it so. */
static double sum_total(const struct accumulator *from)
{
    double total = from->of.sum.value + from->of.sum.rest;
    return isfinite(total) ? total : from->of.sum.value;
}

/* The average or rms of finite numbers is finite, but may be rounded to more than there is. */
static double unscale(double value, int32_t scale)
{
    double real = value * (scale == 64 ? 0x1p64 : scale > 0 ? 0x1p600 : scale == 0 ? 1 : 0x1p-600);
    return isinf(real) && isfinite(value) ? copysign(DBL_MAX, real) : real;
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
        if (to->count == 0) {
            memset(&to->of, 0, sizeof(to->of));
            to->scale = 0;
        }
        double real = is_integer(leaf->kind) ? (double)leaf->value.integer : leaf->value.real;
        if (algorithm == ALGORITHM_RMS)
            square_add(to, real);
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
        real = unscale(sqrt(sum_total(from) / from->count), from->scale);
        if (is_integer(from->kind))
            integer = real_to_nearest(real, from->kind);
    } else if (is_integer(from->kind)) {
        integer = wide_mean(&from->of.integer, from->count);
    } else {
        real = unscale(sum_total(from) / from->count, from->scale);
    }
    return write_value(out, from->kind, integer, real);
}

static uint8_t *write_prefix(const struct decimator *decimator, uint8_t *out)
{
    if (decimator->prefix.bytes > 0)
        memcpy(out, decimator->prefix.at, decimator->prefix.bytes);
    return out + decimator->prefix.bytes;
}

/* One of the datums that are made of a window. */
struct writing {
    const struct decimator *decimator;
    const struct decimator_window *window;
    bool maximum;
};

/* Whether the leaf is the time field and gets the window's first. */
static bool is_first_time(const struct writing *writing, uint32_t leaf)
{
    return leaf == writing->decimator->layout->time_leaf && !writing->maximum &&
           writing->decimator->algorithm == ALGORITHM_MIN_MAX && *writing->window->time_known;
}

/* What the window has of a number. */
static size_t write_number(const struct writing *writing, uint32_t leaf, uint32_t kind,
                           uint8_t *out)
{
    const struct accumulator *from = &writing->window->accumulators[leaf];
    int64_t integer = 0;
    double real = 0;
    if (is_first_time(writing, leaf)) {
        memcpy(&real, writing->window->time, sizeof(real));
        return write_value(out, kind, (int64_t)*writing->window->time, real);
    }
    if (is_aggregated(writing->decimator, leaf))
        return write_aggregate(out, writing->decimator->algorithm, from, writing->maximum);
    if (is_integer(kind))
        integer = from->of.last.integer;
    else
        real = from->of.last.real;
    return write_value(out, kind, integer, real);
}

/* The branch of the union that was there last in the window; a null where numbers alone could have
 * been there and were not; or -1: who knows. `*first` becomes the branch's first leaf. */
static int64_t find_branch(const struct writing *writing, const struct layout_node *node,
                           uint32_t *first)
{
    const struct layout *layout = writing->decimator->layout;
    int64_t found = -1, null_branch = -1, newest = -1;
    uint32_t leaf = *first;
    bool numbers_alone = true;
    for (uint32_t i = 0; i < node->count; i++) {
        uint32_t link = layout->links[node->first + i];
        const struct layout_node *branch = &layout->nodes[link & ~LAYOUT_LINK_UNNUMBERED];
        if (branch->kind == LAYOUT_NULL) {
            null_branch = i;
            continue;
        }
        uint32_t leaves = link & LAYOUT_LINK_UNNUMBERED ? 0 : branch->leaves;
        numbers_alone &= leaves > 0;
        for (uint32_t end = leaf + leaves; leaf < end; leaf++) {
            const struct accumulator *one = &writing->window->accumulators[leaf];
            if (one->count == 0 || one->newest <= newest)
                continue;
            newest = one->newest;
            found = i;
            *first = end - leaves;
        }
    }
    return found >= 0 || !numbers_alone ? found : null_branch;
}

/* Writes a type of numbers alone from what the window has of it: numbers, nulls, and records and
 * unions of these. Behind it, or NULL: it is another, or [at, end) is too small. */
static uint8_t *write_missing(const struct writing *writing, uint32_t index, uint32_t leaf,
                              uint32_t depth, uint8_t *at, const uint8_t *end)
{
    const struct layout *layout = writing->decimator->layout;
    const struct layout_node *node = &layout->nodes[index];
    int64_t branch;
    if (end - at < VARINT_BYTES_MAX || depth >= LAYOUT_DEPTH_MAX)
        return NULL;
    switch (node->kind) {
    case LAYOUT_NULL:
        return at;
    case LAYOUT_INT:
    case LAYOUT_LONG:
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        if (writing->window->accumulators[leaf].count == 0)
            return NULL;
        return at + write_number(writing, leaf, node->kind, at);
    case LAYOUT_UNION:
        branch = find_branch(writing, node, &leaf);
        if (branch < 0)
            return NULL;
        at += varint_write(at, branch);
        return write_missing(writing, layout->links[node->first + branch], leaf, depth + 1, at,
                             end);
    case LAYOUT_RECORD:
        for (uint32_t i = 0; i < node->count && at != NULL; i++) {
            uint32_t link = layout->links[node->first + i];
            if (link & LAYOUT_LINK_UNNUMBERED)
                return NULL;
            at = write_missing(writing, link, leaf, depth + 1, at, end);
            leaf += layout->nodes[link].leaves;
        }
        return at;
    default:
        return NULL;
    }
}

/* The bytes in the place of a null of the last datum; 0: it stays. */
static size_t write_optional(const struct writing *writing, const struct leaf *null, uint8_t *out)
{
    uint32_t node = null->value.missing.node, first = null->value.missing.first;
    size_t room = decimator_growth(writing->decimator->layout->nodes[node].leaves);
    const struct accumulator *accumulators = writing->window->accumulators;
    bool some = false;
    for (uint32_t i = 0; i < writing->decimator->layout->nodes[node].leaves && !some; i++)
        some = accumulators[first + i].count > 0;
    const uint8_t *end = some ? write_missing(writing, node, first, 0, out, out + room) : NULL;
    return end != NULL ? (size_t)(end - out) : 0;
}

/* The last datum's bytes with the aggregated leaves put in their places. */
static size_t write_datum(const struct writing *writing, struct span datum,
                          const struct leaf *leaves, uint32_t leaf_count, uint8_t *out)
{
    uint8_t *at = write_prefix(writing->decimator, out);
    size_t copied = 0;
    for (uint32_t i = 0; i < leaf_count; i++) {
        const struct leaf *leaf = &leaves[i];
        bool is_null = leaf->index == LEAF_MISSING;
        if (!is_null && !is_aggregated(writing->decimator, leaf->index) &&
            !is_first_time(writing, leaf->index))
            continue;
        size_t before = leaf->offset - copied;
        size_t bytes = is_null ? write_optional(writing, leaf, at + before)
                               : write_number(writing, leaf->index, leaf->kind, at + before);
        if (bytes == 0)
            continue;
        memcpy(at, datum.at + copied, before);
        at += before + bytes;
        copied = leaf->offset + leaf->bytes;
    }
    memcpy(at, datum.at + copied, datum.bytes - copied);
    at += datum.bytes - copied;
    return (size_t)(at - out);
}

static void note_first(const struct decimator *decimator, struct decimator_window *window,
                       const struct leaf *leaves, uint32_t leaf_count)
{
    *window->time_known = 0;
    if (decimator_wants_leaves(decimator))
        for (uint32_t i = 0; i < decimator->layout->leaf_count; i++)
            window->accumulators[i].count = 0;
    for (uint32_t i = 0; i < leaf_count; i++)
        if (leaves[i].index == decimator->layout->time_leaf) {
            memcpy(window->time, &leaves[i].value, sizeof(*window->time));
            *window->time_known = 1;
        }
}

/* Where a number may be missing it counts when it was there last, also of those that are kept. */
static void take_leaves(const struct decimator *decimator, const struct decimator_window *window,
                        const struct leaf *leaves, uint32_t leaf_count)
{
    struct accumulator *accumulators = window->accumulators;
    enum algorithm algorithm = decimator->algorithm;
    const struct layout *layout = decimator->layout;
    bool optional = layout->has_optional;
    for (const struct leaf *leaf = leaves; leaf < leaves + leaf_count; leaf++) {
        if (optional) {
            if (leaf->index == LEAF_MISSING)
                continue;
            accumulators[leaf->index].newest = *window->fill;
        }
        struct accumulator *to = &accumulators[leaf->index];
        if (!layout_is_kept(layout, leaf->index) && algorithm != ALGORITHM_DOWNSAMPLE) {
            accumulate(algorithm, to, leaf);
        } else if (optional) {
            memcpy(&to->of.last, &leaf->value, sizeof(to->of.last));
            to->count = 1;
        }
    }
}

uint32_t decimator_add(const struct decimator *decimator, struct decimator_window *window,
                       struct span datum, const struct leaf *leaves, uint32_t leaf_count,
                       uint8_t *out, size_t lengths[2])
{
    CHECK(*window->fill < decimator->factor && leaf_count <= decimator->layout->leaf_count);
    if (*window->fill == 0)
        note_first(decimator, window, leaves, leaf_count);
    if (decimator_wants_leaves(decimator))
        take_leaves(decimator, window, leaves, leaf_count);
    if (++*window->fill < decimator->factor)
        return 0;

    *window->fill = 0;
    struct writing writing = {decimator, window, false};
    if (!decimator_wants_leaves(decimator))
        leaf_count = 0;
    lengths[0] = write_datum(&writing, datum, leaves, leaf_count, out);
    if (decimator->algorithm != ALGORITHM_MIN_MAX)
        return 1;
    writing.maximum = true;
    lengths[1] = write_datum(&writing, datum, leaves, leaf_count, out + lengths[0]);
    return 2;
}
