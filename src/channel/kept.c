/* SPDX-License-Identifier: MIT
 * The table of names. Relies on its being read only while its keeper does not go on. It may have
 * been suspended between any two of its steps: a line counts from its name's first character on,
 * which is written last. */
#include "channel/kept.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "os/memory.h"

struct line {
    char leaving;
    char name[NOTIFY_NAME_BYTES_MAX + 1]; /* "": nothing is kept */
};

struct kept {
    uint64_t begun_ns; /* 0: it has not, and what stands here says nothing */
    int32_t orders[2];
    uint32_t end; /* no name stands from here on */
    uint32_t followed;
    struct line lines[KEPT_MAX];
};

int kept_create(void)
{
    return shared_memory_create("kept", sizeof(struct kept));
}

int kept_map(int descriptor, struct kept **kept)
{
    void *memory;
    if (shared_memory_bytes(descriptor) != (int64_t)sizeof(struct kept))
        return -EBADMSG;
    int error = shared_memory_map(descriptor, sizeof(struct kept), &memory);
    if (error == 0)
        *kept = memory;
    return error;
}

void kept_unmap(struct kept *kept)
{
    shared_memory_unmap(kept, sizeof(struct kept));
}

void kept_begin(struct kept *kept, uint64_t now_ns)
{
    if (kept == NULL)
        return;
    kept_note_orders(kept, -1, KEPT_ORDERS);
    atomic_signal_fence(memory_order_seq_cst);
    kept->begun_ns = now_ns;
}

void kept_note_orders(struct kept *kept, int older, int newest)
{
    if (kept == NULL)
        return;
    kept->orders[0] = older;
    kept->orders[1] = newest;
}

static bool has_line(const struct kept *kept, int descriptor)
{
    return kept != NULL && descriptor >= 0 && descriptor < KEPT_MAX;
}

void kept_note(struct kept *kept, int descriptor, const char *name)
{
    if (!has_line(kept, descriptor))
        return;
    struct line *line = &kept->lines[descriptor];
    size_t bytes = strlen(name);
    if (bytes > NOTIFY_NAME_BYTES_MAX)
        bytes = NOTIFY_NAME_BYTES_MAX;
    if ((uint32_t)descriptor >= kept->end)
        kept->end = (uint32_t)descriptor + 1;
    line->leaving = 0;
    for (size_t i = 1; i < sizeof(line->name); i++)
        line->name[i] = i < bytes ? name[i] : '\0';
    atomic_signal_fence(memory_order_seq_cst);
    line->name[0] = name[0];
}

void kept_note_leaving(struct kept *kept, int descriptor)
{
    if (has_line(kept, descriptor))
        kept->lines[descriptor].leaving = 1;
}

void kept_note_gone(struct kept *kept, int descriptor)
{
    if (has_line(kept, descriptor) && (uint32_t)descriptor < kept->end)
        kept->lines[descriptor].name[0] = '\0';
}

uint64_t kept_begun_ns(const struct kept *kept)
{
    return kept->begun_ns != 0 ? kept->begun_ns : UINT64_MAX;
}

int kept_orders(const struct kept *kept, int which)
{
    if (kept->begun_ns == 0)
        return which == 0 ? -1 : KEPT_ORDERS;
    return kept->orders[which];
}

int kept_next(const struct kept *kept, int from, bool leaving, char name[NOTIFY_NAME_BYTES_MAX + 1])
{
    uint32_t end = kept->end < KEPT_MAX ? kept->end : KEPT_MAX;
    for (uint32_t at = (uint32_t)from; at < end; at++) {
        const struct line *line = &kept->lines[at];
        if (line->name[0] == '\0' || (line->leaving != 0) != leaving)
            continue;
        snprintf(name, NOTIFY_NAME_BYTES_MAX + 1, "%.*s", NOTIFY_NAME_BYTES_MAX, line->name);
        return (int)at;
    }
    return -1;
}

void kept_note_followed(struct kept *kept)
{
    kept->followed = 1;
}

bool kept_followed(const struct kept *kept)
{
    return kept->followed != 0;
}
