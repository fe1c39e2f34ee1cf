/* SPDX-License-Identifier: MIT
 * The datums of channels' recordings with the times at which they are played, read ahead by a
 * thread of its own: what `flotilla replay` plays from. A source is one channel: its files in
 * order.
 *
 * When a datum came in: its block's arrival, and behind that what its time field says, where the
 * recording names one whose unit is known; else the datums of a block are spread evenly up to the
 * next block. The time field is believed as long as it stays within a second of arrivals, which is
 * measured anew at each file. Times of a source never go back: where a clock was set back by more
 * than a second, all that follows is later by as much; by less, at once. That is found out from the
 * files' begins and ends before anything is played, so that a time is that of one datum wherever
 * the playing began.
 * Memory: REPLAY_BLOCKS blocks a source. Relies on archive/history and os/thread. */
#ifndef FLOTILLA_CLI_REPLAY_READER_H
#define FLOTILLA_CLI_REPLAY_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/history.h"

#define REPLAY_BLOCKS 3u

struct replay_row {
    uint32_t bytes;
    uint64_t at_ns; /* when it is played, in time as it was recorded */
};

struct replay_block {
    uint8_t *bytes; /* of its datums, back to back */
    size_t byte_count, room;
    struct replay_row *rows;
    size_t count, row_room;
};

/* What the sources span, as it is played; 0 where it is not known. */
struct replay_extent {
    uint64_t first_ns, last_ns;
};

struct replay_reader;

/* Whether the files of a schema may be sent; false after telling why not: they are left out. Called
 * from the reader's thread, one at a time. */
typedef bool replay_admit(void *context, uint32_t source, const struct schema_file *schema,
                          const char *path);

/* Prepares to play what came in in the span. NULL without memory. */
struct replay_reader *replay_reader_open(const struct time_span *span, replay_admit *admit,
                                         void *context);
/* Another source, number 0, 1 ...: the files, which must outlive the reader; looks at each. False
 * without memory. */
bool replay_reader_add(struct replay_reader *reader, const struct catalog *catalog);
struct replay_extent replay_reader_extent(const struct replay_reader *reader);
/* Reads what is played from `from_ns` on, 0: from the begin; what was read before is gone. 0 or a
 * negative errno. */
int replay_reader_start(struct replay_reader *reader, uint64_t from_ns);

/* The block that a source is at; waits for it. NULL at the source's end, or after a signal. */
struct replay_block *replay_reader_front(struct replay_reader *reader, uint32_t source);
/* Goes on to the next one. */
void replay_reader_pop(struct replay_reader *reader, uint32_t source);

/* Damaged or unreadable places and files so far, and files that are left out; each was told. */
uint64_t replay_reader_faults(const struct replay_reader *reader);
uint64_t replay_reader_left_out(const struct replay_reader *reader);

void replay_reader_close(struct replay_reader *reader); /* NULL is fine */

#endif
