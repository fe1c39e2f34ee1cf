/* SPDX-License-Identifier: MIT
 * Opens a layout image and proves that a walk cannot leave it. Relies on the image being aligned to
 * 4 bytes. A walk ends because every cycle of links passes a reentry, and each reentry costs depth.
 */
#include "avro/layout.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"

static int layout_check_links(const struct layout *layout, const struct layout_node *node,
                              uint32_t count)
{
    if (node->first > layout->link_count || count > layout->link_count - node->first)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++)
        if ((layout->links[node->first + i] & ~LAYOUT_LINK_REENTRY) >= layout->node_count)
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
            if (!(link & LAYOUT_LINK_REENTRY))
                leaves += layout->nodes[link].leaves;
        }
        return leaves == node->leaves ? 0 : -EINVAL;
    }
    default:
        return -EINVAL;
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
        header.leaf_count > LAYOUT_LEAVES_MAX)
        return -EINVAL;
    size_t nodes_bytes = header.node_count * sizeof(struct layout_node);
    size_t links_bytes = header.link_count * sizeof(uint32_t);
    if (header.image_bytes != image.bytes ||
        image.bytes != sizeof(header) + nodes_bytes + links_bytes + header.schema_bytes)
        return -EINVAL;

    struct layout_header blank = header;
    blank.checksum = 0;
    uint32_t checksum = crc32c(0, &blank, sizeof(blank));
    checksum = crc32c(checksum, image.at + sizeof(header), image.bytes - sizeof(header));
    if (checksum != header.checksum)
        return -EINVAL;

    const uint8_t *nodes = image.at + sizeof(header);
    *layout = (struct layout){
        .nodes = (const struct layout_node *)(const void *)nodes,
        .links = (const uint32_t *)(const void *)(nodes + nodes_bytes),
        .schema = {nodes + nodes_bytes + links_bytes, header.schema_bytes},
        .root = header.root,
        .node_count = header.node_count,
        .link_count = header.link_count,
        .leaf_count = header.leaf_count,
        .time_leaf = header.time_leaf,
        .sequence_leaf = header.sequence_leaf,
        .checksum = header.checksum,
        .fingerprint = (uint64_t)header.fingerprint_high << 32 | header.fingerprint_low,
    };
    if ((header.time_leaf != LAYOUT_NO_LEAF && header.time_leaf >= header.leaf_count) ||
        (header.sequence_leaf != LAYOUT_NO_LEAF && header.sequence_leaf >= header.leaf_count) ||
        layout->nodes[header.root].leaves != header.leaf_count)
        return -EINVAL;
    for (uint32_t i = 0; i < header.node_count; i++) {
        int status = layout_check_node(layout, &layout->nodes[i]);
        if (status < 0)
            return status;
    }
    return 0;
}
