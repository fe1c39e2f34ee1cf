/* SPDX-License-Identifier: MIT
 * The ledger. Counters stand in it as a row of numbers in the order of counter_names, then the
 * rejects by reason from LEDGER_REASONS_AT on: both only grow at their ends. */
#include "channel/ledger.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "os/memory.h"

#define LEDGER_MAGIC      0x52474453u /* "SDGR" */
#define LEDGER_COUNTS     95u
#define LEDGER_REASONS_AT 48u

struct ledger_copy {
    uint64_t restarts, limit_memory_bytes;
    double limit_cpu_percent;
    uint64_t carried[LEDGER_COUNTS];
    uint32_t checksum; /* of all others, as far as they are used */
    uint32_t flags_bytes;
    char flags[LEDGER_FLAGS_BYTES];
};

struct ledger_shared {
    uint32_t magic, padding;
    _Atomic uint64_t version; /* the current copy is this & 1; 0: none */
    _Atomic uint64_t layout;  /* of the current copy; 0 while that changes, and of older versions */
    _Atomic uint64_t ways;    /* two indices of interfaces, the full stream's in the lower half */
    _Atomic uint64_t wish;    /* id of the relay */
    uint64_t unused;          /* by this version; an earlier one keeps a time in it */

    _Alignas(64) _Atomic uint64_t beats;
    _Atomic uint64_t ready;  /* id of the relay */
    _Atomic uint64_t ended;  /* id of the relay that left an exit code and perhaps totals */
    _Atomic uint64_t resets; /* how often a relay has emptied the rest of the memory */
    uint32_t exit_code, totals_left;
    uint64_t totals[LEDGER_COUNTS];
    _Atomic uint64_t drained; /* cookie of a socket */

    struct ledger_copy copies[2];
};
_Static_assert(sizeof(struct ledger_shared) <= LEDGER_BYTES, "the ledger has its room");

static void counts_from(uint64_t row[LEDGER_COUNTS], const struct counters *counters)
{
    CHECK(counter_name_count <= LEDGER_REASONS_AT);
    CHECK(REJECT_REASONS <= LEDGER_COUNTS - LEDGER_REASONS_AT);
    memset(row, 0, LEDGER_COUNTS * sizeof(row[0]));
    for (size_t i = 0; i < counter_name_count; i++)
        if (!counter_names[i].gauge)
            memcpy(&row[i], (const char *)counters + counter_names[i].offset, sizeof(row[i]));
    memcpy(row + LEDGER_REASONS_AT, counters->rejected, sizeof(counters->rejected));
}

static void counts_to(struct counters *counters, const uint64_t row[LEDGER_COUNTS])
{
    memset(counters, 0, sizeof(*counters));
    for (size_t i = 0; i < counter_name_count; i++)
        if (!counter_names[i].gauge)
            memcpy((char *)counters + counter_names[i].offset, &row[i], sizeof(row[i]));
    memcpy(counters->rejected, row + LEDGER_REASONS_AT, sizeof(counters->rejected));
}

/* Of a copy of our own, never in place: the memory is also a relay's, who may change it meanwhile.
 */
static uint32_t copy_checksum(const struct ledger_copy *copy)
{
    uint32_t checksum = crc32c(0, copy, offsetof(struct ledger_copy, checksum));
    checksum = crc32c(checksum, &copy->flags_bytes, sizeof(copy->flags_bytes));
    return crc32c(checksum, copy->flags, copy->flags_bytes);
}

/* What is behind the flags is left untouched: it would take memory. */
static size_t copy_bytes_used(const struct ledger_copy *copy)
{
    return offsetof(struct ledger_copy, flags) + copy->flags_bytes;
}

int ledger_make(struct ledger_shared *ledger)
{
    if (ledger->magic == 0)
        ledger->magic = LEDGER_MAGIC;
    return ledger->magic == LEDGER_MAGIC ? 0 : -EBADMSG;
}

int ledger_map(struct ledger_shared **ledger, descriptor_t descriptor)
{
    int64_t bytes = shared_memory_bytes(descriptor);
    if (bytes < (int64_t)LEDGER_BYTES)
        return bytes < 0 ? (int)bytes : -EBADMSG;
    void *memory;
    int status = shared_memory_map(descriptor, LEDGER_BYTES, &memory);
    if (status < 0)
        return status;
    *ledger = memory;
    if ((*ledger)->magic == LEDGER_MAGIC)
        return 0;
    ledger_unmap(*ledger);
    return -EBADMSG;
}

void ledger_unmap(struct ledger_shared *ledger)
{
    shared_memory_unmap(ledger, LEDGER_BYTES);
}

void ledger_write(struct ledger_shared *ledger, const struct ledger_notes *notes)
{
    uint64_t version = atomic_load_explicit(&ledger->version, memory_order_relaxed) + 1;
    struct ledger_copy copy;
    CHECK(notes->flags_bytes <= LEDGER_FLAGS_BYTES);
    copy.restarts = notes->restarts;
    copy.limit_memory_bytes = notes->limit_memory_bytes;
    copy.limit_cpu_percent = notes->limit_cpu_percent;
    counts_from(copy.carried, &notes->carried);
    copy.flags_bytes = notes->flags_bytes;
    memcpy(copy.flags, notes->flags, notes->flags_bytes);
    copy.checksum = copy_checksum(&copy);
    memcpy(&ledger->copies[version & 1], &copy, copy_bytes_used(&copy));
    if (atomic_load_explicit(&ledger->layout, memory_order_relaxed) != notes->layout)
        atomic_store(&ledger->layout, 0);
    atomic_store(&ledger->version, version);
    atomic_store(&ledger->layout, notes->layout);
}

void ledger_note_ways(struct ledger_shared *ledger, const struct ledger_ways *ways)
{
    atomic_store(&ledger->ways,
                 (uint64_t)ways->index[LEDGER_DECIMATED] << 32 | ways->index[LEDGER_FULL]);
}

struct ledger_ways ledger_ways(const struct ledger_shared *ledger)
{
    uint64_t ways = atomic_load_explicit(&ledger->ways, memory_order_relaxed);
    return (struct ledger_ways){
        .index = {[LEDGER_FULL] = (uint32_t)ways, [LEDGER_DECIMATED] = (uint32_t)(ways >> 32)}};
}

int ledger_read(const struct ledger_shared *ledger, struct ledger_notes *notes)
{
    uint64_t version = atomic_load_explicit(&ledger->version, memory_order_acquire);
    struct ledger_copy copy;
    memcpy(&copy, &ledger->copies[version & 1], sizeof(copy));
    memset(notes, 0, offsetof(struct ledger_notes, flags));
    if (version == 0 || copy.flags_bytes > LEDGER_FLAGS_BYTES ||
        copy.checksum != copy_checksum(&copy))
        return -EBADMSG;
    notes->restarts = copy.restarts;
    notes->limit_memory_bytes = copy.limit_memory_bytes;
    notes->limit_cpu_percent = copy.limit_cpu_percent;
    counts_to(&notes->carried, copy.carried);
    notes->layout = atomic_load_explicit(&ledger->layout, memory_order_relaxed);
    notes->flags_bytes = copy.flags_bytes;
    memcpy(notes->flags, copy.flags, copy.flags_bytes);
    return 0;
}

void ledger_note_ready(struct ledger_shared *ledger, long id)
{
    atomic_store_explicit(&ledger->ended, 0, memory_order_relaxed);
    ledger->totals_left = 0;
    atomic_store_explicit(&ledger->ready, (uint64_t)id, memory_order_release);
}

void ledger_note_wish(struct ledger_shared *ledger, long id)
{
    atomic_store_explicit(&ledger->wish, (uint64_t)id, memory_order_relaxed);
}

long ledger_wish(const struct ledger_shared *ledger)
{
    return (long)atomic_load_explicit(&ledger->wish, memory_order_relaxed);
}

void ledger_note_reset(struct ledger_shared *ledger)
{
    atomic_fetch_add_explicit(&ledger->resets, 1, memory_order_release);
}

uint64_t ledger_resets(const struct ledger_shared *ledger)
{
    return atomic_load_explicit(&ledger->resets, memory_order_acquire);
}

long ledger_ready(const struct ledger_shared *ledger)
{
    return (long)atomic_load_explicit(&ledger->ready, memory_order_acquire);
}

void ledger_beat(struct ledger_shared *ledger)
{
    uint64_t beats = atomic_load_explicit(&ledger->beats, memory_order_relaxed);
    atomic_store_explicit(&ledger->beats, beats + 1, memory_order_relaxed);
}

uint64_t ledger_beats(const struct ledger_shared *ledger)
{
    return atomic_load_explicit(&ledger->beats, memory_order_relaxed);
}

void ledger_note_end(struct ledger_shared *ledger, long id, int exit_code,
                     const struct counters *counters)
{
    ledger->exit_code = (uint32_t)exit_code;
    ledger->totals_left = counters != NULL;
    if (counters != NULL)
        counts_from(ledger->totals, counters);
    atomic_store_explicit(&ledger->ended, (uint64_t)id, memory_order_release);
}

int ledger_end(const struct ledger_shared *ledger, long id)
{
    uint64_t ended = atomic_load_explicit(&ledger->ended, memory_order_acquire);
    return id > 0 && ended == (uint64_t)id ? (int)ledger->exit_code : -1;
}

int ledger_totals(const struct ledger_shared *ledger, struct counters *counters)
{
    if (atomic_load_explicit(&ledger->ended, memory_order_acquire) == 0 || !ledger->totals_left)
        return -ENOENT;
    counts_to(counters, ledger->totals);
    return 0;
}

void ledger_note_drained(struct ledger_shared *ledger, uint64_t cookie)
{
    atomic_store_explicit(&ledger->drained, cookie, memory_order_release);
}

uint64_t ledger_drained(const struct ledger_shared *ledger)
{
    return atomic_load_explicit(&ledger->drained, memory_order_acquire);
}
