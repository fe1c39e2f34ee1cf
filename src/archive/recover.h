/* SPDX-License-Identifier: MIT
 * Copies what is intact of a scanned file to new ones: each block where it stands in the order of
 * the file, byte for byte; only the place a block of our own notes is set to its new one. Blocks
 * that cannot be judged here are copied as they stand. Of a broken block what the scan says can be
 * had becomes a block of its own. Files that were joined end to end become one where schema, codec,
 * format and channel are the same, else one file each.
 * Pure bytes: writes through a callback. Relies on archive/scan for what is intact. */
#ifndef FLOTILLA_ARCHIVE_RECOVER_H
#define FLOTILLA_ARCHIVE_RECOVER_H

#include <stdbool.h>

#include "archive/scan.h"
#include "avro/block.h"

#define RECOVER_OUTPUTS_MAX 256u

struct recover {
    /* Makes output `output`: 0, 1, 2 ... 0 or a negative errno. */
    int (*begin)(void *context, unsigned output);
    /* Writes `bytes` at `offset`, which follows what was written before to this output. 0 or a
     * negative errno. */
    int (*write)(void *context, unsigned output, struct span bytes, uint64_t offset);
    /* Is told every event but the end, in order, once a block is written; may be NULL. */
    void (*tell)(void *context, const struct scan_event *event);
    void *context;
};

/* What an output holds. */
struct recover_output {
    uint64_t blocks, datums; /* by their fronts */
    uint64_t data_bytes;     /* of the blocks that were judged */
    uint64_t unread_blocks;  /* of the blocks */
};

/* What was made. All zero to begin with. */
struct recover_result {
    struct recover_output outputs[RECOVER_OUTPUTS_MAX];
    unsigned count;
    struct scan_totals totals; /* of the events */
};

/* Writes for each output a header (that of the file it is from; for the first part of the file
 * `header` where that is not NULL, for its own cannot be trusted then) and the blocks of `scan`,
 * from where it is to its end. What is of more than RECOVER_OUTPUTS_MAX outputs counts as lost. 0
 * or a negative errno. */
int recover_run(struct scan *scan, const struct block_header_text *header,
                const struct recover *recover, struct recover_result *result);

#endif
