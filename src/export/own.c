/* SPDX-License-Identifier: MIT
 * Shifts between two clocks, from the first rows of files. */
#include "export/own.h"

#include <stdint.h>

#include "export/table.h"

#define PROBES   16u /* of a channel's files */
#define SLACK_NS (60 * 1000000000ull)

/* How far the own time of the file's first row is ahead of its arrival. False: it has none. */
static bool probe(const struct catalog_file *file, int64_t *shift_ns)
{
    struct catalog one = {.files = (struct catalog_file *)(uintptr_t)file, .count = 1, .room = 1};
    struct row_clock clock = {0};
    struct rows_event event = {.kind = ROWS_FILE};
    struct rows *rows = NULL;
    bool found = false;
    int64_t own_ns;
    if (rows_open(&rows, &one, ROWS_SKIP) < 0)
        return false;
    while (event.kind == ROWS_FILE && rows_next(rows, &event) == 0) {
        if (event.kind == ROWS_FILE && row_clock_set(&clock, rows_scan(rows)) < 0)
            break;
        if (event.kind != ROWS_DATUM || event.arrival_ns == 0)
            continue;
        found = row_clock_field_ns(&clock, event.datum, &own_ns);
        if (found)
            *shift_ns = (int64_t)((uint64_t)own_ns - event.arrival_ns);
    }
    row_clock_free(&clock);
    rows_close(rows);
    return found;
}

static uint64_t moved(uint64_t ns, int64_t by_ns)
{
    if (by_ns < 0)
        return ns < (uint64_t)-by_ns ? 0 : ns - (uint64_t)-by_ns;
    return ns > UINT64_MAX - (uint64_t)by_ns ? UINT64_MAX : ns + (uint64_t)by_ns;
}

static void widen_by(struct time_span *arrival, const struct time_span *own, int64_t shift_ns)
{
    if (shift_ns < INT64_MIN / 2 || shift_ns > INT64_MAX / 2)
        return;
    uint64_t from_ns = moved(own->from_ns, -shift_ns - (int64_t)SLACK_NS);
    uint64_t to_ns = moved(own->to_ns, -shift_ns + (int64_t)SLACK_NS);
    arrival->from_ns = from_ns < arrival->from_ns ? from_ns : arrival->from_ns;
    arrival->to_ns = to_ns > arrival->to_ns ? to_ns : arrival->to_ns;
}

void own_widen(const struct catalog *catalog, const struct time_span *own,
               struct time_span *arrival)
{
    *arrival = *own;
    for (size_t first = 0, next; first < catalog->count; first = next) {
        next = first + 1;
        while (next < catalog->count &&
               table_same_channel(&catalog->files[first], &catalog->files[next]))
            next++;
        size_t count = next - first, probes = count < PROBES ? count : PROBES;
        for (size_t i = 0; i < probes; i++) {
            int64_t shift_ns;
            size_t at = probes > 1 ? first + i * (count - 1) / (probes - 1) : first;
            if (probe(&catalog->files[at], &shift_ns))
                widen_by(arrival, own, shift_ns);
        }
    }
    if (own->from_ns == 0)
        arrival->from_ns = 0;
    if (own->to_ns == UINT64_MAX)
        arrival->to_ns = UINT64_MAX;
}

bool own_has(struct row_clock *clock, const struct time_span *own, struct span datum,
             uint64_t arrival_ns)
{
    int64_t own_ns;
    uint64_t ns = arrival_ns;
    if (row_clock_field_ns(clock, datum, &own_ns))
        ns = own_ns < 0 ? 0 : (uint64_t)own_ns;
    return ns >= own->from_ns && ns < own->to_ns;
}
