/* SPDX-License-Identifier: MIT
 * Recordings of several channels as messages of their topics (foxglove_topic.h), in the order in
 * which they came in. One thread's at a time; waits for disks. Relies on archive/history.
 * Memory: of each channel that is read two windows of a scan. */
#ifndef FLOTILLA_GATEWAY_FOXGLOVE_READER_H
#define FLOTILLA_GATEWAY_FOXGLOVE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "gateway/foxglove_topic.h"

#define READER_CHANNELS_MAX 256u
#define READER_READ_MAX     32u /* at one time */
#define READER_BATCH_BYTES  (512u << 10)

/* A channel with recordings. */
struct recorded {
    char *name;
    struct topic_form *form; /* by its newest file; NULL: it cannot be shown, and why: */
    char error[200];
    uint64_t first_ns, last_ns; /* when its first and its last datum came in */
};

/* What there is below `directory`, by name; channels without a datum are not in it. 0 or -ENOMEM.
 * Freed by recorded_free. */
int recorded_list(struct recorded **list, size_t *count, const char *directory);
void recorded_free(struct recorded *list, size_t count);

struct reader; /* opaque */

/* A message, or that a channel's are of another form from here on. */
struct reader_item {
    uint32_t channel; /* its place in the list that the reader was opened with */
    uint64_t at_ns;
    size_t offset, bytes;    /* in the batch's `bytes`, as topic_form_write has it */
    struct topic_form *form; /* not NULL: another form, the receiver's to free; then no message */
};

struct reader_batch {
    struct text bytes;
    struct reader_item *items;
    size_t count, room;
    uint64_t until_ns; /* all that came in before that is in this batch or those before it */
    uint64_t left_out; /* datums whose message is too long */
    uint64_t faults;   /* damage and files that cannot be read ... */
    char fault[300];   /* ... one of them, for people */
};
void reader_batch_clear(struct reader_batch *batch); /* keeps its memory */
void reader_batch_free(struct reader_batch *batch);

/* Reads `list`'s channels up to and with what came in at `to_ns`. The names must outlive it. 0 or
 * -ENOMEM. */
int reader_open(struct reader **reader, const char *directory, const struct recorded *list,
                size_t count, uint64_t to_ns);
void reader_close(struct reader *reader);

/* From here on the channels that are `wanted` are read (READER_READ_MAX at most: the first of
 * them). Those that are read already go on, unless `anew`; the others begin at `from_ns`. */
int reader_want(struct reader *reader, const bool *wanted, uint64_t from_ns, bool anew);
/* Adds what came in before `until_ns` and was not handed out yet; less where that is more than
 * READER_BATCH_BYTES. 0, or -ENOMEM. */
int reader_read(struct reader *reader, struct reader_batch *batch, uint64_t until_ns);

#endif
