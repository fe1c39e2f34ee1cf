/* SPDX-License-Identifier: MIT
 * The dates of recordings by their order. Known: steps of less than COARSE_NS do not show; a clock
 * that is set right little by little shows as one that had been ahead; one that had been ahead by
 * the length of few files, as one that was set back, by which they are kept for longer. */
#include "manager/retention_order.h"

#include <stdbool.h>
#include <stdint.h>

#include "os/clock.h"

/* A file system's clock may be behind the one that names are of. */
#define COARSE_NS NS_PER_S
/* From one file to the next a clock that runs on goes further by less than this part of what it had
 * been wrong by; one that is set right does not. */
#define JUMP_PART 4

/* By its own two times: not written before it was begun. */
static bool is_whole(const struct retention_file *file)
{
    return file->modified_ns + COARSE_NS >= file->begun_ns;
}

/* The next file of the lane from `i` on, below `end`; `end` if there is none. */
static size_t next_of(const struct retention_file *files, size_t i, size_t end, bool rejects)
{
    while (i < end && files[i].rejects != rejects)
        i++;
    return i;
}

/* The file behind the run of those from `first` on that were begun before `top`, the newest file
 * before them; whether the clock was set back while they were written, else that of `top` was
 * ahead. */
static size_t pass_run(const struct retention_file *files, size_t top, size_t first, size_t end,
                       uint64_t now_ns, bool *set_back)
{
    uint64_t back_ns = files[top].begun_ns - files[first].begun_ns, largest_ns = 0;
    size_t i = first;
    while (i < end && files[i].begun_ns + COARSE_NS < files[top].begun_ns) {
        size_t next = next_of(files, i + 1, end, files[top].rejects);
        if (next < end && files[next].begun_ns > files[i].begun_ns + largest_ns)
            largest_ns = files[next].begun_ns - files[i].begun_ns;
        i = next;
    }
    *set_back = largest_ns >= back_ns / JUMP_PART || (i == end && files[top].begun_ns <= now_ns);
    return i;
}

/* The newest file before those of a clock that was ahead, of which `top` is the last and `first`
 * the first behind; `end` if there is none. */
static size_t before_ahead(const struct retention_file *files, size_t begin, size_t top,
                           size_t first, size_t end)
{
    uint64_t back_ns = files[top].begun_ns - files[first].begun_ns;
    for (size_t k = top, later = top; k-- > begin;) {
        if (files[k].rejects != files[top].rejects)
            continue;
        if (files[k].begun_ns + back_ns / JUMP_PART <= files[later].begun_ns)
            return k;
        later = k;
    }
    return end;
}

/* Where nothing better is known of a file than of the next, it gets the date of that. */
static void carry_dates(struct retention_file *files, size_t begin, size_t end, bool rejects)
{
    uint64_t next_ns = UINT64_MAX;
    for (size_t i = end; i-- > begin;) {
        if (files[i].rejects != rejects)
            continue;
        if (files[i].dated_ns == UINT64_MAX || !is_whole(&files[i]))
            files[i].dated_ns = next_ns;
        else
            next_ns = files[i].dated_ns;
    }
}

/* Dates the files of one lane between `begin` and `end`. */
static void date_lane(struct retention_file *files, size_t begin, size_t end, bool rejects,
                      uint64_t now_ns)
{
    size_t top = end; /* none */
    for (size_t i = next_of(files, begin, end, rejects); i < end;) {
        if (top < end && files[i].begun_ns + COARSE_NS < files[top].begun_ns) {
            bool set_back;
            size_t behind = pass_run(files, top, i, end, now_ns, &set_back);
            if (!set_back) {
                top = before_ahead(files, begin, top, i, end);
                continue;
            }
            for (size_t k = top; k < behind; k++)
                if (files[k].rejects == rejects)
                    files[k].dated_ns = UINT64_MAX;
            i = behind;
        } else {
            files[i].dated_ns = files[i].modified_ns;
            top = i;
            i = next_of(files, i + 1, end, rejects);
        }
    }
    carry_dates(files, begin, end, rejects);
}

void retention_date(struct retention_file *files, size_t file_count, uint64_t now_ns)
{
    for (size_t begin = 0, end; begin < file_count; begin = end) {
        for (end = begin; end < file_count && files[end].channel == files[begin].channel;)
            end++;
        date_lane(files, begin, end, false, now_ns);
        date_lane(files, begin, end, true, now_ns);
    }
}
