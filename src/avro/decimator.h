/* SPDX-License-Identifier: MIT
 * Datums in, fewer datums of the same schema out: one (or two, for min-max) for each window of
 * `factor`. Pure arithmetic over the layout's numeric leaves; no I/O, no allocation.
 *
 * A leaf is aggregated over those datums of the window in which it is present; the `time` and
 * `sequence` fields, leaves with a logical type and those that are to be kept are the last that the
 * window had; everything else is the last datum's. Where that has null in a union that could hold
 * numbers alone (or records and unions of these), and the window had some, the branch that was
 * there last takes its place; with downsample as well. A record with anything else in it, such as a
 * string, is null where the last datum has null.
 * Integers: sums are exact, averages and rms round to the nearest, halves away from zero; rms is
 * computed in double precision. Of finite numbers both are finite. min-max passes over NaN unless
 * there is nothing else; average and rms of a window with a NaN are NaN; infinities are numbers
 * like others (inf - inf is NaN). min-max gives the minima with the window's first time, then the
 * maxima with its last. */
#ifndef FLOTILLA_AVRO_DECIMATOR_H
#define FLOTILLA_AVRO_DECIMATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avro/datum.h"
#include "avro/layout.h"
#include "base/wide.h"

enum algorithm { ALGORITHM_DOWNSAMPLE, ALGORITHM_AVERAGE, ALGORITHM_MIN_MAX, ALGORITHM_RMS };

/* One number's running aggregate in a decimation window. 32 bytes. */
struct accumulator {
    union {
        struct wide integer; /* sum */
        struct {
            double value, rest; /* compensated sum */
        } sum;
        struct {
            int64_t low, high;
        } integers;
        struct {
            double low, high;
        } reals;
        union {
            int64_t integer;
            double real;
        } last; /* of a number that is not aggregated */
    } of;
    uint32_t count;
    uint32_t kind;   /* the leaf's */
    uint32_t newest; /* the datum of the window that had it last, from 0 */
    int32_t scale;   /* of `sum`: it is that of numbers times 2^-scale, or of squares of these */
};

struct decimator {
    const struct layout *layout;
    enum algorithm algorithm;
    uint32_t factor;
    struct span prefix; /* written before each decimated datum: the channel's framing */
};

/* The most bytes a decimated datum can have more than the one it is made from: a varint for one
 * byte; or, in the place of a null, that with the unions that it stands in. */
static inline size_t decimator_growth(uint32_t leaf_count)
{
    return (size_t)leaf_count * 16;
}

/* Whether decimator_add is to be given the leaves of each datum. */
static inline bool decimator_wants_leaves(const struct decimator *decimator)
{
    return decimator->algorithm != ALGORITHM_DOWNSAMPLE || decimator->layout->has_optional;
}

/* The window's state, kept by the caller: `fill` datums are in it, `accumulators` has room for the
 * layout's leaf_count and needs no initial value when fill is 0. */
struct decimator_window {
    uint32_t *fill;
    uint64_t *time; /* bits of the first datum's time leaf */
    uint32_t *time_known;
    struct accumulator *accumulators;
};

/* Takes one datum with its leaves (of datum_leaves). Where it completes a window, writes the
 * decimated datums one behind the other to `out` (room for twice the prefix, datum.bytes and
 * decimator_growth) and their lengths, prefix included, to `lengths`, and returns how many: 0, 1
 * or 2. */
uint32_t decimator_add(const struct decimator *decimator, struct decimator_window *window,
                       struct span datum, const struct leaf *leaves, uint32_t leaf_count,
                       uint8_t *out, size_t lengths[2]);

#endif
