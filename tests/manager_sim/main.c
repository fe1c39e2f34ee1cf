/* SPDX-License-Identifier: MIT
 * The simulation of the manager: every sequence of so many requests and faults, each so many steps
 * after the last; then random ones. After each step: never two relays on a channel, and every
 * datagram is in a socket or memory that somebody holds, recorded, or counted as given up where
 * that is allowed. At the end, without further faults: the channel reaches what is wanted.
 *
 *   manager_simulation [--mutant NAME] [--depth N] [--seed N] [--steps N] [--episode N] [--trace]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "manager/fleet_parts.h"
#include "world.h"

#define STEPS_TO_GOAL 4000u
#define ABSENCE_STEPS 3u /* until a manager that died is followed */
#define ACTS_MAX      24u
#define BUFFER_BYTES  (1u << 20)

enum act {
    ACT_TTL,
    ACT_ADDRESS,
    ACT_ADDRESS_BACK,
    ACT_SCHEMA,
    ACT_BUFFER,
    ACT_ADDRESS_AND_SCHEMA,
    ACT_PRESENCE, /* removed, or added again */
    ACT_RESTART,
    ACT_STOP,
    ACT_SAME, /* a reload that changes nothing */
    ACT_DISK, /* gets slow, or is fast again */
    ACT_BLOCK,
    ACT_INTERFACE, /* goes, or comes with another number */
    ACT_RELAY_DIES,
    ACT_HOLDER_DIES,
    ACT_MANAGER_DIES,
    ACT_MANAGER_DIES_AT_1, /* at its first effect from now on ... */
    ACT_MANAGER_DIES_AT_12 = ACT_MANAGER_DIES_AT_1 + 11,
    ACTS,
    ACT_REQUESTS = ACT_SAME + 1 /* those before are requests */
};
static const char *const act_names[ACTS] = {
    "another ttl",
    "another address",
    "the address before",
    "another schema",
    "another buffer",
    "another address and schema",
    "removed or added",
    "restart",
    "stop",
    "reload",
    "disk slow or fast",
    "layout blocked or not",
    "interface goes or comes",
    "relay dies",
    "holder dies",
    "manager dies",
};

struct step {
    enum act act;
    uint32_t after; /* steps of the world since the last one */
};

/* What the configuration says. */
static struct wanted {
    bool present, stopping;
    uint32_t address, before, ttl;
    int layout;
    uint64_t buffer_bytes;
} wanted;

static struct fleet *fleet;
static bool all_ended; /* the fleet was stopped, and has */
static bool stopped;   /* and its manager has gone */
static uint32_t absence;
static uint64_t steps, episodes, happened[ACTS];

/* ---- the manager ---- */

static void settled(void *context)
{
    (void)context;
    all_ended = fleet->stopping;
}

static void rotated(void *context)
{
    (void)context;
}

static bool in_charge(void *context)
{
    (void)context;
    return true;
}

static void note(void *context, enum fleet_change change, const char *channel)
{
    (void)context;
    (void)change;
    (void)channel;
}

static void make_config(struct config *config, struct config_channel *channel)
{
    memset(config, 0, sizeof *config);
    memset(channel, 0, sizeof *channel);
    config->channels = channel;
    config->channel_count = wanted.present;
    struct channel_settings *settings = &channel->settings;
    settings_defaults(settings);
    snprintf(settings->name, sizeof settings->name, "engine");
    snprintf(settings->layout, sizeof settings->layout, RUNTIME "/engine.layout");
    snprintf(settings->directory, sizeof settings->directory, "/recordings/engine");
    char text[64];
    snprintf(text, sizeof text, "239.0.0.%u:26000", wanted.address + 1);
    CHECK(net_read_address(text, &settings->listen) == 0);
    CHECK(net_read_address("239.1.0.1:26001", &settings->full) == 0);
    snprintf(settings->interface, sizeof settings->interface, "eth0");
    settings->ttl = wanted.ttl;
    settings->buffer_bytes = wanted.buffer_bytes;
    channel->record = true;
    channel->layout_image = malloc(1);
    channel->layout_image[0] = (uint8_t)wanted.layout;
    channel->layout_bytes = 1;
}

static void apply(void)
{
    struct config config;
    struct config_channel channel;
    world.wanted_address = wanted.present ? wanted.address : ADDRESSES;
    make_config(&config, &channel);
    if (!wanted.present) {
        channel.layout_image = NULL;
        config.channel_count = 0;
    }
    CHECK(fleet_apply(fleet, &config, note, NULL) == 0);
}

static void begin(void)
{
    struct fleet_options options = {.loop = NULL,
                                    .runtime = RUNTIME,
                                    .relay = "flotilla-relay",
                                    .keeper = "flotilla-keeper",
                                    .settled = settled,
                                    .rotated = rotated,
                                    .in_charge = in_charge};
    CHECK(fleet_open(&fleet, &options) == 0);
    CHECK(fleet_take_over(fleet) >= 0);
    if (wanted.stopping) {
        fleet_release_left(fleet);
        fleet_stop(fleet);
    } else {
        apply();
    }
}

static void stop(void)
{
    fleet_stop(fleet);
}

static void close_fleet(void)
{
    fleet_close(fleet);
}

static void restart(void)
{
    fleet_restart(fleet, "engine");
}

static void turn(void)
{
    world_manager_turn();
}

/* Has the manager do something, which it may not survive. */
static void manage(void (*does)(void))
{
    if (!world.manager_alive)
        return;
    if (setjmp(world_dies) == 0) {
        does();
    } else {
        world_manager_dies();
        fleet = NULL;
        absence = 0;
    }
    if (all_ended && world.manager_alive) {
        all_ended = false;
        world.crash_in = 0; /* what it leaves then is not the channel's any more */
        close_fleet();
        world_manager_dies();
        fleet = NULL;
        stopped = true;
    }
}

static void start_manager(void)
{
    world.manager++;
    world.manager_alive = true;
    all_ended = false;
    world_trace("manager %u", world.manager);
    manage(begin);
}

/* ---- the world's steps ---- */

static void note_health(void)
{
    if (!world.manager_alive || !world.holder_alive || world.holder_ended_unseen)
        return;
    world.holder_whole = true;
    /* An old socket that the manager does not know of, as it copied all from the relay, is with
     * that alone until it is drained. */
    const struct relay *relay = relay_alive();
    bool alone = relay && relay->draining && fleet->first && fleet->first->draining < 0;
    if (!alone && (relay || !wanted.present || wanted.stopping))
        world.down = 0;
}

static bool advance(bool load)
{
    bool done = false;
    steps++;
    world.steps++;
    for (uint32_t i = 0; load && world.steps % 2 && i < ADDRESSES; i++)
        world_send(i);
    for (int i = 0; i < PROCESSES_MAX; i++)
        done = relay_step(&world.relays[i]) || done;
    for (int i = 0; i < PROCESSES_MAX && !world.manager_alive; i++)
        if (world.relays[i].state == PROCESS_ENDED)
            world.relays[i].state = PROCESS_FREE;
    if (world.manager_alive) {
        uint64_t effects = world.effects;
        manage(turn);
        if (world.effects == effects && !done)
            manage(world_time);
    } else if (!stopped && ++absence >= ABSENCE_STEPS) {
        start_manager();
    }
    note_health();
    return done;
}

static void request(enum act act)
{
    switch (act) {
    case ACT_TTL:
        wanted.ttl = wanted.ttl % 7 + 1;
        break;
    case ACT_ADDRESS_AND_SCHEMA:
        wanted.layout = !wanted.layout;
        /* fall through */
    case ACT_ADDRESS:
        wanted.before = wanted.address;
        wanted.address = (wanted.address + 1) % ADDRESSES;
        break;
    case ACT_ADDRESS_BACK: {
        uint32_t before = wanted.before;
        wanted.before = wanted.address;
        wanted.address = before;
        break;
    }
    case ACT_SCHEMA:
        wanted.layout = !wanted.layout;
        break;
    case ACT_BUFFER:
        wanted.buffer_bytes = wanted.buffer_bytes == BUFFER_BYTES ? 2 * BUFFER_BYTES : BUFFER_BYTES;
        break;
    case ACT_PRESENCE:
        wanted.present = !wanted.present;
        break;
    case ACT_STOP:
        wanted.stopping = true;
        world.wanted_address = ADDRESSES;
        manage(stop);
        return;
    case ACT_RESTART:
        manage(restart);
        return;
    default:
        break;
    }
    manage(apply);
}

static void act_on(enum act act)
{
    struct relay *relay = relay_alive();
    world_trace("-> %s", act > ACT_MANAGER_DIES ? "manager dies at an effect" : act_names[act]);
    happened[act]++;
    if (act < ACT_REQUESTS) {
        if (!wanted.stopping)
            request(act);
    } else if (act == ACT_DISK) {
        world.disk_slow = !world.disk_slow;
    } else if (act == ACT_BLOCK) {
        world.layout_blocked = !world.layout_blocked;
    } else if (act == ACT_INTERFACE) {
        world_turn_interface();
    } else if (act == ACT_RELAY_DIES) {
        if (relay && world_may_die(DOWN_RELAY)) {
            world.kills++;
            relay_kill(relay);
        }
    } else if (act == ACT_HOLDER_DIES) {
        if (world.holder_alive && world_may_die(DOWN_HOLDER))
            world_holder_dies();
    } else if (world.manager_alive) {
        if (act != ACT_MANAGER_DIES) {
            world.crash_in = (uint32_t)(act - ACT_MANAGER_DIES_AT_1) + 1;
        } else if (world_may_die(DOWN_MANAGER)) {
            world_manager_dies();
            fleet = NULL;
            absence = 0;
        }
    }
}

/* ---- what must hold ---- */

static void check_count(void)
{
    uint64_t known = world.recorded + world.given_up;
    for (int i = 0; i < SOCKETS_MAX; i++)
        known += world.sockets[i].references ? world.sockets[i].queued : 0;
    for (int i = 0; i < MEMORIES_MAX; i++)
        known += world.memories[i].references ? world.memories[i].unsynced : 0;
    if (known != world.sent)
        world_fail("%" PRIu64 " datagrams were sent, %" PRIu64 " are known", world.sent, known);
}

static bool is_empty(void)
{
    bool empty = world_held() == 0;
    for (int i = 0; i < SOCKETS_MAX; i++)
        empty = empty && world.sockets[i].references == 0;
    for (int i = 0; i < MEMORIES_MAX; i++)
        empty = empty && world.memories[i].references == 0;
    for (int i = 0; i < PROCESSES_MAX; i++)
        empty = empty && world.relays[i].memory == NULL;
    return empty;
}

static bool is_reached(void)
{
    if (wanted.stopping)
        return stopped && is_empty();
    if (!world.manager_alive || !world.holder_alive || world.holder_ended_unseen)
        return false;
    if (!wanted.present)
        return fleet->first == NULL && is_empty();
    const struct channel *channel = fleet->first;
    const struct relay *relay = relay_alive();
    if (!channel || !relay || relay->state != PROCESS_WORKING || !fleet_settled(fleet) ||
        channel->machine.goal != CHANNEL_RUN || channel->machine.step != CHANNEL_AT_WORK ||
        channel->draining >= 0 || channel->next_receive >= 0 || channel->pending)
        return false;
    const struct socket *socket = relay->receive;
    const struct ledger_ways ways =
        ledger_ways((const struct ledger_shared *)(const void *)relay->memory->ledger);
    uint32_t number = world_number(world.interface);
    if (socket->joined != world.interface || ways.index[LEDGER_FULL] != number || channel->away ||
        channel->joined != number)
        return false;
    return relay->address == wanted.address && socket->address == wanted.address &&
           !socket->quiesced && !socket->queued && !relay->memory->unsynced &&
           relay->layout == wanted.layout && !relay->terminate && !relay->hand_over &&
           relay->memory->bytes == LEDGER_BYTES + wanted.buffer_bytes && world_held() == 2;
}

static void tell_state(void)
{
    const struct channel *channel = fleet ? fleet->first : NULL;
    const struct relay *relay = relay_alive();
    world_fail("what is wanted is not reached: manager %d, goal %d, step %d, relay %ld, sockets %d "
               "%d %d, held %u",
               world.manager_alive, channel ? (int)channel->machine.goal : -1,
               channel ? (int)channel->machine.step : -1, relay ? relay->id : 0,
               channel ? channel->receive : -1, channel ? channel->next_receive : -1,
               channel ? channel->draining : -1, world_held());
}

static void begin_episode(bool trace)
{
    world_reset(trace);
    wanted = (struct wanted){.present = true, .before = 1, .ttl = 1, .buffer_bytes = BUFFER_BYTES};
    stopped = all_ended = false;
    world.interface = world.interfaces = 1;
    fleet = NULL;
    absence = 0;
    episodes++;
    start_manager();
    world.down = 0;
    for (int i = 0; i < 6; i++)
        advance(true);
}

/* Whether it went well. */
static bool run_episode(const struct step *plan, uint32_t count, bool trace)
{
    begin_episode(trace);
    for (uint32_t i = 0; i < count && !world.failure[0]; i++) {
        for (uint32_t wait = 0; wait < plan[i].after && !world.failure[0]; wait++)
            advance(true);
        act_on(plan[i].act);
        check_count();
    }
    world_trace("-> no more faults");
    world.disk_slow = world.layout_blocked = false;
    if (world.interface == 0)
        world_turn_interface();
    world.crash_in = 0;
    uint32_t left = STEPS_TO_GOAL;
    while (left > 0 && !world.failure[0] && !is_reached()) {
        advance(left > STEPS_TO_GOAL - 6);
        left--;
    }
    if (left == 0)
        tell_state();
    check_count();
    return !world.failure[0];
}

/* ---- which episodes ---- */

static const uint32_t delays[] = {0, 1, 2, 3, 5};
#define DELAYS (sizeof delays / sizeof delays[0])

static bool run_all(uint32_t depth)
{
    struct step plan[ACTS_MAX];
    uint32_t at[ACTS_MAX] = {0};
    for (bool more = true; more;) {
        for (uint32_t i = 0; i < depth; i++)
            plan[i] = i == 0 ? (struct step){(enum act)at[0], 0}
                             : (struct step){(enum act)(at[i] / DELAYS), delays[at[i] % DELAYS]};
        if (!run_episode(plan, depth, false)) {
            printf("FAILED: %s\n", world.failure);
            run_episode(plan, depth, true);
            return false;
        }
        uint32_t place = depth;
        for (more = false; place > 0 && !more;) {
            place--;
            more = ++at[place] < (place == 0 ? (uint32_t)ACTS : (uint32_t)(ACTS * DELAYS));
            if (!more)
                at[place] = 0;
        }
    }
    return true;
}

static uint64_t random_state;
static uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 11) % below);
}

static uint32_t draw_plan(uint64_t seed, uint64_t episode, struct step plan[ACTS_MAX])
{
    random_state = (seed + 1) * 0x9e3779b97f4a7c15u ^ (episode + 1) * 0xd1342543de82ef95u;
    for (int i = 0; i < 8; i++)
        draw(2);
    uint32_t count = 3 + draw(ACTS_MAX - 3);
    for (uint32_t i = 0; i < count; i++)
        plan[i] = (struct step){(enum act)draw(ACTS), draw(3) ? draw(6) : draw(30)};
    return count;
}

static bool run_random(uint64_t seed, uint64_t steps_wanted)
{
    struct step plan[ACTS_MAX];
    uint64_t until = steps + steps_wanted;
    for (uint64_t episode = 0; steps < until; episode++) {
        uint32_t count = draw_plan(seed, episode, plan);
        if (run_episode(plan, count, false))
            continue;
        printf("FAILED: seed %" PRIu64 ", episode %" PRIu64 ": %s\n", seed, episode, world.failure);
        return false;
    }
    return true;
}

static uint64_t number(const char *text)
{
    return strtoull(text ? text : "0", NULL, 10);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, random_steps = 1000000, episode = 0;
    uint32_t depth = 2;
    bool one = false, trace = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(word, "--trace") == 0) {
            trace = true;
            continue;
        }
        i++;
        if (strcmp(word, "--mutant") == 0 && !mutant_choose(value)) {
            printf("there is no mutant \"%s\" in this build\n", value);
            return 2;
        }
        if (strcmp(word, "--depth") == 0)
            depth = (uint32_t)number(value);
        if (strcmp(word, "--seed") == 0)
            seed = number(value);
        if (strcmp(word, "--steps") == 0)
            random_steps = number(value);
        if (strcmp(word, "--episode") == 0) {
            one = true;
            episode = number(value);
        }
    }
    if (one) {
        struct step plan[ACTS_MAX];
        uint32_t count = draw_plan(seed, episode, plan);
        return run_episode(plan, count, trace) ? 0 : 1;
    }
    printf("seed %" PRIu64 "\n", seed);
    bool good = true;
    for (uint32_t each = 1; each <= depth && good; each++)
        good = run_all(each);
    printf("%" PRIu64 " episodes, every one of up to %u acts\n", episodes, depth);
    good = good && run_random(seed, random_steps);
    printf("%" PRIu64 " episodes, %" PRIu64 " steps\n", episodes, steps);
    for (int i = 0; i <= ACT_MANAGER_DIES_AT_1; i++)
        printf("  %-28s %" PRIu64 "\n",
               i < ACT_MANAGER_DIES_AT_1 ? act_names[i] : "dies at an effect", happened[i]);
    return good ? 0 : 1;
}
