/* SPDX-License-Identifier: MIT
 * Finds by time: which recordings of a catalog, and which block of one, to begin with. Reads one
 * place of a file per halving, not the file.
 *
 * What is relied on: the relay ends a file where its clock goes back by more than
 * BLOCK_DISORDER_NS, and each header says since which file's number that has not happened
 * (flotilla.ordered_since). So arrival times rise within a file and within such a run of files, and
 * every run, however often a clock was set back, is looked into. A block begins on a page boundary
 * right behind a sync marker, says in its front when its first datum came in, and at which page it
 * was written. Where any of that does not hold (files of other programs, joined end to end, cut
 * inside their first block, without that entry, or of which the last blocks note no place, as the
 * relay has it where a clock goes back and it cannot begin another file) the file is taken from its
 * begin: nothing in it is passed over. A damaged place that a halving meets makes no difference but
 * that.
 * Known faults: a block that damage has moved to another place of its file, whole, is found where
 * its neighbours are, not by its own time. Where somebody has joined a file with one that is older,
 * and files of the same order stand around it, the older part may be passed over. Relies on
 * avro/block, archive/catalog, os/file.
 */
#ifndef FLOTILLA_ARCHIVE_SEARCH_H
#define FLOTILLA_ARCHIVE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/catalog.h"
#include "archive/scan.h"

/* A part of time: from_ns <= t < to_ns, realtime. */
struct time_span {
    uint64_t from_ns, to_ns;
};
#define TIME_SPAN_ALL ((struct time_span){0, UINT64_MAX})

/* A recording of Flotilla's that may be searched by halving; of another file `ordered` is false and
 * the rest 0. */
struct search_front {
    bool ordered;
    uint64_t
        ordered_since; /* the number of the file since which arrival times have not gone back */
    uint64_t header_bytes;
    uint8_t sync[SCAN_SYNC_BYTES];
    bool empty;        /* there is no whole first block */
    uint64_t first_ns; /* else the arrival of its first datum */
};

/* Reads the header and the first block's front. 0, or the negative errno of reading. */
int search_read_front(const struct scan_source *source, struct search_front *front,
                      struct scan_cost *cost);

/* Finds the block to begin with: one that came in BLOCK_DISORDER_NS before `from_ns` and is
 * followed by one that did not, so that no datum in front of it came in at `from_ns` or later; the
 * last one where all came in so early; 0, the file's begin, where it cannot be told. A file that
 * does not end as one that was written so is not `ordered` after all: something was joined on. 0,
 * or the negative errno of reading. */
int search_block(const struct scan_source *source, struct search_front *front, uint64_t from_ns,
                 uint64_t *block, struct scan_cost *cost);

/* A file to read, and how. */
struct search_hit {
    size_t file;       /* its place in the catalog */
    uint64_t block;    /* offset of the block to begin with; 0: the file's begin */
    uint64_t until_ns; /* when the first datum of the next file in order came in; else UINT64_MAX */
    bool ordered;      /* a block that came in BLOCK_DISORDER_NS after the span's end ends it */
};

/* The files that may hold something of the span, in the order of the catalog. Of recordings that
 * follow one another in it (one folder, channel and lane, numbers that rise) some are opened; every
 * other file is a hit unless its own front and end say that it cannot be. A file that cannot be
 * opened or read is a hit, so that who reads it is told. 0 or -ENOMEM; `*hits` is from malloc, the
 * caller's to free. */
int search_catalog(const struct catalog *catalog, const struct time_span *span,
                   struct search_hit **hits, size_t *hit_count, struct scan_cost *cost);

#endif
