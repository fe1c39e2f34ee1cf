/* SPDX-License-Identifier: MIT
 * Copies what is intact of a scanned file to a new one: each block where it stands in the order of
 * the file, byte for byte; only the place a block of our own notes is set to its new one.
 * Pure bytes: writes through a callback. Relies on archive/scan for what is intact. */
#ifndef FLOTILLA_ARCHIVE_RECOVER_H
#define FLOTILLA_ARCHIVE_RECOVER_H

#include <stdbool.h>

#include "archive/scan.h"
#include "avro/block.h"

struct recover {
    /* Writes `bytes` at `offset`, which follows what was written before. 0 or a negative errno. */
    int (*write)(void *context, struct span bytes, uint64_t offset);
    /* Is told every event but the end, in order, once a block is written; may be NULL. */
    void (*tell)(void *context, const struct scan_event *event);
    void *context;
};

/* Writes a header (that of the file where `header` is NULL, which can be trusted then) and the
 * intact blocks of `scan`, from where it is to its end; of files that were joined behind it those
 * of the same schema, format and codec, the others' count as lost. 0 or a negative errno; `totals`
 * counts the events. */
int recover_run(struct scan *scan, const struct block_header_text *header,
                const struct recover *recover, struct scan_totals *totals);

#endif
