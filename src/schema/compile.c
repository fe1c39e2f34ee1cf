/* SPDX-License-Identifier: MIT
 * Compiles a schema's tree to a layout image: one node a type, links between them, leaves counted.
 * A link to a type that is still being compiled is a reentry, so every cycle of links has one.
 * Known limits: in mutual recursion a type compiled inside another keeps its reentry into that one
 * wherever it is used, so numbers below that link are never leaves. A type with more numbers below
 * it, along paths, than there are leaves for has none where it stands in another. */
#include "schema/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/nearest.h"
#include "base/varint.h"
#include "schema/canonical.h"
#include "schema/compile.h"
#include "schema/report.h"

#define COMPILE_LINKS_MAX   (16u * LAYOUT_NODES_MAX) /* as layout_load */
#define COMPILE_NESTING_MAX 1000u                    /* of types by reference; bounds the stack */
/* Fields without bytes that follow one another in a datum, counted along paths. All others cost the
 * datum bytes; of these a short schema (a record of two of a record of two ...) could have so many
 * that the walk over a single datum were endless in practice. */
#define COMPILE_EMPTY_MAX (1u << 20)

enum { NEW, OPEN, DONE };

struct compiler {
    struct layout_node *nodes; /* by schema.node */
    uint32_t *links;
    uint32_t link_count;
    uint8_t *state;    /* NEW, OPEN or DONE, by node */
    uint32_t *empty;   /* fields without bytes along paths, by node */
    uint64_t *numbers; /* along paths, by node: exact up to LAYOUT_LEAVES_MAX */
    uint32_t *kept;    /* as in the image */
    uint32_t depth;
    const struct schema *at;       /* the type that was refused */
    const struct schema *numerous; /* the innermost type with too many numbers; NULL: none */
    char *error;
    size_t error_bytes;
};

__attribute__((format(printf, 3, 4))) static int
refuse(struct compiler *compiler, const struct schema *at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(compiler->error, compiler->error_bytes, format, arguments);
    va_end(arguments);
    report_clean(compiler->error);
    compiler->at = at;
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

/* "record "R"", or "a union" of what has no name. */
static const char *type_text(const struct schema *type, char *text, size_t bytes)
{
    const char *kind = schema_kind_name(type->kind);
    snprintf(text, bytes, type->name != NULL ? "%s \"%.100s\"" : "the %s", kind, type->name);
    return text;
}

/* Adds the link to a child, and what it has of numbers: those of one that is not open, if all of
 * them can be leaves here. */
static void add_link(struct compiler *compiler, const struct schema *type, uint32_t i,
                     const struct schema *child)
{
    struct layout_node *node = &compiler->nodes[type->node];
    bool is_items = type->kind == LAYOUT_ARRAY || type->kind == LAYOUT_MAP;
    bool reentry = compiler->state[child->node] == OPEN;
    bool numbered = !reentry;
    if (!is_items && !reentry) {
        uint64_t *numbers = &compiler->numbers[type->node], more = compiler->numbers[child->node];
        numbered = more <= LAYOUT_LEAVES_MAX &&
                   node->leaves + compiler->nodes[child->node].leaves <= LAYOUT_LEAVES_MAX;
        *numbers = *numbers + more < UINT32_MAX ? *numbers + more : UINT32_MAX;
        if (numbered)
            node->leaves += compiler->nodes[child->node].leaves;
        else if (compiler->numerous == NULL)
            compiler->numerous = type;
    }
    compiler->links[node->first + i] = child->node | (numbered ? 0 : LAYOUT_LINK_UNNUMBERED);
}

static int compile_type(struct compiler *compiler, const struct schema *type)
{
    struct layout_node *node = &compiler->nodes[type->node];
    uint32_t count = link_count_of(type);
    char text[120];
    if (compiler->depth >= COMPILE_NESTING_MAX)
        return refuse(compiler, type, "the schema's types nest deeper than %u levels",
                      COMPILE_NESTING_MAX);
    if (count > COMPILE_LINKS_MAX - compiler->link_count)
        return refuse(compiler, type, "the schema has more than %u fields and branches",
                      COMPILE_LINKS_MAX);

    compiler->state[type->node] = OPEN;
    compiler->depth++;
    *node = (struct layout_node){
        .kind = (uint8_t)type->kind,
        .count = type->count,
        .first = count > 0 ? compiler->link_count : 0,
    };
    compiler->link_count += count;

    if (type->kind >= LAYOUT_INT && type->kind <= LAYOUT_DOUBLE)
        compiler->numbers[type->node] = node->leaves = 1;
    uint64_t empty = 1, min_bytes = own_min_bytes(type), least = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const struct schema *child = child_of(type, i);
        bool reentry = compiler->state[child->node] == OPEN;
        if (compiler->state[child->node] == NEW) {
            int status = compile_type(compiler, child);
            if (status < 0)
                return status;
        }
        add_link(compiler, type, i, child);
        uint64_t child_bytes = reentry ? 0 : compiler->nodes[child->node].min_bytes;
        if (type->kind == LAYOUT_RECORD)
            min_bytes += child_bytes;
        else if (type->kind == LAYOUT_UNION && child_bytes + varint_bytes(i) < least)
            least = child_bytes + varint_bytes(i);
        if (!reentry && child_bytes == 0)
            empty += compiler->empty[child->node];
        if (empty > COMPILE_EMPTY_MAX)
            return refuse(compiler, type, "%s has more than %u fields without a byte",
                          type_text(type, text, sizeof(text)), COMPILE_EMPTY_MAX);
    }
    if (type->kind == LAYOUT_UNION)
        min_bytes = count > 0 ? least : 1;
    node->min_bytes = min_bytes < UINT32_MAX ? (uint32_t)min_bytes : UINT32_MAX;
    compiler->empty[type->node] = (uint32_t)empty;
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
        return refuse(compiler, type, "%s: more than %u bytes", key, LAYOUT_PATH_BYTES_MAX);
    *leaf = 0;
    *path_bytes = (uint32_t)strlen(path);
    for (;;) {
        const struct layout_node *node = &compiler->nodes[type->node];
        uint32_t chosen;
        if (type->kind == LAYOUT_UNION) {
            int branch = nullable_branch(type);
            if (branch < 0)
                return refuse(compiler, type, "%s: \"%.*s\" is a union of several types", key,
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
                return refuse(compiler, type, "%s: record \"%.100s\" has no field \"%.*s\"", key,
                              type->name, bytes > 100 ? 100 : (int)bytes, at);
            at += bytes;
        } else
            break;
        for (uint32_t i = 0; i < chosen; i++) {
            uint32_t link = compiler->links[node->first + i];
            if (!(link & LAYOUT_LINK_UNNUMBERED))
                *leaf += compiler->nodes[link].leaves;
        }
        if (compiler->links[node->first + chosen] & LAYOUT_LINK_UNNUMBERED)
            return refuse(compiler, type, "%s: \"%.*s\" leads %s that contains it", key,
                          (int)(at - path), path,
                          compiler->numbers[type->node] > LAYOUT_LEAVES_MAX
                              ? "to more numbers than can be counted in the type"
                              : "back into a type");
        type = child_of(type, chosen);
    }
    if (*at != '\0')
        return refuse(compiler, type, "%s: \"%.*s\" is of type %s and has no fields", key,
                      (int)(at - path), path, schema_kind_name(type->kind));
    bool integer = type->kind == LAYOUT_INT || type->kind == LAYOUT_LONG;
    bool real = type->kind == LAYOUT_FLOAT || type->kind == LAYOUT_DOUBLE;
    if (!integer && (whole || !real))
        return refuse(compiler, type, "%s: field \"%.100s\" is of type %s, not %s", key, path,
                      schema_kind_name(type->kind), whole ? "int or long" : "a number");
    return 0;
}

/* ---- leaves ---- */

/* The way to where schema_visit_leaves is. */
struct visit {
    const struct layout_node *nodes;
    const uint32_t *links;
    void (*each)(void *context, uint32_t index, const char *path, const struct schema *type);
    void *context;
    uint32_t index;
    char path[1024];
};

static void visit_type(struct visit *visit, const struct schema *type, size_t path_bytes)
{
    const struct layout_node *node = &visit->nodes[type->node];
    if (node->leaves == 0)
        return;
    if (type->kind != LAYOUT_RECORD && type->kind != LAYOUT_UNION) {
        visit->each(visit->context, visit->index++, visit->path, type);
        return;
    }
    for (uint32_t i = 0; i < type->count; i++) {
        const struct schema *child = child_of(type, i);
        if (visit->links[node->first + i] & LAYOUT_LINK_UNNUMBERED)
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
    struct visit state = {
        .nodes = layout->nodes, .links = layout->links, .each = visit, .context = context};
    visit_type(&state, schema_root(file), 0);
}

/* ---- which leaves are not aggregated ---- */

struct keeping {
    struct compiler *compiler;
    const struct schema_use *use;
    bool *found; /* by use->keep */
    const char *nearest;
    char nearest_text[64]; /* `nearest` */
};

static void keep_bit(struct compiler *compiler, uint32_t index)
{
    compiler->kept[index / 32] |= 1u << index % 32;
}

/* Whether the path is that of the field, or of something in it. */
static bool is_within(const char *path, const char *field)
{
    size_t bytes = strlen(field);
    return strncmp(path, field, bytes) == 0 &&
           (path[bytes] == '\0' || path[bytes] == '.' || path[bytes] == ':');
}

static void keep_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    struct keeping *keeping = context;
    bool keep = is_plain_value(type);
    for (size_t i = 0; i < keeping->use->keep_count; i++)
        if (is_within(path, keeping->use->keep[i]))
            keep = keeping->found[i] = true;
    if (keep)
        keep_bit(keeping->compiler, index);
}

/* Offers the path, and those of the records around it, as what was meant by `wanted`. */
static void offer_path(struct keeping *keeping, const char *wanted, const char *path)
{
    char part[sizeof(keeping->nearest_text)];
    for (size_t bytes = strcspn(path, ".");; bytes += 1 + strcspn(path + bytes + 1, ".")) {
        const char *best = keeping->nearest;
        if (bytes >= sizeof(part))
            return;
        snprintf(part, sizeof(part), "%.*s", (int)bytes, path);
        nearest_offer(wanted, part, &best);
        if (best == part) {
            memcpy(keeping->nearest_text, part, sizeof(part));
            keeping->nearest = keeping->nearest_text;
        }
        if (path[bytes] == '\0')
            return;
    }
}

struct offering {
    struct keeping *keeping;
    const char *wanted;
};

static void offer_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    const struct offering *offering = context;
    (void)index, (void)type;
    offer_path(offering->keeping, offering->wanted, path);
}

/* Notes the leaves that keep a datum's own value. `*fault` is the field that is not there. */
static int find_kept(struct compiler *compiler, const struct schema *root,
                     const struct layout_header *header, const struct schema_use *use,
                     size_t *fault)
{
    struct keeping keeping = {.compiler = compiler, .use = use};
    struct visit visit = {.nodes = compiler->nodes, .links = compiler->links, .each = keep_leaf};
    keeping.found = calloc(use->keep_count + 1, sizeof(bool));
    if (keeping.found == NULL)
        return refuse(compiler, root, "%s", strerror(ENOMEM)), -ENOMEM;
    visit.context = &keeping;
    visit_type(&visit, root, 0);
    int status = 0;
    for (*fault = 0; *fault < use->keep_count && keeping.found[*fault]; ++*fault)
        ;
    if (*fault < use->keep_count) {
        struct offering offering = {&keeping, use->keep[*fault]};
        visit = (struct visit){.nodes = compiler->nodes,
                               .links = compiler->links,
                               .each = offer_leaf,
                               .context = &offering};
        visit_type(&visit, root, 0);
        status = refuse(compiler, root,
                        "keep: no number \"%.100s\"%s%s%s (those in arrays and maps are never "
                        "averaged)",
                        use->keep[*fault], keeping.nearest ? "; did you mean \"" : "",
                        keeping.nearest ? keeping.nearest : "", keeping.nearest ? "\"?" : "");
    }
    free(keeping.found);
    if (header->time_leaf != LAYOUT_NO_LEAF)
        keep_bit(compiler, header->time_leaf);
    if (header->sequence_leaf != LAYOUT_NO_LEAF)
        keep_bit(compiler, header->sequence_leaf);
    return status;
}

/* ---- the image ---- */

/* All parts in one piece of memory, from malloc; NULL without memory. Sets the header's size and
 * checksum. */
static uint8_t *join(const struct compiler *compiler, struct layout_header *header,
                     struct span text, const struct schema_use *use)
{
    const struct {
        const void *at;
        size_t bytes;
    } parts[] = {
        {header, sizeof(*header)},
        {compiler->nodes, header->node_count * sizeof(struct layout_node)},
        {compiler->links, header->link_count * sizeof(uint32_t)},
        {compiler->kept, layout_kept_words(header->leaf_count) * sizeof(uint32_t)},
        {text.at, text.bytes},
        {use->time, header->time_bytes},
        {use->sequence, header->sequence_bytes},
    };
    size_t bytes = 0, used = 0;
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        bytes += parts[i].bytes;
    uint8_t *image = malloc(bytes);
    if (image == NULL)
        return NULL;
    header->image_bytes = (uint32_t)bytes;
    for (size_t i = 0; i < ARRAY_COUNT(parts); used += parts[i++].bytes)
        if (parts[i].bytes > 0)
            memcpy(image + used, parts[i].at, parts[i].bytes);
    header->checksum = crc32c(0, image, bytes);
    memcpy(image, header, sizeof(*header));
    return image;
}

static void compiler_end(struct compiler *compiler)
{
    free(compiler->nodes);
    free(compiler->links);
    free(compiler->state);
    free(compiler->empty);
    free(compiler->numbers);
    free(compiler->kept);
}

/* Compiles the types. To be ended in any case. */
static int compiler_begin(struct compiler *compiler, const struct schema_file *file, char *error,
                          size_t error_bytes)
{
    const struct schema *root = schema_root(file);
    uint32_t count;
    const struct schema *const *types = schema_types(file, &count);
    size_t link_room = 1;
    for (uint32_t i = 0; i < count; i++)
        link_room += link_count_of(types[i]);
    *compiler = (struct compiler){
        .error = error,
        .error_bytes = error_bytes,
        .nodes = calloc(count, sizeof(struct layout_node)),
        .links = calloc(link_room, sizeof(uint32_t)),
        .state = calloc(count, 1),
        .empty = calloc(count, sizeof(uint32_t)),
        .numbers = calloc(count, sizeof(uint64_t)),
        .kept = calloc(layout_kept_words(LAYOUT_LEAVES_MAX), sizeof(uint32_t)),
    };
    if (!compiler->nodes || !compiler->links || !compiler->state || !compiler->empty ||
        !compiler->numbers || !compiler->kept)
        return refuse(compiler, root, "%s", strerror(ENOMEM)), -ENOMEM;
    if (root->levels > LAYOUT_DEPTH_MAX)
        return refuse(compiler, root, "every datum nests deeper than %u levels, which none may",
                      LAYOUT_DEPTH_MAX);
    return compile_type(compiler, root);
}

const struct schema *compile_check(const struct schema_file *file, char *error, size_t error_bytes)
{
    struct compiler compiler;
    compiler_begin(&compiler, file, error, error_bytes);
    compiler_end(&compiler);
    return compiler.at;
}

/* Finds the fields that the use names, and notes them. `refusal->use` and `index` tell of which the
 * fault is. */
static int find_fields(struct compiler *compiler, const struct schema *root,
                       const struct schema_use *use, struct layout_header *header,
                       struct schema_refusal *refusal)
{
    char text[120];
    refusal->of = SCHEMA_OF_TIME;
    int status = find_leaf(compiler, root, "time", use->time, false, &header->time_leaf,
                           &header->time_bytes);
    if (status < 0)
        return status;
    refusal->of = SCHEMA_OF_SEQUENCE;
    status = find_leaf(compiler, root, "sequence", use->sequence, true, &header->sequence_leaf,
                       &header->sequence_bytes);
    if (status < 0)
        return status;
    refusal->of = SCHEMA_OF_AVERAGES;
    if (use->averages && compiler->numerous != NULL)
        return refuse(compiler, compiler->numerous,
                      "%s has more than %u numbers along its paths, which is too many to be "
                      "averaged; use algorithm: downsample",
                      type_text(compiler->numerous, text, sizeof(text)), LAYOUT_LEAVES_MAX);
    refusal->of = SCHEMA_OF_KEEP;
    return find_kept(compiler, root, header, use, &refusal->index);
}

int schema_compile_for(const struct schema_file *file, const struct schema_use *use,
                       uint8_t **image, size_t *image_bytes, struct schema_refusal *refusal)
{
    const struct schema *root = schema_root(file);
    struct span text = schema_text(file);
    struct compiler compiler;
    uint32_t count;
    uint64_t fingerprint;
    schema_types(file, &count);
    *refusal = (struct schema_refusal){.of = SCHEMA_OF_ITSELF};
    int status = compiler_begin(&compiler, file, refusal->message, sizeof(refusal->message));
    if (status < 0)
        goto out;
    status = schema_fingerprint(file, &fingerprint);
    if (status < 0) {
        refuse(&compiler, root, "the schema's canonical form: %s", strerror(-status));
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
    status = find_fields(&compiler, root, use, &header, refusal);
    if (status < 0)
        goto out;
    uint8_t *made = join(&compiler, &header, text, use);
    if (made == NULL) {
        refuse(&compiler, root, "%s", strerror(ENOMEM));
        status = -ENOMEM;
        goto out;
    }
    *image = made;
    *image_bytes = header.image_bytes;
out:
    if (status < 0)
        report_locate_place(&(struct report){.text = text}, compiler.at->place, &refusal->line,
                            &refusal->column);
    compiler_end(&compiler);
    return status;
}

int schema_compile(const struct schema_file *file, const char *time, const char *sequence,
                   uint8_t **image, size_t *image_bytes, char *error, size_t error_bytes)
{
    struct schema_refusal refusal;
    struct schema_use use = {.time = time, .sequence = sequence};
    int status = schema_compile_for(file, &use, image, image_bytes, &refusal);
    if (status < 0)
        snprintf(error, error_bytes, "%s", refusal.message);
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
    uint64_t bytes = own_min_bytes(type), least = type->count > 0 ? UINT64_MAX : 1;
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
        most = varint_bytes(type->count > 0 ? (int64_t)type->count - 1 : 0);
        break;
    case LAYOUT_UNION:
        most = type->count > 0 ? 0 : 1;
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
