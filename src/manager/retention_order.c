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

/* The run of files from `first` on that were begun before `top`, the last file before them. */
struct run {
    size_t behind; /* the file behind it, or the end */
    bool set_back; /* the clock was, while they were written; else `top`'s was ahead */
};

static struct run find_run(const struct retention_file *files, size_t top, size_t first, size_t end)
{
    bool rejects = files[top].rejects;
    uint64_t back_ns = files[top].begun_ns - files[first].begun_ns, largest_ns = 0;
    size_t i = first;
    while (i < end && files[i].begun_ns + COARSE_NS < files[top].begun_ns) {
        size_t next = next_of(files, i + 1, end, rejects);
        if (next < end && files[next].begun_ns > files[i].begun_ns + largest_ns)
            largest_ns = files[next].begun_ns - files[i].begun_ns;
        i = next;
    }
    return (struct run){.behind = i, .set_back = i == end || largest_ns >= back_ns / JUMP_PART};
}

/* Dates the files of one lane between `begin` and `end`. */
static void date_lane(struct retention_file *files, size_t begin, size_t end, bool rejects,
                      uint64_t now_ns)
{
    size_t top = end; /* none */
    for (size_t i = next_of(files, begin, end, rejects), next; i < end; i = next) {
        next = next_of(files, i + 1, end, rejects);
        files[i].dated_ns = files[i].modified_ns;
        if (top < end && files[i].begun_ns + COARSE_NS < files[top].begun_ns) {
            struct run run = find_run(files, top, i, end);
            for (size_t k = top; run.set_back && k < run.behind; k++)
                if (files[k].rejects == rejects)
                    files[k].dated_ns = UINT64_MAX;
            for (size_t k = i; !run.set_back && k < run.behind; k++)
                if (files[k].rejects == rejects)
                    files[k].dated_ns = files[k].modified_ns;
            next = run.behind;
        } else if (files[i].begun_ns <= now_ns) {
            top = i; /* what is of the future tells nothing yet */
        }
    }
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

void retention_date(struct retention_file *files, size_t file_count, uint64_t now_ns)
{
    for (size_t begin = 0, end; begin < file_count; begin = end) {
        for (end = begin; end < file_count && files[end].channel == files[begin].channel;)
            end++;
        date_lane(files, begin, end, false, now_ns);
        date_lane(files, begin, end, true, now_ns);
    }
}
