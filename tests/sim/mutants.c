/* SPDX-License-Identifier: MIT
 * Each mutant is one function of the core or the seam put in front of the real one by the linker
 * (--wrap, see meson.build), wrong once it is chosen. Nothing in src/ knows of them. Relies on the
 * calls crossing object files. */
#include "mutants.h"
#include "channel/lanes.h"

#include <string.h>

#include "avro/block.h"
#include "channel/staging.h"
#include "os/file.h"
#include "os/memory.h"
#include "os/net.h"
#include "os/thread.h"
#include "relay/leftover.h"
#include "relay/segment.h"
#include "relay/writer.h"
#include "world.h"

enum mutant {
    MUTANT_NONE,
    MUTANT_FLIGHT,
    MUTANT_PENDING,
    MUTANT_BATCH_IN_PLACE,
    MUTANT_BATCH_EARLY,
    MUTANT_BLOCK_IN_PLACE,
    MUTANT_BLOCK_EARLY,
    MUTANT_CLAIM,
    MUTANT_CLEAR,
    MUTANT_SYNC,
    MUTANT_FOLDER_SYNC,
    MUTANT_TORN,
    MUTANT_WAKE,
    MUTANT_COPY,
    MUTANT_WRITTEN,
    MUTANT_LEFTOVERS,
    MUTANT_READ_BACK,
    MUTANT_RESUME,
    MUTANT_VALIDATE,
    MUTANT_SEGMENTS,
    MUTANT_INSPECT,
    MUTANT_CHECKSUM,
    MUTANT_RESET,
    MUTANT_RELEASE,
    MUTANT_DRAIN,
    MUTANT_SOCKETS,
    MUTANT_LAST_DROPS,
    MUTANT_ORDER,
    MUTANT_DOUBT,
    MUTANT_AGAIN,
    MUTANT_PADDING,
};
static const char *const names[] = {
    [MUTANT_NONE] = "none",
    [MUTANT_FLIGHT] = "flight",              /* a batch is taken without a note */
    [MUTANT_PENDING] = "pending",            /* and the note is not looked at */
    [MUTANT_BATCH_IN_PLACE] = "batch_place", /* the state in force is changed */
    [MUTANT_BATCH_EARLY] = "batch_early",    /* put in force before it is made */
    [MUTANT_BLOCK_IN_PLACE] = "block_place", /* the same of the writer */
    [MUTANT_BLOCK_EARLY] = "block_early",
    [MUTANT_CLAIM] = "claim",             /* both sides get what one may have */
    [MUTANT_CLEAR] = "clear",             /* what the last batch took is not forgotten */
    [MUTANT_SYNC] = "sync",               /* recorded, and not synced */
    [MUTANT_FOLDER_SYNC] = "folder_sync", /* the same of names */
    [MUTANT_TORN] = "torn",               /* a torn write stays in the file */
    [MUTANT_WAKE] = "wake",               /* nobody is woken */
    [MUTANT_COPY] = "copy",               /* a block's part begins at its begin */
    [MUTANT_WRITTEN] = "written",         /* blocks are given back before they are written */
    [MUTANT_LEFTOVERS] = "leftovers",     /* files left open stay so */
    [MUTANT_READ_BACK] = "read_back",     /* a page that was written is not looked at */
    [MUTANT_RESUME] = "resume",           /* the last relay's file is given up */
    [MUTANT_VALIDATE] = "validate",       /* memory is believed as it is */
    [MUTANT_SEGMENTS] = "segments",       /* a coalesced message is taken for one datagram */
    [MUTANT_INSPECT] = "inspect",         /* a block whose checksum does not hold is sound */
    [MUTANT_CHECKSUM] = "checksum",       /* datums get no checksum */
    [MUTANT_RESET] = "reset",             /* a memory that is no good is not emptied */
    [MUTANT_RELEASE] = "release",         /* pages are given back that are used in part */
    [MUTANT_DRAIN] = "drain",             /* the old socket is taken to be empty */
    [MUTANT_SOCKETS] = "sockets",         /* its drops are counted from its beginning */
    [MUTANT_LAST_DROPS] = "last_drops",   /* those behind its newest datagram are not */
    [MUTANT_ORDER] = "order",             /* a clock that is set back is not noticed */
    [MUTANT_DOUBT] = "doubt",             /* a sync that nobody saw the end of went well */
    [MUTANT_AGAIN] = "again",             /* what a failed one has lost is not written again */
    [MUTANT_PADDING] = "padding",         /* blocks are as long as the folder wants, not the file */
};
static enum mutant chosen;

bool mutant_choose(const char *name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0) {
            chosen = (enum mutant)i;
            return true;
        }
    return false;
}

void __real_staging_flight_begin(struct staging *staging);
void __wrap_staging_flight_begin(struct staging *staging);
void __wrap_staging_flight_begin(struct staging *staging)
{
    if (chosen != MUTANT_FLIGHT)
        __real_staging_flight_begin(staging);
}

bool __real_staging_flight_pending(const struct staging *staging);
bool __wrap_staging_flight_pending(const struct staging *staging);
bool __wrap_staging_flight_pending(const struct staging *staging)
{
    return chosen != MUTANT_PENDING && __real_staging_flight_pending(staging);
}

struct receiver_state *__real_staging_receiver_begin(struct staging *staging);
struct receiver_state *__wrap_staging_receiver_begin(struct staging *staging);
void __real_staging_receiver_commit(struct staging *staging);
void __wrap_staging_receiver_commit(struct staging *staging);
struct receiver_state *__wrap_staging_receiver_begin(struct staging *staging)
{
    if (chosen == MUTANT_BATCH_IN_PLACE)
        return (struct receiver_state *)(uintptr_t)staging_receiver(staging);
    struct receiver_state *next = __real_staging_receiver_begin(staging);
    if (chosen == MUTANT_BATCH_EARLY)
        __real_staging_receiver_commit(staging);
    return next;
}

void __wrap_staging_receiver_commit(struct staging *staging)
{
    if (chosen != MUTANT_BATCH_IN_PLACE && chosen != MUTANT_BATCH_EARLY)
        __real_staging_receiver_commit(staging);
}

struct writer_state *__real_lane_writer_begin(struct lane *lane);
struct writer_state *__wrap_lane_writer_begin(struct lane *lane);
void __real_lane_writer_commit(struct lane *lane);
void __wrap_lane_writer_commit(struct lane *lane);
struct writer_state *__wrap_lane_writer_begin(struct lane *lane)
{
    if (chosen == MUTANT_BLOCK_IN_PLACE)
        return (struct writer_state *)(uintptr_t)lane_writer(lane);
    struct writer_state *next = __real_lane_writer_begin(lane);
    if (chosen == MUTANT_BLOCK_EARLY)
        __real_lane_writer_commit(lane);
    if (chosen == MUTANT_ORDER && next->latest_ns > 0)
        next->latest_ns = 1;
    return next;
}

void __wrap_lane_writer_commit(struct lane *lane)
{
    if (chosen != MUTANT_BLOCK_IN_PLACE && chosen != MUTANT_BLOCK_EARLY)
        __real_lane_writer_commit(lane);
}

bool __real_lane_claim(struct lane *lane, uint64_t number, enum staging_claim claim);
bool __wrap_lane_claim(struct lane *lane, uint64_t number, enum staging_claim claim);
bool __wrap_lane_claim(struct lane *lane, uint64_t number, enum staging_claim claim)
{
    return __real_lane_claim(lane, number, claim) || chosen == MUTANT_CLAIM;
}

void __real_net_batch_clear(struct net_batch *batch);
void __wrap_net_batch_clear(struct net_batch *batch);
void __wrap_net_batch_clear(struct net_batch *batch)
{
    if (chosen != MUTANT_CLEAR)
        __real_net_batch_clear(batch);
}

int __real_direct_file_sync(struct direct_file *file);
int __wrap_direct_file_sync(struct direct_file *file);
int __wrap_direct_file_sync(struct direct_file *file)
{
    return chosen == MUTANT_SYNC ? 0 : __real_direct_file_sync(file);
}

int __real_folder_sync(int folder);
int __wrap_folder_sync(int folder);
int __wrap_folder_sync(descriptor_t folder)
{
    return chosen == MUTANT_FOLDER_SYNC ? 0 : __real_folder_sync(folder);
}

int __real_direct_file_write(struct direct_file *file, const struct span *parts,
                             uint32_t part_count, uint64_t offset);
int __wrap_direct_file_write(struct direct_file *file, const struct span *parts,
                             uint32_t part_count, uint64_t offset);
int __wrap_direct_file_write(struct direct_file *file, const struct span *parts,
                             uint32_t part_count, uint64_t offset)
{
    if (chosen == MUTANT_AGAIN && part_count == 1 && disk_holds(file, parts[0], offset))
        return 0;
    return __real_direct_file_write(file, parts, part_count, offset);
}

int __real_segment_end(struct segment *segment, uint64_t torn_at);
int __wrap_segment_end(struct segment *segment, uint64_t torn_at);
int __wrap_segment_end(struct segment *segment, uint64_t torn_at)
{
    return __real_segment_end(segment, chosen == MUTANT_TORN ? 0 : torn_at);
}

void __real_wake_signal(struct wake *wake);
void __wrap_wake_signal(struct wake *wake);
void __wrap_wake_signal(struct wake *wake)
{
    if (chosen != MUTANT_WAKE)
        __real_wake_signal(wake);
}

void __real_block_copy(uint8_t *image, const uint8_t *from, size_t skip, size_t data_bytes);
void __wrap_block_copy(uint8_t *image, const uint8_t *from, size_t skip, size_t data_bytes);
void __wrap_block_copy(uint8_t *image, const uint8_t *from, size_t skip, size_t data_bytes)
{
    if (chosen == MUTANT_COPY)
        __real_block_copy(image, from, 0, data_bytes - skip);
    else
        __real_block_copy(image, from, skip, data_bytes);
}

uint64_t __real_lane_written(const struct lane *lane);
uint64_t __wrap_lane_written(const struct lane *lane);
uint64_t __wrap_lane_written(const struct lane *lane)
{
    return chosen == MUTANT_WRITTEN ? lane_receiver(lane)->closed : __real_lane_written(lane);
}

void __real_leftovers_finish(struct segment *segment);
void __wrap_leftovers_finish(struct segment *segment);
void __wrap_leftovers_finish(struct segment *segment)
{
    if (chosen != MUTANT_LEFTOVERS)
        __real_leftovers_finish(segment);
}

static size_t folder_alignment;

size_t __real_block_finish_checked(uint8_t *image, size_t data_bytes, uint64_t count,
                                   uint64_t arrival_ns, const uint8_t sync[BLOCK_SYNC_BYTES],
                                   size_t alignment, uint16_t place, uint32_t checksum);
size_t __wrap_block_finish_checked(uint8_t *image, size_t data_bytes, uint64_t count,
                                   uint64_t arrival_ns, const uint8_t sync[BLOCK_SYNC_BYTES],
                                   size_t alignment, uint16_t place, uint32_t checksum);
size_t __wrap_block_finish_checked(uint8_t *image, size_t data_bytes, uint64_t count,
                                   uint64_t arrival_ns, const uint8_t sync[BLOCK_SYNC_BYTES],
                                   size_t alignment, uint16_t place, uint32_t checksum)
{
    return __real_block_finish_checked(image, data_bytes, count, arrival_ns, sync,
                                       chosen == MUTANT_PADDING ? folder_alignment : alignment,
                                       place, checksum);
}

int __real_writer_prepare(struct writer *writer, struct lane *lane,
                          const struct channel_settings *settings,
                          const struct block_format *format, struct segment *segment);
int __wrap_writer_prepare(struct writer *writer, struct lane *lane,
                          const struct channel_settings *settings,
                          const struct block_format *format, struct segment *segment);
int __wrap_writer_prepare(struct writer *writer, struct lane *lane,
                          const struct channel_settings *settings,
                          const struct block_format *format, struct segment *segment)
{
    writer->page_known = chosen == MUTANT_READ_BACK;
    folder_alignment = format->alignment;
    return __real_writer_prepare(writer, lane, settings, format, segment);
}

int __real_segment_resume(struct segment *segment);
int __wrap_segment_resume(struct segment *segment);
int __wrap_segment_resume(struct segment *segment)
{
    if (chosen == MUTANT_RESUME)
        lane_discard_file(segment->lane);
    if (chosen == MUTANT_DOUBT && lane_writer(segment->lane)->file_syncing) {
        __real_lane_writer_begin(segment->lane)->file_syncing = 0;
        __real_lane_writer_commit(segment->lane);
    }
    return __real_segment_resume(segment);
}

int __real_staging_validate(const struct staging *staging);
int __wrap_staging_validate(const struct staging *staging);
int __wrap_staging_validate(const struct staging *staging)
{
    return chosen == MUTANT_VALIDATE ? 0 : __real_staging_validate(staging);
}

int __real_staging_reset(int descriptor);
int __wrap_staging_reset(int descriptor);
int __wrap_staging_reset(descriptor_t descriptor)
{
    return chosen == MUTANT_RESET ? 0 : __real_staging_reset(descriptor);
}

void __real_net_batch_message(const struct net_batch *batch, uint32_t index,
                              struct net_message *message);
void __wrap_net_batch_message(const struct net_batch *batch, uint32_t index,
                              struct net_message *message);
void __wrap_net_batch_message(const struct net_batch *batch, uint32_t index,
                              struct net_message *message)
{
    __real_net_batch_message(batch, index, message);
    message->segment_bytes = chosen == MUTANT_SEGMENTS ? 0 : message->segment_bytes;
}

int __real_block_inspect(struct span bytes, const uint8_t sync[BLOCK_SYNC_BYTES],
                         struct block_info *info);
int __wrap_block_inspect(struct span bytes, const uint8_t sync[BLOCK_SYNC_BYTES],
                         struct block_info *info);
int __wrap_block_inspect(struct span bytes, const uint8_t sync[BLOCK_SYNC_BYTES],
                         struct block_info *info)
{
    int status = __real_block_inspect(bytes, sync, info);
    info->sound = info->sound || chosen == MUTANT_INSPECT;
    return status;
}

uint32_t __real_block_carry_checksum(uint32_t checksum, const uint8_t *image, size_t from,
                                     size_t to);
uint32_t __wrap_block_carry_checksum(uint32_t checksum, const uint8_t *image, size_t from,
                                     size_t to);
uint32_t __wrap_block_carry_checksum(uint32_t checksum, const uint8_t *image, size_t from,
                                     size_t to)
{
    return chosen == MUTANT_CHECKSUM ? 0 : __real_block_carry_checksum(checksum, image, from, to);
}

int __real_net_batch_receive(struct net_batch *batch, int descriptor, uint32_t messages);
int __wrap_net_batch_receive(struct net_batch *batch, int descriptor, uint32_t messages);
int __wrap_net_batch_receive(struct net_batch *batch, int descriptor, uint32_t messages)
{
    return chosen == MUTANT_DRAIN && descriptor == DESCRIPTOR_DRAINING
               ? 0
               : __real_net_batch_receive(batch, descriptor, messages);
}

void __real_staging_use_sockets(struct staging *staging, uint64_t receive, uint64_t draining,
                                bool drains);
void __wrap_staging_use_sockets(struct staging *staging, uint64_t receive, uint64_t draining,
                                bool drains);
void __wrap_staging_use_sockets(struct staging *staging, uint64_t receive, uint64_t draining,
                                bool drains)
{
    if (chosen == MUTANT_SOCKETS) /* an unknown one first: what was known goes */
        __real_staging_use_sockets(staging, receive, UINT64_MAX, true);
    __real_staging_use_sockets(staging, receive, draining, drains);
}

uint32_t __real_net_dropped(int descriptor);
uint32_t __wrap_net_dropped(int descriptor);
uint32_t __wrap_net_dropped(int descriptor)
{
    return chosen == MUTANT_LAST_DROPS && descriptor == DESCRIPTOR_DRAINING
               ? 0
               : __real_net_dropped(descriptor);
}

int __real_shared_memory_release(void *at, size_t bytes);
int __wrap_shared_memory_release(void *at, size_t bytes);
int __wrap_shared_memory_release(void *at, size_t bytes)
{
    if (chosen == MUTANT_RELEASE && bytes < BLOCK_BYTES_MAX) /* of a queue */
        bytes += 4096;
    return __real_shared_memory_release(at, bytes);
}
