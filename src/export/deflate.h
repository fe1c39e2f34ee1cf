/* SPDX-License-Identifier: MIT
 * Pieces of a file compressed as zlib streams (RFC 1950), bytes of one place of numbers put
 * together first, as HDF5's shuffle has it; by the calling thread and another one.
 * Relies on libdeflate and os/thread. */
#ifndef FLOTILLA_EXPORT_DEFLATE_H
#define FLOTILLA_EXPORT_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

struct deflate_job {
    const uint8_t *from;
    size_t bytes;
    uint32_t width; /* of a number: its bytes are put apart; 1: as they are */
    uint8_t *made;  /* the stream, from malloc and the caller's; NULL: no memory */
    size_t made_bytes;
};

struct deflate; /* two threads' worth of compressors */

/* `level` 1 to 12. 0 or a negative errno. Freed by deflate_close. */
int deflate_open(struct deflate **deflate, unsigned level);
/* Does all the jobs; returns when they are done. 0 or -ENOMEM: some are not. */
int deflate_run(struct deflate *deflate, struct deflate_job *jobs, size_t job_count);
void deflate_close(struct deflate *deflate);

#endif
