/* SPDX-License-Identifier: MIT
 * `--every 10ms`: all channels as one table, a row at each multiple of the interval from the first
 * datum on, with the value that each channel had last. The one join there is, for who asks for it.
 * Before a channel's first datum its columns are null; behind its last one they stay. */
#ifndef FLOTILLA_EXPORT_GRID_H
#define FLOTILLA_EXPORT_GRID_H

#include "export/feed.h"
#include "export/writing.h"

struct grid;

/* Splits the catalog by channel, makes their tables (feed_survey) and the one they are joined in.
 * 0, or a negative errno with a message. Freed by grid_close, also after a failure. */
int grid_open(struct grid **grid, struct tables *tables, const struct catalog *catalog,
              const struct time_span *span, uint64_t interval_ns, struct feed_report *report,
              char *error, size_t error_bytes);
/* Writes all rows, and ends the table. `show` is called now and then with the file's path and its
 * place in the catalog. 0, a negative errno with a message, or 1: writing has failed. */
int grid_run(struct grid *grid, struct writing *writing,
             void (*show)(void *context, uint64_t bytes, const char *path), void *context,
             char *error, size_t error_bytes);
void grid_close(struct grid *grid);

#endif
