/* SPDX-License-Identifier: MIT
 * The datums of channels' recordings with the times at which they are played, read ahead by a
 * thread of its own: what `flotilla replay` plays from. A source is one channel: its files in
 * order.
 *
 * When a datum came in: its block's arrival, and behind that what its time field says, where the
 * recording names one whose unit is known; else the datums of a block are spread evenly up to the
 * next block. The time field is believed as long as it stays within a second of arrivals, which is
 * measured anew at each file. Times of a source never go back: where a clock was set back by more
 * than a second, all that follows is later by as much; by less, at once.
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

struct replay_reader;

/* Whether the files of a schema may be sent; false after telling why not: they are left out. Called
 * from the reader's thread, one at a time. */
typedef bool replay_admit(void *context, uint32_t source, const struct schema_file *schema,
                          const char *path);

/* Prepares. NULL without memory. */
struct replay_reader *replay_reader_open(replay_admit *admit, void *context);
/* Another source, number 0, 1 ...: the files, which must outlive the reader. False without memory.
 */
bool replay_reader_add(struct replay_reader *reader, const struct catalog *catalog);
/* Reads from the begin of the span on; what was read before is gone. 0 or a negative errno. */
int replay_reader_start(struct replay_reader *reader, const struct time_span *span);

/* The block that a source is at; waits for it. NULL at the source's end, or after a signal. */
struct replay_block *replay_reader_front(struct replay_reader *reader, uint32_t source);
/* Goes on to the next one. */
void replay_reader_pop(struct replay_reader *reader, uint32_t source);

/* Damaged or unreadable places and files so far, and files that are left out; each was told. */
uint64_t replay_reader_faults(const struct replay_reader *reader);
uint64_t replay_reader_left_out(const struct replay_reader *reader);

void replay_reader_close(struct replay_reader *reader); /* NULL is fine */

#endif
