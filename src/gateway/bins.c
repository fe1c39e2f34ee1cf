/* SPDX-License-Identifier: MIT
 * Rows in a hash by their bin's number, found at once where a datum falls into the same bin as the
 * one before; put in order only when they are taken out. */
#include "gateway/bins.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define HOLE_ROWS 8 /* a longer hole costs more than another message does */

struct row {
    int64_t bin;
    uint32_t cells; /* which of the places for cells */
};

struct bins {
    uint32_t fields, rows_max, count;
    uint64_t base_ns, width_ns;
    struct row *rows;
    double *cells;   /* of a row, for each field its minimum and its maximum */
    uint32_t *slots; /* 1 + a row, 0: free */
    uint32_t slot_mask;
    int64_t last_from, last_to; /* the bin of the datum before; an empty span: none */
    double *last;
    uint32_t front, front_rows; /* taken out; of the run that bins_front told */
    bool sorted;
};

int bins_open(struct bins **bins, uint32_t fields, uint64_t width_ns, uint32_t rows_max)
{
    struct bins *made = calloc(1, sizeof(*made));
    uint32_t slots = 4;
    CHECK(fields > 0 && rows_max > 0 && width_ns > 0 && width_ns <= UINT64_C(1) << 62);
    if (made == NULL)
        return -ENOMEM;
    while (slots < 2 * rows_max)
        slots *= 2;
    *made = (struct bins){.fields = fields,
                          .rows_max = rows_max,
                          .base_ns = width_ns,
                          .width_ns = width_ns,
                          .rows = calloc(rows_max, sizeof(struct row)),
                          .cells = calloc((size_t)rows_max * 2 * fields, sizeof(double)),
                          .slots = calloc(slots, sizeof(uint32_t)),
                          .slot_mask = slots - 1};
    if (made->rows == NULL || made->cells == NULL || made->slots == NULL) {
        bins_close(made);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < rows_max; i++)
        made->rows[i].cells = i;
    *bins = made;
    return 0;
}

void bins_close(struct bins *bins)
{
    if (bins == NULL)
        return;
    free(bins->rows);
    free(bins->cells);
    free(bins->slots);
    free(bins);
}

/* ---- rows ---- */

static int64_t bin_of(int64_t at_ns, uint64_t width_ns)
{
    int64_t width = (int64_t)width_ns, bin = at_ns / width;
    return bin - (at_ns % width < 0);
}

static uint32_t *slot_of(const struct bins *bins, int64_t bin)
{
    uint64_t hash = (uint64_t)bin * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t at = (uint32_t)(hash >> 32) & bins->slot_mask;
    while (bins->slots[at] != 0 && bins->rows[bins->slots[at] - 1].bin != bin)
        at = (at + 1) & bins->slot_mask;
    return &bins->slots[at];
}

static double *cells_of(const struct bins *bins, const struct row *row)
{
    return bins->cells + (size_t)row->cells * 2 * bins->fields;
}

static void clear_cells(const struct bins *bins, double *cells)
{
    for (uint32_t i = 0; i < 2 * bins->fields; i++)
        cells[i] = NAN;
}

static void merge_value(double *cell, double low, double high)
{
    if (!(cell[0] <= low))
        cell[0] = low;
    if (!(cell[1] >= high))
        cell[1] = high;
}

static void index_rows(struct bins *bins)
{
    memset(bins->slots, 0, ((size_t)bins->slot_mask + 1) * sizeof(*bins->slots));
    for (uint32_t i = 0; i < bins->count; i++)
        *slot_of(bins, bins->rows[i].bin) = i + 1;
    bins->last_to = bins->last_from;
}

/* What was taken out makes place. */
static void forget_front(struct bins *bins)
{
    uint32_t taken = bins->front;
    if (taken == 0)
        return;
    bool used_up = taken == bins->count;
    bins->front = bins->front_rows = 0;
    bins->count -= taken;
    for (uint32_t i = 0; i < bins->count; i++) { /* cells that are free change hands */
        struct row freed = bins->rows[i];
        bins->rows[i] = bins->rows[i + taken];
        bins->rows[i + taken] = freed;
    }
    if (used_up)
        bins->width_ns = bins->base_ns;
    index_rows(bins);
}

/* The row of a bin that has none; NULL: there are too many. */
static double *add_row(struct bins *bins, int64_t bin, uint32_t *slot)
{
    if (bins->count == bins->rows_max)
        return NULL;
    struct row *row = &bins->rows[bins->count++];
    row->bin = bin;
    *slot = bins->count;
    bins->sorted = false;
    double *cells = cells_of(bins, row);
    clear_cells(bins, cells);
    return cells;
}

bool bins_add(struct bins *bins, int64_t at_ns, const double *values)
{
    if (bins->front > 0)
        forget_front(bins);
    if (at_ns < bins->last_from || at_ns >= bins->last_to) {
        int64_t bin = bin_of(at_ns, bins->width_ns);
        uint32_t *slot = slot_of(bins, bin);
        double *cells =
            *slot != 0 ? cells_of(bins, &bins->rows[*slot - 1]) : add_row(bins, bin, slot);
        if (cells == NULL)
            return false;
        bins->last = cells;
        bins->last_from = bin * (int64_t)bins->width_ns;
        bins->last_to = bins->last_from + (int64_t)bins->width_ns;
    }
    double *cell = bins->last;
    for (uint32_t i = 0; i < bins->fields; i++, cell += 2)
        if (!isnan(values[i]))
            merge_value(cell, values[i], values[i]);
    return true;
}

uint32_t bins_count(const struct bins *bins)
{
    return bins->count - bins->front;
}

/* ---- taking out ---- */

static int by_bin(const void *a, const void *b)
{
    int64_t one = ((const struct row *)a)->bin, other = ((const struct row *)b)->bin;
    return (one > other) - (one < other);
}

static void sort_rows(struct bins *bins)
{
    if (bins->sorted)
        return;
    bins->sorted = true;
    for (uint32_t i = 1; i < bins->count; i++)
        if (bins->rows[i - 1].bin > bins->rows[i].bin) {
            qsort(bins->rows, bins->count, sizeof(*bins->rows), by_bin);
            index_rows(bins);
            return;
        }
}

void bins_coarsen(struct bins *bins)
{
    uint32_t kept = 0;
    forget_front(bins);
    sort_rows(bins);
    if (bins->width_ns > UINT64_C(1) << 61)
        return;
    bins->width_ns *= 2;
    for (uint32_t i = 0; i < bins->count; i++) {
        struct row row = bins->rows[i];
        int64_t bin = bin_of(row.bin, 2);
        if (kept == 0 || bins->rows[kept - 1].bin != bin) {
            bins->rows[i] = bins->rows[kept]; /* whose cells are free */
            row.bin = bin;
            bins->rows[kept++] = row;
            continue;
        }
        double *into = cells_of(bins, &bins->rows[kept - 1]), *from = cells_of(bins, &row);
        for (uint32_t k = 0; k < 2 * bins->fields; k += 2)
            if (!isnan(from[k]))
                merge_value(into + k, from[k], from[k + 1]);
    }
    bins->count = kept;
    index_rows(bins);
}

static uint64_t distance(const struct row *one, const struct row *later)
{
    return (uint64_t)later->bin - (uint64_t)one->bin;
}

uint32_t bins_front(struct bins *bins, uint32_t rows_max, int64_t *from_ns, uint64_t *width_ns,
                    double *out)
{
    if (bins->front == 0)
        sort_rows(bins);
    const struct row *rows = bins->rows + bins->front;
    uint32_t left = bins->count - bins->front, count = 0;
    if (left == 0)
        return 0;
    while (count < left && distance(&rows[0], &rows[count]) < rows_max &&
           (count == 0 || distance(&rows[count - 1], &rows[count]) <= HOLE_ROWS))
        count++;
    uint32_t span = (uint32_t)(rows[count - 1].bin - rows[0].bin) + 1;
    *from_ns = rows[0].bin * (int64_t)bins->width_ns;
    *width_ns = bins->width_ns;
    bins->front_rows = count;
    for (size_t i = 0; i < (size_t)span * 2 * bins->fields; i++)
        out[i] = NAN;
    for (uint32_t i = 0; i < count; i++) {
        const double *cells = cells_of(bins, &rows[i]);
        size_t at = (size_t)(rows[i].bin - rows[0].bin);
        for (uint32_t k = 0; k < bins->fields; k++, at += 2 * (size_t)span) {
            out[at] = cells[2 * k];
            out[at + span] = cells[2 * k + 1];
        }
    }
    return span;
}

void bins_drop_front(struct bins *bins)
{
    bins->front += bins->front_rows;
    bins->front_rows = 0;
    if (bins->front == bins->count)
        forget_front(bins);
}
