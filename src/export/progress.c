/* SPDX-License-Identifier: MIT
 * The line is written over itself and never longer than the window. */
#include "export/progress.h"

#include <inttypes.h>
#include <stdio.h>

#include "os/clock.h"
#include "os/terminal.h"
#include "schema/report.h"

#define PROGRESS_PACE_NS 200000000u
#define PROGRESS_BAR     24u

void progress_begin(struct progress *progress)
{
    *progress = (struct progress){.begun_ns = clock_monotonic_ns()};
    progress->shown = terminal_is_error(&progress->columns);
    progress->next_ns = progress->begun_ns + PROGRESS_PACE_NS;
}

void progress_show(struct progress *progress, const char *what, uint64_t done, uint64_t total)
{
    char bar[PROGRESS_BAR + 1], line[200];
    uint64_t now = progress->shown ? clock_monotonic_ns() : 0;
    if (!progress->shown || now < progress->next_ns)
        return;
    progress->next_ns = now + PROGRESS_PACE_NS;
    double part = total > 0 && done < total ? (double)done / (double)total : 1;
    double seconds = (double)(now - progress->begun_ns) / 1e9;
    for (unsigned i = 0; i < PROGRESS_BAR; i++)
        bar[i] = (double)i < part * PROGRESS_BAR ? '#' : '.';
    bar[PROGRESS_BAR] = '\0';
    uint64_t left = part > 0 ? (uint64_t)(seconds / part - seconds + 0.5) : 0;
    int bytes = snprintf(line, sizeof(line),
                         "[%s] %3.0f %%  %.0f MB, %.0f MB/s, %" PRIu64 ":%02" PRIu64 " left  %s",
                         bar, part * 100, (double)done / 1e6, (double)done / 1e6 / seconds,
                         left / 60, left % 60, what);
    if (progress->columns > 0 && progress->columns <= sizeof(line) &&
        bytes >= (int)progress->columns)
        line[progress->columns - 1] = '\0';
    report_clean(line);
    fprintf(stderr, "\r%s\033[K", line);
    progress->on_line = true;
}

void progress_clear(struct progress *progress)
{
    if (progress->on_line)
        fputs("\r\033[K", stderr);
    progress->on_line = false;
}
