/* SPDX-License-Identifier: MIT
 * What a relay promises, no more: it has its memory to itself; it takes what waits in the old
 * socket first, and says when that is empty; it hands over between two batches, or brings
 * everything to the disk; what it has received is in the memory, whenever it is killed. */
#include <string.h>

#include "manager/child.h"
#include "world.h"

static struct ledger_shared *ledger(const struct relay *relay)
{
    return (struct ledger_shared *)(void *)relay->memory->ledger;
}

static void release(struct relay *relay)
{
    if (relay->memory->owner == (int)(relay - world.relays))
        relay->memory->owner = -1;
    world_unref_socket(relay->receive);
    if (relay->draining)
        world_unref_socket(relay->draining);
    world_unref_memory(relay->memory);
    relay->receive = relay->draining = NULL;
    relay->memory = NULL;
    relay->state = PROCESS_ENDED;
}

static void leave(struct relay *relay, int code)
{
    world_trace("relay %ld ends with %d", relay->id, code);
    if (relay->state != PROCESS_BOOTING)
        ledger_note_end(ledger(relay), relay->id, code, NULL);
    relay->code = code;
    release(relay);
}

struct relay *relay_start(const struct channel_settings *settings, struct socket *receive,
                          struct memory *memory, struct socket *draining)
{
    for (int i = 0; i < PROCESSES_MAX; i++) {
        struct relay *relay = &world.relays[i];
        if (relay->state != PROCESS_FREE)
            continue;
        *relay = (struct relay){.state = PROCESS_BOOTING,
                                .id = ++world.ids,
                                .manager = world.manager,
                                .receive = receive,
                                .draining = draining,
                                .memory = memory,
                                .address = world_address(&settings->listen),
                                .layout = world.layout_file,
                                .buffer_bytes = settings->buffer_bytes};
        receive->references++;
        receive->layout = relay->layout;
        receive->holders_ever |= 1ull << i;
        if (draining)
            draining->references++;
        memory->references++;
        world.spawns++;
        return relay;
    }
    world_fail("too many relays");
    return NULL;
}

static bool boot(struct relay *relay)
{
    int self = (int)(relay - world.relays);
    if (relay->memory->owner >= 0 && !mutant_is("two_relays")) {
        leave(relay, CHILD_EXIT_TAKEN);
        return true;
    }
    if (relay->memory->owner >= 0)
        world_fail("relays %ld and %ld have the channel", relay->id,
                   world.relays[relay->memory->owner].id);
    relay->memory->owner = self;
    for (int i = 0; i < PROCESSES_MAX; i++)
        if (i != self && world.relays[i].memory && world.relays[i].memory != relay->memory &&
            world.relays[i].memory->owner == i)
            world_fail("relays %ld and %ld have the channel", relay->id, world.relays[i].id);
    if (relay->receive->address != relay->address) {
        leave(relay, 1);
        return true;
    }
    if (relay->memory->layout != relay->layout) {
        if (relay->memory->unsynced && world.kills < 3)
            world_fail("relay %ld finds %u datums of another schema", relay->id,
                       relay->memory->unsynced);
        world.given_up += relay->memory->unsynced;
        relay->memory->unsynced = 0;
        relay->memory->file_open = false;
    }
    relay->memory->layout = relay->layout;
    relay->receive->worked = true;
    ledger_note_ready(ledger(relay), relay->id);
    relay->state = PROCESS_WORKING;
    world_trace("relay %ld is ready", relay->id);
    return true;
}

static void take(struct relay *relay, struct socket *from)
{
    if (from->layout >= 0 && from->layout != relay->layout && from->quiesced && from->worked &&
        world.kills < 3)
        world_fail("relay %ld takes what was sent for another schema", relay->id);
    from->queued--;
    relay->memory->unsynced++;
    relay->memory->file_open = true;
    relay->memory->batches++;
}

static bool drain_old(struct relay *relay, bool all)
{
    if (!relay->draining)
        return false;
    while (relay->draining->queued && !mutant_is("drained_early")) {
        take(relay, relay->draining);
        if (!all)
            return true;
    }
    world_trace("relay %ld has drained socket %llu", relay->id,
                (unsigned long long)relay->draining->cookie);
    ledger_note_drained(ledger(relay), relay->draining->cookie);
    world_unref_socket(relay->draining);
    relay->draining = NULL;
    return true;
}

static void sync_all(struct relay *relay)
{
    world.recorded += relay->memory->unsynced;
    relay->memory->recorded += relay->memory->unsynced;
    relay->memory->unsynced = 0;
}

bool relay_step(struct relay *relay)
{
    switch (relay->state) {
    case PROCESS_FREE:
    case PROCESS_ENDED:
        return false;
    case PROCESS_DYING:
        if (world.disk_slow)
            return false;
        release(relay);
        return true;
    case PROCESS_BOOTING:
        return boot(relay);
    case PROCESS_LAST_WORK:
        if (world.disk_slow)
            return false;
        sync_all(relay);
        relay->memory->file_open = false;
        leave(relay, 0);
        return true;
    case PROCESS_WORKING:
        break;
    }
    ledger_beat(ledger(relay));
    if (relay->terminate) {
        drain_old(relay, true);
        while (relay->receive->queued)
            take(relay, relay->receive);
        relay->receive->layout = -1; /* what comes from now on is for whoever follows */
        relay->state = PROCESS_LAST_WORK;
        return true;
    }
    if (relay->hand_over) {
        drain_old(relay, true);
        leave(relay, CHILD_EXIT_RENEW);
        return true;
    }
    if (drain_old(relay, false))
        return true;
    if (relay->receive->queued) {
        take(relay, relay->receive);
        return true;
    }
    if (!relay->memory->unsynced || world.disk_slow)
        return false;
    sync_all(relay);
    return true;
}

void relay_kill(struct relay *relay)
{
    if (relay->state == PROCESS_FREE || relay->state == PROCESS_ENDED ||
        relay->state == PROCESS_DYING)
        return;
    world_trace("relay %ld is killed", relay->id);
    relay->killed = true;
    relay->code = 9;
    world.down |= DOWN_RELAY;
    if (world.disk_slow && relay->memory->unsynced && relay->state != PROCESS_BOOTING)
        relay->state = PROCESS_DYING;
    else
        release(relay);
}

struct relay *relay_alive(void)
{
    for (int i = 0; i < PROCESSES_MAX; i++)
        if (world.relays[i].state != PROCESS_FREE && world.relays[i].state != PROCESS_ENDED &&
            world.relays[i].state != PROCESS_DYING)
            return &world.relays[i];
    return NULL;
}
