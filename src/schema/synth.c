/* SPDX-License-Identifier: MIT
 * A datum is one walk down the schema. Each place in it has a number of its own (a hash of the way
 * to it and the seed), from which its frequency, size and phase follow; nothing is kept per place.
 * Optional content ends with depth and with size, so recursion ends: from then on every union takes
 * its shallowest branch, and arrays and maps are empty. */
#include "schema/synth.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/varint.h"

#define SYNTH_FREE_BYTES  1000u /* beyond this much of a datum nothing optional is added */
#define SYNTH_FREE_LEVELS 12u
#define SYNTH_NULL_EVERY  7u
#define NS_PER_SECOND     1000000000ull

struct synth {
    const struct schema *root;
    const struct layout *layout;
    uint64_t seed;
    uint64_t number; /* of the datum, from 0 */
    uint64_t first_ns, now_ns;
    bool frugal; /* nothing optional in this datum at all */
    uint8_t *start, *at, *end;
};

struct synth *synth_new(const struct schema_file *file, const struct layout *layout, uint64_t seed)
{
    struct synth *synth = calloc(1, sizeof(*synth));
    if (synth != NULL) {
        synth->root = schema_root(file);
        synth->layout = layout;
        synth->seed = seed;
    }
    return synth;
}

void synth_free(struct synth *synth)
{
    free(synth);
}

/* splitmix64's finisher (Steele, Lea, Flood 2014): spreads any two numbers over 64 bits. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a + 0x9e3779b97f4a7c15ull * (b + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static int put(struct synth *synth, const void *bytes, size_t count)
{
    if (count > (size_t)(synth->end - synth->at))
        return -ENOSPC;
    if (count > 0)
        memcpy(synth->at, bytes, count);
    synth->at += count;
    return 0;
}

static int put_long(struct synth *synth, int64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    return put(synth, bytes, varint_write(bytes, value));
}

static int put_text(struct synth *synth, const char *text, size_t bytes)
{
    int status = put_long(synth, (int64_t)bytes);
    return status < 0 ? status : put(synth, text, bytes);
}

static double elapsed_s(const struct synth *synth)
{
    return (double)(int64_t)(synth->now_ns - synth->first_ns) / 1e9;
}

/* A number from -1 to 1 that only hangs on these two. */
static double chance_of(uint64_t place, uint64_t number)
{
    return (double)(mix(place, number) >> 11) * 0x1p-52 - 1;
}

static double wave(double turns)
{
    return sin(turns * 6.283185307179586);
}

/* From level to level, each held for a while, as what is steered does. */
static double steps(uint64_t place, double turns)
{
    double since = turns - floor(turns);
    uint64_t step = (uint64_t)(int64_t)floor(turns);
    double before = chance_of(place, step - 1), level = chance_of(place, step);
    return level + (before - level) * exp(-12 * since);
}

/* Slow waves, ramps or steps, with quicker and smaller waves on them, a little noise, and now and
 * then a spike of 20 ms: periods in seconds, whatever the rate. */
static double signal_of(const struct synth *synth, uint64_t place, double amplitude)
{
    double seconds = elapsed_s(synth);
    double frequency = 0.02 * (double)(1u << (place % 4)) * (1 + (double)(place >> 40 & 15) / 32);
    double turns = seconds * frequency + (double)(place >> 8 & 1023) / 1024;
    double size = amplitude * (1 + (double)(place >> 20 & 7)) / 8, value;
    switch (place >> 30 & 3) {
    case 0:
        value = 1.6 * (turns - floor(turns)) - 0.8;
        break;
    case 1:
        value = 0.8 * steps(place, turns);
        break;
    default:
        value = 0.65 * wave(turns) + 0.15 * wave(turns * 5.3);
    }
    value += 0.03 * wave(seconds * (0.7 + (double)(place >> 44 & 7) / 4));
    value += 0.015 * chance_of(place, synth->number);
    double spike = 20 + 10 * chance_of(place, (uint64_t)(int64_t)floor(seconds / 40));
    double beside = seconds - 40 * floor(seconds / 40) - spike;
    if (beside >= 0 && beside < 0.02)
        value += (place >> 34 & 1) != 0 ? 0.5 : -0.5;
    return size * value;
}

static bool is_logical(const struct schema *type, const char *name)
{
    return type->logical != NULL && strcmp(type->logical, name) == 0;
}

/* The instant in the unit of the type's logical type; false if it has none that is about time. */
static bool instant_of(const struct synth *synth, const struct schema *type, int64_t *value)
{
    const char *logical = type->logical;
    uint64_t now = synth->now_ns, day = now % (86400 * NS_PER_SECOND);
    if (logical == NULL)
        return false;
    if (strncmp(logical, "local-", 6) == 0)
        logical += 6;
    if (type->kind == LAYOUT_INT) {
        if (strcmp(logical, "date") == 0)
            *value = (int64_t)(now / (86400 * NS_PER_SECOND));
        else if (strcmp(logical, "time-millis") == 0)
            *value = (int64_t)(day / 1000000);
        else
            return false;
        return true;
    }
    if (strcmp(logical, "timestamp-millis") == 0)
        *value = (int64_t)(now / 1000000);
    else if (strcmp(logical, "timestamp-micros") == 0)
        *value = (int64_t)(now / 1000);
    else if (strcmp(logical, "timestamp-nanos") == 0)
        *value = (int64_t)now;
    else if (strcmp(logical, "time-micros") == 0)
        *value = (int64_t)(day / 1000);
    else if (strcmp(logical, "time-nanos") == 0)
        *value = (int64_t)day;
    else
        return false;
    return true;
}

static int put_integer(struct synth *synth, const struct schema *type, uint64_t place,
                       uint32_t leaf)
{
    int64_t value;
    bool is_int = type->kind == LAYOUT_INT;
    if (leaf != LAYOUT_NO_LEAF && leaf == synth->layout->sequence_leaf)
        value = is_int ? (int64_t)(int32_t)(uint32_t)synth->number : (int64_t)synth->number;
    else if (instant_of(synth, type, &value))
        ;
    else if (leaf != LAYOUT_NO_LEAF && leaf == synth->layout->time_leaf)
        value = is_int ? (int64_t)(int32_t)(uint32_t)((synth->now_ns - synth->first_ns) / 1000000)
                       : (int64_t)synth->now_ns;
    else
        value = llround(signal_of(synth, place, is_int ? 1000 : 1000000));
    return put_long(synth, value);
}

static int put_real(struct synth *synth, const struct schema *type, uint64_t place, uint32_t leaf)
{
    double value = signal_of(synth, place, 100);
    if (leaf != LAYOUT_NO_LEAF && leaf == synth->layout->time_leaf)
        value = type->kind == LAYOUT_FLOAT ? elapsed_s(synth) : (double)synth->now_ns / 1e9;
    if (type->kind == LAYOUT_FLOAT) {
        float narrow = (float)value;
        return put(synth, &narrow, sizeof(narrow));
    }
    return put(synth, &value, sizeof(value));
}

static int put_string(struct synth *synth, const struct schema *type, uint64_t place)
{
    static const char *const words[] = {"ok",    "idle",    "warm-up", "cruise", "hold",
                                        "climb", "landing", "37.5 °C", "",       "≥ limit"};
    char text[64];
    if (is_logical(type, "uuid")) {
        uint64_t high = mix(place, synth->number), low = mix(high, 1);
        int bytes =
            snprintf(text, sizeof(text), "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(high >> 32),
                     (unsigned)(high & 0xffff), (unsigned)(high >> 16 & 0xfff),
                     (unsigned)(low & 0xfff), (unsigned long long)(low >> 16));
        return put_text(synth, text, (size_t)bytes);
    }
    const char *word = words[(place + synth->number / 10) % (sizeof(words) / sizeof(words[0]))];
    return put_text(synth, word, strlen(word));
}

/* Bytes that are a small number in two's complement, big end first, as logical type decimal wants
 * them; fit for anything else too. */
static void fill_number(struct synth *synth, uint64_t place, uint8_t *bytes, size_t count)
{
    int64_t value = llround(signal_of(synth, place, 100));
    for (size_t i = count; i-- > 0; value >>= 8) /* of a negative number: fills with ones */
        bytes[i] = (uint8_t)value;
}

static int put_bytes(struct synth *synth, const struct schema *type, uint64_t place)
{
    uint8_t bytes[8];
    size_t count = is_logical(type, "decimal") ? 2 : 1 + (place + synth->number) % sizeof(bytes);
    fill_number(synth, place, bytes, count);
    return put_text(synth, (const char *)bytes, count);
}

static int put_fixed(struct synth *synth, const struct schema *type, uint64_t place)
{
    if (type->count > (size_t)(synth->end - synth->at))
        return -ENOSPC;
    fill_number(synth, place, synth->at, type->count);
    synth->at += type->count;
    return 0;
}

static bool is_frugal(const struct synth *synth, uint32_t depth)
{
    return synth->frugal || depth >= SYNTH_FREE_LEVELS ||
           synth->at - synth->start > (long)SYNTH_FREE_BYTES;
}

/* An enum without symbols or a union without branches, as a foreign file's schema may have. */
static bool is_impossible(const struct schema *type)
{
    return (type->kind == LAYOUT_ENUM || type->kind == LAYOUT_UNION) && type->count == 0;
}

/* How many leaves stand below link `i` of a record or union. */
static uint32_t leaves_of(const struct synth *synth, const struct schema *type, uint32_t i)
{
    uint32_t link = synth->layout->links[synth->layout->nodes[type->node].first + i];
    return link & LAYOUT_LINK_UNNUMBERED ? 0 : synth->layout->nodes[link].leaves;
}

/* The branch that leads to the time or the sequence, or -1: a null there would look like a gap. */
static int64_t needed_branch(const struct synth *synth, const struct schema *type, uint32_t leaf)
{
    for (uint32_t i = 0; leaf != LAYOUT_NO_LEAF && i < type->count; i++) {
        uint32_t leaves = leaves_of(synth, type, i);
        if (synth->layout->time_leaf - leaf < leaves ||
            synth->layout->sequence_leaf - leaf < leaves)
            return i;
        leaf += leaves;
    }
    return -1;
}

static uint32_t choose_branch(const struct synth *synth, const struct schema *type, uint64_t place,
                              uint32_t leaf, uint32_t depth)
{
    uint32_t shallowest = 0, null_branch = UINT32_MAX, chosen;
    for (uint32_t i = 0; i < type->count; i++) {
        if (type->branches[i]->levels < type->branches[shallowest]->levels)
            shallowest = i;
        if (type->branches[i]->kind == LAYOUT_NULL)
            null_branch = i;
    }
    int64_t needed = needed_branch(synth, type, leaf);
    bool none_else = null_branch != UINT32_MAX && type->count == 2 &&
                     is_impossible(type->branches[1 - null_branch]);
    uint64_t turn = place % SYNTH_NULL_EVERY + synth->number;
    if (needed >= 0)
        chosen = (uint32_t)needed;
    else if (none_else)
        return null_branch;
    else if (is_frugal(synth, depth))
        chosen = shallowest;
    else if (null_branch == UINT32_MAX)
        chosen = (uint32_t)(turn % type->count);
    else if (turn % SYNTH_NULL_EVERY == 0 || type->count == 1)
        chosen = null_branch;
    else {
        chosen = (uint32_t)(turn % (type->count - 1));
        chosen += chosen >= null_branch;
    }
    /* The shallowest always fits, see levels in schema.h. */
    return type->branches[chosen]->levels + depth <= LAYOUT_DEPTH_MAX ? chosen : shallowest;
}

static int put_type(struct synth *synth, const struct schema *type, uint64_t place, uint32_t leaf,
                    uint32_t depth);

static int put_items(struct synth *synth, const struct schema *type, uint64_t place, uint32_t depth)
{
    uint32_t variety = type->kind == LAYOUT_MAP ? 3 : 4;
    uint32_t count = (uint32_t)((place + synth->number) % variety);
    /* An item deeper than a datum may be cannot be there at all. */
    if (is_frugal(synth, depth + 1) || type->items->levels + depth + 1 > LAYOUT_DEPTH_MAX)
        count = 0;
    int status = count > 0 ? put_long(synth, count) : 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        if (type->kind == LAYOUT_MAP) {
            char key[2] = {'k', (char)('a' + i)};
            status = put_text(synth, key, sizeof(key));
        }
        if (status == 0)
            status = put_type(synth, type->items, mix(place, i), LAYOUT_NO_LEAF, depth + 1);
    }
    return status == 0 ? put_long(synth, 0) : status;
}

/* Writes child `i` of a record or union; `*leaf` is the first leaf of it. */
static int put_child(struct synth *synth, const struct schema *type, uint32_t i,
                     const struct schema *child, uint64_t place, uint32_t leaf, uint32_t depth)
{
    uint32_t link = synth->layout->links[synth->layout->nodes[type->node].first + i];
    if (link & LAYOUT_LINK_UNNUMBERED)
        leaf = LAYOUT_NO_LEAF;
    return put_type(synth, child, mix(place, i), leaf, depth + 1);
}

static int put_type(struct synth *synth, const struct schema *type, uint64_t place, uint32_t leaf,
                    uint32_t depth)
{
    uint8_t boolean;
    uint32_t branch;
    int status = 0;
    switch (type->kind) {
    case LAYOUT_NULL:
        return 0;
    case LAYOUT_BOOLEAN:
        boolean = (uint8_t)((synth->number / 5 + place) & 1);
        return put(synth, &boolean, 1);
    case LAYOUT_INT:
    case LAYOUT_LONG:
        return put_integer(synth, type, place, leaf);
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        return put_real(synth, type, place, leaf);
    case LAYOUT_BYTES:
        return put_bytes(synth, type, place);
    case LAYOUT_STRING:
        return put_string(synth, type, place);
    case LAYOUT_FIXED:
        return put_fixed(synth, type, place);
    case LAYOUT_ENUM:
        if (is_impossible(type))
            return -EINVAL;
        return put_long(synth, (int64_t)((place % type->count + synth->number) % type->count));
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return put_items(synth, type, place, depth);
    case LAYOUT_UNION:
        if (is_impossible(type))
            return -EINVAL;
        branch = choose_branch(synth, type, place, leaf, depth + 1);
        status = put_long(synth, branch);
        for (uint32_t i = 0; leaf != LAYOUT_NO_LEAF && i < branch; i++)
            leaf += leaves_of(synth, type, i);
        if (status < 0)
            return status;
        return put_child(synth, type, branch, type->branches[branch], place, leaf, depth);
    default: /* LAYOUT_RECORD */
        for (uint32_t i = 0; status == 0 && i < type->count; i++) {
            status = put_child(synth, type, i, type->fields[i].type, place, leaf, depth);
            if (leaf != LAYOUT_NO_LEAF)
                leaf += leaves_of(synth, type, i);
        }
        return status;
    }
}

long synth_datum(struct synth *synth, uint64_t realtime_ns, uint8_t *out, size_t room)
{
    if (synth->number == 0)
        synth->first_ns = realtime_ns;
    synth->now_ns = realtime_ns;
    int status = -ENOSPC;
    for (int attempt = 0; attempt < 2 && status == -ENOSPC; attempt++) {
        synth->frugal = attempt > 0;
        synth->start = synth->at = out;
        synth->end = out + room;
        status = put_type(synth, synth->root, mix(synth->seed, 0), 0, 0);
    }
    synth->number++;
    return status < 0 ? status : synth->at - synth->start;
}
