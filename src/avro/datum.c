/* SPDX-License-Identifier: MIT
 * The walk over one datum. Relies on a layout that layout_load has proved sound.
 * One recursive function, inlined twice: with and without the list of leaves. Each step of depth is
 * counted, so the stack it takes is bounded (about 130 bytes a level). In front of it the layout's
 * steps, which only tell whether a datum is sound; what is not is walked again for the reason. */
#include "avro/datum.h"

#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "base/varint.h"

static const char *const reject_names[REJECT_REASONS] = {
    [REJECT_NONE] = "none",
    [REJECT_TRUNCATED] = "truncated",
    [REJECT_TRAILING] = "trailing",
    [REJECT_VARINT] = "varint",
    [REJECT_BOOLEAN] = "boolean",
    [REJECT_LENGTH] = "length",
    [REJECT_UTF8] = "utf8",
    [REJECT_ENUM] = "enum",
    [REJECT_UNION] = "union",
    [REJECT_COUNT] = "count",
    [REJECT_BLOCK_SIZE] = "block_size",
    [REJECT_DEPTH] = "depth",
    [REJECT_EMPTY] = "empty",
    [REJECT_OVERSIZE] = "oversize",
    [REJECT_SOURCE] = "source",
    [REJECT_FRAMING] = "framing",
    [REJECT_FINGERPRINT] = "fingerprint",
    [REJECT_SCHEMA_ID] = "schema_id",
    [REJECT_POISON] = "poison",
};

const char *datum_reject_name(enum reject reason)
{
    return reason < REJECT_REASONS ? reject_names[reason] : "unknown";
}

struct walk {
    const struct layout *layout;
    const uint8_t *start, *at, *end;
    uint64_t empty_items;
    struct leaf *leaves; /* NULL: not wanted */
    uint32_t leaf_count;
};

static inline enum reject walk_long(struct walk *walk, int64_t *value)
{
    if (walk->at < walk->end && *walk->at < 0x80) { /* most are one byte */
        *value = (int64_t)(*walk->at >> 1) ^ -(int64_t)(*walk->at & 1);
        walk->at++;
        return REJECT_NONE;
    }
    int bytes = varint_read(walk->at, walk->end, value);
    if (bytes <= 0)
        return bytes == 0 ? REJECT_TRUNCATED : REJECT_VARINT;
    walk->at += bytes;
    return REJECT_NONE;
}

/* An int is at most five bytes long and fits 32 bits; some readers fail on longer forms. */
static inline enum reject walk_int(struct walk *walk, int64_t *value)
{
    const uint8_t *first = walk->at;
    enum reject reason = walk_long(walk, value);
    if (reason == REJECT_NONE &&
        (walk->at - first > 5 || *value < INT32_MIN || *value > INT32_MAX)) {
        walk->at = first;
        return REJECT_VARINT;
    }
    return reason;
}

static inline enum reject walk_skip(struct walk *walk, uint64_t bytes)
{
    if (bytes > (uint64_t)(walk->end - walk->at))
        return REJECT_TRUNCATED;
    walk->at += bytes;
    return REJECT_NONE;
}

static enum reject walk_length(struct walk *walk, const uint8_t **content)
{
    int64_t length;
    const uint8_t *first = walk->at;
    enum reject reason = walk_long(walk, &length);
    if (reason != REJECT_NONE)
        return reason;
    if (length < 0) {
        walk->at = first;
        return REJECT_LENGTH;
    }
    *content = walk->at;
    return walk_skip(walk, (uint64_t)length);
}

static enum reject walk_string(struct walk *walk)
{
    const uint8_t *content;
    enum reject reason = walk_length(walk, &content);
    if (reason == REJECT_NONE && !utf8_valid(content, walk->at)) {
        walk->at = content;
        return REJECT_UTF8;
    }
    return reason;
}

static inline void walk_note_leaf(struct walk *walk, const struct layout_node *node, uint32_t index,
                                  const uint8_t *first, int64_t integer, double real)
{
    struct leaf *leaf = &walk->leaves[walk->leaf_count++];
    leaf->index = index;
    leaf->offset = (uint32_t)(first - walk->start);
    leaf->bytes = (uint8_t)(walk->at - first);
    leaf->kind = node->kind;
    if (node->kind == LAYOUT_INT || node->kind == LAYOUT_LONG)
        leaf->value.integer = integer;
    else
        leaf->value.real = real;
}

static void walk_note_missing(struct walk *walk, const struct layout_node *node, uint32_t first,
                              const uint8_t *branch)
{
    walk->leaves[walk->leaf_count++] = (struct leaf){
        .index = LEAF_MISSING,
        .offset = (uint32_t)(branch - walk->start),
        .bytes = (uint8_t)(walk->at - branch),
        .kind = LAYOUT_NULL,
        .value.missing = {(uint32_t)(node - walk->layout->nodes), first},
    };
}

static enum reject walk_node(struct walk *walk, uint32_t node_index, uint32_t depth, uint32_t leaf,
                             bool listing);

static enum reject walk_items(struct walk *walk, const struct layout_node *node, uint32_t depth)
{
    uint32_t item = walk->layout->links[node->first] & ~LAYOUT_LINK_UNNUMBERED;
    uint64_t item_bytes = (node->kind == LAYOUT_MAP ? 1 : 0) + walk->layout->nodes[item].min_bytes;
    for (;;) {
        const uint8_t *first = walk->at, *block_end = NULL;
        int64_t count, bytes;
        enum reject reason = walk_long(walk, &count);
        if (reason != REJECT_NONE)
            return reason;
        if (count == 0)
            return REJECT_NONE;
        if (count < 0) {
            if (count == INT64_MIN) {
                walk->at = first;
                return REJECT_COUNT;
            }
            count = -count;
            reason = walk_long(walk, &bytes);
            if (reason != REJECT_NONE)
                return reason;
            if (bytes < 0 || bytes > walk->end - walk->at) {
                walk->at = first;
                return REJECT_BLOCK_SIZE;
            }
            block_end = walk->at + bytes;
        }
        if (item_bytes == 0) {
            if ((uint64_t)count > walk->layout->empty_items_max - walk->empty_items) {
                walk->at = first;
                return REJECT_COUNT;
            }
        } else if ((uint64_t)count > (uint64_t)(walk->end - walk->at) / item_bytes) {
            walk->at = first;
            return REJECT_COUNT;
        }
        for (int64_t i = 0; i < count; i++) {
            const uint8_t *before = walk->at;
            if (node->kind == LAYOUT_MAP) {
                reason = walk_string(walk);
                if (reason != REJECT_NONE)
                    return reason;
            }
            reason = walk_node(walk, item, depth + 1, 0, false);
            if (reason != REJECT_NONE)
                return reason;
            if (walk->at == before) { /* as will all that follow be, from the same place */
                walk->empty_items += (uint64_t)(count - i);
                if (walk->empty_items > walk->layout->empty_items_max)
                    return REJECT_COUNT;
                break;
            }
        }
        if (block_end != NULL && walk->at != block_end) {
            walk->at = first;
            return REJECT_BLOCK_SIZE;
        }
    }
}

/* What holds others: `node` is an array, a map, a union or a record. */
static enum reject walk_inside(struct walk *walk, const struct layout_node *node, uint32_t depth,
                               uint32_t leaf, bool listing)
{
    const struct layout *layout = walk->layout;
    const uint8_t *first = walk->at;
    enum reject reason;
    int64_t integer;

    if (depth >= LAYOUT_DEPTH_MAX)
        return REJECT_DEPTH;
    switch (node->kind) {
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return walk_items(walk, node, depth);
    case LAYOUT_UNION: {
        reason = walk_long(walk, &integer);
        if (reason != REJECT_NONE)
            return reason;
        if (integer < 0 || integer >= (int64_t)node->count) {
            walk->at = first;
            return REJECT_UNION;
        }
        uint32_t link = layout->links[node->first + integer];
        if (listing && node->leaves > 0 &&
            layout->nodes[link & ~LAYOUT_LINK_UNNUMBERED].kind == LAYOUT_NULL) {
            walk_note_missing(walk, node, leaf, first);
            return REJECT_NONE;
        }
        if (listing)
            for (int64_t i = 0; i < integer; i++) {
                uint32_t before = layout->links[node->first + i];
                if (!(before & LAYOUT_LINK_UNNUMBERED))
                    leaf += layout->nodes[before].leaves;
            }
        return walk_node(walk, link & ~LAYOUT_LINK_UNNUMBERED, depth + 1, leaf,
                         listing && !(link & LAYOUT_LINK_UNNUMBERED));
    }
    default: /* LAYOUT_RECORD */
        for (uint32_t i = 0; i < node->count; i++) {
            uint32_t link = layout->links[node->first + i];
            bool inner = listing && !(link & LAYOUT_LINK_UNNUMBERED);
            if (inner && layout->nodes[link].kind == LAYOUT_DOUBLE && walk->end - walk->at >= 8) {
                double value; /* the most common leaf, without a call */
                memcpy(&value, walk->at, 8);
                walk->at += 8;
                walk_note_leaf(walk, &layout->nodes[link], leaf++, walk->at - 8, 0, value);
                continue;
            }
            reason = walk_node(walk, link & ~LAYOUT_LINK_UNNUMBERED, depth + 1, leaf, inner);
            if (reason != REJECT_NONE)
                return reason;
            if (inner)
                leaf += layout->nodes[link].leaves;
        }
        return REJECT_NONE;
    }
}

static enum reject walk_node(struct walk *walk, uint32_t node_index, uint32_t depth, uint32_t leaf,
                             bool listing)
{
    const struct layout_node *node = &walk->layout->nodes[node_index];
    const uint8_t *first = walk->at;
    enum reject reason;
    int64_t integer;
    const uint8_t *content;

    switch (node->kind) {
    case LAYOUT_NULL:
        return REJECT_NONE;
    case LAYOUT_BOOLEAN:
        if (walk->at >= walk->end)
            return REJECT_TRUNCATED;
        if (*walk->at > 1)
            return REJECT_BOOLEAN;
        walk->at++;
        return REJECT_NONE;
    case LAYOUT_INT:
    case LAYOUT_LONG:
        reason = node->kind == LAYOUT_INT ? walk_int(walk, &integer) : walk_long(walk, &integer);
        if (reason == REJECT_NONE && listing)
            walk_note_leaf(walk, node, leaf, first, integer, 0);
        return reason;
    case LAYOUT_FLOAT:
        reason = walk_skip(walk, 4);
        if (reason == REJECT_NONE && listing) {
            float value;
            memcpy(&value, first, 4);
            walk_note_leaf(walk, node, leaf, first, 0, (double)value);
        }
        return reason;
    case LAYOUT_DOUBLE:
        reason = walk_skip(walk, 8);
        if (reason == REJECT_NONE && listing) {
            double value;
            memcpy(&value, first, 8);
            walk_note_leaf(walk, node, leaf, first, 0, value);
        }
        return reason;
    case LAYOUT_BYTES:
        return walk_length(walk, &content);
    case LAYOUT_STRING:
        return walk_string(walk);
    case LAYOUT_FIXED:
        return walk_skip(walk, node->count);
    case LAYOUT_ENUM:
        reason = walk_int(walk, &integer);
        if (reason == REJECT_NONE && (integer < 0 || integer >= (int64_t)node->count)) {
            walk->at = first;
            return REJECT_ENUM;
        }
        return reason;
    default:
        return walk_inside(walk, node, depth, leaf, listing);
    }
}

#define VARINT_MORE_BITS 0x8080808080808080ull

/* Skips a varint of up to 8 bytes, all of which fit a long; 0 if it is longer or near the end, and
 * then nothing is said. */
static inline unsigned short_varint_bytes(const struct walk *walk)
{
    uint64_t word, ends;
    if (walk->end - walk->at < 8)
        return 0;
    memcpy(&word, walk->at, 8);
    ends = ~word & VARINT_MORE_BITS;
    return ends == 0 ? 0 : (unsigned)__builtin_ctzll(ends) / 8 + 1;
}

static bool run_steps(struct walk *walk, uint32_t step_count)
{
    const struct layout_step *step = walk->layout->steps;
    int64_t integer;
    for (const struct layout_step *end = step + step_count; step < end; step++) {
        enum reject reason = REJECT_NONE;
        const uint8_t *content;
        unsigned bytes;
        switch ((enum layout_step_kind)step->kind) {
        case LAYOUT_STEP_SKIP:
            reason = walk_skip(walk, step->value);
            break;
        case LAYOUT_STEP_INT:
            bytes = short_varint_bytes(walk);
            if (bytes > 0 && bytes < 5) /* 28 bits fit for sure */
                walk->at += bytes;
            else
                reason = walk_int(walk, &integer);
            break;
        case LAYOUT_STEP_LONG:
            bytes = short_varint_bytes(walk);
            if (bytes > 0)
                walk->at += bytes;
            else
                reason = walk_long(walk, &integer);
            break;
        case LAYOUT_STEP_BOOLEAN:
            if (walk->at >= walk->end || *walk->at > 1)
                return false;
            walk->at++;
            break;
        case LAYOUT_STEP_ENUM:
            reason = walk_int(walk, &integer);
            if (reason == REJECT_NONE && (integer < 0 || integer >= (int64_t)step->value))
                return false;
            break;
        case LAYOUT_STEP_BYTES:
            reason = walk_length(walk, &content);
            break;
        case LAYOUT_STEP_STRING:
            reason = walk_string(walk);
            break;
        case LAYOUT_STEP_NODE:
            reason = walk_node(walk, step->value, step->depth, 0, false);
            break;
        }
        if (reason != REJECT_NONE)
            return false;
    }
    return true;
}

enum reject datum_check(const struct layout *layout, struct span bytes, size_t *datum_bytes)
{
    struct walk walk = {
        .layout = layout, .start = bytes.at, .at = bytes.at, .end = bytes.at + bytes.bytes};
    if (layout->step_count > 0) {
        if (run_steps(&walk, layout->step_count)) {
            *datum_bytes = (size_t)(walk.at - walk.start);
            return REJECT_NONE;
        }
        walk.at = bytes.at;
        walk.empty_items = 0;
    }
    enum reject reason = walk_node(&walk, layout->root, 0, 0, false);
    *datum_bytes = (size_t)(walk.at - walk.start);
    return reason;
}

int64_t datum_sequence(const struct layout *layout, struct span datum)
{
    struct walk walk = {
        .layout = layout, .start = datum.at, .at = datum.at, .end = datum.at + datum.bytes};
    int64_t value = 0;
    bool sound = layout->sequence_step < layout->step_count &&
                 run_steps(&walk, layout->sequence_step) && walk_long(&walk, &value) == REJECT_NONE;
    CHECK(sound);
    return value;
}

enum reject datum_leaves(const struct layout *layout, struct span bytes, size_t *datum_bytes,
                         struct leaf *leaves, uint32_t *leaf_count)
{
    struct walk walk = {.layout = layout,
                        .start = bytes.at,
                        .at = bytes.at,
                        .end = bytes.at + bytes.bytes,
                        .leaves = leaves};
    enum reject reason = walk_node(&walk, layout->root, 0, 0, true);
    *datum_bytes = (size_t)(walk.at - walk.start);
    *leaf_count = walk.leaf_count;
    return reason;
}
