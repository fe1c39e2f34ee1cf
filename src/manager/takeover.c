/* SPDX-License-Identifier: MIT
 * Collecting what was kept. Relies on the order in which the fleet hands descriptors down
 * (fleet_relay.c): receive, memory. */
#include "manager/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/ledger.h"
#include "os/file.h"
#include "os/inherit.h"
#include "os/memory.h"
#include "os/net.h"
#include "os/process.h"

static const char *const kind_names[TAKEOVER_KINDS] = {
    [TAKEOVER_RECEIVE] = INHERIT_RECEIVE,
    [TAKEOVER_MEMORY] = INHERIT_MEMORY,
    [TAKEOVER_DRAINING] = INHERIT_DRAINING,
};

void takeover_name(char name[TAKEOVER_NAME_BYTES], const char *channel, enum takeover_kind kind)
{
    snprintf(name, TAKEOVER_NAME_BYTES, "%s.%s", channel, kind_names[kind]);
}

static struct takeover_channel *find_or_make(struct takeover *takeover, const char *channel)
{
    struct takeover_channel *found = takeover_find(takeover, channel);
    if (found)
        return found;
    found = calloc(1, sizeof *found);
    if (!found)
        return NULL;
    snprintf(found->name, sizeof found->name, "%s", channel);
    for (int kind = 0; kind < TAKEOVER_KINDS; kind++)
        found->descriptors[kind] = -1;
    found->next = takeover->first;
    takeover->first = found;
    return found;
}

static void put(struct takeover_channel *channel, enum takeover_kind kind, descriptor_t descriptor)
{
    descriptor_close(channel->descriptors[kind]);
    channel->descriptors[kind] = descriptor;
}

void takeover_add(struct takeover *takeover, const char *name, descriptor_t descriptor)
{
    const char *dot = strrchr(name, '.'); /* a channel's name may hold some itself */
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    if (dot && dot > name && (size_t)(dot - name) <= CHANNEL_NAME_BYTES_MAX) {
        snprintf(channel, sizeof channel, "%.*s", (int)(dot - name), name);
        for (int kind = 0; kind < TAKEOVER_KINDS; kind++) {
            struct takeover_channel *into =
                strcmp(dot + 1, kind_names[kind]) == 0 ? find_or_make(takeover, channel) : NULL;
            if (into) {
                put(into, (enum takeover_kind)kind, descriptor);
                return;
            }
        }
    }
    descriptor_close(descriptor);
}

struct takeover_channel *takeover_find(const struct takeover *takeover, const char *channel)
{
    for (struct takeover_channel *at = takeover->first; at; at = at->next)
        if (strcmp(at->name, channel) == 0)
            return at;
    return NULL;
}

static bool is_socket(const struct takeover_channel *left, enum takeover_kind kind,
                      descriptor_t descriptor)
{
    return left->descriptors[kind] >= 0 &&
           net_cookie(left->descriptors[kind]) == net_cookie(descriptor);
}

bool takeover_is_of(const struct takeover *takeover, const char *channel, long id, uint64_t start)
{
    const struct takeover_channel *left = takeover_find(takeover, channel);
    struct process relay;
    if (!left || left->descriptors[TAKEOVER_MEMORY] < 0 || left->descriptors[TAKEOVER_RECEIVE] < 0)
        return false;
    long holder = shared_memory_holder(left->descriptors[TAKEOVER_MEMORY]);
    if (holder != 0 && holder != id)
        return true; /* another one has the channel: this one is about to find that out */
    if (process_open(&relay, id, start) < 0)
        return true;
    int receive = process_take_descriptor(&relay, PROCESS_FIRST_HANDED);
    process_close(&relay);
    bool same = receive < 0 || is_socket(left, TAKEOVER_RECEIVE, receive) ||
                is_socket(left, TAKEOVER_DRAINING, receive);
    if (receive >= 0)
        descriptor_close(receive);
    return holder == id && same;
}

int takeover_copy(struct takeover *takeover, const char *channel, long id, uint64_t start)
{
    static const enum takeover_kind handed[] = {TAKEOVER_RECEIVE, TAKEOVER_MEMORY};
    struct process relay;
    struct ledger_shared *ledger;
    int taken[2], error = process_open(&relay, id, start);
    if (error < 0)
        return error;
    for (int i = 0; i < 2; i++) {
        taken[i] = process_take_descriptor(&relay, PROCESS_FIRST_HANDED + i);
        error = taken[i] < 0 ? taken[i] : error;
    }
    if (error == 0)
        error = ledger_map(&ledger, taken[1]);
    if (error == 0)
        ledger_unmap(ledger);
    struct takeover_channel *into = error == 0 ? find_or_make(takeover, channel) : NULL;
    for (int i = 0; i < 2; i++) {
        if (into)
            put(into, handed[i], taken[i]);
        else if (taken[i] >= 0)
            descriptor_close(taken[i]);
    }
    process_close(&relay);
    return error < 0 ? error : into ? 0 : -ENOMEM;
}

void takeover_forget(struct takeover *takeover, struct takeover_channel *channel)
{
    struct takeover_channel **at = &takeover->first;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    for (int kind = 0; kind < TAKEOVER_KINDS; kind++)
        descriptor_close(channel->descriptors[kind]);
    free(channel);
}

void takeover_close(struct takeover *takeover)
{
    while (takeover->first)
        takeover_forget(takeover, takeover->first);
}
