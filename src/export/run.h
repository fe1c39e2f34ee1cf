/* SPDX-License-Identifier: MIT
 * An export from begin to end. */
#ifndef FLOTILLA_EXPORT_RUN_H
#define FLOTILLA_EXPORT_RUN_H

#include "archive/catalog.h"
#include "archive/search.h"
#include "export/format.h"
#include "export/table.h"

struct export_task {
    struct catalog catalog; /* what is exported; freed by its maker */
    struct time_span span;
    struct time_span own; /* with choice.own, which points here: the span that was asked for */
    bool by_own;          /* the span is of the channels' own time */
    struct table_choice choice;
    const struct export_format *format;
    struct export_options options;
    const char *target; /* a file, or "-" */
    uint64_t every;     /* of a channel's datums each so many-th; 0 and 1: all */
    uint64_t decimate;  /* of so many datums the minima and maxima; 0: all */
    uint64_t every_ns;  /* all channels as one table, a row each so often; 0: not so */
};

/* Exports. An exit code, after telling what is wrong; the target is there whole, or as it was. */
int export_run(struct export_task *task);

#endif
