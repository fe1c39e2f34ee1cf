/* SPDX-License-Identifier: MIT
 * The window is the decimator's, of a factor that is only known when it ends: each datum is kept
 * until the next one comes, and the last one ends it. */
#include "archive/peaks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "archive/peaks_items.h"
#include "archive/peaks_plan.h"
#include "avro/datum.h"
#include "avro/decimator.h"
#include "base/check.h"

/* A datum with its numbers. */
struct held {
    uint8_t *bytes;
    size_t count, room;
    struct leaf *leaves;
    uint32_t leaf_count;
};

struct peaks {
    const struct layout *layout;
    struct plan *plan;   /* NULL: each datum's numbers are listed */
    struct items *items; /* NULL: the schema has none */
    uint64_t fill;       /* `last` included */
    struct held last;    /* not in the decimator yet, if fill > 0 */
    struct held next;
    uint32_t window_fill, time_known;
    uint64_t time;
    struct accumulator *accumulators;
    uint8_t *out[2]; /* the two results: as the decimator has them, and with items */
    size_t out_room;
};

int peaks_open(struct peaks **peaks, const struct layout *layout)
{
    struct peaks *made = calloc(1, sizeof(*made));
    size_t leaves = layout->leaf_count + 1u;
    if (made == NULL)
        return -ENOMEM;
    made->layout = layout;
    made->accumulators = calloc(leaves, sizeof(*made->accumulators));
    made->last.leaves = calloc(leaves, sizeof(*made->last.leaves));
    made->next.leaves = calloc(leaves, sizeof(*made->next.leaves));
    if (made->accumulators == NULL || made->last.leaves == NULL || made->next.leaves == NULL ||
        items_open(&made->items, layout) < 0 || plan_open(&made->plan, layout) < 0) {
        peaks_close(made);
        return -ENOMEM;
    }
    *peaks = made;
    return 0;
}

void peaks_close(struct peaks *peaks)
{
    if (peaks == NULL)
        return;
    items_close(peaks->items);
    plan_close(peaks->plan);
    free(peaks->accumulators);
    free(peaks->last.leaves);
    free(peaks->next.leaves);
    free(peaks->last.bytes);
    free(peaks->next.bytes);
    free(peaks->out[0]);
    free(peaks->out[1]);
    free(peaks);
}

static void clear(struct peaks *peaks)
{
    peaks->fill = 0;
    peaks->window_fill = 0;
    if (peaks->items != NULL)
        items_clear(peaks->items);
}

uint64_t peaks_fill(const struct peaks *peaks)
{
    return peaks->fill;
}

/* The datum's numbers, into `held`. 0 or -EBADMSG. */
static int list_leaves(const struct peaks *peaks, struct span bytes, size_t *datum_bytes,
                       struct held *held)
{
    return datum_leaves(peaks->layout, bytes, datum_bytes, held->leaves, &held->leaf_count) ==
                   REJECT_NONE
               ? 0
               : -EBADMSG;
}

/* Gives the datum that was kept to the decimator; with `ends` it writes its two results. */
static uint32_t pass_on(struct peaks *peaks, bool ends, size_t lengths[2])
{
    struct decimator decimator = {.layout = peaks->layout,
                                  .algorithm = ALGORITHM_MIN_MAX,
                                  .factor = ends ? peaks->window_fill + 1 : UINT32_MAX};
    struct decimator_window window = {&peaks->window_fill, &peaks->time, &peaks->time_known,
                                      peaks->accumulators};
    return decimator_add(&decimator, &window, (struct span){peaks->last.bytes, peaks->last.count},
                         peaks->last.leaves, peaks->last.leaf_count, peaks->out[0], lengths);
}

static int keep(struct held *held, struct span datum)
{
    if (datum.bytes > held->room) {
        size_t room = 2 * datum.bytes;
        uint8_t *grown = realloc(held->bytes, room);
        if (grown == NULL)
            return -ENOMEM;
        held->bytes = grown;
        held->room = room;
    }
    if (datum.bytes > 0)
        memcpy(held->bytes, datum.at, datum.bytes);
    held->count = datum.bytes;
    return 0;
}

/* By the plan: the window's first datum says when it began, the last one is listed in the end. */
static int add_planned(struct peaks *peaks, struct span bytes, size_t *datum_bytes)
{
    bool first = peaks->fill == 0;
    if (first) {
        int status = list_leaves(peaks, bytes, datum_bytes, &peaks->last);
        if (status < 0)
            return status;
        peaks->time_known = 0;
        for (uint32_t i = 0; i < peaks->last.leaf_count; i++)
            if (peaks->last.leaves[i].index == peaks->layout->time_leaf) {
                memcpy(&peaks->time, &peaks->last.leaves[i].value, sizeof(peaks->time));
                peaks->time_known = 1;
            }
    }
    *datum_bytes = plan_add(peaks->plan, bytes, first);
    if (*datum_bytes == 0 && !first)
        return -EBADMSG;
    struct span datum = {bytes.at, *datum_bytes};
    int status = keep(&peaks->last, datum);
    if (status == 0 && peaks->items != NULL)
        status = items_add(peaks->items, datum);
    peaks->fill += status == 0;
    return status;
}

int peaks_add(struct peaks *peaks, struct span bytes, size_t *datum_bytes)
{
    size_t lengths[2];
    struct held *next = &peaks->next;
    if (peaks->plan != NULL)
        return add_planned(peaks, bytes, datum_bytes);
    int status = list_leaves(peaks, bytes, datum_bytes, next);
    if (status < 0)
        return status;
    struct span datum = {bytes.at, *datum_bytes};
    status = keep(next, datum);
    if (status == 0 && peaks->items != NULL)
        status = items_add(peaks->items, datum);
    if (status < 0)
        return status;
    if (peaks->fill > 0)
        pass_on(peaks, false, lengths);
    struct held last = peaks->last;
    peaks->last = *next;
    peaks->next = last;
    peaks->fill++;
    return 0;
}

/* Room for both results, before and behind items_write. */
static int make_room(struct peaks *peaks)
{
    size_t one = peaks->last.count + decimator_growth(peaks->layout->leaf_count) + 16;
    if (peaks->items != NULL)
        one += items_room(peaks->items, one);
    if (2 * one <= peaks->out_room)
        return 0;
    for (int i = 0; i < 2; i++) {
        uint8_t *grown = realloc(peaks->out[i], 2 * one);
        if (grown == NULL)
            return -ENOMEM;
        peaks->out[i] = grown;
    }
    peaks->out_room = 2 * one;
    return 0;
}

int peaks_take(struct peaks *peaks, struct span datums[2])
{
    size_t lengths[2];
    CHECK(peaks->fill > 0);
    int status = make_room(peaks);
    if (status < 0)
        return status;
    if (peaks->plan != NULL) {
        size_t bytes;
        status = list_leaves(peaks, (struct span){peaks->last.bytes, peaks->last.count}, &bytes,
                             &peaks->last);
        if (status < 0)
            return status;
        plan_take(peaks->plan, peaks->accumulators);
        peaks->window_fill = peaks->fill > 1 ? 1 : 0; /* a window of one begins with it */
    }
    uint32_t count = pass_on(peaks, true, lengths);
    CHECK(count == 2);
    datums[0] = (struct span){peaks->out[0], lengths[0]};
    datums[1] = (struct span){peaks->out[0] + lengths[0], lengths[1]};
    uint8_t *at = peaks->out[1];
    for (int i = 0; i < 2 && peaks->items != NULL; i++) {
        long bytes = items_write(peaks->items, datums[i], i == 1, at);
        if (bytes < 0)
            return (int)bytes;
        datums[i] = (struct span){at, (size_t)bytes};
        at += bytes;
    }
    clear(peaks);
    return 0;
}
