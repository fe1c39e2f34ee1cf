/* SPDX-License-Identifier: MIT
 * Compiles a schema's tree to a layout image: one node a type, links between them, leaves counted.
 * A link to a type that is still being compiled is a reentry, so every cycle of links has one.
 * Known limits: in mutual recursion a type compiled inside another keeps its reentry into that one
 * wherever it is used, so numbers below that link are never leaves. */
#include "avro/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/canonical.h"
#include "base/crc32c.h"
#include "base/varint.h"

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

/* Logical types that the specification gives to numbers. Their values mark instants or days: an
 * average of them would be one that nobody measured. An unknown logical type is to be ignored. */
static bool is_plain_value(const struct schema *type)
{
    static const struct {
        enum layout_kind kind;
        const char *logical;
    } known[] = {
        {LAYOUT_INT, "date"},
        {LAYOUT_INT, "time-millis"},
        {LAYOUT_LONG, "time-micros"},
        {LAYOUT_LONG, "time-nanos"},
        {LAYOUT_LONG, "timestamp-millis"},
        {LAYOUT_LONG, "timestamp-micros"},
        {LAYOUT_LONG, "timestamp-nanos"},
        {LAYOUT_LONG, "local-timestamp-millis"},
        {LAYOUT_LONG, "local-timestamp-micros"},
        {LAYOUT_LONG, "local-timestamp-nanos"},
    };
    if (type->logical == NULL)
        return false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].kind == type->kind && strcmp(known[i].logical, type->logical) == 0)
            return true;
    return false;
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

/* Follows a dotted path to its leaf. `key` is what the path is for, "time" or "sequence". */
static int find_leaf(struct compiler *compiler, const struct schema *root, const char *key,
                     const char *path, bool whole, uint32_t *leaf)
{
    const struct schema *type = root;
    const char *at = path;
    *leaf = 0;
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
    if (time != NULL && time[0] != '\0')
        status = find_leaf(&compiler, root, "time", time, false, &header.time_leaf);
    if (status == 0 && sequence != NULL && sequence[0] != '\0')
        status = find_leaf(&compiler, root, "sequence", sequence, true, &header.sequence_leaf);
    if (status < 0)
        goto out;

    size_t nodes_bytes = count * sizeof(struct layout_node);
    size_t links_bytes = compiler.link_count * sizeof(uint32_t);
    size_t bytes = sizeof(header) + nodes_bytes + links_bytes + text.bytes;
    uint8_t *made = malloc(bytes);
    if (made == NULL) {
        refuse(&compiler, "%s", strerror(ENOMEM));
        status = -ENOMEM;
        goto out;
    }
    header.image_bytes = (uint32_t)bytes;
    memcpy(made, &header, sizeof(header));
    memcpy(made + sizeof(header), compiler.nodes, nodes_bytes);
    memcpy(made + sizeof(header) + nodes_bytes, compiler.links, links_bytes);
    if (text.bytes > 0)
        memcpy(made + sizeof(header) + nodes_bytes + links_bytes, text.at, text.bytes);
    header.checksum = crc32c(0, made, bytes);
    memcpy(made, &header, sizeof(header));
    *image = made;
    *image_bytes = bytes;
out:
    free(compiler.nodes);
    free(compiler.links);
    free(compiler.state);
    free(compiler.fields);
    return status;
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
