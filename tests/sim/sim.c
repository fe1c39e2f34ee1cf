/* SPDX-License-Identifier: MIT
 * The simulation of a relay's core: its real code over a machine that is made up, killed between
 * any two steps, on disks that fill and fail, under clocks that jump; see sim.h.
 *
 *   simulation [--seed N] [--seconds N | --episode N] [--steps N]
 *       [--mutant NAME] [--trace]
 *
 * Lives episodes until the time, or the steps, are over. Ends with 0; with 1 as soon as something
 * is not as the model says, and then prints the seed and the episode with which it happens again.
 * An episode is the same whether it is lived alone or after others; the same seed gives the same
 * steps only in the same build. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "avro/envelope.h"
#include "base/log.h"
#include "channel/lanes.h"
#include "channel/memory.h"
#include "model.h"
#include "mutants.h"
#include "os/clock.h"
#include "relay/relay.h"
#include "schema/schema.h"
#include "sim.h"
#include "world.h"

static const char schema[] =
    "{\"type\": \"record\", \"name\": \"Sample\", \"fields\": [\n"
    "  {\"name\": \"flag\", \"type\": \"boolean\"},\n"
    "  {\"name\": \"time\", \"type\": {\"type\": \"long\", \"logicalType\": "
    "\"timestamp-micros\"}},\n"
    "  {\"name\": \"sequence\", \"type\": \"long\"},\n"
    "  {\"name\": \"id\", \"type\": \"long\"},\n"
    "  {\"name\": \"value\", \"type\": \"double\"},\n"
    "  {\"name\": \"level\", \"type\": \"int\"},\n"
    "  {\"name\": \"payload\", \"type\": \"bytes\"}]}\n";

static struct {
    struct channel_settings settings;
    struct disk_settings disk;
    struct relay relay;
    struct staging staging; /* the simulation's own look at the memory */
    int exit_status;
    struct net_kernel kernel;
    uint64_t folder_troubles, out_of_memory;
    uint64_t changed_life; /* the first that was told the settings of now */
    bool other_schema;     /* the relays have the third layout */
    bool offload_changes;
    bool alive;
    bool healthy, hasty; /* phases that are measured against `sync`: settings stay as they are */
    bool meddled; /* somebody took a file in this episode: that may show only at the next write */
    uint32_t looks;
    uint64_t healthy_since_ns;
} sim;

/* ---- an episode's settings ---- */

static void compile(const char *text, const char *time_field, const char *sequence,
                    struct span *image)
{
    char error[300] = "";
    uint8_t *bytes;
    size_t count;
    struct schema_file *file =
        schema_parse((struct span){(const uint8_t *)text, strlen(text)}, error, sizeof(error));
    if (file == NULL ||
        schema_compile(file, time_field, sequence, &bytes, &count, error, sizeof(error)) < 0)
        fail("%s", error);
    schema_free(file);
    *image = (struct span){bytes, count};
}

static struct span layouts[3]; /* the third as the first, and yet another schema */

/* Half of the episodes know nothing of offload; in some, all messages are alike, so that drops can
 * be told exactly; in the others everything changes all the time. */
static void choose_kernel(void)
{
    uint64_t kind = random_below(10);
    sim.offload_changes = false;
    sim.kernel = (struct net_kernel){.drops_are_messages = true};
    sim.settings.offload = OFFLOAD_AUTO;
    if (kind < 4) {
        sim.kernel.offload = random_chance(500000);
        sim.settings.offload = sim.kernel.offload ? OFFLOAD_OFF : OFFLOAD_AUTO;
        return;
    }
    sim.kernel.offload = true;
    sim.kernel.from_birth = kind < 6 || random_chance(500000);
    sim.kernel.drops_are_messages = random_chance(800000);
    sim.offload_changes = kind >= 6;
    sim.kernel.run = kind < 6 ? (uint32_t)random_spread(1, NET_SEGMENTS_MAX) : 0;
}

static void choose_often_changed(void)
{
    struct channel_settings *settings = &sim.settings;
    if (sim.offload_changes)
        settings->offload = random_chance(300000) ? OFFLOAD_OFF : OFFLOAD_AUTO;
    settings->latency = random_chance(300000) ? LATENCY_ON : LATENCY_OFF;
    settings->sync_ms = random_spread(40, 1500);
    settings->rotate_bytes = random_chance(400000) ? 0 : random_spread(16384, 4 << 20);
    settings->rotate_age_ms = random_chance(400000) ? 0 : random_spread(60, 5000);
    settings->factor = (uint32_t)random_between(1, 12);
    settings->algorithm = (enum algorithm)random_below(4);
    if (settings->encoding == ENCODING_OPAQUE)
        settings->algorithm = ALGORITHM_DOWNSAMPLE;
}

static void choose_settings(void)
{
    struct channel_settings *settings = &sim.settings;
    memset(settings, 0, sizeof(*settings));
    snprintf(settings->name, sizeof(settings->name), "engine");
    snprintf(settings->layout, sizeof(settings->layout), "engine.layout");
    if (!random_chance(40000))
        snprintf(settings->directory, sizeof(settings->directory), "recordings");
    settings->listen = (struct address){.family = 4, .port = 26000, .bytes = {239, 10, 0, 1}};
    if (random_chance(900000))
        settings->full = (struct address){.family = 4, .port = 6000, .bytes = {239, 11, 0, 1}};
    if (random_chance(700000))
        settings->decimated = (struct address){.family = 4, .port = 6000, .bytes = {239, 12, 0, 1}};
    uint64_t kind = random_below(20);
    settings->encoding = kind < 12   ? ENCODING_DATUM
                         : kind < 15 ? ENCODING_SINGLE_OBJECT
                         : kind < 18 ? ENCODING_CONFLUENT
                                     : ENCODING_OPAQUE;
    settings->schema_id = 77;
    settings->on_invalid = random_chance(150000) ? ON_INVALID_DROP : ON_INVALID_QUARANTINE;
    if (random_chance(200000)) {
        settings->source_count = 1;
        settings->sources[0] =
            (struct prefix){.address = {.family = 4, .bytes = {10, 0, 0, 7}}, .bits = 32};
    }
    settings->ttl = 1;
    settings->buffer_bytes = random_between(4, 12) * BLOCK_BYTES_MAX;
    settings->receive_bytes = 1u << 20;
    sim.disk.direct = random_chance(850000);
    sim.disk.alignment = random_chance(600000) ? 4096 : random_chance(500000) ? 16384 : 65536;
    sim.disk.pages_atomic = settings->buffer_bytes != 12 * BLOCK_BYTES_MAX; /* one in nine */
    sim.disk.refuses_late = settings->buffer_bytes % (2 * BLOCK_BYTES_MAX) == 0;
    sim.disk.room = 1u << 30;
    settings->direct_io = random_chance(150000)                      ? DIRECT_OFF
                          : sim.disk.direct && random_chance(100000) ? DIRECT_REQUIRED
                                                                     : DIRECT_AUTO;
    choose_kernel();
    choose_often_changed();
}

/* ---- lives ---- */

static int take_log(const char *line, size_t bytes)
{
    char text[400];
    snprintf(text, sizeof(text), "%.*s", (int)bytes, line);
    note_text(text);
    bool given_up = strstr(text, "cannot be trusted") != NULL;
    bool block_given_up = strstr(text, "is damaged: discarded") != NULL;
    events.memories_given_up += given_up;
    events.blocks_given_up += block_given_up;
    if ((given_up || block_given_up) && !model_is_loose())
        fail("memory that nobody has garbled is not believed: %s", text);
    /* Every such line ends a file, with what was not synced counted as lost. */
    if (strstr(text, "cannot record in") != NULL && strstr(text, strerror(ENOMEM)) != NULL)
        fail("a relay that is short of memory does not record: %s", text);
    /* Known, see segment.c: the folder could not be read, and a killed relay may have written them.
     */
    if (strstr(text, "no file of theirs to put them in") != NULL && machine.faults.folder > 0) {
        machine.tail_stale = machine.truncate_failed = true;
        model_inexact();
    }
    return 0;
}

static void live_once(void)
{
    memset(&sim.relay, 0, sizeof(sim.relay));
    sim.relay.settings = sim.settings;
    int status = relay_open(&sim.relay);
    if (status == 0) {
        status = relay_work(&sim.relay);
        if (status != EXIT_RENEW)
            relay_report(&sim.relay);
    }
    relay_close(&sim.relay, status);
    sim.exit_status = status;
}

void world_call(void)
{
    model_call(&sim.staging);
}

/* The manager's part: the old socket is closed, and handed to no other relay, once one has said
 * that nothing is left in it. */
static void look_for_drained(void)
{
    struct net_drops drops;
    uint32_t waiting;
    if (!net_old_socket(&drops, &waiting) || ledger_drained(sim.staging.ledger) != drops.socket)
        return;
    if (waiting > 0)
        fail("the old socket is said to be drained, and %u messages wait in it", waiting);
    model_old_socket_closed();
    events.sockets_drained++;
    note("the old socket is drained", 0, 0);
}

static void look(void)
{
    if (random_chance(5000))
        look_for_drained();
    if (random_chance(disk_is_writing() ? 20000 : 2000))
        model_look();
    if (!machine.interrupted && random_chance(20)) {
        machine.interrupted = machine.handing_over = true;
        note("asked to hand over", 0, 0);
        events.hand_overs++;
    }
    if (sim.healthy && ++sim.looks % 64 == 0) {
        uint64_t age_ns = model_oldest_ns(&sim.staging);
        uint64_t limit_ns = sim.settings.sync_ms * NS_PER_MS + 5 * NS_PER_MS;
        if (age_ns > limit_ns && machine.now_ns - sim.healthy_since_ns > limit_ns)
            fail("with nothing failing a datum waits for %.3f ms, sync is %" PRIu64 " ms",
                 (double)age_ns / 1e6, sim.settings.sync_ms);
    }
}

static void begin_life(void)
{
    memory_life_begins();
    net_life_begins();
    host_life_begins();
    machine.interrupted = machine.handing_over = machine.woken = false;
    sim.out_of_memory = events.out_of_memory;
    events.lives++;
    fibers_begin(live_once);
    sim.alive = true;
    note("a relay starts", events.lives, 0);
}

static void end_life(bool by_kill)
{
    if (by_kill) {
        events.kills++;
        events.kills_in_receive += net_is_receiving();
        events.kills_in_write += disk_is_writing();
        events.kills_in_open += sim.relay.receiver.stage.free_slots == NULL;
        events.kills_in_drain +=
            net_is_given_old() && staging_receiver(&sim.staging)->taking == SOCKET_DRAINING;
        note("killed", 0, 0);
    } else {
        note("the relay ended", (uint64_t)sim.exit_status, 0);
        if (sim.exit_status == EXIT_STOPPED && !machine.interrupted)
            fail("the relay ended without being asked to");
        if (sim.exit_status == EXIT_TAKEN || sim.exit_status == EXIT_SETTINGS ||
            sim.exit_status == EXIT_FLAGS)
            fail("the relay ended with status %d", sim.exit_status);
        if (sim.exit_status == EXIT_BROKEN && events.out_of_memory == sim.out_of_memory)
            fail("the relay ended with status 1 though it was not short of memory");
        if (sim.exit_status == EXIT_RENEW && !machine.interrupted && !machine.woken)
            fail("the relay wants another and does not stop for it");
        struct net_drops drops;
        uint32_t waiting;
        if (sim.exit_status == EXIT_STOPPED && net_old_socket(&drops, &waiting) && waiting > 0)
            fail("the relay stopped, and %u messages wait in the old socket", waiting);
        events.stops += sim.exit_status == EXIT_STOPPED;
        /* Known, see segment.c: it gave up blocks that a killed relay may have written already. */
        if (sim.relay.folder.descriptor < 0) {
            machine.tail_stale = machine.truncate_failed = true;
            model_inexact();
        }
        events.renewals += sim.exit_status == EXIT_RENEW;
    }
    if (sim.relay.receiver.stage.free_slots != NULL) {
        events.lives_direct += sim.relay.folder.direct;
        events.lives_cached += !sim.relay.folder.direct;
    }
    disk_life_ends();
    model_life_ends(&sim.staging);
    sim.alive = false;
}

/* The next relay is told otherwise, now and then: only where the last change has come in force, as
 * nobody else could say what the window was begun with. */
static void change_settings(void)
{
    struct channel_settings before = sim.settings;
    if (ledger_ready(sim.staging.ledger) < (long)sim.changed_life || !random_chance(50000))
        return;
    choose_often_changed();
    sim.changed_life = events.lives + 1;
    events.settings_changed++;
    note("settings change", sim.settings.factor, sim.settings.sync_ms);
    bool other = sim.settings.encoding != ENCODING_OPAQUE && events.lives % 2 == 0;
    if (other) {
        sim.other_schema = !sim.other_schema;
        machine.schema_changed = true;
        host_layout(layouts[sim.other_schema ? 2 : 0]);
        /* Known, see segment.c: where the folder cannot be listed, the file of the other schema is
         * given up with the blocks that a killed relay may have written to it already. */
        if (machine.faults.folder > 0)
            model_inexact();
    }
    if (other || before.factor != sim.settings.factor || before.algorithm != sim.settings.algorithm)
        model_decimation(&sim.staging, sim.settings.algorithm, sim.settings.factor);
}

/* Lets relays live, one after the other, until `until_ns`. */
static void live_until(uint64_t until_ns)
{
    while (machine.now_ns < until_ns) {
        if (!sim.alive)
            begin_life();
        enum life life = fibers_run(until_ns, look);
        if (life == LIFE_PAUSED)
            return;
        bool by_kill = life == LIFE_KILLED;
        end_life(by_kill);
        if (!sim.healthy && !sim.hasty)
            change_settings();
        if (by_kill && sim.healthy == false)
            kill_draw();
        clock_to(machine.now_ns + random_between(100000, 5000000));
    }
}

static void kill_now(void)
{
    if (sim.alive) {
        fibers_kill();
        end_life(true);
    }
}

/* ---- phases ---- */

static void choose_load(struct load *load, struct traffic *traffic)
{
    uint64_t size = random_below(10);
    load->bytes_low = size < 4 ? 0 : size < 7 ? 200 : size < 9 ? 1000 : 8000;
    load->bytes_high = random_chance(300000) ? load->bytes_low
                       : size < 4            ? 60
                       : size < 7            ? 1300
                       : size < 9            ? 9000
                                             : 65000;
    load->datums_max = size < 7 ? (uint32_t)random_spread(1, 12) : 2;
    load->invalid = random_chance(300000) ? 0 : random_chance(800000) ? 20000 : 300000;
    load->strangers = 50000;
    load->gaps = random_chance(500000) ? 0 : 20000;
    /* Busy times are short, as each datagram takes its steps. */
    traffic->interval_ns = random_spread(5000, 400000000);
    traffic->burst = (uint32_t)random_spread(1, 80);
    if (random_chance(350000)) { /* slow: the open page is written again and again */
        traffic->interval_ns = sim.settings.sync_ms * NS_PER_MS / random_between(1, 8);
        traffic->burst = (uint32_t)random_between(1, 4);
        load->bytes_low = 0;
        load->bytes_high = 60;
        load->datums_max = 3;
    }
    if (sim.kernel.run > 0) { /* a run is one message */
        load->bytes_low = 0;
        load->bytes_high = load->bytes_high < 200 ? load->bytes_high : 200;
        load->datums_max = load->datums_max < 3 ? load->datums_max : 3;
        load->invalid = load->strangers = 0;
    }
}

static uint64_t phase_ns(const struct traffic *traffic)
{
    uint64_t datagrams = random_spread(50, 1500);
    uint64_t ns = datagrams * 2 * traffic->interval_ns / (traffic->burst + 1);
    return ns < 3 * NS_PER_MS ? 3 * NS_PER_MS : ns > 20 * NS_PER_S ? 20 * NS_PER_S : ns;
}

/* What may leave a relay without a folder; how often it has happened. */
static uint64_t folder_troubles(void)
{
    return events.open_errors + events.folder_errors + events.folders_lost;
}

static void silence(void)
{
    struct traffic none = {0, 0};
    net_traffic(&none);
}

/* With nothing failing any more, all must be on the disk soon; then everything is compared. */
static void settle(void)
{
    silence();
    kill_never();
    memset(&machine.faults, 0, sizeof(machine.faults));
    disk_room(1u << 30);
    note("settles", 0, 0);
    uint64_t sync_ns = sim.settings.sync_ms * NS_PER_MS;
    /* A second until the disk is tried again, a sync for what it brings, a second of rest until
     * what was dropped is asked for. */
    uint64_t wait_ns = 2 * sync_ns + 3 * NS_PER_S;
    /* A relay without a folder has another follow it: in a second, or ten if that was in vain. */
    if (folder_troubles() != sim.folder_troubles)
        wait_ns += 13 * NS_PER_S;
    live_until(machine.now_ns + wait_ns);
    if (!sim.alive)
        fail("no relay lives though nothing fails");
    struct net_drops drops;
    uint32_t waiting;
    look_for_drained();
    if (net_old_socket(&drops, &waiting))
        fail("the old socket is not drained: %u messages wait in it", waiting);
    if (!net_is_idle())
        fail("the relay does not receive");
    if (!model_is_settled(&sim.staging))
        model_fail_unsettled(&sim.staging, wait_ns);
    sim.folder_troubles = folder_troubles();
    model_check(&sim.staging);
}

static void choose_faults(void)
{
    struct faults *faults = &machine.faults;
    memset(faults, 0, sizeof(*faults));
    uint32_t rate = (uint32_t)random_spread(2000, 300000);
    if (random_chance(300000))
        faults->wait = rate;
    if (random_chance(300000))
        faults->receive = rate;
    if (random_chance(300000))
        faults->send = rate;
    if (random_chance(100000))
        faults->memory = rate / 8;
}

static void choose_disk_faults(void)
{
    struct faults *faults = &machine.faults;
    uint32_t rate = (uint32_t)random_spread(20000, 500000);
    if (random_chance(500000))
        faults->write = rate;
    if (random_chance(400000))
        faults->sync = rate;
    if (random_chance(300000))
        faults->open = rate;
    if (random_chance(300000))
        faults->rename = rate;
    if (random_chance(300000))
        faults->folder = rate;
    if (random_chance(100000))
        faults->random = rate;
    if (random_chance(400000)) {
        faults->stall = rate;
        faults->stall_ns_max = random_spread(NS_PER_MS * 10, 6 * NS_PER_S);
    }
    if (faults->sync > 0 || faults->rename > 0 || faults->write > 0 || faults->open > 0)
        model_inexact();
}

static void lose_memory(bool power)
{
    kill_now();
    model_memory_lost(&sim.staging, power);
    if (power) {
        net_old_socket_closed();
        disk_power_cut();
        net_socket_new(random_spread(20000, 4 << 20));
        machine.realtime_offset += (int64_t)random_below(100 * NS_PER_S);
        events.power_cuts++;
    } else {
        events.fresh_memories++;
        if (sim.kernel.run > 1) /* nothing says how many were in a message that came before */
            model_drops_inexact();
    }
    note(power ? "the power fails" : "the memory is fresh", 0, 0);
    memory_forget();
    staging_unmap(&sim.staging);
    MUST(staging_map(&sim.staging, DESCRIPTOR_MEMORY) == 0);
}

/* Where the number of the copy in force stands, in front of the copies (staging.c). */
static size_t version_place(const uint8_t *memory)
{
    uint64_t which = random_below(LANES + 1);
    const struct receiver_state *receiver = staging_receiver(&sim.staging);
    const struct writer_state *writer = lane_writer(&sim.staging.lanes[which % LANES]);
    return which == LANES
               ? (size_t)((const uint8_t *)(receiver - (receiver->version & 1)) - memory) - 24
               : (size_t)((const uint8_t *)(writer - (writer->version & 1)) - memory) - 8;
}

/* Flips bits of the memory between two relays, as one that went wrong before it died may have done:
 * anywhere but in the batch, which the kernel writes and nobody can vouch for. */
static void garble(void)
{
    size_t bytes;
    kill_now();
    const uint8_t *memory = memory_bytes(&bytes);
    const size_t parts[] = {0, LEDGER_BYTES,
                            (size_t)((const uint8_t *)sim.staging.lanes[0].queue - memory),
                            (size_t)((const uint8_t *)sim.staging.accumulators[0] - memory),
                            (size_t)((const uint8_t *)sim.staging.batch - memory)};
    size_t slots = (size_t)(sim.staging.slots - memory);
    note("the memory is garbled", 0, 0);
    events.garbled_memories++;
    model_garbled();
    for (uint64_t times = random_between(1, 3); times > 0; times--) {
        uint64_t part = random_below(12);
        uint32_t bits = (uint32_t)random_spread(1, 200);
        if (part < 2) {
            memory_garble(parts[part], parts[part + 1], bits);
        } else if (part < 4) { /* the beginning of the states, and of a queue: what is used most */
            memory_garble(parts[1], parts[1] + 4096, bits);
        } else if (part == 4) {
            size_t queue = (size_t)((const uint8_t *)sim.staging.lanes[1].queue - memory);
            size_t from = random_chance(500000) ? queue : parts[2];
            memory_garble(from, from + 64 * sizeof(struct staging_block), bits);
        } else if (part == 5) {
            size_t at = version_place(memory);
            memory_garble(at, at + 1, 1);
        } else if (part == 6) { /* words that no checksum covers: what the last relay was told */
            memory_garble(parts[1] + 40, parts[1] + 64, (uint32_t)random_between(1, 3));
        } else if (part == 7) {
            memory_garble(0, 64, (uint32_t)random_between(1, 4));
        } else if (part == 8) {
            memory_garble(parts[3], parts[3] + 1024, bits);
        } else {
            size_t from = slots + random_below(3) * BLOCK_BYTES_MAX;
            memory_garble(from, from + (random_chance(500000) ? 8192 : BLOCK_BYTES_MAX), bits);
        }
    }
}

static void somebody(void)
{
    struct disk_file file;
    uint32_t count = 0;
    while (disk_file_at(count, &file))
        count++;
    if (count == 0 || !disk_file_at((uint32_t)random_below(count), &file))
        return;
    sim.meddled = true;
    char name[160];
    snprintf(name, sizeof(name), "%s", file.name);
    if (random_chance(100000)) {
        for (uint32_t i = 0; disk_file_at(i, &file); i++)
            model_file_lost(file.name, 0);
        note("the folder is removed", 0, 0);
        disk_lose_folder();
        events.folders_lost++;
    } else if (random_chance(500000)) {
        model_file_lost(name, 0);
        note("a file is removed", 0, 0);
        disk_remove(name);
        events.files_removed++;
    } else {
        if (random_chance(500000))
            kill_now();
        else
            model_harmed();
        size_t bytes = random_chance(500000) ? random_below(file.count / 4096 + 1) * 4096
                                             : random_below(file.count + 1);
        model_file_lost(name, bytes);
        note("a file is cut", bytes, file.count);
        disk_cut(name, bytes);
        events.files_cut++;
    }
}

/* The channel listens elsewhere from now on: the relay is killed, asked to hand over or asked to
 * end, and the next one has both sockets. */
static void change_socket(void)
{
    struct net_drops drops;
    uint32_t waiting;
    look_for_drained();
    if (net_old_socket(&drops, &waiting) || net_is_given_old())
        return; /* one after the other */
    net_socket_changes(random_spread(20000, 4 << 20));
    events.sockets_changed++;
    note("the socket changes", 0, 0);
    if (!sim.alive || random_chance(400000)) {
        kill_now();
    } else {
        machine.interrupted = true;
        machine.handing_over = random_chance(600000);
    }
}

static void step_clock(void)
{
    /* By seconds for the most part, by hours, by decades: set, reset, or begun anew at a boot. */
    const uint64_t year_ns = 365 * 86400 * NS_PER_S;
    uint64_t most_ns = random_chance(700000)   ? 10 * NS_PER_S
                       : random_chance(500000) ? 12 * 3600 * NS_PER_S
                                               : 30 * year_ns;
    int64_t offset =
        machine.realtime_offset + (int64_t)random_below(2 * most_ns) - (int64_t)most_ns;
    if (offset > -(int64_t)(50 * year_ns) && offset < (int64_t)(150 * year_ns))
        machine.realtime_offset = offset;
    events.clock_steps++;
    note("the clock steps", 0, 0);
}

static void stop(void)
{
    machine.interrupted = true;
    machine.handing_over = false;
    note("asked to stop", 0, 0);
    kill_never();
    memset(&machine.faults, 0, sizeof(machine.faults));
    uint64_t until_ns = machine.now_ns + 20 * NS_PER_S;
    while (sim.alive && machine.now_ns < until_ns)
        if (fibers_run(until_ns, look) != LIFE_PAUSED) {
            end_life(false);
            if (sim.exit_status != EXIT_RENEW)
                break;
            begin_life(); /* it was followed before it was asked */
            machine.interrupted = true;
        }
    if (sim.alive)
        fail("the relay does not stop");
}

/* Traffic without a fault, slow enough to be watched. */
static void work(uint64_t ns)
{
    struct load load;
    struct traffic traffic;
    choose_load(&load, &traffic);
    uint64_t interval_ns = sim.settings.sync_ms * NS_PER_MS / 8;
    traffic = (struct traffic){interval_ns, traffic.burst < 8 ? traffic.burst : 8};
    load.bytes_low = 0; /* no more than the memory can hold until it is written */
    load.bytes_high = 60;
    load.datums_max = load.datums_max < 3 ? load.datums_max : 3;
    model_load(&load);
    net_traffic(&traffic);
    memset(&machine.faults, 0, sizeof(machine.faults));
    live_until(machine.now_ns + ns);
}

/* Relays that live shorter than `sync`, each of them, while nothing else fails. */
static void live_hastily(void)
{
    settle();
    events.hasty_phases++;
    uint64_t sync_ns = sim.settings.sync_ms * NS_PER_MS;
    uint64_t life_ns = sync_ns / 100 * random_between(30, 80);
    life_ns = life_ns < 15 * NS_PER_MS ? 15 * NS_PER_MS : life_ns;
    uint64_t limit_ns = sync_ns + life_ns + 50 * NS_PER_MS;
    sim.hasty = true;
    for (uint64_t until_ns = machine.now_ns + 3 * limit_ns; machine.now_ns < until_ns;) {
        work(life_ns);
        kill_now();
        uint64_t age_ns = model_oldest_ns(&sim.staging);
        if (age_ns > limit_ns)
            fail("with relays killed every %.3f ms a datum waits for %.3f ms, sync is %" PRIu64
                 " ms",
                 (double)life_ns / 1e6, (double)age_ns / 1e6, sim.settings.sync_ms);
    }
    sim.hasty = false;
}

static void phase(void)
{
    struct load load;
    struct traffic traffic;
    choose_load(&load, &traffic);
    model_load(&load);
    net_traffic(&traffic);
    note("phase: interval, burst", traffic.interval_ns, traffic.burst);
    memset(&machine.faults, 0, sizeof(machine.faults));
    uint64_t until_ns = machine.now_ns + phase_ns(&traffic);
    uint64_t kind = random_below(100);
    if (kind < 15 && sim.settings.directory[0] != '\0' && !sim.meddled) {
        settle();
        sim.healthy = true;
        net_traffic(&traffic);
        sim.healthy_since_ns = machine.now_ns;
        live_until(machine.now_ns + (until_ns - machine.now_ns));
        sim.healthy = false;
    } else if (kind < 20 && sim.settings.directory[0] != '\0' && !sim.meddled) {
        live_hastily();
    } else {
        if (kind < 80)
            kill_draw();
        if (random_chance(500000))
            choose_faults();
        if (random_chance(500000))
            choose_disk_faults();
        if (random_chance(150000))
            disk_room(disk_used() + random_spread(4096, 2 << 20));
        while (machine.now_ns < until_ns) {
            live_until(machine.now_ns + random_between(1, until_ns - machine.now_ns));
            if (random_chance(100000))
                step_clock();
            if (random_chance(60000))
                somebody();
            if (random_chance(60000))
                change_socket();
            if (random_chance(100000))
                kill_now();
        }
    }
    struct net_drops drops;
    uint32_t waiting;
    kind = random_below(100);
    if (kind < 20)
        lose_memory(true);
    else if (kind < 26)
        lose_memory(false);
    else if (kind < 40)
        change_socket();
    else if (kind < 44 && !net_old_socket(&drops, &waiting)) {
        kill_now();
        model_socket_lost(&sim.staging);
        events.sockets_replaced++;
        net_socket_new(random_spread(20000, 4 << 20));
    }
    if (random_chance(100000) && sim.alive) {
        stop();
        live_until(machine.now_ns + NS_PER_MS);
    }
    if (random_chance(400000))
        settle();
}

static void episode(uint64_t seed, uint64_t number)
{
    machine.seed = seed;
    machine.episode = number;
    random_seed(seed * 1000003 + number);
    for (int i = 0; i < 4; i++)
        random_next();
    machine.now_ns = NS_PER_S;
    machine.realtime_offset = 1767225600 * (int64_t)NS_PER_S;
    note("episode", number, 0);
    choose_settings();
    bool opaque = sim.settings.encoding == ENCODING_OPAQUE;
    struct layout layout;
    MUST(layout_load(&layout, layouts[opaque]) == 0);
    host_layout(layouts[opaque]);
    model_begin(&sim.settings, layout.fingerprint);
    if (sim.offload_changes)
        model_drops_inexact();
    net_kernel(&sim.kernel);
    disk_format(&sim.disk);
    net_socket_new(random_spread(20000, 4 << 20));
    silence();
    memory_make(staging_bytes(&sim.settings), (size_t)4096 << (seed + number) % 3 * 2);
    MUST(staging_map(&sim.staging, DESCRIPTOR_MEMORY) == 0);
    kill_never();

    for (uint64_t phases = random_between(1, 6); phases > 0; phases--)
        phase();
    settle();
    if (random_chance(300000)) {
        phase();
        for (uint64_t times = random_between(1, 3); times > 0; times--) {
            work(random_between(NS_PER_MS, sim.settings.sync_ms * NS_PER_MS));
            garble();
        }
        settle();
        /* Whatever it was, it is over: from here on all is done again. */
        model_epoch_ends(&sim.staging);
        work(2 * sim.settings.sync_ms * NS_PER_MS);
        settle();
        model_check_working(&sim.staging);
    }
    if (random_chance(500000)) {
        /* A relay that starts on a sound disk ends what others left, and at its end its own. */
        stop();
        live_until(machine.now_ns + NS_PER_S);
        stop();
        model_check(&sim.staging);
        model_check_ended();
    }
}

/* ---- the program ---- */

/* What all episodes so far have done. */
struct totals {
    struct events events;
    uint64_t steps[STEPS];
};
static struct totals *totals; /* shared with the processes of the episodes */

static void add_up(void)
{
    const uint64_t *from = (const uint64_t *)&events;
    uint64_t *to = (uint64_t *)&totals->events;
    for (size_t i = 0; i < sizeof(events) / sizeof(*from); i++)
        to[i] += from[i];
    for (int i = 0; i < STEPS; i++)
        totals->steps[i] += steps_done[i];
}

/* Lives an episode in a process of its own, so that none knows of another: not by what the fakes or
 * the core keep, nor by a descriptor's number. Ends the program if it failed. */
static void live_episode(uint64_t seed, uint64_t number, unsigned seconds_max)
{
    fflush(stdout);
    pid_t process = fork();
    if (process == 0) {
        alarm(seconds_max);
        episode(seed, number);
        add_up();
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (process < 0 || waitpid(process, &status, 0) != process) {
        perror("simulation: an episode's process");
        exit(2);
    }
    if (status == 0)
        return;
    if (WIFSIGNALED(status))
        printf("FAILED: seed %" PRIu64 ", episode %" PRIu64 ": %s\n", seed, number,
               strsignal(WTERMSIG(status)));
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t steps_total(void)
{
    return totals->steps[STEP_SEAM] + totals->steps[STEP_FUNCTION] + totals->steps[STEP_ACCESS];
}

static void report(uint64_t seed, uint64_t episodes, double seconds)
{
    printf("seed %" PRIu64 ": %" PRIu64 " episodes, %.1f s; steps: %" PRIu64
           " calls of the seam, %" PRIu64 " function entries and exits, %" PRIu64
           " loads and stores; %.2f million steps a "
           "minute\n",
           seed, episodes, seconds, totals->steps[STEP_SEAM], totals->steps[STEP_FUNCTION],
           totals->steps[STEP_ACCESS], (double)steps_total() / seconds * 60 / 1e6);
#define EVENT_PRINT(name) printf("  %-20s %" PRIu64 "\n", #name, totals->events.name);
    EVENTS(EVENT_PRINT)
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, only = UINT64_MAX, steps = UINT64_MAX;
    double seconds = 10;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            machine.trace = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[++i], NULL);
        else if (i + 1 < argc && strcmp(argv[i], "--steps") == 0)
            steps = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--episode") == 0)
            only = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--mutant") == 0 && mutant_choose(argv[i + 1]))
            i++;
        else {
            fprintf(stderr, "usage: simulation [--seed N] [--seconds N] [--steps N] [--episode N] "
                            "[--mutant NAME] [--trace]\n");
            return 2;
        }
    }
    log_use(take_log);
    log_start("relay", NULL);
    fibers_start();
    totals = mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(totals != MAP_FAILED);
    compile(schema, "time", "sequence", &layouts[0]);
    char other[sizeof(schema) + 1];
    snprintf(other, sizeof(other), "%s\n", schema);
    compile(other, "time", "sequence", &layouts[2]);
    compile(opaque_schema, NULL, NULL, &layouts[1]);
    double began = now_s();
    uint64_t episodes = 0;
    if (only != UINT64_MAX) {
        live_episode(seed, only, 300);
        episodes = 1;
    } else {
        for (; now_s() - began < seconds && steps_total() < steps; episodes++)
            live_episode(seed, episodes, 120); /* it takes a second or so */
    }
    report(seed, episodes, now_s() - began);
    return 0;
}
