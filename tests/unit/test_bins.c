/* SPDX-License-Identifier: MIT
 * Bins against a plain list of all values: what a client has merged, of whatever was taken out
 * whenever, is the minimum and maximum of each bin. Relies on cmocka. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "gateway/bins.h"

enum { FIELDS = 3, SPAN = 4096 /* bins that there are */, ROWS = 32 };
#define WIDTH UINT64_C(1000)
#define FIRST INT64_C(-2048) /* some are before 1970 */

/* What somebody has of each bin. */
struct table {
    double low[SPAN][FIELDS], high[SPAN][FIELDS];
};

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void empty(struct table *table)
{
    for (int i = 0; i < SPAN; i++)
        for (int k = 0; k < FIELDS; k++)
            table->low[i][k] = table->high[i][k] = NAN;
}

static void merge(struct table *table, int64_t bin, int field, double low, double high)
{
    double *at_low = &table->low[bin - FIRST][field], *at_high = &table->high[bin - FIRST][field];
    assert_in_range(bin - FIRST, 0, SPAN - 1);
    *at_low = fmin(*at_low, low);
    *at_high = fmax(*at_high, high);
}

/* The bins that `width` puts together have what any of them has. */
static void coarsen(struct table *table, uint64_t width)
{
    int each = (int)(width / WIDTH);
    for (int i = 0; i < SPAN; i += each)
        for (int k = 0; k < FIELDS; k++) {
            for (int j = 1; j < each; j++) {
                table->low[i][k] = fmin(table->low[i][k], table->low[i + j][k]);
                table->high[i][k] = fmax(table->high[i][k], table->high[i + j][k]);
            }
            for (int j = 1; j < each; j++) {
                table->low[i + j][k] = table->low[i][k];
                table->high[i + j][k] = table->high[i][k];
            }
        }
}

/* Takes out the front, and hands it to the client. The width that it had, 0 if there was none. */
static uint64_t take(struct bins *bins, struct table *client)
{
    double columns[2 * FIELDS * ROWS];
    int64_t from_ns;
    uint64_t width = 0;
    uint32_t rows = bins_front(bins, ROWS, &from_ns, &width, columns);
    if (rows == 0)
        return 0;
    assert_in_range(rows, 1, ROWS);
    assert_int_equal(from_ns % (int64_t)width, 0);
    for (uint32_t i = 0; i < rows; i++)
        for (int k = 0; k < FIELDS; k++) {
            double low = columns[(size_t)k * 2 * rows + i];
            double high = columns[((size_t)k * 2 + 1) * rows + i];
            assert_true(isnan(low) == isnan(high) && (isnan(low) || low <= high));
            int64_t bin = (from_ns + (int64_t)(i * width)) / (int64_t)WIDTH;
            if (!isnan(low))
                merge(client, bin, k, low, high);
        }
    bins_drop_front(bins);
    return width;
}

static void take_all(struct bins *bins, struct table *client, uint64_t *widest)
{
    uint64_t width;
    while ((width = take(bins, client)) > 0)
        *widest = width > *widest ? width : *widest;
    assert_int_equal(bins_count(bins), 0);
}

static double draw_value(void)
{
    static const double odd[] = {0.0, -0.0, INFINITY, -INFINITY, 1e300, -1e300, 5e-324};
    if (draw(20) == 0)
        return odd[draw(sizeof odd / sizeof odd[0])];
    return draw(4) == 0 ? NAN : (double)draw(2000000) / 7 - 100000;
}

/* In order with some out of it, taken out at random; what is full is put together. */
static void play(bool takes)
{
    static struct table wanted, client;
    struct bins *bins;
    uint64_t widest = WIDTH;
    empty(&wanted);
    empty(&client);
    assert_int_equal(bins_open(&bins, FIELDS, WIDTH, ROWS), 0);
    for (int step = 0; step < 20000; step++) {
        double values[FIELDS];
        int64_t bin = FIRST + (draw(10) == 0 ? (int64_t)draw(SPAN) : (int64_t)step * SPAN / 20000);
        for (int k = 0; k < FIELDS; k++)
            values[k] = draw_value();
        while (!bins_add(bins, bin * (int64_t)WIDTH + (int64_t)draw(WIDTH), values)) {
            if (takes)
                take_all(bins, &client, &widest);
            else
                bins_coarsen(bins);
        }
        for (int k = 0; k < FIELDS; k++)
            if (!isnan(values[k]))
                merge(&wanted, bin, k, values[k], values[k]);
        if (takes && draw(100) == 0)
            take(bins, &client); /* some of it: the rest stays, and grows */
        assert_in_range(bins_count(bins), 0, ROWS);
    }
    take_all(bins, &client, &widest);
    bins_close(bins);
    assert_true(takes ? widest == WIDTH : widest > WIDTH);
    coarsen(&wanted, widest);
    coarsen(&client, widest);
    /* Zeros of either sign are alike to minima and maxima. */
    for (int i = 0; i < SPAN; i++)
        for (int k = 0; k < FIELDS; k++) {
            double low = wanted.low[i][k], high = wanted.high[i][k];
            assert_true(isnan(low) ? isnan(client.low[i][k]) : client.low[i][k] == low);
            assert_true(isnan(high) ? isnan(client.high[i][k]) : client.high[i][k] == high);
        }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        random_state = seed * 88172645463325252u;
        play(true);
        play(false);
    }
}

static void test_edges(void **state)
{
    struct bins *bins;
    double value = 1, columns[2 * 8];
    int64_t from_ns;
    uint64_t width;
    (void)state;
    assert_int_equal(bins_open(&bins, 1, 10, 4), 0);
    assert_int_equal(bins_front(bins, 8, &from_ns, &width, columns), 0);
    assert_true(bins_add(bins, -1, &value)); /* [-10, 0) */
    assert_true(bins_add(bins, 0, &value));
    assert_true(bins_add(bins, 9, &value));
    assert_int_equal(bins_front(bins, 8, &from_ns, &width, columns), 2);
    assert_int_equal(from_ns, -10);
    bins_drop_front(bins);
    assert_int_equal(bins_count(bins), 0);
    /* Far apart: a message each, at the ends of time. */
    assert_true(bins_add(bins, INT64_C(1) << 61, &value));
    assert_true(bins_add(bins, -(INT64_C(1) << 61), &value));
    assert_int_equal(bins_front(bins, 8, &from_ns, &width, columns), 1);
    assert_true(from_ns < 0);
    bins_drop_front(bins);
    assert_int_equal(bins_front(bins, 8, &from_ns, &width, columns), 1);
    assert_true(from_ns > 0);
    /* What was not dropped stays; a hole is NaN. */
    assert_true(bins_add(bins, 20, &value));
    value = 3;
    assert_true(bins_add(bins, 40, &value));
    assert_int_equal(bins_front(bins, 8, &from_ns, &width, columns), 3);
    assert_int_equal(from_ns, 20);
    assert_true(columns[0] == 1 && isnan(columns[1]) && columns[2] == 3);
    /* Twice as wide until it is empty. */
    bins_coarsen(bins);
    assert_int_equal(bins_count(bins), 3);
    assert_int_equal(bins_front(bins, 8, &from_ns, &width, columns), 2);
    assert_int_equal(width, 20);
    bins_drop_front(bins);
    bins_front(bins, 8, &from_ns, &width, columns);
    bins_drop_front(bins);
    assert_true(bins_add(bins, 30, &value));
    bins_front(bins, 8, &from_ns, &width, columns);
    assert_int_equal(width, 10);
    bins_close(bins);
    bins_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
