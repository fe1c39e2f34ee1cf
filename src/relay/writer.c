/* SPDX-License-Identifier: MIT
 * The writing thread. Relies on blocks below `closed` never changing, and on the claim (staging.h)
 * that keeps an open block that was written as a page within that page.
 *
 * Deadlines: a datum is synced at most `sync` after it came in. The receiver closes a block that is
 * larger than a page at half of that; this thread writes the open page and syncs at 7/8 of it. */
#include "relay/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "avro/block.h"
#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/memory.h"

enum { PARTS_MAX = 16 };
#define WRITE_BYTES_MAX   (1u << 20)
#define RETRY_NS          NS_PER_S
#define STACK_BYTES       (64u << 10)
#define PAGED_WAKE_BLOCKS 16u /* where every block is a page, wake for a handful */

int writer_prepare(struct writer *writer, struct staging *staging,
                   const struct channel_settings *settings, struct segment *segment)
{
    writer->staging = staging;
    writer->settings = settings;
    writer->segment = segment;
    writer->pages = segment->direct && segment->alignment == BLOCK_PAGE_BYTES;
    writer->wake_blocks = segment->direct ? 1 : PAGED_WAKE_BLOCKS;
    /* A block is split over two files only while it is a page; its rest fits one unit as well. */
    writer->page = private_memory_map(segment->alignment);
    return writer->page == NULL ? -ENOMEM : 0;
}

static void note_error(struct writer *writer, int error)
{
    const struct writer_state *state = staging_writer(writer->staging);
    if (state->write_errno != (uint32_t)error) {
        if (error != 0)
            log_line("cannot record in %s: %s; trying again every second",
                     writer->settings->directory, strerror(error));
        else
            log_line("recording again in %s", writer->settings->directory);
        struct writer_state *next = staging_writer_begin(writer->staging);
        next->write_errno = (uint32_t)error;
        staging_writer_commit(writer->staging);
    }
    writer->retry_at_ns = error == 0 ? 0 : clock_monotonic_ns() + RETRY_NS;
}

static bool ensure_open(struct writer *writer)
{
    if (staging_writer(writer->staging)->file_open)
        return true;
    int status = segment_open(writer->segment);
    if (status < 0)
        note_error(writer, -status);
    return status == 0;
}

/* A write failed: what is in the file stays, and the next attempt goes to a new one. */
static void fail_write(struct writer *writer, int error, uint64_t torn_at)
{
    segment_end(writer->segment, torn_at);
    if (staging_writer(writer->staging)->unsynced_datums == 0)
        writer->unsynced_since_ns = 0;
    note_error(writer, error);
}

static void note_unsynced(struct writer *writer, uint64_t since_ns)
{
    if (writer->unsynced_since_ns == 0 || since_ns < writer->unsynced_since_ns)
        writer->unsynced_since_ns = since_ns;
}

/* Builds the image of block `number`, of its part that is in no ended file, to be written at
 * `offset`. Empty if there is no such part. */
static struct span finish_block(struct writer *writer, uint64_t number, uint64_t offset)
{
    const struct writer_state *state = staging_writer(writer->staging);
    const struct staging_block *block = staging_entry(writer->staging, number);
    uint8_t *image = staging_image(writer->staging, block);
    uint64_t count = block->count;
    uint32_t data_bytes = block->data_bytes;
    if (number == state->written && state->early_datums > 0) {
        count -= state->early_datums;
        data_bytes -= state->early_bytes;
        if (count == 0)
            return (struct span){NULL, 0};
        block_copy(writer->page, image, state->early_bytes, block->data_bytes);
        image = writer->page;
    }
    size_t bytes = block_finish_at(image, data_bytes, count, block->arrival_ns, state->sync_marker,
                                   writer->segment->alignment, block_place(offset));
    return (struct span){image, bytes};
}

static bool must_rotate(const struct writer *writer, const struct writer_state *state,
                        uint64_t more)
{
    return writer->settings->rotate_bytes > 0 && state->file_bytes > state->file_header_bytes &&
           state->file_bytes + more > writer->settings->rotate_bytes;
}

/* Writes the next closed blocks, as many as one write takes. False if that failed. */
static bool write_blocks(struct writer *writer, uint64_t closed)
{
    struct staging *staging = writer->staging;
    if (!ensure_open(writer))
        return false;
    const struct writer_state *state = staging_writer(staging);
    const struct staging_block *first = staging_entry(staging, state->written);
    bool rewrites_page = state->open_datums > state->early_datums;
    if (!rewrites_page &&
        must_rotate(writer, state,
                    block_finished_bytes(first->data_bytes, state->file_alignment))) {
        segment_end(writer->segment, 0);
        return true;
    }

    struct span parts[PARTS_MAX];
    uint32_t part_count = 0;
    uint64_t bytes = 0, datums = 0, number = state->written;
    while (number < closed && part_count < PARTS_MAX) {
        const struct staging_block *block = staging_entry(staging, number);
        size_t more = block_finished_bytes(block->data_bytes, state->file_alignment);
        if (part_count > 0 &&
            (bytes + more > WRITE_BYTES_MAX || must_rotate(writer, state, bytes + more)))
            break;
        note_unsynced(writer, block->since_ns);
        struct span image = finish_block(writer, number, state->file_bytes + bytes);
        datums += block->count;
        number++;
        if (image.bytes > 0) {
            parts[part_count++] = image;
            bytes += image.bytes;
        }
        /* The page that stands in the file is replaced in a write of its own, so that a reader
         * finds the old or the new one. */
        if (rewrites_page)
            break;
    }
    int status =
        part_count == 0 ? 0 : segment_write(writer->segment, parts, part_count, state->file_bytes);
    if (status < 0) {
        fail_write(writer, -status, state->file_bytes);
        return false;
    }
    struct writer_state *next = staging_writer_begin(staging);
    next->written = number;
    next->unsynced_datums += datums - next->counted_datums;
    next->file_bytes += bytes;
    next->early_datums = next->open_datums = next->counted_datums = 0;
    next->early_bytes = next->open_bytes = 0;
    staging_writer_commit(staging);
    writer->page_written_ns = 0;
    note_error(writer, 0);
    return true;
}

/* Writes the open block to its place as a page, if it has grown and still fits. */
static void write_open_page(struct writer *writer)
{
    struct staging *staging = writer->staging;
    struct receiver_state receiver;
    staging_copy_receiver(staging, &receiver);
    uint64_t number = receiver.closed;
    const struct writer_state *state = staging_writer(staging);
    if (!writer->pages || number != state->written ||
        receiver.open.count <= state->counted_datums ||
        !staging_claim(staging, number, CLAIM_PAGED))
        return;
    /* What is in force now was put there by a receiver that knew of no claim, or of this one. */
    staging_copy_receiver(staging, &receiver);
    if (receiver.closed != number || receiver.open.count == 0 ||
        receiver.open.data_bytes > block_data_max(BLOCK_PAGE_BYTES))
        return;
    if (!ensure_open(writer))
        return;
    state = staging_writer(staging);
    /* A block that begins as a page is closed by rewriting it: only here can the file be full. */
    if (state->open_datums <= state->early_datums && must_rotate(writer, state, BLOCK_PAGE_BYTES)) {
        segment_end(writer->segment, 0);
        writer->unsynced_since_ns = 0;
        if (!ensure_open(writer))
            return;
        state = staging_writer(staging);
    }
    uint64_t count = receiver.open.count - state->early_datums;
    uint32_t data_bytes = receiver.open.data_bytes - state->early_bytes;
    block_copy(writer->page, staging_image(staging, &receiver.open), state->early_bytes,
               receiver.open.data_bytes);
    size_t bytes =
        block_finish_at(writer->page, data_bytes, count, receiver.open.arrival_ns,
                        state->sync_marker, BLOCK_PAGE_BYTES, block_place(state->file_bytes));
    CHECK(bytes == BLOCK_PAGE_BYTES);
    struct span part = {writer->page, bytes};
    note_unsynced(writer, receiver.open.since_ns);
    int status = segment_write(writer->segment, &part, 1, state->file_bytes);
    if (status < 0) {
        fail_write(writer, -status, state->file_bytes);
        return;
    }
    struct writer_state *next = staging_writer_begin(staging);
    next->unsynced_datums += receiver.open.count - next->counted_datums;
    next->counted_datums = receiver.open.count;
    next->open_datums = receiver.open.count;
    next->open_bytes = receiver.open.data_bytes;
    staging_writer_commit(staging);
    note_error(writer, 0);
}

static void sync_file(struct writer *writer)
{
    const struct writer_state *state = staging_writer(writer->staging);
    if (state->file_open && state->unsynced_datums > 0) {
        int status = segment_sync(writer->segment);
        if (status < 0)
            fail_write(writer, -status, 0);
    }
    writer->unsynced_since_ns = 0;
}

/* When the next thing is due that needs no new data; UINT64_MAX: nothing. */
static uint64_t next_deadline(struct writer *writer, const struct receiver_state *receiver)
{
    const struct writer_state *state = staging_writer(writer->staging);
    uint64_t sync_ns = writer->settings->sync_ms * NS_PER_MS;
    uint64_t due = UINT64_MAX;
    if (writer->unsynced_since_ns != 0)
        due = writer->unsynced_since_ns + sync_ns / 8 * 7;
    if (receiver->closed > state->written) {
        uint64_t since = staging_entry(writer->staging, state->written)->since_ns;
        if (since + sync_ns / 2 < due)
            due = since + sync_ns / 2;
    } else if (writer->pages && receiver->open.count > state->counted_datums &&
               receiver->open.data_bytes <= block_data_max(BLOCK_PAGE_BYTES)) {
        uint64_t since =
            writer->page_written_ns != 0 ? writer->page_written_ns : receiver->open.since_ns;
        if (since + sync_ns / 8 * 7 < due)
            due = since + sync_ns / 8 * 7;
    }
    if (state->file_open && writer->settings->rotate_age_ms > 0) {
        uint64_t age = state->file_opened_ns + writer->settings->rotate_age_ms * NS_PER_MS;
        if (age < due)
            due = age;
    }
    if (writer->retry_at_ns != 0 && due < writer->retry_at_ns)
        due = writer->retry_at_ns;
    return due;
}

static void do_what_is_due(struct writer *writer, uint64_t now_ns)
{
    const struct writer_state *state = staging_writer(writer->staging);
    uint64_t sync_ns = writer->settings->sync_ms * NS_PER_MS;
    if (writer->retry_at_ns > now_ns)
        return;
    write_open_page(writer);
    writer->page_written_ns =
        now_ns; /* also if it could not be: no sooner than at the next deadline */
    if (writer->unsynced_since_ns != 0 && now_ns >= writer->unsynced_since_ns + sync_ns / 8 * 7)
        sync_file(writer);
    state = staging_writer(writer->staging);
    if (state->file_open && writer->settings->rotate_age_ms > 0 &&
        now_ns >= state->file_opened_ns + writer->settings->rotate_age_ms * NS_PER_MS) {
        segment_end(writer->segment, 0);
        writer->unsynced_since_ns = 0;
        writer->page_written_ns = 0;
    }
}

/* Waits, having said what must end the wait early, unless that came before it could be said. */
static void wait_for_more(struct writer *writer, const struct receiver_state *known, uint32_t seen,
                          int64_t timeout_ns)
{
    const struct writer_state *state = staging_writer(writer->staging);
    enum writer_watch watch = WATCH_NOTHING;
    if (known->closed == state->written) /* else a deadline, or many more blocks, end the wait */
        watch =
            writer->pages && known->open.count <= state->counted_datums ? WATCH_DATA : WATCH_CLOSED;
    atomic_store_explicit(&writer->watch, watch, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    struct receiver_state now;
    staging_copy_receiver(writer->staging, &now);
    if (now.closed == known->closed && (watch != WATCH_DATA || now.open.count == known->open.count))
        wake_wait(&writer->wake, seen, timeout_ns);
    atomic_store_explicit(&writer->watch, WATCH_NOTHING, memory_order_relaxed);
}

static void writer_run(void *context)
{
    struct writer *writer = context;
    struct staging *staging = writer->staging;
    if (staging_writer(staging)->unsynced_datums > 0)
        writer->unsynced_since_ns = clock_monotonic_ns();
    while (!atomic_load_explicit(&writer->stop, memory_order_acquire)) {
        uint32_t seen = wake_seen(&writer->wake);
        struct receiver_state receiver;
        staging_copy_receiver(staging, &receiver);
        uint64_t waiting = receiver.closed - staging_writer(staging)->written;
        uint64_t now_ns = clock_monotonic_ns();
        uint64_t due = next_deadline(writer, &receiver);
        if (waiting > 0 && writer->retry_at_ns <= now_ns &&
            (waiting >= writer->wake_blocks || due <= now_ns)) {
            write_blocks(writer, receiver.closed);
            continue;
        }
        if (due <= now_ns) {
            do_what_is_due(writer, now_ns);
            continue;
        }
        wait_for_more(writer, &receiver, seen, due == UINT64_MAX ? -1 : (int64_t)(due - now_ns));
    }
    writer_drain(writer);
}

void writer_drain(struct writer *writer)
{
    struct staging *staging = writer->staging;
    for (int attempts = 0; attempts < 3;) {
        uint64_t closed = staging_receiver(staging)->closed;
        if (staging_writer(staging)->written >= closed)
            break;
        writer->retry_at_ns = 0;
        attempts = write_blocks(writer, closed) ? 0 : attempts + 1;
    }
    writer_abandon(staging);
    if (staging_writer(staging)->file_open)
        segment_end(writer->segment, 0);
}

void writer_abandon(struct staging *staging)
{
    const struct receiver_state *receiver = staging_receiver(staging);
    struct writer_state *next = staging_writer_begin(staging);
    if (next->written == receiver->closed)
        return;
    uint64_t datums = 0;
    for (; next->written < receiver->closed; next->written++)
        datums += staging_entry(staging, next->written)->count;
    next->datums_unrecorded += datums - next->counted_datums;
    /* If the first of them stood in the file as its page, it stays there. */
    if (next->open_datums > next->early_datums)
        next->file_bytes += next->file_alignment;
    next->early_datums = next->open_datums = next->counted_datums = 0;
    next->early_bytes = next->open_bytes = 0;
    staging_writer_commit(staging);
}

int writer_start(struct writer *writer)
{
    return thread_start(&writer->thread, writer_run, writer, STACK_BYTES);
}

void writer_notice(struct writer *writer, bool closed)
{
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t watch = atomic_load_explicit(&writer->watch, memory_order_relaxed);
    bool wanted = watch == WATCH_DATA;
    if (closed && !wanted)
        wanted = watch == WATCH_CLOSED ||
                 staging_receiver(writer->staging)->closed - staging_written(writer->staging) >=
                     writer->wake_blocks;
    if (wanted)
        wake_signal(&writer->wake);
}

void writer_stop(struct writer *writer)
{
    atomic_store_explicit(&writer->stop, 1, memory_order_release);
    wake_signal(&writer->wake);
    thread_join(&writer->thread);
    if (writer->page != NULL)
        shared_memory_unmap(writer->page, writer->segment->alignment);
    writer->page = NULL;
}
