/* SPDX-License-Identifier: MIT
 * The table of names. Relies on its being read only while its keeper is suspended. */
#include "channel/kept.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os/memory.h"

struct kept {
    uint32_t orders;
    uint32_t end; /* no name stands from here on */
    char names[KEPT_MAX][NOTIFY_NAME_BYTES_MAX + 1];
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

void kept_note(struct kept *kept, int descriptor, const char *name)
{
    if (kept == NULL || descriptor < 0 || descriptor >= KEPT_MAX)
        return;
    if (name != NULL || (uint32_t)descriptor < kept->end)
        snprintf(kept->names[descriptor], sizeof(kept->names[0]), "%s", name != NULL ? name : "");
    if (name != NULL && (uint32_t)descriptor >= kept->end)
        kept->end = (uint32_t)descriptor + 1;
}

void kept_note_orders(struct kept *kept, int orders)
{
    if (kept != NULL)
        kept->orders = (uint32_t)orders;
}

int kept_next(const struct kept *kept, int from, char name[NOTIFY_NAME_BYTES_MAX + 1])
{
    uint32_t end = kept->end < KEPT_MAX ? kept->end : KEPT_MAX;
    for (uint32_t at = (uint32_t)from; at < end; at++) {
        if (kept->names[at][0] == '\0')
            continue;
        snprintf(name, NOTIFY_NAME_BYTES_MAX + 1, "%.*s", NOTIFY_NAME_BYTES_MAX, kept->names[at]);
        return (int)at;
    }
    return -1;
}

int kept_orders(const struct kept *kept)
{
    return kept->orders <= INT32_MAX ? (int)kept->orders : -1;
}
