/* SPDX-License-Identifier: MIT
 * How long an answer of archive/overview takes: bench_look FOLDER CHANNEL SPANS POINTS SEED. Draws
 * spans whose lengths are spread evenly over the powers from 1 s to all there is, asks each for
 * POINTS points with nothing of the files in the page cache, and prints a line each: the span's
 * seconds, milliseconds taken (and of CPU), bytes and reads, rows read, the coarsest and the finest
 * level, rows handed out. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "archive/overview.h"

static uint64_t state;

static double draw(void)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(state >> 11) * 0x1p-53;
}

static double now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec * 1e-6;
}

/* Has the page cache give up what it has of the folder's files. */
static void forget(const char *folder)
{
    struct dirent *entry;
    DIR *open_folder = opendir(folder);
    while (open_folder != NULL && (entry = readdir(open_folder)) != NULL) {
        int file = openat(dirfd(open_folder), entry->d_name, O_RDONLY);
        if (file >= 0 && strstr(entry->d_name, ".avro") != NULL)
            posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        if (file >= 0)
            close(file);
    }
    if (open_folder != NULL)
        closedir(open_folder);
}

static int look(const char *folder, const char *channel, const struct time_span *span,
                uint32_t points, struct overview_account *account, unsigned long *rows)
{
    struct overview *overview;
    struct overview_event event;
    int status = overview_open(&overview, folder, channel, span, points);
    if (status < 0)
        return status;
    *rows = 0;
    do {
        status = overview_next(overview, &event);
        *rows += event.kind == OVERVIEW_ROW;
    } while (status == 0 && event.kind != OVERVIEW_END);
    overview_told(overview, account);
    overview_close(overview);
    return status;
}

int main(int argc, char **argv)
{
    char levels[4096];
    if (argc != 6)
        return 2;
    snprintf(levels, sizeof(levels), "%s/overview", argv[1]);
    state = strtoull(argv[5], NULL, 10);
    uint32_t points = (uint32_t)strtoul(argv[4], NULL, 10);
    struct overview_account account;
    unsigned long rows;
    int status = look(argv[1], argv[2], &TIME_SPAN_ALL, 1, &account, &rows);
    double first = 1767225600e9, all = (double)account.point_ns; /* of bench_history */
    for (long i = strtol(argv[3], NULL, 10); i > 0 && status == 0; i--) {
        double length = 1e9 * pow(all / 1e9, draw());
        double from = first + draw() * (all - length);
        struct time_span span = {(uint64_t)from, (uint64_t)(from + length)};
        forget(argv[1]);
        forget(levels);
        double began = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
        status = look(argv[1], argv[2], &span, points, &account, &rows);
        printf("%.3f %.3f %.3f %llu %llu %llu %llu %llu %lu\n", length * 1e-9,
               now(CLOCK_MONOTONIC) - began, now(CLOCK_PROCESS_CPUTIME_ID) - used,
               (unsigned long long)account.cost.bytes, (unsigned long long)account.cost.reads,
               (unsigned long long)account.rows_read, (unsigned long long)account.coarsest,
               (unsigned long long)account.finest, rows);
    }
    if (status < 0)
        fprintf(stderr, "bench_look: %s\n", strerror(-status));
    return status < 0;
}
