/* SPDX-License-Identifier: MIT
 * Opens a layout image and proves that a walk cannot leave it. Relies on the image being aligned to
 * 4 bytes. A walk ends because every cycle of links passes a reentry, and each reentry costs depth.
 */
#include "avro/layout.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

#define SKIP_BYTES_MAX (1u << 20) /* more than a datagram has */

static int layout_check_links(const struct layout *layout, const struct layout_node *node,
                              uint32_t count)
{
    if (node->first > layout->link_count || count > layout->link_count - node->first)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++)
        if ((layout->links[node->first + i] & ~LAYOUT_LINK_UNNUMBERED) >= layout->node_count)
            return -EINVAL;
    return 0;
}

static int layout_check_node(const struct layout *layout, const struct layout_node *node)
{
    switch (node->kind) {
    case LAYOUT_NULL:
    case LAYOUT_BOOLEAN:
    case LAYOUT_BYTES:
    case LAYOUT_STRING:
    case LAYOUT_FIXED:
    case LAYOUT_ENUM:
        return node->leaves == 0 ? 0 : -EINVAL;
    case LAYOUT_INT:
    case LAYOUT_LONG:
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        return node->leaves == 1 ? 0 : -EINVAL;
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return node->leaves == 0 ? layout_check_links(layout, node, 1) : -EINVAL;
    case LAYOUT_UNION:
    case LAYOUT_RECORD: {
        int status = layout_check_links(layout, node, node->count);
        if (status < 0)
            return status;
        uint64_t leaves = 0;
        for (uint32_t i = 0; i < node->count; i++) {
            uint32_t link = layout->links[node->first + i];
            if (!(link & LAYOUT_LINK_UNNUMBERED))
                leaves += layout->nodes[link].leaves;
        }
        return leaves == node->leaves ? 0 : -EINVAL;
    }
    default:
        return -EINVAL;
    }
}

/* Whether a number may be missing here, where there is null. */
static bool is_optional(const struct layout *layout, const struct layout_node *node)
{
    for (uint32_t i = 0; node->kind == LAYOUT_UNION && node->leaves > 0 && i < node->count; i++)
        if (layout->nodes[layout->links[node->first + i] & ~LAYOUT_LINK_UNNUMBERED].kind ==
            LAYOUT_NULL)
            return true;
    return false;
}

static bool add_step(struct layout *layout, enum layout_step_kind kind, uint32_t value,
                     uint32_t depth)
{
    struct layout_step *last =
        layout->step_count > 0 ? &layout->steps[layout->step_count - 1] : NULL;
    if (kind == LAYOUT_STEP_SKIP && last != NULL && last->kind == LAYOUT_STEP_SKIP) {
        /* A short schema can have any number of bytes in a row. */
        if (value > SKIP_BYTES_MAX || last->value > SKIP_BYTES_MAX - value)
            return false;
        last->value += value;
        return true;
    }
    if (layout->step_count == LAYOUT_STEPS_MAX)
        return false;
    layout->steps[layout->step_count++] =
        (struct layout_step){.kind = (uint8_t)kind, .depth = (uint16_t)depth, .value = value};
    return true;
}

/* Appends the steps of a node. False if it cannot be straightened out. */
static bool add_steps(struct layout *layout, uint32_t index, uint32_t depth, uint32_t *leaf)
{
    const struct layout_node *node = &layout->nodes[index];
    bool sequence = *leaf == layout->sequence_leaf && node->leaves == 1;
    if (node->kind != LAYOUT_RECORD)
        *leaf += node->leaves;
    switch (node->kind) {
    case LAYOUT_NULL:
        return true;
    case LAYOUT_FLOAT:
        return add_step(layout, LAYOUT_STEP_SKIP, 4, depth);
    case LAYOUT_DOUBLE:
        return add_step(layout, LAYOUT_STEP_SKIP, 8, depth);
    case LAYOUT_FIXED:
        return node->count == 0 || add_step(layout, LAYOUT_STEP_SKIP, node->count, depth);
    case LAYOUT_BOOLEAN:
        return add_step(layout, LAYOUT_STEP_BOOLEAN, 0, depth);
    case LAYOUT_INT:
    case LAYOUT_LONG:
        if (sequence)
            layout->sequence_step = layout->step_count;
        return add_step(layout, node->kind == LAYOUT_INT ? LAYOUT_STEP_INT : LAYOUT_STEP_LONG, 0,
                        depth);
    case LAYOUT_ENUM:
        return add_step(layout, LAYOUT_STEP_ENUM, node->count, depth);
    case LAYOUT_BYTES:
        return add_step(layout, LAYOUT_STEP_BYTES, 0, depth);
    case LAYOUT_STRING:
        return add_step(layout, LAYOUT_STEP_STRING, 0, depth);
    case LAYOUT_RECORD:
        if (depth >= LAYOUT_DEPTH_MAX)
            return false;
        for (uint32_t i = 0; i < node->count; i++) {
            uint32_t link = layout->links[node->first + i];
            if (link & LAYOUT_LINK_UNNUMBERED
                    ? !add_step(layout, LAYOUT_STEP_NODE, link & ~LAYOUT_LINK_UNNUMBERED, depth + 1)
                    : !add_steps(layout, link, depth + 1, leaf))
                return false;
        }
        return true;
    default:
        return add_step(layout, LAYOUT_STEP_NODE, index, depth);
    }
}

static void make_steps(struct layout *layout)
{
    uint32_t leaf = 0;
    layout->sequence_step = LAYOUT_NO_STEP;
    if (!add_steps(layout, layout->root, 0, &leaf)) {
        layout->step_count = 0;
        layout->sequence_step = LAYOUT_NO_STEP;
    } else if (layout->step_count == 1 && layout->steps[0].kind == LAYOUT_STEP_SKIP) {
        layout->is_fixed = true;
        layout->fixed_bytes = layout->steps[0].value;
    }
}

int layout_load(struct layout *layout, struct span image)
{
    struct layout_header header;
    if (image.bytes < sizeof(header) || (uintptr_t)image.at % 4 != 0)
        return -EINVAL;
    memcpy(&header, image.at, sizeof(header));
    if (header.magic != LAYOUT_MAGIC)
        return -EINVAL;
    if (header.version != LAYOUT_VERSION)
        return -ENOTSUP;
    if (header.node_count == 0 || header.node_count > LAYOUT_NODES_MAX ||
        header.link_count > 16 * LAYOUT_NODES_MAX ||
        header.schema_bytes > LAYOUT_SCHEMA_BYTES_MAX || header.root >= header.node_count ||
        header.leaf_count > LAYOUT_LEAVES_MAX || header.time_bytes > LAYOUT_PATH_BYTES_MAX ||
        header.sequence_bytes > LAYOUT_PATH_BYTES_MAX)
        return -EINVAL;
    size_t nodes_bytes = header.node_count * sizeof(struct layout_node);
    size_t links_bytes = header.link_count * sizeof(uint32_t);
    size_t kept_bytes = layout_kept_words(header.leaf_count) * sizeof(uint32_t);
    if (header.image_bytes != image.bytes ||
        image.bytes != sizeof(header) + nodes_bytes + links_bytes + kept_bytes +
                           header.schema_bytes + header.time_bytes + header.sequence_bytes)
        return -EINVAL;

    struct layout_header blank = header;
    blank.checksum = 0;
    uint32_t checksum = crc32c(0, &blank, sizeof(blank));
    checksum = crc32c(checksum, image.at + sizeof(header), image.bytes - sizeof(header));
    if (checksum != header.checksum)
        return -EINVAL;

    const uint8_t *nodes = image.at + sizeof(header);
    const uint8_t *kept = nodes + nodes_bytes + links_bytes, *texts = kept + kept_bytes;
    const uint8_t *time = texts + header.schema_bytes;
    *layout = (struct layout){
        .nodes = (const struct layout_node *)(const void *)nodes,
        .links = (const uint32_t *)(const void *)(nodes + nodes_bytes),
        .schema = {texts, header.schema_bytes},
        .time = {time, header.time_bytes},
        .sequence = {time + header.time_bytes, header.sequence_bytes},
        .root = header.root,
        .node_count = header.node_count,
        .link_count = header.link_count,
        .leaf_count = header.leaf_count,
        .time_leaf = header.time_leaf,
        .sequence_leaf = header.sequence_leaf,
        .checksum = header.checksum,
        .kept = (const uint32_t *)(const void *)kept,
        .fingerprint = (uint64_t)header.fingerprint_high << 32 | header.fingerprint_low,
        .empty_items_max = LAYOUT_EMPTY_ITEMS_MAX,
    };
    if ((header.time_leaf != LAYOUT_NO_LEAF && header.time_leaf >= header.leaf_count) ||
        (header.sequence_leaf != LAYOUT_NO_LEAF && header.sequence_leaf >= header.leaf_count) ||
        (header.time_leaf == LAYOUT_NO_LEAF) != (header.time_bytes == 0) ||
        (header.sequence_leaf == LAYOUT_NO_LEAF) != (header.sequence_bytes == 0) ||
        layout->nodes[header.root].leaves != header.leaf_count)
        return -EINVAL;
    for (uint32_t i = 0; i < header.node_count; i++) {
        int status = layout_check_node(layout, &layout->nodes[i]);
        if (status < 0)
            return status;
        layout->has_optional |= is_optional(layout, &layout->nodes[i]);
    }
    make_steps(layout);
    return 0;
}
