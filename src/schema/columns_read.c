/* SPDX-License-Identifier: MIT
 * The walk that reads a datum into columns: the plan's steps where columns are, the schema's tree
 * where none is. Relies on a plan of columns.c and on nothing the bytes claim: every length is held
 * against the bytes, and each level of depth is counted, which bounds the stack. */
#include "schema/columns.h"

#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "base/varint.h"
#include "schema/columns_plan.h"

struct walk {
    const uint8_t *at, *end;
    const uint64_t *fixed_bytes;
    bool exact; /* go field by field, for the offset of a fault */
    uint64_t empty_items;
};

static inline enum reject read_long(struct walk *walk, int64_t *value)
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

static inline enum reject read_int(struct walk *walk, int64_t *value)
{
    const uint8_t *first = walk->at;
    enum reject reason = read_long(walk, value);
    if (reason == REJECT_NONE &&
        (walk->at - first > 5 || *value < INT32_MIN || *value > INT32_MAX)) {
        walk->at = first;
        return REJECT_VARINT;
    }
    return reason;
}

/* A branch or a symbol: one of `count`. */
static inline enum reject read_index(struct walk *walk, bool is_branch, uint32_t count,
                                     int64_t *value)
{
    const uint8_t *first = walk->at;
    enum reject reason = is_branch ? read_long(walk, value) : read_int(walk, value);
    if (reason == REJECT_NONE && (*value < 0 || *value >= (int64_t)count)) {
        walk->at = first;
        return is_branch ? REJECT_UNION : REJECT_ENUM;
    }
    return reason;
}

static inline enum reject read_boolean(struct walk *walk, int64_t *value)
{
    if (walk->at >= walk->end)
        return REJECT_TRUNCATED;
    if (*walk->at > 1)
        return REJECT_BOOLEAN;
    *value = *walk->at++;
    return REJECT_NONE;
}

static inline enum reject read_raw(struct walk *walk, uint64_t bytes, struct span *value)
{
    if (bytes > (uint64_t)(walk->end - walk->at))
        return REJECT_TRUNCATED;
    *value = (struct span){walk->at, (size_t)bytes};
    walk->at += bytes;
    return REJECT_NONE;
}

static inline enum reject read_bytes(struct walk *walk, struct span *value)
{
    const uint8_t *first = walk->at;
    int64_t length;
    enum reject reason = read_long(walk, &length);
    if (reason != REJECT_NONE)
        return reason;
    if (length < 0) {
        walk->at = first;
        return REJECT_LENGTH;
    }
    return read_raw(walk, (uint64_t)length, value);
}

static inline enum reject read_string(struct walk *walk, struct span *value)
{
    enum reject reason = read_bytes(walk, value);
    if (reason == REJECT_NONE && !utf8_valid(value->at, walk->at)) {
        walk->at = value->at;
        return REJECT_UTF8;
    }
    return reason;
}

/* ---- past what no column shows ---- */

static enum reject skip_type(struct walk *walk, const struct schema *type, uint32_t depth);

/* Whether all datums of the type at that depth are any bytes of one number, worth one step. */
static inline bool is_one_step(const struct walk *walk, const struct schema *type, uint32_t depth,
                               uint64_t *bytes)
{
    *bytes = walk->fixed_bytes[type->node];
    return *bytes != COLUMNS_VARYING && (*bytes == 0 || !walk->exact) &&
           depth + type->levels <= LAYOUT_DEPTH_MAX;
}

/* Reads how many items the next block of an array or map has. `*block_end`: where it says that it
 * ends, or NULL. */
static enum reject read_block(struct walk *walk, int64_t *count, const uint8_t **block_end)
{
    const uint8_t *first = walk->at;
    int64_t bytes;
    *block_end = NULL;
    enum reject reason = read_long(walk, count);
    if (reason != REJECT_NONE || *count >= 0)
        return reason;
    if (*count == INT64_MIN) {
        walk->at = first;
        return REJECT_COUNT;
    }
    *count = -*count;
    reason = read_long(walk, &bytes);
    if (reason != REJECT_NONE)
        return reason;
    if (bytes < 0 || bytes > walk->end - walk->at) {
        walk->at = first;
        return REJECT_BLOCK_SIZE;
    }
    *block_end = walk->at + bytes;
    return REJECT_NONE;
}

static enum reject skip_block(struct walk *walk, const struct schema *type, uint32_t depth,
                              int64_t count)
{
    uint64_t item_bytes;
    if (type->kind == LAYOUT_ARRAY && is_one_step(walk, type->items, depth + 1, &item_bytes) &&
        item_bytes > 0) {
        if ((uint64_t)count > (uint64_t)(walk->end - walk->at) / item_bytes)
            return REJECT_COUNT;
        walk->at += (uint64_t)count * item_bytes;
        return REJECT_NONE;
    }
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *before = walk->at;
        struct span key;
        enum reject reason = type->kind == LAYOUT_MAP ? read_string(walk, &key) : REJECT_NONE;
        if (reason == REJECT_NONE)
            reason = skip_type(walk, type->items, depth + 1);
        if (reason != REJECT_NONE)
            return reason;
        if (walk->at == before) { /* as will all that follow be, from the same place */
            walk->empty_items += (uint64_t)(count - i);
            return walk->empty_items > LAYOUT_EMPTY_ITEMS_MAX ? REJECT_COUNT : REJECT_NONE;
        }
    }
    return REJECT_NONE;
}

static enum reject skip_items(struct walk *walk, const struct schema *type, uint32_t depth,
                              uint64_t *item_count)
{
    *item_count = 0;
    if (depth >= LAYOUT_DEPTH_MAX)
        return REJECT_DEPTH;
    for (;;) {
        const uint8_t *first = walk->at, *block_end;
        int64_t count;
        enum reject reason = read_block(walk, &count, &block_end);
        if (reason != REJECT_NONE || count == 0)
            return reason;
        reason = skip_block(walk, type, depth, count);
        if (reason == REJECT_NONE && block_end != NULL && walk->at != block_end) {
            walk->at = first;
            reason = REJECT_BLOCK_SIZE;
        }
        if (reason != REJECT_NONE)
            return reason;
        *item_count += (uint64_t)count;
    }
}

static enum reject skip_type(struct walk *walk, const struct schema *type, uint32_t depth)
{
    struct span content;
    int64_t number;
    uint64_t bytes;
    if (is_one_step(walk, type, depth, &bytes))
        return read_raw(walk, bytes, &content);
    switch (type->kind) {
    case LAYOUT_BOOLEAN:
        return read_boolean(walk, &number);
    case LAYOUT_INT:
        return read_int(walk, &number);
    case LAYOUT_LONG:
        return read_long(walk, &number);
    case LAYOUT_FLOAT:
        return read_raw(walk, 4, &content);
    case LAYOUT_DOUBLE:
        return read_raw(walk, 8, &content);
    case LAYOUT_FIXED:
        return read_raw(walk, type->count, &content);
    case LAYOUT_BYTES:
        return read_bytes(walk, &content);
    case LAYOUT_STRING:
        return read_string(walk, &content);
    case LAYOUT_ENUM:
        return read_index(walk, false, type->count, &number);
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return skip_items(walk, type, depth, &bytes);
    default:
        break;
    }
    if (depth >= LAYOUT_DEPTH_MAX)
        return REJECT_DEPTH;
    if (type->kind == LAYOUT_UNION) {
        enum reject reason = read_index(walk, true, type->count, &number);
        return reason != REJECT_NONE ? reason : skip_type(walk, type->branches[number], depth + 1);
    }
    for (uint32_t i = 0; i < type->count; i++) { /* a record */
        enum reject reason = skip_type(walk, type->fields[i].type, depth + 1);
        if (reason != REJECT_NONE)
            return reason;
    }
    return REJECT_NONE;
}

/* ---- into columns ---- */

/* Floats or doubles, one after the other, into as many columns. */
static inline enum reject read_reals(struct walk *walk, const struct columns_step *step,
                                     struct column_value *value)
{
    uint64_t each = step->kind == STEP_FLOATS ? 4 : 8;
    struct span raw;
    enum reject reason = read_raw(walk, step->count * each, &raw);
    if (reason != REJECT_NONE)
        return reason;
    for (uint32_t i = 0; i < step->count; i++, value++) {
        if (each == 8)
            memcpy(&value->real, raw.at + 8 * (size_t)i, 8);
        else {
            float real;
            memcpy(&real, raw.at + 4 * (size_t)i, 4);
            value->real = (double)real;
        }
        value->present = true;
    }
    return REJECT_NONE;
}

static enum reject read_items(struct walk *walk, const struct columns_step *step,
                              struct column_value *value)
{
    const uint8_t *first = walk->at;
    enum reject reason = skip_items(walk, step->type, step->depth, &value->item_count);
    value->bytes = (struct span){first, (size_t)(walk->at - first)};
    return reason;
}

static enum reject read_value(struct walk *walk, const struct columns_step *step,
                              struct column_value *value)
{
    value->present = true;
    switch (step->kind) {
    case STEP_LONG:
        return read_long(walk, &value->integer);
    case STEP_INT:
        return read_int(walk, &value->integer);
    case STEP_FLOATS:
    case STEP_DOUBLES:
        return read_reals(walk, step, value);
    case STEP_BOOLEAN:
        return read_boolean(walk, &value->integer);
    case STEP_ENUM:
        return read_index(walk, false, step->count, &value->integer);
    case STEP_STRING:
        return read_string(walk, &value->bytes);
    case STEP_BYTES:
        return read_bytes(walk, &value->bytes);
    case STEP_FIXED:
        return read_raw(walk, step->bytes, &value->bytes);
    default:
        return read_items(walk, step, value);
    }
}

static enum reject follow(struct walk *walk, const struct columns *columns,
                          struct column_value *values)
{
    const struct columns_plan *plan = columns->plan;
    struct column_value unseen;
    for (uint32_t i = 0; i < columns->count; i++)
        values[i].present = false;
    for (const struct columns_step *step = plan->steps;;) {
        enum reject reason;
        struct span skipped;
        int64_t branch;
        switch (step->kind) {
        case STEP_END:
            return REJECT_NONE;
        case STEP_SKIP:
            reason = read_raw(walk, step->bytes, &skipped);
            break;
        case STEP_TYPE:
            reason = skip_type(walk, step->type, step->depth);
            break;
        case STEP_JUMP:
            step = &plan->steps[step->target];
            continue;
        case STEP_NULLABLE:
            reason = read_index(walk, true, 2, &branch);
            if (reason == REJECT_NONE && branch == step->count) {
                step = &plan->steps[step->target];
                continue;
            }
            break;
        case STEP_UNION:
            reason = read_index(walk, true, step->count, &branch);
            if (reason == REJECT_NONE) {
                step = &plan->steps[plan->targets[step->target + branch]];
                continue;
            }
            break;
        case STEP_TOO_DEEP:
            return REJECT_DEPTH;
        default:
            reason = read_value(walk, step,
                                step->column == COLUMNS_UNSEEN ? &unseen : &values[step->column]);
            break;
        }
        if (reason != REJECT_NONE)
            return reason;
        step++;
    }
}

enum reject columns_read(const struct columns *columns, struct span bytes, size_t *datum_bytes,
                         struct column_value *values)
{
    const struct columns_plan *plan = columns->plan;
    struct walk walk = {bytes.at, bytes.at + bytes.bytes, plan->fixed_bytes, false, 0};
    enum reject reason = follow(&walk, columns, values);
    if (reason != REJECT_NONE) {
        walk = (struct walk){bytes.at, bytes.at + bytes.bytes, plan->fixed_bytes, true, 0};
        reason = skip_type(&walk, plan->type, plan->depth);
        CHECK(reason != REJECT_NONE);
    }
    *datum_bytes = (size_t)(walk.at - bytes.at);
    return reason;
}

struct column_items column_items(const struct column *column, const struct column_value *value)
{
    CHECK(column->items != NULL && value->present);
    return (struct column_items){
        .columns = column->items,
        .is_map = column->type->kind == LAYOUT_MAP,
        .rest = value->bytes,
    };
}

bool column_items_next(struct column_items *items, struct column_value *values)
{
    const struct columns *columns = items->columns;
    struct walk walk = {items->rest.at, items->rest.at + items->rest.bytes,
                        columns->plan->fixed_bytes, false, 0};
    enum reject reason = REJECT_NONE;
    if (items->in_block == 0) {
        const uint8_t *block_end;
        int64_t count;
        reason = read_block(&walk, &count, &block_end);
        CHECK(reason == REJECT_NONE); /* columns_read has been here */
        if (count == 0)
            return false;
        items->in_block = (uint64_t)count;
    }
    items->in_block--;
    if (items->is_map)
        reason = read_string(&walk, &items->key);
    if (reason == REJECT_NONE)
        reason = follow(&walk, columns, values);
    CHECK(reason == REJECT_NONE);
    items->rest = (struct span){walk.at, (size_t)(walk.end - walk.at)};
    return true;
}
