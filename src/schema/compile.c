/* SPDX-License-Identifier: MIT
 * Compiles a schema's tree to a layout image: one node a type, links between them, leaves counted.
 * A link to a type that is still being compiled is a reentry, so every cycle of links has one.
 * Known limits: in mutual recursion a type compiled inside another keeps its reentry into that one
 * wherever it is used, so numbers below that link are never leaves. */
#include "schema/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/varint.h"
#include "schema/canonical.h"

#define COMPILE_LINKS_MAX   (16u * LAYOUT_NODES_MAX) /* as layout_load */
#define COMPILE_NESTING_MAX 1000u                    /* of types by reference; bounds the stack */
/* Fields of a datum counted along paths. Without a bound a short schema (a record of two of a
 * record of two ...) could make the walk over a single datum endless in practice. */
#define COMPILE_FIELDS_MAX (1u << 20)

enum { NEW, OPEN, DONE };

struct compiler {
    struct layout_node *nodes; /* by schema.node */
    uint32_t *links;
    uint32_t link_count;
    uint8_t *state;   /* NEW, OPEN or DONE, by node */
    uint32_t *fields; /* along paths, by node */
    uint32_t depth;
    char *error;
    size_t error_bytes;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct compiler *compiler,
                                                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(compiler->error, compiler->error_bytes, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* The logical types that numbers may have mark instants or days: an average of them would be one
 * that nobody measured. One that is unknown or does not fit is to be ignored. */
static bool is_plain_value(const struct schema *type)
{
    return type->logical_holds && type->kind >= LAYOUT_INT && type->kind <= LAYOUT_DOUBLE;
}

static uint32_t link_count_of(const struct schema *type)
{
    switch (type->kind) {
    case LAYOUT_RECORD:
    case LAYOUT_UNION:
        return type->count;
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return 1;
    default:
        return 0;
    }
}

static const struct schema *child_of(const struct schema *type, uint32_t i)
{
    return type->kind == LAYOUT_RECORD  ? type->fields[i].type
           : type->kind == LAYOUT_UNION ? type->branches[i]
                                        : type->items;
}

static uint32_t own_min_bytes(const struct schema *type)
{
    switch (type->kind) {
    case LAYOUT_NULL:
    case LAYOUT_RECORD:
    case LAYOUT_UNION:
        return 0;
    case LAYOUT_FLOAT:
        return 4;
    case LAYOUT_DOUBLE:
        return 8;
    case LAYOUT_FIXED:
        return type->count;
    default:
        return 1;
    }
}

static int compile_type(struct compiler *compiler, const struct schema *type)
{
    struct layout_node *node = &compiler->nodes[type->node];
    uint32_t count = link_count_of(type);
    if (compiler->depth >= COMPILE_NESTING_MAX)
        return refuse(compiler, "the schema's types nest deeper than %u levels",
                      COMPILE_NESTING_MAX);
    if (type->kind == LAYOUT_UNION && count == 0)
        return refuse(compiler, "a union needs at least one type");
    if (count > COMPILE_LINKS_MAX - compiler->link_count)
        return refuse(compiler, "the schema has more than %u fields and branches",
                      COMPILE_LINKS_MAX);

    compiler->state[type->node] = OPEN;
    compiler->depth++;
    *node = (struct layout_node){
        .kind = (uint8_t)type->kind,
        .flags = is_plain_value(type) ? LAYOUT_NODE_PLAIN_VALUE : 0,
        .count = type->count,
        .first = count > 0 ? compiler->link_count : 0,
    };
    compiler->link_count += count;

    bool is_array = type->kind == LAYOUT_ARRAY || type->kind == LAYOUT_MAP;
    uint64_t leaves = type->kind >= LAYOUT_INT && type->kind <= LAYOUT_DOUBLE ? 1 : 0;
    uint64_t fields = 1, min_bytes = own_min_bytes(type), least = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const struct schema *child = child_of(type, i);
        bool reentry = compiler->state[child->node] == OPEN;
        if (compiler->state[child->node] == NEW) {
            int status = compile_type(compiler, child);
            if (status < 0)
                return status;
        }
        compiler->links[node->first + i] = child->node | (reentry ? LAYOUT_LINK_REENTRY : 0);
        uint64_t child_bytes = reentry ? 0 : compiler->nodes[child->node].min_bytes;
        if (!reentry) {
            fields += compiler->fields[child->node];
            if (!is_array)
                leaves += compiler->nodes[child->node].leaves;
        }
        if (type->kind == LAYOUT_RECORD)
            min_bytes += child_bytes;
        else if (type->kind == LAYOUT_UNION && child_bytes + varint_bytes(i) < least)
            least = child_bytes + varint_bytes(i);
        if (leaves > LAYOUT_LEAVES_MAX)
            return refuse(compiler, "a datum has more than %u numbers", LAYOUT_LEAVES_MAX);
        if (fields > COMPILE_FIELDS_MAX)
            return refuse(compiler, "a datum has more than %u fields", COMPILE_FIELDS_MAX);
    }
    if (type->kind == LAYOUT_UNION)
        min_bytes = least;
    node->leaves = (uint32_t)leaves;
    node->min_bytes = min_bytes < UINT32_MAX ? (uint32_t)min_bytes : UINT32_MAX;
    compiler->fields[type->node] = (uint32_t)fields;
    compiler->state[type->node] = DONE;
    compiler->depth--;
    return 0;
}

/* The branch of a nullable type (["null", X], [X, "null"] or [X]), or -1 for another union. */
static int nullable_branch(const struct schema *type)
{
    int found = -1;
    for (uint32_t i = 0; i < type->count; i++) {
        if (type->branches[i]->kind == LAYOUT_NULL)
            continue;
        if (found >= 0)
            return -1;
        found = (int)i;
    }
    return found;
}

/* Follows a dotted path to its leaf; NULL and "" lead to none. `key` is what the path is for,
 * "time" or "sequence". */
static int find_leaf(struct compiler *compiler, const struct schema *root, const char *key,
                     const char *path, bool whole, uint32_t *leaf, uint32_t *path_bytes)
{
    const struct schema *type = root;
    const char *at = path;
    *leaf = LAYOUT_NO_LEAF;
    *path_bytes = 0;
    if (path == NULL || path[0] == '\0')
        return 0;
    if (strlen(path) > LAYOUT_PATH_BYTES_MAX)
        return refuse(compiler, "%s: more than %u bytes", key, LAYOUT_PATH_BYTES_MAX);
    *leaf = 0;
    *path_bytes = (uint32_t)strlen(path);
    for (;;) {
        const struct layout_node *node = &compiler->nodes[type->node];
        uint32_t chosen;
        if (type->kind == LAYOUT_UNION) {
            int branch = nullable_branch(type);
            if (branch < 0)
                return refuse(compiler, "%s: \"%.*s\" is a union of several types", key,
                              (int)(at - path), path);
            chosen = (uint32_t)branch;
        } else if (type->kind == LAYOUT_RECORD && *at != '\0') {
            if (at != path)
                at++; /* the dot */
            size_t bytes = strcspn(at, ".");
            for (chosen = 0; chosen < type->count; chosen++)
                if (strlen(type->fields[chosen].name) == bytes &&
                    memcmp(type->fields[chosen].name, at, bytes) == 0)
                    break;
            if (chosen == type->count)
                return refuse(compiler, "%s: record \"%.100s\" has no field \"%.*s\"", key,
                              type->name, bytes > 100 ? 100 : (int)bytes, at);
            at += bytes;
        } else
            break;
        for (uint32_t i = 0; i < chosen; i++) {
            uint32_t link = compiler->links[node->first + i];
            if (!(link & LAYOUT_LINK_REENTRY))
                *leaf += compiler->nodes[link].leaves;
        }
        if (compiler->links[node->first + chosen] & LAYOUT_LINK_REENTRY)
            return refuse(compiler, "%s: \"%.*s\" leads back into a type that contains it", key,
                          (int)(at - path), path);
        type = child_of(type, chosen);
    }
    if (*at != '\0')
        return refuse(compiler, "%s: \"%.*s\" is of type %s and has no fields", key,
                      (int)(at - path), path, schema_kind_name(type->kind));
    bool integer = type->kind == LAYOUT_INT || type->kind == LAYOUT_LONG;
    bool real = type->kind == LAYOUT_FLOAT || type->kind == LAYOUT_DOUBLE;
    if (!integer && (whole || !real))
        return refuse(compiler, "%s: field \"%.100s\" is of type %s, not %s", key, path,
                      schema_kind_name(type->kind), whole ? "int or long" : "a number");
    return 0;
}

/* All parts in one piece of memory, from malloc; NULL without memory. Sets the header's size and
 * checksum. */
static uint8_t *join(const struct compiler *compiler, struct layout_header *header,
                     struct span text, const char *time, const char *sequence)
{
    size_t nodes_bytes = header->node_count * sizeof(struct layout_node);
    size_t links_bytes = header->link_count * sizeof(uint32_t);
    size_t bytes = sizeof(*header) + nodes_bytes + links_bytes + text.bytes + header->time_bytes +
                   header->sequence_bytes;
    uint8_t *image = malloc(bytes);
    if (image == NULL)
        return NULL;
    header->image_bytes = (uint32_t)bytes;
    memcpy(image, header, sizeof(*header));
    memcpy(image + sizeof(*header), compiler->nodes, nodes_bytes);
    memcpy(image + sizeof(*header) + nodes_bytes, compiler->links, links_bytes);
    uint8_t *texts = image + sizeof(*header) + nodes_bytes + links_bytes;
    if (text.bytes > 0)
        memcpy(texts, text.at, text.bytes);
    if (header->time_bytes > 0)
        memcpy(texts + text.bytes, time, header->time_bytes);
    if (header->sequence_bytes > 0)
        memcpy(texts + text.bytes + header->time_bytes, sequence, header->sequence_bytes);
    header->checksum = crc32c(0, image, bytes);
    memcpy(image, header, sizeof(*header));
    return image;
}

int schema_compile(const struct schema_file *file, const char *time, const char *sequence,
                   uint8_t **image, size_t *image_bytes, char *error, size_t error_bytes)
{
    const struct schema *root = schema_root(file);
    struct span text = schema_text(file);
    uint32_t count;
    const struct schema *const *types = schema_types(file, &count);
    struct compiler compiler = {.error = error, .error_bytes = error_bytes};
    size_t link_room = 1;
    int status = -ENOMEM;

    for (uint32_t i = 0; i < count; i++)
        link_room += link_count_of(types[i]);
    compiler.nodes = calloc(count, sizeof(struct layout_node));
    compiler.links = calloc(link_room, sizeof(uint32_t));
    compiler.state = calloc(count, 1);
    compiler.fields = calloc(count, sizeof(uint32_t));
    if (!compiler.nodes || !compiler.links || !compiler.state || !compiler.fields) {
        refuse(&compiler, "%s", strerror(ENOMEM));
        goto out;
    }
    if (root->levels > LAYOUT_DEPTH_MAX) {
        status = refuse(&compiler, "every datum nests deeper than %u levels, which none may",
                        LAYOUT_DEPTH_MAX);
        goto out;
    }
    status = compile_type(&compiler, root);
    if (status < 0)
        goto out;
    uint64_t fingerprint;
    status = schema_fingerprint(file, &fingerprint);
    if (status < 0) {
        refuse(&compiler, "the schema's canonical form: %s", strerror(-status));
        goto out;
    }

    struct layout_header header = {
        .magic = LAYOUT_MAGIC,
        .version = LAYOUT_VERSION,
        .node_count = count,
        .link_count = compiler.link_count,
        .root = root->node,
        .schema_bytes = (uint32_t)text.bytes,
        .leaf_count = compiler.nodes[root->node].leaves,
        .time_leaf = LAYOUT_NO_LEAF,
        .sequence_leaf = LAYOUT_NO_LEAF,
        .fingerprint_low = (uint32_t)fingerprint,
        .fingerprint_high = (uint32_t)(fingerprint >> 32),
    };
    status = find_leaf(&compiler, root, "time", time, false, &header.time_leaf, &header.time_bytes);
    if (status == 0)
        status = find_leaf(&compiler, root, "sequence", sequence, true, &header.sequence_leaf,
                           &header.sequence_bytes);
    if (status < 0)
        goto out;

    uint8_t *made = join(&compiler, &header, text, time, sequence);
    if (made == NULL) {
        refuse(&compiler, "%s", strerror(ENOMEM));
        status = -ENOMEM;
        goto out;
    }
    *image = made;
    *image_bytes = header.image_bytes;
out:
    free(compiler.nodes);
    free(compiler.links);
    free(compiler.state);
    free(compiler.fields);
    return status;
}

/* ---- how large a datum is ---- */

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* From what is known of its parts; UINT64_MAX: nothing yet. */
static uint64_t least_bytes(const struct schema *type, const uint64_t *known)
{
    uint64_t bytes = own_min_bytes(type), least = UINT64_MAX;
    if (type->kind == LAYOUT_RECORD)
        for (uint32_t i = 0; i < type->count; i++)
            bytes = sum(bytes, known[type->fields[i].type->node]);
    if (type->kind != LAYOUT_UNION)
        return bytes;
    for (uint32_t i = 0; i < type->count; i++) {
        uint64_t branch = sum(varint_bytes(i), known[type->branches[i]->node]);
        least = branch < least ? branch : least;
    }
    return least;
}

#define MOST_NEW  0u /* in `known`, which holds what was found plus 2 */
#define MOST_OPEN 1u

/* UINT64_MAX: no bound. What leads back into an open type has none, for it may be entered once
 * more: at least a union's branch number each time. */
static uint64_t most_bytes(const struct schema *type, uint64_t *known)
{
    uint64_t most = 0;
    if (known[type->node] == MOST_OPEN)
        return UINT64_MAX;
    if (known[type->node] != MOST_NEW)
        return known[type->node] == UINT64_MAX ? UINT64_MAX : known[type->node] - 2;
    known[type->node] = MOST_OPEN;
    switch (type->kind) {
    case LAYOUT_INT:
        most = 5;
        break;
    case LAYOUT_LONG:
        most = 10;
        break;
    case LAYOUT_ENUM:
        most = varint_bytes(type->count - 1);
        break;
    case LAYOUT_UNION:
        for (uint32_t i = 0; i < type->count; i++) {
            uint64_t branch = sum(varint_bytes(i), most_bytes(type->branches[i], known));
            most = branch > most ? branch : most;
        }
        break;
    case LAYOUT_RECORD:
        for (uint32_t i = 0; i < type->count; i++)
            most = sum(most, most_bytes(type->fields[i].type, known));
        break;
    case LAYOUT_BYTES:
    case LAYOUT_STRING:
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        most = UINT64_MAX;
        break;
    default:
        most = own_min_bytes(type);
        break;
    }
    known[type->node] = sum(most, 2);
    return most;
}

int schema_datum_bytes(const struct schema_file *file, uint64_t *least, uint64_t *most)
{
    const struct schema *root = schema_root(file);
    uint32_t count;
    const struct schema *const *types = schema_types(file, &count);
    uint64_t *known = malloc(count * sizeof(uint64_t));
    if (known == NULL)
        return -ENOMEM;
    /* Each pass finds what is one level higher, and no datum has more than LAYOUT_DEPTH_MAX. */
    for (uint32_t i = 0; i < count; i++)
        known[i] = UINT64_MAX;
    bool changed = true;
    for (uint32_t pass = 0; changed && pass <= LAYOUT_DEPTH_MAX; pass++) {
        changed = false;
        for (uint32_t i = count; i-- > 0;) {
            uint64_t bytes = least_bytes(types[i], known);
            changed |= bytes != known[i];
            known[i] = bytes;
        }
    }
    *least = known[root->node];
    memset(known, 0, count * sizeof(uint64_t));
    *most = most_bytes(root, known);
    free(known);
    return 0;
}

/* The way to where schema_visit_leaves is. */
struct visit {
    const struct layout *layout;
    void (*each)(void *context, uint32_t index, const char *path, const struct schema *type);
    void *context;
    uint32_t index;
    char path[1024];
};

static void visit_type(struct visit *visit, const struct schema *type, size_t path_bytes)
{
    const struct layout_node *node = &visit->layout->nodes[type->node];
    if (node->leaves == 0)
        return;
    if (type->kind != LAYOUT_RECORD && type->kind != LAYOUT_UNION) {
        visit->each(visit->context, visit->index++, visit->path, type);
        return;
    }
    for (uint32_t i = 0; i < type->count; i++) {
        const struct schema *child = child_of(type, i);
        if (visit->layout->links[node->first + i] & LAYOUT_LINK_REENTRY)
            continue;
        size_t room = sizeof(visit->path) - path_bytes;
        int added = 0;
        if (type->kind == LAYOUT_RECORD)
            added = snprintf(visit->path + path_bytes, room, "%s%s", path_bytes > 0 ? "." : "",
                             type->fields[i].name);
        else if (nullable_branch(type) < 0)
            added = snprintf(visit->path + path_bytes, room, ":%s",
                             child->name ? child->name : schema_kind_name(child->kind));
        size_t longer = path_bytes + (added > 0 ? (size_t)added : 0);
        visit_type(visit, child, longer < sizeof(visit->path) ? longer : sizeof(visit->path) - 1);
        visit->path[path_bytes] = '\0';
    }
}

void schema_visit_leaves(const struct schema_file *file, const struct layout *layout,
                         void (*visit)(void *context, uint32_t index, const char *path,
                                       const struct schema *type),
                         void *context)
{
    struct visit state = {.layout = layout, .each = visit, .context = context};
    visit_type(&state, schema_root(file), 0);
}
