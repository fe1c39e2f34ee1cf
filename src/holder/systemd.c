/* SPDX-License-Identifier: MIT
 * systemd as the holder: the unit's file descriptor store, which it hands down when it starts us.
 * It holds any number of descriptors under one name and the same one never twice, under whatever
 * name; so what it has is noted, by the numbers the descriptors have here, and given up before
 * another comes in its place. A manager killed between the two leaves that with the relay alone.
 * Sources: sd_pid_notify_with_fds(3), systemd.service(5) on FileDescriptorStoreMax. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holder/backend.h"

struct systemd_entry {
    struct systemd_entry *next;
    int descriptor; /* its number here; -1: several, or one that is not ours any more */
    char name[NOTIFY_NAME_BYTES_MAX + 1];
};

static struct systemd_entry **find(struct holder *holder, const char *name)
{
    struct systemd_entry **at = &holder->entries;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static void forget(struct systemd_entry **at)
{
    struct systemd_entry *entry = *at;
    *at = entry->next;
    free(entry);
}

void systemd_note(struct holder *holder, const char *name, descriptor_t descriptor)
{
    struct systemd_entry **at = find(holder, name), *entry = *at;
    if (entry) {
        entry->descriptor = -1;
        return;
    }
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return; /* it is put without a word on what it replaces */
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->descriptor = descriptor;
    entry->next = holder->entries;
    holder->entries = entry;
}

static int drop(struct holder *holder, const char *name, uint64_t wait_ms)
{
    struct systemd_entry **at = find(holder, name);
    int error = notify_drop(&holder->connection, name, wait_ms);
    if (error == 0 && *at)
        forget(at);
    return error;
}

static int put(struct holder *holder, const char *name, descriptor_t descriptor, uint64_t wait_ms)
{
    int error = 0;
    for (struct systemd_entry *entry = holder->entries, *next; entry && error == 0; entry = next) {
        next = entry->next;
        bool same_name = strcmp(entry->name, name) == 0;
        if (same_name != (entry->descriptor == descriptor))
            error = drop(holder, entry->name, wait_ms);
    }
    if (error == 0)
        error = notify_keep(&holder->connection, name, descriptor, wait_ms);
    if (error == 0 && !*find(holder, name))
        systemd_note(holder, name, descriptor);
    return error;
}

const struct holder_backend holder_systemd_backend = {.put = put, .drop = drop};

bool systemd_open(struct holder *holder)
{
    const char *room = getenv("FDSTORE");
    return room && strtoul(room, NULL, 10) > 0 && notify_open(&holder->connection) == 0;
}

void systemd_close(struct holder *holder)
{
    while (holder->entries)
        forget(&holder->entries);
}
