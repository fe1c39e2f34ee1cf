/* SPDX-License-Identifier: MIT
 * The model. Relies on each datum carrying its own number, and each arrival time its datagram's, so
 * that whatever is found anywhere can be traced to what was sent.
 *
 * A datum that was handed over is `expected`, in that order. An epoch is the life of the channel's
 * memory: within the last one counters are exact; of earlier ones only what was surely on the disk
 * when the memory was lost must be found, and none may be found twice or out of order. */
#define _GNU_SOURCE
#include "model.h"
#include "channel/lanes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "os/clock.h"
#include "reader.h"
#include "sim.h"
#include "world.h"

#define DATUMS_MAX       200000u
#define ARENA_BYTES      ((size_t)1 << 30)
#define ARENA_ENOUGH     ((size_t)96 << 20) /* from here on datums are small */
#define FILES_MAX        3000u
#define NOWHERE          UINT32_MAX
#define ID_BASE          (1 << 20)
#define SHAPE_MAX        16u
#define SENDER           7u
#define SEQUENCES_MAX    (1u << 20)
#define SEQUENCES_BEFORE 1000
#define STRANGER         9u

struct fields {
    int64_t time, sequence, id;
    double value;
    int32_t level;
    struct span payload;
};
struct datum {
    struct span body;
    uint32_t datagram, position; /* in expected */
    struct fields fields;
};
struct expected {
    uint32_t datum, seen; /* the walk over the files that found it last */
    bool must, gone;
    const char *seen_in;
    uint64_t handed_ns;
};
struct sent_stream {
    struct span *items;
    uint32_t count, sent, rewind; /* rewind: where the newest batch begins */
};

static struct datagram datagrams[DATAGRAMS_MAX];
static struct datum datums[DATUMS_MAX];
static struct expected expected[DATUMS_MAX];
static struct span full_items[DATAGRAMS_MAX], decimated_items[DATUMS_MAX * 2];
static uint32_t rejected[DATAGRAMS_MAX]; /* numbers, in the order handed over */
static uint32_t rejected_seen[DATAGRAMS_MAX], rejected_place[DATAGRAMS_MAX];

static struct {
    struct channel_settings settings;
    uint8_t prefix[10];
    size_t prefix_bytes;
    struct load load;
    uint8_t *arena;
    size_t arena_used;
    uint32_t datagram_count, datum_count, expected_count, rejected_count;
    int64_t sequence;
    struct sent_stream streams[STREAMS];
    bool loose, exact, harmed, drops_exact;
    /* Of this epoch. */
    uint32_t epoch_expected, epoch_rejected, epoch_full, epoch_decimated;
    uint64_t received, accepted, bytes, reasons[REJECT_REASONS + 1], gaps;
    /* Before this socket: datagrams, where that is exact; else the least and the most there may be.
     * On it, as told with the newest datagram. */
    uint64_t dropped, dropped_least, dropped_most;
    uint64_t newest_datagrams, newest_messages, newest_socket;
    uint64_t batches; /* in force when the newest call began */
    uint32_t call_expected;
    int64_t newest_sequence, first_sequence;
    uint64_t missing_before, seen_sequences; /* in runs before; distinct ones of this run */
    uint64_t reordered, duplicates;
    bool sequence_known;
    uint32_t window; /* the first datum of it, in expected */
    uint32_t walk;
} model;

static void must_be(const char *what, uint64_t is, uint64_t must)
{
    if (is != must)
        fail("%s: %" PRIu64 ", not %" PRIu64, what, is, must);
}

/* ---- making datagrams ---- */

static uint8_t *room(size_t bytes)
{
    if (model.arena == NULL) {
        void *at = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        MUST(at != MAP_FAILED);
        model.arena = at;
    }
    MUST(model.arena_used + bytes <= ARENA_BYTES);
    uint8_t *at = model.arena + model.arena_used;
    model.arena_used += bytes;
    return at;
}

static uint8_t *put_long(uint8_t *at, int64_t value)
{
    uint64_t bits = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    for (; bits >= 0x80; bits >>= 7)
        *at++ = (uint8_t)(bits | 0x80);
    *at++ = (uint8_t)bits;
    return at;
}

static uint8_t *put_fields(uint8_t *at, const struct fields *fields)
{
    *at++ = (uint8_t)(fields->id & 1);
    at = put_long(at, fields->time);
    at = put_long(at, fields->sequence);
    at = put_long(at, fields->id);
    memcpy(at, &fields->value, 8);
    at = put_long(at + 8, fields->level);
    at = put_long(at, (int64_t)fields->payload.bytes);
    if (fields->payload.bytes > 0)
        memcpy(at, fields->payload.at, fields->payload.bytes);
    return at + fields->payload.bytes;
}

void model_begin(const struct channel_settings *settings, uint64_t fingerprint)
{
    model.settings = *settings;
    model.exact = model.drops_exact = true;
    model.sequence = ID_BASE;
    model.streams[STREAM_FULL].items = full_items;
    model.streams[STREAM_DECIMATED].items = decimated_items;
    if (settings->encoding == ENCODING_SINGLE_OBJECT) {
        memcpy(model.prefix, "\xc3\x01", 2);
        memcpy(model.prefix + 2, &fingerprint, 8);
        model.prefix_bytes = 10;
    } else if (settings->encoding == ENCODING_CONFLUENT) {
        for (int i = 0; i < 4; i++)
            model.prefix[1 + i] = (uint8_t)(settings->schema_id >> (24 - 8 * i));
        model.prefix_bytes = 5;
    }
}

void model_load(const struct load *load)
{
    model.load = *load;
}

struct datagram *model_at(uint32_t number)
{
    return &datagrams[number];
}

bool model_is_full(void)
{
    return model.datum_count + NET_SEGMENTS_MAX * SHAPE_MAX >= DATUMS_MAX ||
           model.datagram_count + NET_SEGMENTS_MAX >= DATAGRAMS_MAX ||
           model.arena_used + NET_SEGMENTS_MAX * ((size_t)1 << 18) >= ARENA_BYTES;
}

void model_join(uint32_t number, uint32_t first)
{
    struct datagram *datagram = &datagrams[number];
    datagram->arrival_ns = datagrams[first].arrival_ns;
    if (model.settings.encoding == ENCODING_OPAQUE) /* as long as it was */
        put_long((uint8_t *)(uintptr_t)datums[datagram->first_datum].body.at,
                 (int64_t)datagram->arrival_ns);
}

void model_drops_inexact(void)
{
    model.drops_exact = false;
}

bool model_is_loose(void)
{
    return model.loose;
}

static void make_datum(uint32_t number, uint64_t realtime_ns, size_t payload_bytes)
{
    struct datum *datum = &datums[model.datum_count];
    /* Numbers are of one length, so that datums with payloads of one length are. */
    if (random_chance(model.load.gaps))
        model.sequence += (int64_t)random_between(0, 20) - 3;
    datum->fields = (struct fields){.time = (int64_t)(realtime_ns / 1000),
                                    .sequence = model.sequence++,
                                    .id = (int64_t)model.datum_count + ID_BASE,
                                    .value = (double)random_below(2000) / 2 - 500,
                                    .level = (int32_t)random_below(100) - 50,
                                    .payload = {NULL, payload_bytes}};
    uint8_t *payload = room(payload_bytes + 8);
    for (size_t i = 0; i < payload_bytes; i += 8) {
        uint64_t word = random_next();
        memcpy(payload + i, &word, 8);
    }
    datum->fields.payload.at = payload;
    datum->datagram = number;
    datum->position = NOWHERE;
    uint8_t *at = room(payload_bytes + 64);
    datum->body = (struct span){at, (size_t)(put_fields(at, &datum->fields) - at)};
    model.arena_used = (size_t)(at - model.arena) + datum->body.bytes; /* the next stands behind */
    model.datum_count++;
}

/* An opaque datagram is one datum; its body is what is recorded of it. */
static void make_opaque(struct datagram *datagram, uint32_t number, size_t bytes)
{
    struct datum *datum = &datums[model.datum_count];
    size_t payload_bytes = bytes < 8 ? 8 : bytes > 60000 ? 60000 : bytes;
    uint8_t *at = room(payload_bytes);
    for (size_t i = 0; i + 8 <= payload_bytes; i += 8) {
        uint64_t word = random_next();
        memcpy(at + i, &word, 8);
    }
    memcpy(at, &model.datum_count, sizeof(model.datum_count));
    datagram->bytes = (struct span){at, payload_bytes};
    uint8_t *body = room(payload_bytes + 64);
    uint8_t *end = put_long(body, (int64_t)datagram->arrival_ns);
    *end++ = 2 * 13; /* "10.0.0.7:5000" */
    memcpy(end, "10.0.0.7:5000", 13);
    end = put_long(end + 13, (int64_t)payload_bytes);
    memcpy(end, at, payload_bytes);
    *datum = (struct datum){.datagram = number, .position = NOWHERE};
    datum->body = (struct span){body, (size_t)(end + payload_bytes - body)};
    model.datum_count++;
}

/* Makes a good datagram bad in a way that is bad for sure. */
static void spoil(struct datagram *datagram)
{
    uint8_t *at = (uint8_t *)(uintptr_t)datagram->bytes.at;
    switch (random_below(4)) {
    case 0:
        datagram->bytes.bytes = 0;
        datagram->reason = REJECT_EMPTY;
        break;
    case 1: /* cut within the last datum: behind its first byte, before its last */
        datagram->bytes.bytes -= random_between(1, datums[model.datum_count - 1].body.bytes - 1);
        datagram->reason = REJECT_TRUNCATED;
        break;
    case 2:
        at[model.prefix_bytes] = (uint8_t)random_between(2, 255);
        datagram->reason = REJECT_BOOLEAN;
        break;
    default:
        if (model.prefix_bytes > 0) {
            at[0] ^= 0x40;
            datagram->reason = REJECT_FRAMING;
        } else { /* behind the last datum the begin of none */
            *room(1) = 7;
            datagram->bytes.bytes++;
            datagram->reason = REJECT_BOOLEAN;
        }
    }
}

uint32_t model_make(uint64_t realtime_ns, bool alike)
{
    static size_t shape[SHAPE_MAX];
    static uint32_t shape_count;
    const struct load *load = &model.load;
    uint32_t number = model.datagram_count++;
    struct datagram *datagram = &datagrams[number];
    MUST(number < DATAGRAMS_MAX);
    *datagram = (struct datagram){.source = SENDER,
                                  .first_datum = model.datum_count,
                                  .reason = REJECT_NONE,
                                  .arrival_ns = (realtime_ns & ~(uint64_t)0xfffff) | number};
    size_t high = model.arena_used > ARENA_ENOUGH && load->bytes_high > 64 ? 64 : load->bytes_high;
    size_t low = load->bytes_low < high ? load->bytes_low : high;
    if (model.settings.encoding == ENCODING_OPAQUE) {
        shape[0] = alike ? shape[0] : random_spread(low + 1, high + 1);
        make_opaque(datagram, number, shape[0]);
        datagram->datum_count = 1;
    } else {
        uint32_t count = alike ? shape_count : (uint32_t)random_between(1, load->datums_max);
        size_t bytes = 0;
        MUST(count <= SHAPE_MAX);
        for (uint32_t i = 0; i < count && model.datum_count < DATUMS_MAX; i++) {
            size_t payload = alike         ? shape[i]
                             : low == high ? low
                                           : random_spread(low + 1, high + 1) - 1;
            if (bytes + payload + 96 > 65507)
                payload = bytes + 96 > 65507 ? SIZE_MAX : 65507 - 96 - bytes;
            if (payload == SIZE_MAX)
                break;
            shape[i] = payload;
            make_datum(number, realtime_ns, payload);
            const struct datum *made = &datums[model.datum_count - 1];
            datagram->datum_count++;
            bytes += model.prefix_bytes + made->body.bytes;
        }
        shape_count = datagram->datum_count;
        /* Payloads stand between the datums in the arena: gather them. */
        uint8_t *all = room(bytes);
        size_t at = 0;
        for (uint32_t i = 0; i < datagram->datum_count; i++) {
            const struct datum *made = &datums[datagram->first_datum + i];
            memcpy(all + at, model.prefix, model.prefix_bytes);
            memcpy(all + at + model.prefix_bytes, made->body.at, made->body.bytes);
            at += model.prefix_bytes + made->body.bytes;
        }
        datagram->bytes = (struct span){all, bytes};
        if (random_chance(load->invalid))
            spoil(datagram);
    }
    if (model.settings.source_count > 0 && random_chance(load->strangers)) {
        datagram->source = STRANGER;
        datagram->reason = REJECT_SOURCE;
    }
    if (datagram->reason != REJECT_NONE)
        events.datagrams_invalid++;
    return number;
}

/* ---- what is handed over and sent ---- */

static int64_t divide_nearest(int64_t sum, int64_t count)
{
    int64_t magnitude = sum < 0 ? -sum : sum;
    int64_t quotient = (2 * magnitude + count) / (2 * count);
    return sum < 0 ? -quotient : quotient;
}

static void expect_decimated(const struct fields *fields)
{
    struct sent_stream *stream = &model.streams[STREAM_DECIMATED];
    uint8_t *begin = room(model.prefix_bytes + fields->payload.bytes + 64);
    memcpy(begin, model.prefix, model.prefix_bytes);
    uint8_t *end = put_fields(begin + model.prefix_bytes, fields);
    stream->items[stream->count++] = (struct span){begin, (size_t)(end - begin)};
}

/* The window is the last `factor` datums of expected, up to `end`. */
static void decimate(uint32_t end)
{
    const struct channel_settings *settings = &model.settings;
    uint32_t count = end - model.window;
    if (count < settings->factor)
        return;
    const struct datum *first = &datums[expected[model.window].datum];
    const struct datum *last = &datums[expected[end - 1].datum];
    struct sent_stream *stream = &model.streams[STREAM_DECIMATED];
    uint32_t begin = model.window;
    model.window = end;
    if (settings->encoding == ENCODING_OPAQUE) {
        stream->items[stream->count++] = datagrams[last->datagram].bytes;
        return;
    }
    struct fields low = last->fields, high = last->fields, flat = last->fields;
    if (settings->algorithm == ALGORITHM_DOWNSAMPLE) {
        expect_decimated(&flat);
        return;
    }
    double value = 0, squares = 0, id_squares = 0, level_squares = 0;
    int64_t id = 0, level = 0;
    for (uint32_t i = begin; i < end; i++) {
        const struct fields *fields = &datums[expected[i].datum].fields;
        low.id = fields->id < low.id ? fields->id : low.id;
        high.id = fields->id > high.id ? fields->id : high.id;
        low.value = fields->value < low.value ? fields->value : low.value;
        high.value = fields->value > high.value ? fields->value : high.value;
        low.level = fields->level < low.level ? fields->level : low.level;
        high.level = fields->level > high.level ? fields->level : high.level;
        id += fields->id;
        level += fields->level;
        value += fields->value;
        squares += fields->value * fields->value;
        id_squares += (double)fields->id * (double)fields->id;
        level_squares += (double)fields->level * (double)fields->level;
    }
    if (settings->algorithm == ALGORITHM_MIN_MAX) {
        /* The flag is the last datum's; put_fields makes it of the id. */
        low.time = first->fields.time;
        struct fields both[2] = {low, high};
        for (int i = 0; i < 2; i++) {
            expect_decimated(&both[i]);
            uint8_t *made = (uint8_t *)(uintptr_t)stream->items[stream->count - 1].at;
            made[model.prefix_bytes] = (uint8_t)(last->fields.id & 1);
        }
        return;
    }
    if (settings->algorithm == ALGORITHM_AVERAGE) {
        flat.id = divide_nearest(id, count);
        flat.level = (int32_t)divide_nearest(level, count);
        flat.value = value / count;
    } else {
        flat.id = llround(sqrt(id_squares / count));
        flat.level = (int32_t)llround(sqrt(level_squares / count));
        flat.value = sqrt(squares / count);
    }
    expect_decimated(&flat);
    uint8_t *made = (uint8_t *)(uintptr_t)stream->items[stream->count - 1].at;
    made[model.prefix_bytes] = (uint8_t)(last->fields.id & 1);
}

static void pass_oversize(struct sent_stream *stream)
{
    while (stream->sent < stream->count && stream->items[stream->sent].bytes > 65507)
        stream->sent++;
}

static bool has_stream(enum stream stream)
{
    return stream == STREAM_FULL ? model.settings.full.family != 0
                                 : model.settings.decimated.family != 0;
}

void model_decimation(const struct staging *staging, enum algorithm algorithm, uint32_t factor)
{
    struct sent_stream *stream = &model.streams[STREAM_DECIMATED];
    bool again = staging_receiver(staging)->batches == model.batches;
    model.settings.algorithm = algorithm;
    model.settings.factor = factor;
    model.window = again ? model.call_expected : model.expected_count;
    if (!again || !has_stream(STREAM_DECIMATED))
        return;
    stream->count = stream->rewind; /* what is in flight is decimated anew */
    for (uint32_t end = model.call_expected + 1; end <= model.expected_count; end++)
        decimate(end);
}

void model_call(const struct staging *staging)
{
    model.batches = staging_receiver(staging)->batches;
    model.call_expected = model.expected_count;
    for (int i = 0; i < STREAMS && !model.loose; i++) {
        struct sent_stream *stream = &model.streams[i];
        pass_oversize(stream);
        if (has_stream((enum stream)i) && stream->sent != stream->count)
            fail("%s stream: the next batch is taken, but of the last %u have not been sent",
                 i == 0 ? "full" : "decimated", stream->count - stream->sent);
        stream->rewind = stream->count;
    }
}

/* By the set of all numbers of a run: they never stray from the newest by more than the window. */
static void note_sequence(int64_t sequence)
{
    static uint8_t seen[SEQUENCES_MAX];
    uint64_t at = (uint64_t)(sequence - ID_BASE) + SEQUENCES_BEFORE;
    if (at >= SEQUENCES_MAX)
        fail("sequence number %" PRId64 " is none that was made", sequence);
    if (!model.sequence_known) {
        memset(seen, 0, sizeof(seen));
        model.sequence_known = true;
        model.newest_sequence = model.first_sequence = sequence;
        model.missing_before = model.gaps;
        model.seen_sequences = 0;
    }
    model.duplicates += seen[at];
    model.reordered += !seen[at] && sequence < model.newest_sequence;
    model.seen_sequences += !seen[at];
    seen[at] = 1;
    if (sequence > model.newest_sequence)
        model.newest_sequence = sequence;
    if (sequence < model.first_sequence)
        model.first_sequence = sequence;
    model.gaps = model.missing_before + 1 - model.seen_sequences +
                 (uint64_t)(model.newest_sequence - model.first_sequence);
}

void model_handed(uint32_t number, uint64_t socket)
{
    struct datagram *datagram = &datagrams[number];
    datagram->handed = true;
    model.newest_datagrams = datagram->dropped_datagrams;
    model.newest_messages = datagram->dropped_messages;
    model.newest_socket = socket;
    model.received++;
    model.bytes += datagram->bytes.bytes;
    if (datagram->reason != REJECT_NONE) {
        model.reasons[datagram->reason]++;
        rejected_place[number] = model.rejected_count;
        rejected[model.rejected_count++] = number;
        return;
    }
    model.accepted++;
    struct sent_stream *full = &model.streams[STREAM_FULL];
    full->items[full->count++] = datagram->bytes;
    for (uint32_t i = 0; i < datagram->datum_count; i++) {
        struct datum *datum = &datums[datagram->first_datum + i];
        datum->position = model.expected_count;
        expected[model.expected_count++] =
            (struct expected){.datum = datagram->first_datum + i, .handed_ns = machine.now_ns};
        events.datums++;
        if (model.settings.encoding != ENCODING_OPAQUE)
            note_sequence(datum->fields.sequence);
        if (has_stream(STREAM_DECIMATED))
            decimate(model.expected_count);
    }
}

static bool is_same(struct span a, struct span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

void model_sent(enum stream index, struct span bytes, bool taken)
{
    struct sent_stream *stream = &model.streams[index];
    (void)taken;
    if (model.loose)
        return;
    pass_oversize(stream);
    if (stream->sent < stream->count && is_same(stream->items[stream->sent], bytes)) {
        stream->sent++;
        return;
    }
    fail("%s stream: %zu bytes were sent that are not the next, number %u of %u",
         index == STREAM_FULL ? "full" : "decimated", bytes.bytes, stream->sent, stream->count);
}

void model_life_ends(const struct staging *staging)
{
    if (model.loose || staging_receiver(staging)->batches != model.batches)
        return;
    /* The newest batch is not in force: it will be sent again, from its begin. */
    for (int i = 0; i < STREAMS; i++) {
        struct sent_stream *stream = &model.streams[i];
        if (!has_stream((enum stream)i))
            continue;
        events.sent_twice += stream->sent - stream->rewind;
        stream->sent = stream->rewind;
    }
}

void model_socket_lost(const struct staging *staging)
{
    struct counters counters;
    struct net_drops drops;
    const struct receiver_state *state = staging_receiver(staging);
    staging_read(staging, &counters);
    net_drops(&drops);
    if (model.newest_socket != drops.socket) /* it was handed over of the one before */
        model.newest_datagrams = model.newest_messages = 0;
    /* What is in flight tells of later drops than what has been counted. */
    if (model.dropped + model.newest_datagrams > counters.datagrams_dropped)
        model.dropped += model.newest_datagrams;
    else
        model.dropped = counters.datagrams_dropped;
    uint64_t seen = staging_dropped(state, drops.socket);
    if (seen < model.newest_messages)
        seen = model.newest_messages;
    model.dropped_least += seen / (drops.counted > drops.messages ? NET_SEGMENTS_MAX : 1);
    model.dropped_most += drops.datagrams * NET_SEGMENTS_MAX;
    model.newest_datagrams = model.newest_messages = 0;
}

void model_old_socket_closed(void)
{
    struct net_drops drops;
    uint32_t waiting;
    if (!net_old_socket(&drops, &waiting))
        return;
    model.dropped += drops.datagrams;
    model.dropped_least += drops.messages;
    model.dropped_most += drops.datagrams * NET_SEGMENTS_MAX;
    net_old_socket_closed();
}

/* Whether all drops are counted, as far as they can be told. */
static bool are_drops_counted(const struct staging *staging, const struct counters *counters)
{
    struct net_drops drops;
    const struct receiver_state *state = staging_receiver(staging);
    net_drops(&drops);
    if (model.drops_exact)
        return counters->datagrams_dropped == model.dropped + drops.datagrams;
    return state->sockets[SOCKET_RECEIVE].cookie == drops.socket &&
           state->sockets[SOCKET_RECEIVE].dropped == drops.counted &&
           counters->datagrams_dropped >= model.dropped_least + drops.messages &&
           counters->datagrams_dropped <= model.dropped_most + drops.datagrams * NET_SEGMENTS_MAX;
}

void model_harmed(void)
{
    model.harmed = true;
}

void model_inexact(void)
{
    model.exact = false;
}

void model_garbled(void)
{
    model.loose = true;
    model.exact = false;
}

static struct counters epoch_end;

void model_epoch_ends(const struct staging *staging)
{
    staging_read(staging, &epoch_end);
    model.epoch_expected = model.expected_count;
    model.received = 0;
}

void model_check_working(const struct staging *staging)
{
    struct counters now;
    staging_read(staging, &now);
    uint64_t accepted = model.expected_count - model.epoch_expected;
    must_be("received after the memory was garbled",
            now.datagrams_received - epoch_end.datagrams_received, model.received);
    must_be("accepted after it", now.datums_accepted - epoch_end.datums_accepted, accepted);
    if (model.settings.directory[0] != '\0')
        must_be("recorded after it", now.datums_recorded - epoch_end.datums_recorded, accepted);
}

/* ---- the files ---- */

struct walk {
    const char *name;
    bool rejects, ordered;
    uint32_t number; /* of the walk */
    int64_t newest;  /* position found last */
    uint64_t found_epoch, rejects_found_epoch;
    /* After a power cut a block of a torn file may have lost pages and yet end with its sync
     * marker: what stands there, and behind, is for `flotilla recover`. */
    bool tolerant, stopped, dry;
    bool mark_gone, early, stale, order_checked;
    size_t gone_from;                                /* blocks at or behind this byte */
    const uint8_t *bytes;                            /* of the file */
    uint64_t latest_ns[LANES], ordered_since[LANES]; /* of the blocks before this one */
    size_t block_at, block_bytes, alignment;         /* the block before, in this file, too */
};

static void is_wrong(struct walk *walk, const char *what)
{
    if (!walk->tolerant)
        fail("%s %s", walk->name, what);
    walk->stopped = true;
}

static void take_found(struct walk *walk, uint32_t index, const uint8_t *at, size_t bytes)
{
    const struct datum *datum = &datums[index];
    if (index >= model.datum_count || bytes != datum->body.bytes ||
        memcmp(at, datum->body.at, bytes) != 0) {
        is_wrong(walk, "holds a datum that was never sent");
        return;
    }
    if (walk->dry)
        return;
    if (datum->position == NOWHERE)
        fail("%s holds datum %u, which was never handed over", walk->name, index);
    struct expected *item = &expected[datum->position];
    events.datums_checked++;
    if (walk->mark_gone) {
        item->gone = true;
        return;
    }
    if (walk->ordered && !model.loose && !machine.truncate_failed) {
        if (item->seen == walk->number)
            fail("%s holds datum %u, which was found before, in %s", walk->name, index,
                 item->seen_in);
        if ((int64_t)datum->position <= walk->newest)
            fail("%s holds datum %u behind datum %u in %s", walk->name, index,
                 expected[walk->newest].datum, expected[walk->newest].seen_in);
    }
    walk->newest = datum->position;
    item->seen = walk->number;
    item->seen_in = walk->name;
    walk->found_epoch += datum->position >= model.epoch_expected;
}

static int64_t take_long(struct walk *walk, const uint8_t **at, const uint8_t *end)
{
    int64_t value = 0;
    if (!reader_long(at, end, &value))
        is_wrong(walk, "holds a datum that ends too early");
    return value;
}

/* Passes over what is sized; where it begins. */
static struct span take_sized(struct walk *walk, const uint8_t **at, const uint8_t *end)
{
    int64_t bytes = take_long(walk, at, end);
    if (bytes < 0 || bytes > end - *at) {
        is_wrong(walk, "holds a datum that runs over its block");
        bytes = 0;
    }
    struct span found = {*at, (size_t)bytes};
    *at += bytes;
    return found;
}

/* The datagram of these bytes in the message that begins with `first`; that one, if there is none.
 */
static uint32_t find_in_message(uint32_t first, struct span bytes)
{
    for (uint32_t i = first; i < model.datagram_count && i < first + NET_SEGMENTS_MAX &&
                             datagrams[i].arrival_ns == datagrams[first].arrival_ns;
         i++)
        if (is_same(datagrams[i].bytes, bytes))
            return i;
    return first;
}

static void walk_reject(struct walk *walk, const uint8_t **at, const uint8_t *end)
{
    uint64_t arrival = (uint64_t)take_long(walk, at, end);
    take_sized(walk, at, end);
    struct span reason = take_sized(walk, at, end);
    take_long(walk, at, end);
    struct span bytes = take_sized(walk, at, end);
    uint32_t number = arrival & 0xfffff;
    if (walk->stopped)
        return;
    number = number < model.datagram_count ? find_in_message(number, bytes) : DATAGRAMS_MAX - 1;
    const struct datagram *datagram = &datagrams[number];
    /* Garbled memory may call a datagram one that crashes relays. */
    static const char poison[] = "poison";
    bool poisoned =
        model.loose && is_same(reason, (struct span){(const uint8_t *)poison, strlen(poison)});
    if (number >= model.datagram_count || !datagram->handed ||
        (datagram->reason == REJECT_NONE && !poisoned) || arrival != datagram->arrival_ns ||
        !is_same(datagram->bytes, bytes)) {
        is_wrong(walk, "holds a reject that was not turned away");
        return;
    }
    const char *name = datum_reject_name((enum reject)datagram->reason);
    if (!poisoned && !is_same(reason, (struct span){(const uint8_t *)name, strlen(name)}))
        is_wrong(walk, "holds a reject for another reason");
    if (walk->mark_gone || walk->dry)
        return;
    if (walk->ordered && !model.loose && !machine.truncate_failed &&
        rejected_seen[number] == walk->number)
        fail("%s holds reject %u, which was found before", walk->name, number);
    rejected_seen[number] = walk->number;
    walk->rejects_found_epoch += rejected_place[number] >= model.epoch_rejected;
}

static void walk_datum(struct walk *walk, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *begin = *at;
    uint64_t index;
    if (model.settings.encoding == ENCODING_OPAQUE) {
        take_long(walk, at, end);
        take_sized(walk, at, end);
        struct span payload = take_sized(walk, at, end);
        uint32_t number = DATUMS_MAX - 1;
        if (payload.bytes >= sizeof(number))
            memcpy(&number, payload.at, sizeof(number));
        index = number;
    } else {
        *at += *at < end;
        take_long(walk, at, end);
        take_long(walk, at, end);
        index = (uint64_t)(take_long(walk, at, end) - ID_BASE);
        *at += end - *at < 8 ? end - *at : 8;
        take_long(walk, at, end);
        take_sized(walk, at, end);
    }
    if (!walk->stopped)
        take_found(walk, index < DATUMS_MAX ? (uint32_t)index : DATUMS_MAX - 1, begin,
                   (size_t)(*at - begin));
}

/* Arrival times rise in a file, and from file to file unless the later one says otherwise. */
static void walk_order(struct walk *walk, size_t at)
{
    struct block_info info;
    uint64_t *latest_ns = &walk->latest_ns[walk->rejects];
    if (block_read_front((struct span){walk->bytes + at, BLOCK_DATA_OFFSET}, &info) < 0) {
        is_wrong(walk, "has a block without a front");
        return;
    }
    if (walk->order_checked && walk->ordered_since[walk->rejects] == 0)
        is_wrong(walk, "does not say since when it is in order");
    events.order_checks++;
    if (info.place == 0) { /* then none in this file may note one, and the next begins an order */
        if (!walk->early)
            is_wrong(walk, "has a block that notes no place");
        *latest_ns = UINT64_MAX;
        events.unordered_checks++;
        return;
    }
    if (info.arrival_ns + BLOCK_DISORDER_NS < *latest_ns && !walk->stale)
        is_wrong(walk, "has a block that came in before those in front of it");
    if (info.arrival_ns > *latest_ns)
        *latest_ns = info.arrival_ns;
}

/* A file is laid out for one alignment, or from some block on for a smaller one: each block is as
 * long as it has to be for that. */
static void walk_length(struct walk *walk, size_t bytes, size_t at)
{
    size_t length = at - walk->block_at, multiple_of = length & ~(length - 1);
    if (walk->alignment == 0 || multiple_of < walk->alignment)
        walk->alignment = multiple_of;
    if (walk->block_bytes == 0)
        walk->alignment = 0; /* this is the first */
    else if (!model.loose && !machine.tail_stale &&
             block_finished_bytes(walk->block_bytes, walk->alignment) != length)
        is_wrong(walk, "has a block that is longer than it has to be");
    walk->block_at = at;
    walk->block_bytes = bytes;
}

static void walk_block(void *context, const uint8_t *data, size_t bytes, int64_t count, size_t at)
{
    struct walk *walk = context;
    if (walk->mark_gone && at < walk->gone_from)
        return;
    if (!walk->stopped && !walk->mark_gone) {
        walk_order(walk, at);
        walk_length(walk, bytes, at);
    }
    for (int pass = walk->tolerant ? 0 : 1; pass < 2 && !walk->stopped; pass++) {
        const uint8_t *from = data, *end = data + bytes;
        walk->dry = pass == 0;
        for (int64_t left = count; left > 0 && !walk->stopped; left--)
            if (walk->rejects)
                walk_reject(walk, &from, end);
            else
                walk_datum(walk, &from, end);
        if (!walk->stopped && from != end)
            is_wrong(walk, "has a block that holds more than its datums");
    }
}

static bool ends_with(const char *name, const char *end)
{
    size_t bytes = strlen(name);
    return bytes >= strlen(end) && strcmp(name + bytes - strlen(end), end) == 0;
}

static bool is_recording(const char *name, bool *rejects, uint64_t *number)
{
    *rejects = strstr(name, "-rejects.avro") != NULL;
    if (!ends_with(name, ".avro") && !ends_with(name, ".avro.part"))
        return false;
    const char *end = strstr(name, *rejects ? "-rejects.avro" : ".avro");
    const char *dash = end;
    while (dash > name && dash[-1] != '-')
        dash--;
    *number = strtoull(dash, NULL, 10);
    return true;
}

static int by_number(const void *a, const void *b)
{
    const struct disk_file *one = a, *other = b;
    uint64_t first = 0, second = 0;
    bool rejects;
    is_recording(one->name, &rejects, &first);
    is_recording(other->name, &rejects, &second);
    return first < second ? -1 : first > second ? 1 : strcmp(one->name, other->name);
}

/* Begins a file: the order of the files before it goes on where its header says so. */
static void open_order(struct walk *walk, const uint8_t *bytes, size_t count)
{
    static const char key[] = "flotilla.ordered_since";
    const uint8_t *at = count == 0 ? NULL : memmem(bytes, count, key, sizeof(key) - 1);
    uint64_t since = 0;
    walk->bytes = bytes;
    walk->block_bytes = 0;
    if (at != NULL) /* behind it the text's length, which is one byte here */
        since = strtoull((const char *)at + sizeof(key), NULL, 10);
    if (since != walk->ordered_since[walk->rejects])
        walk->latest_ns[walk->rejects] = 0;
    walk->ordered_since[walk->rejects] = since;
}

/* Walks all files, or those that a power cut would leave. */
static void walk_all(struct walk *walk, bool durable)
{
    static struct disk_file files[FILES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; count < FILES_MAX && disk_file_at(i, &files[count]); i++) {
        bool rejects;
        uint64_t number;
        if (is_recording(files[count].name, &rejects, &number) &&
            (!durable || disk_is_name_durable(files[count].name)))
            count++;
    }
    qsort(files, count, sizeof(files[0]), by_number);
    walk->number = ++model.walk;
    walk->newest = -1;
    walk->order_checked = true;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number;
        walk->name = files[i].name;
        is_recording(walk->name, &walk->rejects, &number);
        size_t bytes = durable ? files[i].durable_count : files[i].count;
        /* Under its final name a file is whole, whatever failed while it was made. */
        bool final = !ends_with(walk->name, ".part");
        walk->tolerant = final && !durable ? files[i].harmed : files[i].torn;
        walk->stopped = false;
        walk->early = files[i].early;
        const uint8_t *data = durable ? files[i].durable : files[i].bytes;
        open_order(walk, data, bytes);
        size_t whole = reader_walk(data, bytes, walk_block, walk);
        /* A block that is given up may leave behind it what a killed relay wrote of later ones. */
        if (whole != bytes && !durable && !walk->tolerant &&
            (final || !(model.loose || machine.tail_stale)))
            fail("%s is whole up to byte %zu of %zu only", walk->name, whole, bytes);
    }
}

void model_look(void)
{
    struct disk_file file;
    bool rejects;
    uint64_t number;
    for (uint32_t i = 0; disk_file_at(i, &file); i++) {
        if (!is_recording(file.name, &rejects, &number) || !ends_with(file.name, ".part"))
            continue;
        struct walk walk = {.name = file.name,
                            .rejects = rejects,
                            .ordered = true,
                            .number = ++model.walk,
                            .newest = -1,
                            .bytes = file.bytes,
                            .early = file.early,
                            .stale = machine.tail_stale,
                            .tolerant = file.torn};
        size_t whole = reader_walk(file.bytes, file.count, walk_block, &walk);
        if (whole != file.count && !file.torn && !model.loose && !machine.tail_stale)
            fail("%s can be read up to byte %zu of %zu only", file.name, whole, file.count);
        events.open_file_checks++;
    }
}

void model_file_lost(const char *name, size_t bytes)
{
    struct disk_file file;
    uint64_t number;
    for (uint32_t i = 0; disk_file_at(i, &file); i++)
        if (strcmp(file.name, name) == 0) {
            struct walk walk = {.name = name, .mark_gone = true, .tolerant = true};
            /* A block that is cut is gone as well. */
            walk.gone_from = bytes < 262144 * 2 ? 0 : bytes - 262144 * 2;
            if (is_recording(name, &walk.rejects, &number))
                reader_walk(file.bytes, file.count, walk_block, &walk);
        }
    model.exact = false;
}

/* ---- counters ---- */

static void read_lane(const struct staging *staging, enum lane_index lane,
                      struct writer_state *state)
{
    lane_copy_writer(&staging->lanes[lane], state);
}

uint64_t model_oldest_ns(const struct staging *staging)
{
    struct counters counters;
    if (model.loose)
        return 0;
    staging_read(staging, &counters);
    uint64_t done = model.epoch_expected + counters.datums_recorded + counters.datums_unrecorded;
    return done >= model.expected_count ? 0 : machine.now_ns - expected[done].handed_ns;
}

bool model_is_settled(const struct staging *staging)
{
    struct counters counters;
    struct writer_state rejects;
    staging_read(staging, &counters);
    read_lane(staging, LANE_REJECTS, &rejects);
    if (model.loose)
        return true;
    return counters.datagrams_received == model.received && counters.unsynced_datums == 0 &&
           are_drops_counted(staging, &counters) &&
           counters.rejects_kept == rejects.datums_recorded + rejects.datums_unrecorded;
}

void model_fail_unsettled(const struct staging *staging, uint64_t waited_ns)
{
    struct counters counters;
    struct writer_state rejects;
    staging_read(staging, &counters);
    read_lane(staging, LANE_REJECTS, &rejects);
    struct net_drops drops;
    net_drops(&drops);
    fail("not all is accounted for %.3f s after the last fault: received %" PRIu64 " of %" PRIu64
         ", dropped %" PRIu64 " of %" PRIu64 ", %" PRIu64 " datums neither recorded nor unrecorded"
         ", rejects %" PRIu64 " + %" PRIu64 " of %" PRIu64,
         (double)waited_ns / 1e9, counters.datagrams_received, model.received,
         counters.datagrams_dropped,
         (model.drops_exact ? model.dropped : model.dropped_least) + drops.datagrams,
         counters.unsynced_datums, rejects.datums_recorded, rejects.datums_unrecorded,
         counters.rejects_kept);
}

/* Of what was found or taken away by somebody, in this epoch. */
static uint64_t there_in_epoch(uint32_t walk)
{
    uint64_t there = 0;
    for (uint32_t i = model.epoch_expected; i < model.expected_count; i++)
        there += expected[i].seen == walk || expected[i].gone;
    return there;
}

static void check_streams(const struct counters *counters)
{
    uint64_t attempts = 0;
    for (int i = 0; i < STREAMS; i++) {
        struct sent_stream *stream = &model.streams[i];
        if (!has_stream((enum stream)i))
            continue;
        pass_oversize(stream);
        must_be(i == 0 ? "sent in full" : "sent decimated", stream->sent, stream->count);
        attempts += stream->count - (i == 0 ? model.epoch_full : model.epoch_decimated);
    }
    must_be("sent and errors",
            counters->datagrams_sent_full + counters->datums_sent_decimated + counters->send_errors,
            attempts);
}

static void check_counters(const struct staging *staging, const struct walk *walk)
{
    struct counters counters;
    struct writer_state rejects;
    staging_read(staging, &counters);
    read_lane(staging, LANE_REJECTS, &rejects);
    must_be("datagrams_received", counters.datagrams_received, model.received);
    must_be("datagrams_accepted", counters.datagrams_accepted, model.accepted);
    must_be("datagrams_rejected", counters.datagrams_rejected, model.received - model.accepted);
    for (int i = 0; i < REJECT_REASONS; i++)
        must_be(datum_reject_name((enum reject)i), counters.rejected[i], model.reasons[i]);
    if (!are_drops_counted(staging, &counters))
        fail("datagrams_dropped: %" PRIu64, counters.datagrams_dropped);
    must_be("bytes_received", counters.bytes_received, model.bytes);
    if (!machine.schema_changed) /* a batch in flight may be taken again by the next */
        must_be("sequence_gaps", counters.sequence_gaps, model.gaps);
    if (!machine.schema_changed) {
        must_be("sequence_reordered", counters.sequence_reordered, model.reordered);
        must_be("sequence_duplicates", counters.sequence_duplicates, model.duplicates);
    }
    uint64_t errors = 0;
    for (int cause = 0; cause < NET_SEND_CAUSES; cause++)
        errors += counters.send_errors_by[cause];
    must_be("send_errors by cause", errors, counters.send_errors);
    uint64_t accepted = model.expected_count - model.epoch_expected;
    must_be("datums_accepted", counters.datums_accepted, accepted);
    must_be("datums_recorded + datums_unrecorded",
            counters.datums_recorded + counters.datums_unrecorded, accepted);
    check_streams(&counters);
    if (model.exact) {
        must_be("datums found in the files, of those recorded", walk->found_epoch,
                counters.datums_recorded);
        must_be("rejects found in the files, of those recorded", walk->rejects_found_epoch,
                rejects.datums_recorded);
    } else if (!model.harmed && !machine.page_torn &&
               there_in_epoch(walk->number) < counters.datums_recorded) {
        fail("%" PRIu64 " datums are recorded, %" PRIu64 " are in the files",
             counters.datums_recorded, there_in_epoch(walk->number));
    }
    events.datums_unrecorded += counters.datums_unrecorded;
    events.rejects_kept += counters.rejects_kept;
}

/* At rest a lane keeps the slot it fills, and all others have given their memory back. */
static void check_slots(const struct staging *staging)
{
    uint32_t touched = 0;
    for (uint32_t slot = 0; slot < staging->slot_count; slot++) {
        const uint8_t *at = staging->slots + (size_t)slot * BLOCK_BYTES_MAX;
        for (size_t i = 0; i < BLOCK_PAGE_BYTES; i++)
            if (at[i] != 0) {
                touched++;
                break;
            }
    }
    if (touched > LANES)
        fail("%u slots hold memory at rest", touched);
}

void model_check(const struct staging *staging)
{
    struct walk walk = {.ordered = true};
    walk_all(&walk, false);
    events.quiet_checks++;
    if (model.loose)
        return;
    for (uint32_t i = 0; i < model.epoch_expected; i++)
        if (expected[i].must && !expected[i].gone && expected[i].seen != walk.number)
            fail("datum %u was on the disk when the memory was lost, and is in no file",
                 expected[i].datum);
    check_counters(staging, &walk);
    check_slots(staging);
}

void model_check_ended(void)
{
    struct disk_file file;
    for (uint32_t i = 0;
         model.settings.directory[0] != '\0' && !model.loose && disk_file_at(i, &file); i++)
        if (ends_with(file.name, ".part"))
            fail("%s was left open", file.name);
}

void model_memory_lost(const struct staging *staging, bool power)
{
    struct walk now = {.ordered = true}, durable = {0};
    struct counters counters;
    staging_read(staging, &counters);
    if (power) {
        walk_all(&durable, true);
        uint64_t there = there_in_epoch(durable.number);
        if (!model.loose && !model.harmed && !machine.page_torn && there < counters.datums_recorded)
            fail("%" PRIu64 " datums are recorded, %" PRIu64 " survive a power cut",
                 counters.datums_recorded, there);
        for (uint32_t i = 0; i < model.expected_count; i++)
            expected[i].must = (expected[i].must || i >= model.epoch_expected) &&
                               expected[i].seen == durable.number;
    }
    walk_all(&now, false);
    for (uint32_t i = model.epoch_expected; i < model.expected_count; i++)
        expected[i].must = (expected[i].must || !power) && expected[i].seen == now.number;
    model.epoch_expected = model.expected_count;
    model.epoch_rejected = model.rejected_count;
    model.received = model.accepted = model.bytes = model.gaps = 0;
    model.missing_before = model.reordered = model.duplicates = 0;
    model.dropped = model.dropped_least = model.dropped_most = 0;
    model.newest_datagrams = model.newest_messages = 0;
    model.harmed = false;
    memset(model.reasons, 0, sizeof(model.reasons));
    model.sequence_known = false;
    model.window = model.expected_count;
    model.exact = true;
    for (int i = 0; i < STREAMS; i++)
        model.streams[i].sent = model.streams[i].rewind = model.streams[i].count;
    model.batches = 0;
    model.call_expected = model.expected_count;
    model.epoch_full = model.streams[STREAM_FULL].count;
    model.epoch_decimated = model.streams[STREAM_DECIMATED].count;
}
