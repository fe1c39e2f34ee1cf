/* SPDX-License-Identifier: MIT
 * Finished recordings rewritten with real compression (archive/packed.h), one after the other, once
 * they are old enough. The new file is written beside the old one, read back and compared with it
 * datum by datum, and takes its place and its name in one step: whatever ends this process, one of
 * the two is there, whole. What is doubtful in any way (a fault, a header that is not ours, a file
 * that changed meanwhile) is left alone; so is what would not become smaller.
 *
 * Kept: every datum in its order, all that the header says, the sync marker, the file's name and
 * its time; for each block its arrival time, place and checksum. Blocks that came in within
 * COMPACT_SPAN_NS of each other are joined where the recording has a time field by which the
 * others' arrival is told (archive/history.h); so of them the arrival of the first alone is what it
 * was to the nanosecond. Relies on archive/scan, archive/writer. */
#ifndef FLOTILLA_OVERVIEW_COMPACT_H
#define FLOTILLA_OVERVIEW_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/codec.h"
#include "os/descriptor.h"
#include "overview/state.h"

#define COMPACT_SPAN_NS 60000000000u

struct compactor {
    const char *folder, *channel; /* the caller's */
    descriptor_t descriptor;      /* of the folder */
    uint64_t age_ns;
    enum codec codec; /* CODEC_DEFLATE or CODEC_ZSTANDARD */
    bool direct;
    void (*tell)(const char *channel, const char *what);
    uint64_t next;     /* number of the first file that was not looked at; */
    uint64_t retry_ns; /* monotonic: not before; a disk was full, say */
};

/* Opens the folder of a compactor whose other members are set, and removes what one that was killed
 * has left half written. 0 or a negative errno; the descriptor is the caller's to close. */
int compact_open(struct compactor *compactor);
/* Rewrites one file of a number below `below` that is old enough, if there is one. 1; 0 where there
 * is none for now; -EINTR once a signal has come, or another negative errno. */
int compact_step(struct compactor *compactor, uint64_t below);

#endif
