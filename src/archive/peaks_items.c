/* SPDX-License-Identifier: MIT
 * Walks a datum that is known to be valid (datum_leaves has passed it) for what stands in arrays,
 * and for enums and booleans. The way of the walk through the schema numbers the slots. */
#include "archive/peaks_items.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "avro/datum.h"
#include "base/check.h"
#include "base/text.h"
#include "base/varint.h"

/* Kinds of an item that are no value: the front of a block of an array, with its size in bytes,
 * which may change (it is written without); and a null that an enum or boolean could stand for. */
enum { ITEM_FRONT = LAYOUT_KINDS, ITEM_NULL };

struct item {
    uint32_t offset; /* of its encoding */
    uint8_t bytes, kind;
    uint32_t branch; /* of ITEM_NULL: the branch that is not null */
    union {
        int64_t integer; /* also the count of ITEM_FRONT */
        double real;
    } value;
};

/* A slot as one datum has it: its items [first, first + count). */
struct group {
    uint32_t slot, first, count;
    uint32_t fronts; /* of those, no values */
    uint32_t shape;  /* of how many items, in which branches; not of their values */
};

struct extreme {
    union {
        int64_t integer;
        double real;
    } low, high;
    uint8_t kind;
};

/* A slot as the window has it. */
struct slot {
    enum { SLOT_UNSEEN, SLOT_ALIKE, SLOT_MIXED } state;
    uint32_t shape, count;
    size_t room;
    struct extreme *extremes;
};

struct items {
    const struct layout *layout;
    uint32_t *below; /* slots of each node and below it; LAYOUT_NO_LEAF: not counted yet */
    struct slot *slots;
    uint32_t slot_count;
    struct group *groups;
    uint32_t group_count;
    size_t group_room;
    struct item *list;
    uint32_t item_count;
    size_t item_room;
    const uint8_t *start, *at, *end; /* of the datum at hand */
    bool failed;                     /* no memory */
};

#define SHAPE_BASIS 2166136261u /* FNV-1a */
#define SHAPE_PRIME 16777619u
#define SLOTS_MAX   65536u /* further ones are left as they are */

/* ---- slots ---- */

static bool is_slot(const struct layout_node *node)
{
    return node->kind == LAYOUT_ARRAY || node->kind == LAYOUT_ENUM || node->kind == LAYOUT_BOOLEAN;
}

static uint32_t count_slots(struct items *items, uint32_t index, uint32_t depth)
{
    const struct layout_node *node = &items->layout->nodes[index];
    if (items->below[index] != LAYOUT_NO_LEAF)
        return items->below[index];
    uint32_t count = is_slot(node) ? 1 : 0;
    if ((node->kind == LAYOUT_RECORD || node->kind == LAYOUT_UNION) && depth < LAYOUT_DEPTH_MAX)
        for (uint32_t i = 0; i < node->count && count < SLOTS_MAX; i++) {
            uint32_t link = items->layout->links[node->first + i];
            if (!(link & LAYOUT_LINK_UNNUMBERED))
                count += count_slots(items, link, depth + 1);
        }
    return items->below[index] = count < SLOTS_MAX ? count : SLOTS_MAX;
}

int items_open(struct items **items, const struct layout *layout)
{
    struct items *made = calloc(1, sizeof(*made));
    *items = NULL;
    if (made == NULL)
        return -ENOMEM;
    made->layout = layout;
    made->below = malloc(layout->node_count * sizeof(*made->below));
    if (made->below == NULL)
        goto no_memory;
    memset(made->below, 0xff, layout->node_count * sizeof(*made->below));
    made->slot_count = count_slots(made, layout->root, 0);
    if (made->slot_count == 0) {
        items_close(made);
        return 0;
    }
    made->slots = calloc(made->slot_count, sizeof(*made->slots));
    if (made->slots == NULL)
        goto no_memory;
    *items = made;
    return 0;
no_memory:
    items_close(made);
    return -ENOMEM;
}

void items_clear(struct items *items)
{
    for (uint32_t i = 0; i < items->slot_count; i++)
        items->slots[i].state = SLOT_UNSEEN;
}

void items_close(struct items *items)
{
    if (items == NULL)
        return;
    for (uint32_t i = 0; i < items->slot_count && items->slots != NULL; i++)
        free(items->slots[i].extremes);
    free(items->below);
    free(items->slots);
    free(items->groups);
    free(items->list);
    free(items);
}

/* ---- the walk ---- */

static int64_t take_long(struct items *items)
{
    int64_t value = 0;
    int used = varint_read(items->at, items->end, &value);
    CHECK(used > 0); /* the datum is valid */
    items->at += used;
    return value;
}

static void note_item(struct items *items, const uint8_t *first, struct item item)
{
    struct item *list =
        room_grow(items->list, &items->item_room, items->item_count + 1u, sizeof(*list));
    items->failed |= list == NULL;
    if (list == NULL)
        return;
    items->list = list;
    item.offset = (uint32_t)(first - items->start);
    item.bytes = (uint8_t)(items->at - first);
    items->list[items->item_count++] = item;
}

/* The group that items are in from now on; those that are noted belong to the last one begun. */
static void begin_group(struct items *items, uint32_t slot)
{
    struct group *groups =
        room_grow(items->groups, &items->group_room, items->group_count + 1u, sizeof(*groups));
    items->failed |= groups == NULL;
    if (groups == NULL)
        return;
    items->groups = groups;
    groups[items->group_count++] = (struct group){slot, items->item_count, 0, 0, SHAPE_BASIS};
}

static void end_group(struct items *items)
{
    if (items->failed)
        return;
    struct group *group = &items->groups[items->group_count - 1];
    group->count = items->item_count - group->first;
}

/* Of the group at hand: what makes two arrays differ but for their values. */
static void note_shape(struct items *items, uint64_t value)
{
    if (items->failed)
        return;
    struct group *group = &items->groups[items->group_count - 1];
    group->shape = (group->shape ^ (uint32_t)(value ^ value >> 32)) * SHAPE_PRIME;
}

static void note_front(struct items *items, const uint8_t *first, int64_t count)
{
    note_item(items, first, (struct item){.kind = ITEM_FRONT, .value.integer = count});
    if (!items->failed)
        items->groups[items->group_count - 1].fronts++;
}

/* Where a walk is: outside of arrays with the number of its slot, or in one, or where nothing is
 * listed. */
enum where { WHERE_OUTSIDE, WHERE_ARRAY, WHERE_UNLISTED };

static void walk(struct items *items, uint32_t index, uint32_t slot, enum where where);

static void walk_array(struct items *items, const struct layout_node *node, enum where where)
{
    uint32_t link = items->layout->links[node->first];
    uint32_t item = link & ~LAYOUT_LINK_UNNUMBERED;
    for (uint64_t all = 0;;) { /* however they are cut into blocks */
        const uint8_t *first = items->at;
        int64_t count = take_long(items);
        all += (uint64_t)(count < 0 ? -count : count);
        if (count == 0 && where == WHERE_ARRAY)
            note_shape(items, all);
        if (count == 0)
            return;
        if (count < 0) {
            count = -count;
            take_long(items);
            if (where == WHERE_ARRAY)
                note_front(items, first, count);
        }
        for (int64_t i = 0; i < count; i++) {
            const uint8_t *before = items->at;
            if (node->kind == LAYOUT_MAP)
                items->at += take_long(items);
            walk(items, item, 0, where == WHERE_ARRAY ? WHERE_ARRAY : WHERE_UNLISTED);
            if (items->at == before) /* as will all that follow be */
                break;
        }
    }
}

/* A null in the place of an enum or a boolean. */
static void note_null(struct items *items, const struct layout_node *node, const uint8_t *first,
                      int64_t taken, uint32_t slot)
{
    uint32_t other = node->count == 2 ? (uint32_t)(1 - taken) : 0;
    uint32_t link = items->layout->links[node->first + other];
    if (node->count != 2 || link & LAYOUT_LINK_UNNUMBERED)
        return;
    const struct layout_node *type = &items->layout->nodes[link];
    if (type->kind != LAYOUT_ENUM && type->kind != LAYOUT_BOOLEAN)
        return;
    begin_group(items, slot);
    note_item(items, first, (struct item){.kind = ITEM_NULL, .branch = other});
    end_group(items);
}

static void walk_union(struct items *items, const struct layout_node *node, uint32_t slot,
                       enum where where)
{
    const uint8_t *first = items->at;
    int64_t branch = take_long(items);
    uint32_t link = items->layout->links[node->first + branch];
    if (where == WHERE_ARRAY)
        note_shape(items, (uint64_t)branch);
    if (where == WHERE_OUTSIDE && !(link & LAYOUT_LINK_UNNUMBERED) &&
        items->layout->nodes[link].kind == LAYOUT_NULL) {
        note_null(items, node, first, branch, slot);
        return;
    }
    for (int64_t i = 0; i < branch && where == WHERE_OUTSIDE; i++) {
        uint32_t before = items->layout->links[node->first + i];
        if (!(before & LAYOUT_LINK_UNNUMBERED))
            slot += items->below[before];
    }
    bool unlisted = where == WHERE_OUTSIDE && (link & LAYOUT_LINK_UNNUMBERED);
    walk(items, link & ~LAYOUT_LINK_UNNUMBERED, slot, unlisted ? WHERE_UNLISTED : where);
}

static void walk_record(struct items *items, const struct layout_node *node, uint32_t slot,
                        enum where where)
{
    for (uint32_t i = 0; i < node->count; i++) {
        uint32_t link = items->layout->links[node->first + i];
        bool numbered = !(link & LAYOUT_LINK_UNNUMBERED);
        bool unlisted = where == WHERE_OUTSIDE && !numbered;
        walk(items, link & ~LAYOUT_LINK_UNNUMBERED, slot, unlisted ? WHERE_UNLISTED : where);
        if (numbered && where == WHERE_OUTSIDE)
            slot += items->below[link];
    }
}

/* A value that is listed in an array; of enums and booleans everywhere. */
static void walk_value(struct items *items, const struct layout_node *node, enum where where)
{
    const uint8_t *first = items->at;
    struct item item = {.kind = node->kind};
    float narrow;
    switch (node->kind) {
    case LAYOUT_BOOLEAN:
        item.value.integer = *items->at++;
        break;
    case LAYOUT_FLOAT:
        memcpy(&narrow, items->at, 4);
        item.value.real = (double)narrow;
        items->at += 4;
        break;
    case LAYOUT_DOUBLE:
        memcpy(&item.value.real, items->at, 8);
        items->at += 8;
        break;
    default:
        item.value.integer = take_long(items);
    }
    if (where == WHERE_ARRAY)
        note_item(items, first, item);
}

static void walk(struct items *items, uint32_t index, uint32_t slot, enum where where)
{
    const struct layout_node *node = &items->layout->nodes[index];
    bool begins = where == WHERE_OUTSIDE && is_slot(node) && slot < items->slot_count;
    if (begins)
        begin_group(items, slot);
    enum where inside = begins ? WHERE_ARRAY : where;
    switch (node->kind) {
    case LAYOUT_NULL:
        break;
    case LAYOUT_BYTES:
    case LAYOUT_STRING: {
        int64_t bytes = take_long(items);
        items->at += bytes;
        break;
    }
    case LAYOUT_FIXED:
        items->at += node->count;
        break;
    case LAYOUT_MAP:
        walk_array(items, node, WHERE_UNLISTED);
        break;
    case LAYOUT_ARRAY:
        walk_array(items, node, inside == WHERE_ARRAY ? WHERE_ARRAY : WHERE_UNLISTED);
        break;
    case LAYOUT_UNION:
        walk_union(items, node, slot, where);
        break;
    case LAYOUT_RECORD:
        walk_record(items, node, slot, where);
        break;
    default:
        walk_value(items, node, inside);
    }
    if (begins)
        end_group(items);
}

static int list_items(struct items *items, struct span datum)
{
    items->start = items->at = datum.at;
    items->end = datum.at + datum.bytes;
    items->group_count = items->item_count = 0;
    items->failed = false;
    walk(items, items->layout->root, 0, WHERE_OUTSIDE);
    CHECK(items->failed || items->at == items->end);
    return items->failed ? -ENOMEM : 0;
}

/* ---- the extremes ---- */

static bool is_real(uint32_t kind)
{
    return kind == LAYOUT_FLOAT || kind == LAYOUT_DOUBLE;
}

/* As the decimator: NaN is passed over unless there is nothing else. */
static void widen(struct extreme *to, const struct item *item)
{
    if (!is_real(item->kind)) {
        if (item->value.integer < to->low.integer)
            to->low.integer = item->value.integer;
        if (item->value.integer > to->high.integer)
            to->high.integer = item->value.integer;
        return;
    }
    double value = item->value.real;
    if (to->low.real != to->low.real || value < to->low.real)
        to->low.real = value;
    if (to->high.real != to->high.real || value > to->high.real)
        to->high.real = value;
}

static void begin_extreme(struct extreme *to, const struct item *item)
{
    to->kind = item->kind;
    if (is_real(item->kind))
        to->low.real = to->high.real = item->value.real;
    else
        to->low.integer = to->high.integer = item->value.integer;
}

static int add_group(struct slot *slot, const struct group *group, const struct item *list)
{
    if (group->count > 0 && list[0].kind == ITEM_NULL)
        return 0;
    uint32_t count = group->count - group->fronts, at = 0;
    if (slot->state == SLOT_ALIKE && (slot->shape != group->shape || slot->count != count))
        slot->state = SLOT_MIXED;
    if (slot->state == SLOT_MIXED)
        return 0;
    bool first = slot->state == SLOT_UNSEEN;
    struct extreme *extremes =
        room_grow(slot->extremes, &slot->room, count + 1u, sizeof(*extremes));
    if (extremes == NULL)
        return -ENOMEM;
    slot->extremes = extremes;
    for (uint32_t i = 0; i < group->count; i++) {
        if (list[i].kind == ITEM_FRONT)
            continue;
        if (!first && extremes[at].kind != list[i].kind) { /* chance made the shapes agree */
            slot->state = SLOT_MIXED;
            return 0;
        }
        if (first)
            begin_extreme(&extremes[at++], &list[i]);
        else
            widen(&extremes[at++], &list[i]);
    }
    slot->state = SLOT_ALIKE;
    slot->shape = group->shape;
    slot->count = count;
    return 0;
}

int items_add(struct items *items, struct span datum)
{
    int status = list_items(items, datum);
    for (uint32_t i = 0; i < items->group_count && status == 0; i++) {
        const struct group *group = &items->groups[i];
        status = add_group(&items->slots[group->slot], group, items->list + group->first);
    }
    return status;
}

/* ---- writing ---- */

size_t items_room(const struct items *items, size_t datum_bytes)
{
    /* An item of one byte at least can become one of ten; a null, one with its branch. */
    return datum_bytes * VARINT_BYTES_MAX + (size_t)items->slot_count * 2 * VARINT_BYTES_MAX;
}

/* Of an enum or a boolean, which is a byte and no varint. */
static size_t write_highest(const struct extreme *extreme, uint8_t *out)
{
    if (extreme->kind != LAYOUT_BOOLEAN)
        return varint_write(out, extreme->high.integer);
    *out = (uint8_t)extreme->high.integer;
    return 1;
}

/* The same in the place of a null. */
static size_t write_present(uint32_t branch, const struct extreme *extreme, uint8_t *out)
{
    size_t bytes = varint_write(out, branch);
    return bytes + write_highest(extreme, out + bytes);
}

/* The item's new encoding; 0 bytes: it stays. */
static size_t write_item(const struct item *item, const struct extreme *extreme, bool maximum,
                         uint8_t *out)
{
    float narrow;
    double real;
    switch (item->kind) {
    case ITEM_FRONT:
        return varint_write(out, item->value.integer);
    case ITEM_NULL:
        return maximum ? write_present(item->branch, extreme, out) : 0;
    case LAYOUT_BOOLEAN:
    case LAYOUT_ENUM:
        return maximum ? write_highest(extreme, out) : 0;
    case LAYOUT_FLOAT:
        narrow = (float)(maximum ? extreme->high.real : extreme->low.real);
        memcpy(out, &narrow, 4);
        return 4;
    case LAYOUT_DOUBLE:
        real = maximum ? extreme->high.real : extreme->low.real;
        memcpy(out, &real, 8);
        return 8;
    default:
        return varint_write(out, maximum ? extreme->high.integer : extreme->low.integer);
    }
}

/* What is copied to an output so far. */
struct output {
    struct span datum;
    uint8_t *at;
    size_t copied; /* of the datum */
};

static void write_group(struct output *output, const struct slot *slot, const struct group *group,
                        const struct item *list, bool maximum)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        size_t before = list[i].offset - output->copied;
        size_t bytes = write_item(&list[i], &slot->extremes[value], maximum, output->at + before);
        value += list[i].kind != ITEM_FRONT;
        if (bytes == 0)
            continue;
        memcpy(output->at, output->datum.at + output->copied, before);
        output->at += before + bytes;
        output->copied = list[i].offset + list[i].bytes;
    }
}

long items_write(struct items *items, struct span datum, bool maximum, uint8_t *out)
{
    struct output output = {datum, out, 0};
    int status = list_items(items, datum);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < items->group_count; i++) {
        const struct group *group = &items->groups[i];
        const struct slot *slot = &items->slots[group->slot];
        const struct item *list = items->list + group->first;
        bool null = group->count > 0 && list[0].kind == ITEM_NULL;
        if (slot->state == SLOT_ALIKE && (null || slot->count == group->count - group->fronts))
            write_group(&output, slot, group, list, maximum);
    }
    size_t rest = datum.bytes - output.copied;
    if (rest > 0)
        memcpy(output.at, datum.at + output.copied, rest);
    return (long)(output.at - out) + (long)rest;
}
