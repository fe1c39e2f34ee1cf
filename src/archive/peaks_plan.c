/* SPDX-License-Identifier: MIT
 * A layout as a list of steps, those of adjacent doubles in one; minima and maxima as arrays beside
 * each other, so that a run of doubles is a loop without branches. */
#include "archive/peaks_plan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/varint.h"

enum step_kind {
    STEP_SKIP,    /* count: bytes */
    STEP_DOUBLES, /* count of them, from `leaf` on */
    STEP_FLOATS,
    STEP_INTEGER, /* an int or a long */
    STEP_VARINT,  /* passed over */
    STEP_BYTES    /* a length and as many bytes */
};

struct step {
    enum step_kind kind;
    uint32_t count, leaf;
};

#define STEPS_MAX 4096u

struct plan {
    struct step steps[STEPS_MAX];
    uint32_t step_count;
    uint32_t leaf_count;
    uint8_t *kinds;               /* of the leaves; LAYOUT_NULL: it is kept */
    double *low_real, *high_real; /* of each leaf, if it is a real number; and if it is none: */
    int64_t *low, *high;
};

/* ---- making it ---- */

static bool add_step(struct plan *plan, enum step_kind kind, uint32_t count, uint32_t leaf)
{
    struct step *last = plan->step_count > 0 ? &plan->steps[plan->step_count - 1] : NULL;
    bool joins = last != NULL && last->kind == kind &&
                 (kind == STEP_SKIP || kind == STEP_DOUBLES || kind == STEP_FLOATS) &&
                 last->count <= UINT32_MAX - count;
    if (joins) {
        last->count += count;
        return true;
    }
    if (plan->step_count == STEPS_MAX)
        return false;
    plan->steps[plan->step_count++] = (struct step){kind, count, leaf};
    return true;
}

static bool add_number(struct plan *plan, const struct layout *layout,
                       const struct layout_node *node, uint32_t leaf)
{
    bool kept = layout_is_kept(layout, leaf);
    plan->kinds[leaf] = kept ? LAYOUT_NULL : node->kind;
    switch (node->kind) {
    case LAYOUT_FLOAT:
        return add_step(plan, kept ? STEP_SKIP : STEP_FLOATS, kept ? 4 : 1, leaf);
    case LAYOUT_DOUBLE:
        return add_step(plan, kept ? STEP_SKIP : STEP_DOUBLES, kept ? 8 : 1, leaf);
    default:
        return add_step(plan, kept ? STEP_VARINT : STEP_INTEGER, 1, leaf);
    }
}

/* Appends the steps of a node, whose first leaf is `*leaf`. False: there is no plan for it. */
static bool add_node(struct plan *plan, const struct layout *layout, uint32_t index, uint32_t *leaf,
                     uint32_t depth)
{
    const struct layout_node *node = &layout->nodes[index];
    switch (node->kind) {
    case LAYOUT_NULL:
        return true;
    case LAYOUT_BOOLEAN:
        return add_step(plan, STEP_SKIP, 1, 0);
    case LAYOUT_FIXED:
        return add_step(plan, STEP_SKIP, node->count, 0);
    case LAYOUT_ENUM:
        return add_step(plan, STEP_VARINT, 1, 0);
    case LAYOUT_BYTES:
    case LAYOUT_STRING:
        return add_step(plan, STEP_BYTES, 1, 0);
    case LAYOUT_INT:
    case LAYOUT_LONG:
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        return add_number(plan, layout, node, (*leaf)++);
    case LAYOUT_RECORD:
        for (uint32_t i = 0; i < node->count; i++) {
            uint32_t link = layout->links[node->first + i];
            if (link & LAYOUT_LINK_UNNUMBERED || depth >= LAYOUT_DEPTH_MAX ||
                !add_node(plan, layout, link, leaf, depth + 1))
                return false;
        }
        return true;
    default:
        return false;
    }
}

int plan_open(struct plan **plan, const struct layout *layout)
{
    uint32_t leaf = 0;
    struct plan *made = calloc(1, sizeof(*made));
    *plan = NULL;
    if (made == NULL)
        return -ENOMEM;
    made->leaf_count = layout->leaf_count;
    made->kinds = calloc(layout->leaf_count + 1u, 1);
    made->low = calloc(layout->leaf_count + 1u, sizeof(*made->low));
    made->high = calloc(layout->leaf_count + 1u, sizeof(*made->high));
    made->low_real = calloc(layout->leaf_count + 1u, sizeof(*made->low_real));
    made->high_real = calloc(layout->leaf_count + 1u, sizeof(*made->high_real));
    bool all = made->kinds != NULL && made->low != NULL && made->high != NULL &&
               made->low_real != NULL && made->high_real != NULL;
    if (!all || !add_node(made, layout, layout->root, &leaf, 0)) {
        plan_close(made);
        return all ? 0 : -ENOMEM;
    }
    CHECK(leaf == layout->leaf_count);
    *plan = made;
    return 0;
}

void plan_close(struct plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->kinds);
    free(plan->low);
    free(plan->high);
    free(plan->low_real);
    free(plan->high_real);
    free(plan);
}

/* ---- a window ---- */

static void begin(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->leaf_count; i++) {
        plan->low_real[i] = (double)INFINITY;
        plan->high_real[i] = -(double)INFINITY;
        plan->low[i] = INT64_MAX;
        plan->high[i] = INT64_MIN;
    }
}

/* A NaN is passed over by either comparison; where there is nothing else, low stays above high. By
 * what a processor has one instruction for, each. */
static inline void take_real(double *low, double *high, double value)
{
    *low = value < *low ? value : *low;
    *high = value > *high ? value : *high;
}

static void take_doubles(struct plan *plan, const struct step *step, const uint8_t *at)
{
    double *low = plan->low_real + step->leaf, *high = plan->high_real + step->leaf;
    for (uint32_t i = 0; i < step->count; i++, at += 8) {
        double value;
        memcpy(&value, at, 8);
        take_real(&low[i], &high[i], value);
    }
}

static void take_floats(struct plan *plan, const struct step *step, const uint8_t *at)
{
    for (uint32_t i = 0; i < step->count; i++, at += 4) {
        float value;
        memcpy(&value, at, 4);
        take_real(&plan->low_real[step->leaf + i], &plan->high_real[step->leaf + i], (double)value);
    }
}

static void take_integer(struct plan *plan, uint32_t leaf, int64_t value)
{
    plan->low[leaf] = value < plan->low[leaf] ? value : plan->low[leaf];
    plan->high[leaf] = value > plan->high[leaf] ? value : plan->high[leaf];
}

size_t plan_add(struct plan *plan, struct span bytes, bool first)
{
    const uint8_t *at = bytes.at, *end = bytes.at + bytes.bytes;
    int64_t value;
    if (first)
        begin(plan);
    for (const struct step *step = plan->steps; step < plan->steps + plan->step_count; step++) {
        size_t each = step->kind == STEP_DOUBLES ? 8 : step->kind == STEP_FLOATS ? 4 : 1;
        if (step->kind > STEP_FLOATS) {
            int used = varint_read(at, end, &value);
            if (used <= 0)
                return 0;
            at += used;
            if (step->kind == STEP_INTEGER)
                take_integer(plan, step->leaf, value);
            if (step->kind == STEP_BYTES && (value < 0 || value > end - at))
                return 0;
            at += step->kind == STEP_BYTES ? value : 0;
            continue;
        }
        if ((size_t)(end - at) / each < step->count)
            return 0;
        if (step->kind == STEP_DOUBLES)
            take_doubles(plan, step, at);
        else if (step->kind == STEP_FLOATS)
            take_floats(plan, step, at);
        at += each * step->count;
    }
    return (size_t)(at - bytes.at);
}

void plan_take(const struct plan *plan, struct accumulator *accumulators)
{
    for (uint32_t i = 0; i < plan->leaf_count; i++) {
        struct accumulator *to = &accumulators[i];
        if (plan->kinds[i] == LAYOUT_NULL)
            continue;
        to->kind = plan->kinds[i];
        to->count = 1;
        if (to->kind == LAYOUT_FLOAT || to->kind == LAYOUT_DOUBLE) {
            bool none = plan->low_real[i] > plan->high_real[i]; /* but NaN */
            to->of.reals.low = none ? (double)NAN : plan->low_real[i];
            to->of.reals.high = none ? (double)NAN : plan->high_real[i];
        } else {
            to->of.integers.low = plan->low[i];
            to->of.integers.high = plan->high[i];
        }
    }
}
