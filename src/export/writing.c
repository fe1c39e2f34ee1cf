/* SPDX-License-Identifier: MIT
 * One producer and one consumer over a ring of batches. Each side writes its own count only. */
#include "export/writing.h"

#include <string.h>

#include "base/check.h"

#define WRITING_STACK_BYTES (2u << 20) /* libhdf5 is deep */

/* ---- the thread ---- */

/* Waits for a slot to be filled. NULL: nothing more comes. */
static struct writing_slot *take(struct writing *writing)
{
    for (;;) {
        uint32_t seen = wake_seen(&writing->fill);
        uint32_t emptied = atomic_load(&writing->emptied);
        int over = atomic_load(&writing->over);
        if (over < 0)
            return NULL;
        if (atomic_load(&writing->filled) != emptied)
            return &writing->slots[emptied % WRITING_BATCHES];
        if (over > 0)
            return NULL;
        wake_wait(&writing->fill, seen, -1);
    }
}

static int begin_table(struct writing *writing, void *file, struct table *table)
{
    if (table->open)
        return 0;
    table->open = true;
    return writing->format->begin_table(file, &table->of_format, &table->state, writing->error,
                                        sizeof(writing->error));
}

static int write_slot(struct writing *writing, void *file, struct writing_slot *slot)
{
    struct table *table = slot->end != NULL ? slot->end : slot->batch.table;
    int status = begin_table(writing, file, table);
    if (status < 0)
        return status;
    if (slot->end == NULL)
        return writing->format->append(file, table->state, &slot->batch.of_format, writing->error,
                                       sizeof(writing->error));
    return writing->format->end_table(file, table->state, &table->origin, writing->error,
                                      sizeof(writing->error));
}

static void work(void *context)
{
    struct writing *writing = context;
    struct writing_slot *slot;
    void *file = NULL;
    int status = writing->format->begin(&file, writing->made, writing->options, writing->error,
                                        sizeof(writing->error));
    bool begun = status == 0;
    while (status == 0 && (slot = take(writing)) != NULL) {
        status = write_slot(writing, file, slot);
        atomic_fetch_add(&writing->emptied, 1);
        wake_signal(&writing->empty);
    }
    if (status == 0 && atomic_load(&writing->over) > 0)
        status = writing->format->end(file, writing->error, sizeof(writing->error));
    else if (begun)
        writing->format->abort(file);
    atomic_store(&writing->status, status);
    wake_signal(&writing->empty);
}

/* ---- the other side ---- */

int writing_start(struct writing *writing, const struct export_format *format, struct made *made,
                  const struct export_options *options)
{
    memset(writing, 0, sizeof(*writing));
    writing->format = format;
    writing->made = made;
    writing->options = options;
    return thread_start(&writing->thread, work, writing, WRITING_STACK_BYTES);
}

static struct writing_slot *give(struct writing *writing)
{
    for (;;) {
        uint32_t seen = wake_seen(&writing->empty);
        uint32_t filled = atomic_load(&writing->filled);
        if (atomic_load(&writing->status) < 0)
            return NULL;
        if (filled - atomic_load(&writing->emptied) < WRITING_BATCHES)
            return &writing->slots[filled % WRITING_BATCHES];
        wake_wait(&writing->empty, seen, -1);
    }
}

struct batch *writing_batch(struct writing *writing)
{
    struct writing_slot *slot = give(writing);
    if (slot == NULL)
        return NULL;
    slot->end = NULL;
    return &slot->batch;
}

void writing_hand_on(struct writing *writing)
{
    CHECK(atomic_load(&writing->filled) - atomic_load(&writing->emptied) < WRITING_BATCHES);
    atomic_fetch_add(&writing->filled, 1);
    wake_signal(&writing->fill);
}

bool writing_end_table(struct writing *writing, struct table *table)
{
    struct writing_slot *slot = give(writing);
    if (slot == NULL)
        return false;
    slot->end = table;
    writing_hand_on(writing);
    return true;
}

int writing_stop(struct writing *writing, bool keep)
{
    atomic_store(&writing->over, keep ? 1 : -1);
    wake_signal(&writing->fill);
    thread_join(&writing->thread);
    for (size_t i = 0; i < WRITING_BATCHES; i++)
        batch_free(&writing->slots[i].batch);
    return atomic_load(&writing->status);
}
