/* SPDX-License-Identifier: MIT
 * Reads an Avro schema's JSON into a tree. Every type of the schema becomes one `struct schema`; a
 * named type used twice is one, and so are all plain uses of one primitive type.
 * Relies on jansson for JSON, UTF-8 and duplicate keys. Strings and nodes live in one arena.
 * Known limits: defaults and `order` are not checked (they do not change a datum's bytes). */
#include "avro/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/check.h"

#define SCHEMA_NESTING_MAX 256u /* of types written one in another */
#define SCHEMA_PATH_BYTES  256u
#define SCHEMA_FIELDS_MAX                                                                          \
    (8u * LAYOUT_NODES_MAX) /* of one record: all links together are capped                        \
                             */
#define SCHEMA_PASSES_MAX (SCHEMA_LEVELS_MAX + 2u)
#define ARENA_CHUNK_BYTES (64u << 10)
#define LEVELS_UNKNOWN    UINT32_MAX

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, room;
    _Alignas(16) uint8_t bytes[];
};

struct schema_file {
    struct arena_chunk *arena;
    const struct schema **types;
    uint32_t type_count, type_room;
    const struct schema *root;
    struct span text;
};

static const char *const kind_names[LAYOUT_KINDS] = {
    [LAYOUT_NULL] = "null",   [LAYOUT_BOOLEAN] = "boolean", [LAYOUT_INT] = "int",
    [LAYOUT_LONG] = "long",   [LAYOUT_FLOAT] = "float",     [LAYOUT_DOUBLE] = "double",
    [LAYOUT_BYTES] = "bytes", [LAYOUT_STRING] = "string",   [LAYOUT_FIXED] = "fixed",
    [LAYOUT_ENUM] = "enum",   [LAYOUT_UNION] = "union",     [LAYOUT_ARRAY] = "array",
    [LAYOUT_MAP] = "map",     [LAYOUT_RECORD] = "record",
};

const char *schema_kind_name(enum layout_kind kind)
{
    return kind < LAYOUT_KINDS ? kind_names[kind] : "unknown";
}

struct parser {
    struct schema_file *file;
    struct schema *primitives[LAYOUT_STRING + 1]; /* the plain ones, made at their first use */
    json_t *names;                                /* full name -> index into file->types */
    char path[SCHEMA_PATH_BYTES];
    size_t path_bytes;
    char *error;
    size_t error_bytes;
};

static void *arena_take(struct schema_file *file, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    struct arena_chunk *chunk = file->arena;
    if (chunk == NULL || chunk->room - chunk->used < bytes) {
        size_t room = bytes > ARENA_CHUNK_BYTES ? bytes : ARENA_CHUNK_BYTES;
        chunk = malloc(sizeof(*chunk) + room);
        if (chunk == NULL)
            return NULL;
        *chunk = (struct arena_chunk){.next = file->arena, .room = room};
        file->arena = chunk;
    }
    void *taken = chunk->bytes + chunk->used;
    chunk->used += bytes;
    memset(taken, 0, bytes);
    return taken;
}

/* Writes "PATH: text", or only the text at the schema's top. Text from the schema may hold control
 * characters, which must not reach a terminal. */
__attribute__((format(printf, 2, 3))) static void *refuse(struct parser *parser, const char *format,
                                                          ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snprintf(parser->error, parser->error_bytes, "%s%s%s", parser->path,
             parser->path_bytes > 0 ? ": " : "", text);
    for (char *at = parser->error; parser->error_bytes > 0 && *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    return NULL;
}

static void *refuse_memory(struct parser *parser)
{
    return refuse(parser, "%s", strerror(ENOMEM));
}

/* Appends to the path; returns its length before, for path_back. */
__attribute__((format(printf, 2, 3))) static size_t path_add(struct parser *parser,
                                                             const char *format, ...)
{
    size_t before = parser->path_bytes, room = sizeof(parser->path) - before;
    va_list arguments;
    va_start(arguments, format);
    int added = vsnprintf(parser->path + before, room, format, arguments);
    va_end(arguments);
    if (added > 0)
        parser->path_bytes += (size_t)added < room ? (size_t)added : room - 1;
    return before;
}

static const char *path_dot(const struct parser *parser)
{
    return parser->path_bytes > 0 ? "." : "";
}

static void path_back(struct parser *parser, size_t before)
{
    parser->path_bytes = before;
    parser->path[before] = '\0';
}

static struct schema *type_add(struct parser *parser, enum layout_kind kind)
{
    struct schema_file *file = parser->file;
    if (file->type_count == LAYOUT_NODES_MAX)
        return refuse(parser, "a schema may hold at most %u types", LAYOUT_NODES_MAX);
    if (file->type_count == file->type_room) {
        uint32_t room = file->type_room ? 2 * file->type_room : 64;
        const struct schema **types = realloc(file->types, room * sizeof(struct schema *));
        if (types == NULL)
            return refuse_memory(parser);
        file->types = types;
        file->type_room = room;
    }
    struct schema *type = arena_take(file, sizeof(*type));
    if (type == NULL)
        return refuse_memory(parser);
    type->kind = kind;
    type->node = file->type_count;
    file->types[file->type_count++] = type;
    return type;
}

static const char *text_keep(struct parser *parser, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *kept = arena_take(parser->file, bytes);
    if (kept == NULL)
        return refuse_memory(parser);
    return memcpy(kept, text, bytes);
}

/* [A-Za-z_][A-Za-z0-9_]*, with `dotted` several of them joined by dots. */
static bool is_name(const char *text, bool dotted)
{
    bool start = true;
    for (; *text != '\0'; text++) {
        char c = *text;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool digit = c >= '0' && c <= '9';
        if (c == '.' && dotted && !start) {
            start = true;
            continue;
        }
        if (!letter && !(digit && !start))
            return false;
        start = false;
    }
    return !start;
}

static int primitive_kind(const char *name)
{
    for (int kind = LAYOUT_NULL; kind <= LAYOUT_STRING; kind++)
        if (strcmp(kind_names[kind], name) == 0)
            return kind;
    return -1;
}

/* The part of a full name before the last dot, kept in the arena; "" if there is none. */
static const char *name_space(struct parser *parser, const char *full)
{
    const char *dot = strrchr(full, '.');
    if (dot == NULL)
        return "";
    size_t bytes = (size_t)(dot - full);
    char *space = arena_take(parser->file, bytes + 1);
    if (space == NULL)
        return refuse_memory(parser);
    memcpy(space, full, bytes);
    return space;
}

static char *name_join(struct parser *parser, const char *space, const char *name)
{
    size_t space_bytes = strlen(space), name_bytes = strlen(name);
    char *full = arena_take(parser->file, space_bytes + name_bytes + 2);
    if (full == NULL)
        return refuse_memory(parser);
    if (space_bytes > 0) {
        memcpy(full, space, space_bytes);
        full[space_bytes++] = '.';
    }
    memcpy(full + space_bytes, name, name_bytes);
    return full;
}

static const struct schema *name_find(struct parser *parser, const char *full)
{
    const json_t *index = json_object_get(parser->names, full);
    return index == NULL ? NULL : parser->file->types[json_integer_value(index)];
}

static const struct schema *parse_type(struct parser *parser, const json_t *json, const char *space,
                                       uint32_t depth);

static const struct schema *parse_reference(struct parser *parser, const char *name,
                                            const char *space)
{
    int kind = primitive_kind(name);
    if (kind >= 0) {
        if (parser->primitives[kind] == NULL)
            parser->primitives[kind] = type_add(parser, (enum layout_kind)kind);
        return parser->primitives[kind];
    }
    const struct schema *found = NULL;
    if (strchr(name, '.') == NULL && space[0] != '\0') {
        const char *full = name_join(parser, space, name);
        if (full == NULL)
            return NULL;
        found = name_find(parser, full);
    }
    /* A bare name means the enclosing namespace; without one there, Java takes the one of no
     * namespace, which cannot be named otherwise. */
    if (found == NULL)
        found = name_find(parser, name);
    if (found != NULL)
        return found;
    static const char *const written_out[] = {"record", "error", "enum", "fixed", "array", "map"};
    for (size_t i = 0; i < ARRAY_COUNT(written_out); i++)
        if (strcmp(written_out[i], name) == 0)
            return refuse(parser,
                          "type \"%s\" must be written as an object: {\"type\": \"%s\", ...}", name,
                          name);
    if (strcmp(name, "union") == 0)
        return refuse(parser, "a union is written as a list of types: [\"null\", \"double\"]");
    if (name[0] == '\0')
        return refuse(parser, "the type's name is empty");
    return refuse(parser, "unknown type \"%.100s\"", name);
}

/* Names the type after its object's "name" and "namespace", and makes the name known. */
static int parse_name(struct parser *parser, const json_t *json, const char *space,
                      struct schema *type)
{
    const char *what = kind_names[type->kind];
    const json_t *name_json = json_object_get(json, "name");
    const json_t *space_json = json_object_get(json, "namespace");
    if (name_json == NULL) {
        refuse(parser, "a type of kind %s needs a \"name\"", what);
        return -EINVAL;
    }
    const char *name = json_string_value(name_json);
    if (name == NULL || !is_name(name, true)) {
        size_t before = path_add(parser, "%sname", path_dot(parser));
        if (name == NULL)
            refuse(parser, "a name is a string");
        else
            refuse(parser, "bad name \"%.100s\": letters, digits and _, not starting with a digit",
                   name);
        path_back(parser, before);
        return -EINVAL;
    }
    const char *given = json_string_value(space_json);
    if (space_json != NULL && !json_is_null(space_json) &&
        (given == NULL || (given[0] != '\0' && !is_name(given, true)))) {
        size_t before = path_add(parser, "%snamespace", path_dot(parser));
        if (given == NULL)
            refuse(parser, "a namespace is a string");
        else
            refuse(parser, "bad namespace \"%.100s\": names joined by dots", given);
        path_back(parser, before);
        return -EINVAL;
    }
    if (given != NULL)
        space = given;
    const char *last = strrchr(name, '.');
    if (primitive_kind(last ? last + 1 : name) >= 0) {
        refuse(parser, "the name \"%.100s\" is that of a primitive type", name);
        return -EINVAL;
    }
    type->name = last ? text_keep(parser, name) : name_join(parser, space, name);
    if (type->name == NULL)
        return -ENOMEM;
    if (name_find(parser, type->name) != NULL) {
        refuse(parser, "the name \"%.200s\" is defined twice", type->name);
        return -EINVAL;
    }
    if (json_object_set_new(parser->names, type->name, json_integer(type->node)) != 0) {
        refuse_memory(parser);
        return -ENOMEM;
    }
    const json_t *aliases = json_object_get(json, "aliases");
    if (aliases != NULL) {
        bool good = json_is_array(aliases);
        for (size_t i = 0; good && i < json_array_size(aliases); i++) {
            const char *alias = json_string_value(json_array_get(aliases, i));
            good = alias != NULL && is_name(alias, true);
        }
        if (!good) {
            refuse(parser, "\"aliases\" must be a list of names");
            return -EINVAL;
        }
    }
    return 0;
}

/* The attribute as a list, or NULL with an error. */
static const json_t *list_of(struct parser *parser, const json_t *json, const char *key,
                             const char *what)
{
    const json_t *list = json_object_get(json, key);
    if (json_is_array(list))
        return list;
    if (list == NULL)
        return refuse(parser, "%s needs \"%s\"", what, key);
    return refuse(parser, "\"%s\" must be a list", key);
}

static int parse_field(struct parser *parser, const json_t *json, const char *space, uint32_t depth,
                       json_t *seen, struct schema_field *field)
{
    if (!json_is_object(json)) {
        refuse(parser, "a field is an object: {\"name\": ..., \"type\": ...}");
        return -EINVAL;
    }
    const char *name = json_string_value(json_object_get(json, "name"));
    if (name == NULL) {
        refuse(parser, "a field needs a \"name\"");
        return -EINVAL;
    }
    if (!is_name(name, false)) {
        size_t before = path_add(parser, ".name");
        refuse(parser, "bad name \"%.100s\": letters, digits and _, not starting with a digit",
               name);
        path_back(parser, before);
        return -EINVAL;
    }
    if (json_object_get(seen, name) != NULL) {
        refuse(parser, "the record has two fields named \"%.100s\"", name);
        return -EINVAL;
    }
    const json_t *type = json_object_get(json, "type");
    if (type == NULL) {
        refuse(parser, "field \"%.100s\" needs a \"type\"", name);
        return -EINVAL;
    }
    field->name = text_keep(parser, name);
    if (field->name == NULL)
        return -ENOMEM;
    if (json_object_set_new(seen, name, json_true()) != 0) {
        refuse_memory(parser);
        return -ENOMEM;
    }
    size_t before = path_add(parser, ".type");
    field->type = parse_type(parser, type, space, depth);
    if (field->type == NULL)
        return -EINVAL;
    path_back(parser, before);
    return 0;
}

static const struct schema *parse_record(struct parser *parser, const json_t *json,
                                         const char *space, uint32_t depth)
{
    struct schema *type = type_add(parser, LAYOUT_RECORD);
    if (type == NULL || parse_name(parser, json, space, type) < 0)
        return NULL;
    const char *inner = name_space(parser, type->name);
    const json_t *list = list_of(parser, json, "fields", "a record");
    if (inner == NULL || list == NULL)
        return NULL;
    size_t count = json_array_size(list);
    if (count > SCHEMA_FIELDS_MAX)
        return refuse(parser, "a record may have at most %u fields", SCHEMA_FIELDS_MAX);
    type->fields = arena_take(parser->file, (count + 1) * sizeof(struct schema_field));
    json_t *seen = json_object();
    if (type->fields == NULL || seen == NULL) {
        json_decref(seen);
        return refuse_memory(parser);
    }
    for (size_t i = 0; i < count; i++) {
        size_t before = path_add(parser, "%sfields[%zu]", path_dot(parser), i);
        if (parse_field(parser, json_array_get(list, i), inner, depth, seen, &type->fields[i]) <
            0) {
            json_decref(seen);
            return NULL;
        }
        path_back(parser, before);
    }
    json_decref(seen);
    type->count = (uint32_t)count;
    return type;
}

static const struct schema *parse_enum(struct parser *parser, const json_t *json, const char *space)
{
    struct schema *type = type_add(parser, LAYOUT_ENUM);
    if (type == NULL || parse_name(parser, json, space, type) < 0)
        return NULL;
    const json_t *list = list_of(parser, json, "symbols", "an enum");
    if (list == NULL)
        return NULL;
    size_t count = json_array_size(list);
    if (count == 0)
        return refuse(parser, "an enum needs at least one symbol");
    type->symbols = arena_take(parser->file, count * sizeof(char *));
    json_t *seen = json_object();
    const char *problem = NULL, *symbol = NULL;
    if (type->symbols == NULL || seen == NULL) {
        json_decref(seen);
        return refuse_memory(parser);
    }
    for (size_t i = 0; i < count; i++) {
        symbol = json_string_value(json_array_get(list, i));
        size_t before = path_add(parser, "%ssymbols[%zu]", path_dot(parser), i);
        if (symbol == NULL)
            problem = "a symbol is a string";
        else if (!is_name(symbol, false))
            problem = "a symbol has letters, digits and _, and does not start with a digit";
        else if (json_object_get(seen, symbol) != NULL)
            problem = "the symbol is there twice";
        else if ((type->symbols[i] = text_keep(parser, symbol)) == NULL ||
                 json_object_set_new(seen, symbol, json_true()) != 0)
            problem = strerror(ENOMEM);
        if (problem != NULL)
            break;
        path_back(parser, before);
    }
    json_decref(seen);
    if (problem != NULL)
        return symbol ? refuse(parser, "\"%.100s\": %s", symbol, problem)
                      : refuse(parser, "%s", problem);
    type->count = (uint32_t)count;
    return type;
}

static const struct schema *parse_fixed(struct parser *parser, const json_t *json,
                                        const char *space)
{
    struct schema *type = type_add(parser, LAYOUT_FIXED);
    if (type == NULL || parse_name(parser, json, space, type) < 0)
        return NULL;
    const json_t *size = json_object_get(json, "size");
    double bytes = json_number_value(size);
    if (!json_is_number(size) || bytes < 0 || bytes > INT32_MAX || bytes != (double)(uint32_t)bytes)
        return refuse(parser, "a fixed needs a \"size\": a whole number of bytes, 0 to %d",
                      INT32_MAX);
    type->count = (uint32_t)bytes;
    return type;
}

static const struct schema *parse_items(struct parser *parser, const json_t *json,
                                        const char *space, uint32_t depth, enum layout_kind kind)
{
    const char *key = kind == LAYOUT_ARRAY ? "items" : "values";
    struct schema *type = type_add(parser, kind);
    if (type == NULL)
        return NULL;
    const json_t *items = json_object_get(json, key);
    if (items == NULL)
        return refuse(parser, "a type of kind %s needs \"%s\"", kind_names[kind], key);
    size_t before = path_add(parser, "%s%s", path_dot(parser), key);
    type->items = parse_type(parser, items, space, depth);
    if (type->items == NULL)
        return NULL;
    path_back(parser, before);
    return type;
}

static const struct schema *parse_union(struct parser *parser, const json_t *json,
                                        const char *space, uint32_t depth)
{
    struct schema *type = type_add(parser, LAYOUT_UNION);
    if (type == NULL)
        return NULL;
    size_t count = json_array_size(json);
    if (count == 0)
        return refuse(parser, "a union needs at least one type");
    json_t *seen = json_object();
    type->branches = arena_take(parser->file, count * sizeof(struct schema *));
    if (type->branches == NULL || seen == NULL) {
        json_decref(seen);
        return refuse_memory(parser);
    }
    for (size_t i = 0; i < count; i++) {
        size_t before = path_add(parser, "[%zu]", i);
        const struct schema *branch = parse_type(parser, json_array_get(json, i), space, depth);
        const char *key = branch == NULL ? NULL
                          : branch->name ? branch->name
                                         : kind_names[branch->kind];
        if (branch != NULL && branch->kind == LAYOUT_UNION)
            branch = refuse(parser, "a union cannot stand directly in a union");
        else if (branch != NULL && json_object_get(seen, key) != NULL)
            branch = refuse(parser, "the union has type \"%.100s\" twice", key);
        else if (branch != NULL && json_object_set_new(seen, key, json_true()) != 0)
            branch = refuse_memory(parser);
        if (branch == NULL) {
            json_decref(seen);
            return NULL;
        }
        type->branches[i] = branch;
        path_back(parser, before);
    }
    json_decref(seen);
    type->count = (uint32_t)count;
    return type;
}

static const struct schema *parse_object(struct parser *parser, const json_t *json,
                                         const char *space, uint32_t depth)
{
    const json_t *type_json = json_object_get(json, "type");
    if (type_json == NULL)
        return refuse(parser, "a type written as an object needs a \"type\"");
    const char *name = json_string_value(type_json);
    const struct schema *type;
    if (name == NULL) {
        size_t before = path_add(parser, "%stype", path_dot(parser));
        type = parse_type(parser, type_json, space, depth);
        if (type != NULL)
            path_back(parser, before);
        return type;
    }

    const char *logical = json_string_value(json_object_get(json, "logicalType"));
    int primitive = primitive_kind(name);
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0)
        type = parse_record(parser, json, space, depth);
    else if (strcmp(name, "enum") == 0)
        type = parse_enum(parser, json, space);
    else if (strcmp(name, "fixed") == 0)
        type = parse_fixed(parser, json, space);
    else if (strcmp(name, "array") == 0 || strcmp(name, "map") == 0)
        type = parse_items(parser, json, space, depth,
                           strcmp(name, "map") == 0 ? LAYOUT_MAP : LAYOUT_ARRAY);
    else if (primitive >= 0 && logical != NULL)
        type = type_add(parser, (enum layout_kind)primitive); /* not shared with the plain ones */
    else {
        size_t before = path_add(parser, "%stype", path_dot(parser));
        type = parse_reference(parser, name, space);
        if (type != NULL)
            path_back(parser, before);
        return type;
    }
    if (type != NULL && logical != NULL) {
        /* It was made right here, by type_add. */
        struct schema *made = (struct schema *)(uintptr_t)type;
        made->logical = text_keep(parser, logical);
        if (made->logical == NULL)
            return NULL;
    }
    return type;
}

static const struct schema *parse_type(struct parser *parser, const json_t *json, const char *space,
                                       uint32_t depth)
{
    if (depth >= SCHEMA_NESTING_MAX)
        return refuse(parser, "types nest deeper than %u levels", SCHEMA_NESTING_MAX);
    if (json_is_string(json))
        return parse_reference(parser, json_string_value(json), space);
    if (json_is_array(json))
        return parse_union(parser, json, space, depth + 1);
    if (json_is_object(json))
        return parse_object(parser, json, space, depth + 1);
    return refuse(parser, "a type is a name, a list (a union) or an object");
}

static uint32_t levels_of(const struct schema *type)
{
    uint32_t most = 0, least = LEVELS_UNKNOWN;
    switch (type->kind) {
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return 1; /* it may be empty */
    case LAYOUT_RECORD:
        for (uint32_t i = 0; i < type->count; i++)
            if (type->fields[i].type->levels > most)
                most = type->fields[i].type->levels;
        return most == LEVELS_UNKNOWN ? most : most + 1;
    case LAYOUT_UNION:
        for (uint32_t i = 0; i < type->count; i++)
            if (type->branches[i]->levels < least)
                least = type->branches[i]->levels;
        return least == LEVELS_UNKNOWN ? least : least + 1;
    default:
        return 0;
    }
}

/* Of an endless type: the field or branch that is endless too. `*name` is the field's, or NULL. */
static const struct schema *endless_part(const struct schema *type, const char **name)
{
    *name = NULL;
    if (type->kind == LAYOUT_UNION)
        return type->branches[0]; /* one like the other */
    uint32_t field = 0;
    while (type->fields[field].type->levels != LEVELS_UNKNOWN)
        field++;
    *name = type->fields[field].name;
    return type->fields[field].type;
}

/* Tells the record to which `type` leads without a way out, and the way from it to itself. */
static void refuse_endless(struct parser *parser, const struct schema *type)
{
    const char *name;
    char way[SCHEMA_PATH_BYTES] = "";
    size_t bytes = 0;
    /* After as many steps as there are types the way runs in a circle. */
    for (uint32_t i = 0; i < parser->file->type_count; i++)
        type = endless_part(type, &name);
    const struct schema *first = type;
    for (uint32_t i = 0; i < parser->file->type_count; i++) {
        type = endless_part(type, &name);
        if (type->kind == LAYOUT_RECORD &&
            (first->kind == LAYOUT_UNION || type->node < first->node))
            first = type;
    }
    for (type = endless_part(first, &name);; type = endless_part(type, &name)) {
        if (name != NULL) {
            int added =
                snprintf(way + bytes, sizeof(way) - bytes, "%s%s", bytes > 0 ? "." : "", name);
            if (added > 0 && (size_t)added < sizeof(way) - bytes)
                bytes += (size_t)added;
        }
        if (type == first)
            break;
    }
    path_back(parser, 0);
    refuse(parser,
           "record \"%.100s\" contains itself by %s with nothing between that could be left out (a "
           "union, an array, a map): its datums would be endless",
           first->name, way);
}

/* Finds the levels of every type: nothing is known at first, and each pass finds the types whose
 * datums are one level higher. What is still unknown when a pass finds nothing has only endless
 * datums. */
static int find_levels(struct parser *parser)
{
    struct schema_file *file = parser->file;
    for (uint32_t i = 0; i < file->type_count; i++)
        ((struct schema *)(uintptr_t)file->types[i])->levels = LEVELS_UNKNOWN;
    bool changed = true;
    for (uint32_t pass = 0; changed && pass < SCHEMA_PASSES_MAX; pass++) {
        changed = false;
        /* Types come before those they are made of: backwards, one pass does all but recursion. */
        for (uint32_t i = file->type_count; i-- > 0;) {
            struct schema *type = (struct schema *)(uintptr_t)file->types[i];
            uint32_t levels = levels_of(type);
            if (levels != type->levels) {
                type->levels = levels;
                changed = true;
            }
        }
    }
    for (uint32_t i = 0; i < file->type_count; i++) {
        struct schema *type = (struct schema *)(uintptr_t)file->types[i];
        if (type->levels == LEVELS_UNKNOWN && !changed) {
            refuse_endless(parser, type);
            return -EINVAL;
        }
        if (type->levels > SCHEMA_LEVELS_MAX)
            type->levels = SCHEMA_LEVELS_MAX + 1;
    }
    return 0;
}

static json_t *read_json(struct parser *parser, struct span text)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_error_t fault;
    json_t *json = json_loadb((const char *)text.at, text.bytes, flags, &fault);
    /* A number too big for 64 bits is fine where nobody reads it (a default, a user's attribute).
     */
    if (json == NULL && json_error_code(&fault) == json_error_numeric_overflow)
        json =
            json_loadb((const char *)text.at, text.bytes, flags | JSON_DECODE_INT_AS_REAL, &fault);
    if (json == NULL)
        refuse(parser, "line %d, column %d: %s", fault.line, fault.column, fault.text);
    return json;
}

struct schema_file *schema_parse(struct span text, char *error, size_t error_bytes)
{
    struct parser parser = {.error = error, .error_bytes = error_bytes};
    struct schema_file *file = NULL;
    json_t *json = NULL;
    bool parsed = false;

    if (text.bytes > LAYOUT_SCHEMA_BYTES_MAX)
        return refuse(&parser, "the schema is longer than %u bytes", LAYOUT_SCHEMA_BYTES_MAX);
    file = calloc(1, sizeof(*file));
    parser.names = json_object();
    parser.file = file;
    uint8_t *copy = file == NULL ? NULL : arena_take(file, text.bytes + 1);
    if (copy == NULL || parser.names == NULL) {
        refuse_memory(&parser);
        goto out;
    }
    if (text.bytes > 0)
        memcpy(copy, text.at, text.bytes);
    file->text = (struct span){copy, text.bytes};
    json = read_json(&parser, file->text);
    if (json == NULL)
        goto out;
    file->root = parse_type(&parser, json, "", 0);
    parsed = file->root != NULL && find_levels(&parser) == 0;
out:
    json_decref(json);
    json_decref(parser.names);
    if (!parsed) {
        schema_free(file);
        return NULL;
    }
    return file;
}

const struct schema *schema_root(const struct schema_file *file)
{
    return file->root;
}

struct span schema_text(const struct schema_file *file)
{
    return file->text;
}

const struct schema *const *schema_types(const struct schema_file *file, uint32_t *count)
{
    *count = file->type_count;
    return file->types;
}

void schema_free(struct schema_file *file)
{
    if (file == NULL)
        return;
    while (file->arena != NULL) {
        struct arena_chunk *next = file->arena->next;
        free(file->arena);
        file->arena = next;
    }
    free(file->types);
    free(file);
}

/* Two types under comparison; `partner[a]` is the b that a was last compared with, plus one. */
struct comparison {
    struct parser where; /* only its path and error */
    uint32_t *partner;
    uint32_t depth;
};

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool compare_types(struct comparison *comparison, const struct schema *a,
                          const struct schema *b)
{
    struct parser *where = &comparison->where;
    if (a->kind != b->kind)
        return refuse(where, "%s, not %s", kind_names[a->kind], kind_names[b->kind]);
    if (!same_text(a->logical, b->logical))
        return refuse(where, "logicalType %.60s, not %.60s", a->logical ? a->logical : "none",
                      b->logical ? b->logical : "none");
    if (a->kind <= LAYOUT_STRING)
        return true;
    if (comparison->partner[a->node] == b->node + 1)
        return true; /* compared already, or being compared further out */
    if (comparison->partner[a->node] != 0)
        return refuse(where, "one %s used twice, not two of their own", kind_names[a->kind]);
    comparison->partner[a->node] = b->node + 1;
    if (a->count != b->count)
        return refuse(where, "%s of %u, not of %u", kind_names[a->kind], a->count, b->count);
    if (comparison->depth >= SCHEMA_NESTING_MAX * 4)
        return refuse(where, "types nest too deep to be compared");

    bool same = true;
    comparison->depth++;
    size_t before = where->path_bytes;
    switch (a->kind) {
    case LAYOUT_RECORD:
        for (uint32_t i = 0; same && i < a->count; i++) {
            if (strcmp(a->fields[i].name, b->fields[i].name) != 0) {
                same = refuse(where, "field %u is \"%.60s\", not \"%.60s\"", i, a->fields[i].name,
                              b->fields[i].name);
                break;
            }
            path_add(where, "%s%s", path_dot(where), a->fields[i].name);
            same = compare_types(comparison, a->fields[i].type, b->fields[i].type);
            path_back(where, before);
        }
        break;
    case LAYOUT_UNION:
        for (uint32_t i = 0; same && i < a->count; i++) {
            path_add(where, "[%u]", i);
            same = compare_types(comparison, a->branches[i], b->branches[i]);
            path_back(where, before);
        }
        break;
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        path_add(where, "[]");
        same = compare_types(comparison, a->items, b->items);
        path_back(where, before);
        break;
    case LAYOUT_ENUM:
        for (uint32_t i = 0; same && i < a->count; i++)
            if (strcmp(a->symbols[i], b->symbols[i]) != 0)
                same = refuse(where, "symbol %u is \"%.60s\", not \"%.60s\"", i, a->symbols[i],
                              b->symbols[i]);
        break;
    default:
        break;
    }
    comparison->depth--;
    return same;
}

int schema_compare(const struct schema_file *a, const struct schema_file *b, char *difference,
                   size_t difference_bytes)
{
    struct comparison comparison = {
        .where = {.error = difference, .error_bytes = difference_bytes}};
    comparison.partner = calloc(a->type_count, sizeof(uint32_t));
    if (comparison.partner == NULL) {
        refuse_memory(&comparison.where);
        return -ENOMEM;
    }
    bool same = compare_types(&comparison, a->root, b->root);
    free(comparison.partner);
    return same ? 0 : -EINVAL;
}
