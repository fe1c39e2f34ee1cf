/* SPDX-License-Identifier: MIT
 * Reads an Avro schema's JSON into a tree. Every type of the schema becomes one `struct schema`; a
 * named type used twice is one, and so are all plain uses of one primitive type. After an error the
 * reading goes on, so that all of them are told at once; a type that was refused is NULL then.
 * Relies on jansson for JSON, UTF-8 and duplicate keys. Strings and nodes live in one arena. */
#include "schema/schema.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/check.h"
#include "base/nearest.h"
#include "schema/compile.h"
#include "schema/default.h"
#include "schema/json.h"
#include "schema/mend.h"
#include "schema/report.h"

#define TYPE_NAME_READERS     "; avsc, hamba, goavro and Avro for Python do not open files with it"
#define SCHEMA_NESTING_MAX    512u  /* of types written one in another */
#define JSON_LEVELS_MAX       2048u /* jansson's own limit */
#define SCHEMA_NAME_BYTES_MAX 1000u /* of a full name */
#define SCHEMA_PATH_BYTES     256u
#define SCHEMA_FIELDS_MAX     (8u * LAYOUT_NODES_MAX) /* of one record */
#define SCHEMA_PASSES_MAX     (SCHEMA_LEVELS_MAX + 2u)
#define ARENA_CHUNK_BYTES     (64u << 10)
#define LEVELS_UNKNOWN        UINT32_MAX

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

/* A default that is judged once all types are known. */
struct pending {
    struct pending *next;
    const json_t *value;
    const struct schema *type;
    const struct report_place *place;
};

struct parser {
    struct schema_file *file;
    struct report report;
    const json_t *json;                           /* all of it */
    struct schema *primitives[LAYOUT_STRING + 1]; /* the plain ones, made at their first use */
    json_t *names;                                /* full name -> index into file->types */
    struct pending *pending, **pending_end;
    int status;             /* of what was refused first: -EINVAL, -EFBIG, -ENOMEM; or 0 */
    bool strict;            /* it goes into recordings: see schema_read */
    bool integers_are_real; /* in the JSON as read */
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

static void *take_for_report(void *file, size_t bytes)
{
    return arena_take(file, bytes);
}

static void note_refusal(struct parser *parser, int status)
{
    if (parser->status == 0)
        parser->status = status;
}

#define refuse(parser, ...)                                                                        \
    (note_refusal(parser, -EINVAL), report_error(&(parser)->report, __VA_ARGS__))
/* It may be a good schema, but is over a limit of ours. */
#define refuse_limit(parser, ...) (note_refusal(parser, -EFBIG), refuse(parser, __VA_ARGS__))

static void *refuse_memory(struct parser *parser)
{
    parser->status = -ENOMEM;
    return refuse(parser, "%s", strerror(ENOMEM));
}

/* As refuse, at the attribute `key` of where the reading is. */
#define refuse_at(parser, key, ...)                                                                \
    (report_into_key(&(parser)->report, key), refuse(parser, __VA_ARGS__),                         \
     report_out(&(parser)->report))

#define warn_at(parser, key, ...)                                                                  \
    (report_into_key(&(parser)->report, key), report_warning(&(parser)->report, __VA_ARGS__),      \
     report_out(&(parser)->report))

static struct schema *type_add(struct parser *parser, enum layout_kind kind)
{
    struct schema_file *file = parser->file;
    if (file->type_count == LAYOUT_NODES_MAX)
        return refuse_limit(parser, "a schema may hold at most %u types", LAYOUT_NODES_MAX);
    if (file->type_count == file->type_room) {
        uint32_t room = file->type_room ? 2 * file->type_room : 64;
        const struct schema **types = realloc(file->types, room * sizeof(struct schema *));
        if (types == NULL)
            return refuse_memory(parser);
        file->types = types;
        file->type_room = room;
    }
    struct schema *type = arena_take(file, sizeof(*type));
    const struct report_place *place = report_keep(&parser->report, take_for_report, file);
    if (type == NULL || place == NULL)
        return refuse_memory(parser);
    type->kind = kind;
    type->node = file->type_count;
    type->place = place;
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

/* The string, or NULL for another value. One that holds a NUL is no name of anything. */
static const char *string_of(const json_t *json)
{
    const char *text = json_string_value(json);
    return text != NULL && strlen(text) != json_string_length(json) ? "\\u0000" : text;
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

/* ---- attributes ---- */

/* The attribute of `json` that somebody wrote for the missing `wanted`, or NULL. */
static const char *near_key(const json_t *json, const char *wanted)
{
    const char *best = NULL, *key;
    json_t *object = (json_t *)(uintptr_t)json, *value; /* jansson's loop takes no const */
    json_object_foreach(object, key, value) nearest_offer(wanted, key, &best);
    return best;
}

static void *refuse_missing(struct parser *parser, const json_t *json, const char *wanted,
                            const char *what)
{
    const char *near = near_key(json, wanted);
    if (near != NULL)
        return refuse(parser, "%s needs \"%s\"; is \"%.60s\" meant to be it?", what, wanted, near);
    return refuse(parser, "%s needs \"%s\"", what, wanted);
}

/* Attributes that are nobody's are a user's own, unless they are a slip away from one of Avro's
 * that is not there. */
static void check_keys(struct parser *parser, const json_t *json, const char *const *known)
{
    const char *key;
    json_t *object = (json_t *)(uintptr_t)json, *value;
    if (!parser->strict)
        return;
    json_object_foreach(object, key, value)
    {
        const char *meant = NULL;
        for (size_t i = 0; known[i] != NULL; i++) {
            if (strcmp(known[i], key) == 0) {
                meant = NULL;
                break;
            }
            if (strlen(key) >= 4 && nearest_distance(key, known[i]) <= 1 &&
                json_object_get(json, known[i]) == NULL)
                meant = known[i];
        }
        if (meant != NULL)
            warn_at(parser, key, "unknown attribute \"%.60s\" is ignored; did you mean \"%s\"?",
                    key, meant);
    }
}

static void check_doc(struct parser *parser, const json_t *json)
{
    const json_t *doc = json_object_get(json, "doc");
    if (parser->strict && doc != NULL && !json_is_string(doc))
        refuse_at(parser, "doc", "a doc is a string");
}

/* What people wrote about a field or a type. False behind an error. */
static bool keep_words(struct parser *parser, const json_t *json, const char **doc,
                       const char **unit)
{
    static const char *const units[] = {"unit", "units"};
    const char *text = string_of(json_object_get(json, "doc"));
    bool good = text == NULL || (*doc = text_keep(parser, text)) != NULL;
    text = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(units) && text == NULL; i++) {
        const json_t *value = json_object_get(json, units[i]);
        text = string_of(value);
        if (parser->strict && value != NULL && text == NULL)
            warn_at(parser, units[i], "a unit is a string; it is ignored");
    }
    return good && (text == NULL || (*unit = text_keep(parser, text)) != NULL);
}

/* Aliases of a field are plain names, those of a type may be full ones. */
static bool check_aliases(struct parser *parser, const json_t *json, bool dotted)
{
    const json_t *aliases = json_object_get(json, "aliases");
    bool good = true;
    if (aliases == NULL || !parser->strict)
        return true;
    report_into_key(&parser->report, "aliases");
    if (!json_is_array(aliases)) {
        refuse(parser, "\"aliases\" is a list of names");
        good = false;
    }
    for (size_t i = 0; i < json_array_size(aliases); i++) {
        const char *alias = string_of(json_array_get(aliases, i));
        if (alias != NULL && is_name(alias, dotted))
            continue;
        report_into_index(&parser->report, i);
        if (alias == NULL)
            refuse(parser, "an alias is a string");
        else
            refuse(parser, "bad alias \"%.100s\": letters, digits and _, not starting with a digit",
                   alias);
        report_out(&parser->report);
        good = false;
    }
    report_out(&parser->report);
    return good;
}

/* ---- logical types ---- */

#define ANY_SIZE 0u

#define DECIMAL_READERS ", but fastavro and goavro do not open files with it"

static const struct {
    const char *name;
    enum layout_kind kind;
    uint32_t fixed_bytes; /* of LAYOUT_FIXED */
    const char *fits;     /* in words */
} logical_types[] = {
    {"decimal", LAYOUT_BYTES, 0, "bytes or fixed"},
    {"decimal", LAYOUT_FIXED, ANY_SIZE, "bytes or fixed"},
    {"big-decimal", LAYOUT_BYTES, 0, "bytes"},
    {"uuid", LAYOUT_STRING, 0, "string or a fixed of 16 bytes"},
    {"uuid", LAYOUT_FIXED, 16, "string or a fixed of 16 bytes"},
    {"date", LAYOUT_INT, 0, "int"},
    {"time-millis", LAYOUT_INT, 0, "int"},
    {"time-micros", LAYOUT_LONG, 0, "long"},
    {"time-nanos", LAYOUT_LONG, 0, "long"}, /* not Avro's yet, but in use */
    {"timestamp-millis", LAYOUT_LONG, 0, "long"},
    {"timestamp-micros", LAYOUT_LONG, 0, "long"},
    {"timestamp-nanos", LAYOUT_LONG, 0, "long"},
    {"local-timestamp-millis", LAYOUT_LONG, 0, "long"},
    {"local-timestamp-micros", LAYOUT_LONG, 0, "long"},
    {"local-timestamp-nanos", LAYOUT_LONG, 0, "long"},
    {"duration", LAYOUT_FIXED, 12, "a fixed of 12 bytes"},
};

/* The attribute as a whole number, or -1 if it is none from 0 to INT32_MAX. */
static int64_t whole_number(const struct parser *parser, const json_t *json)
{
    double value = json_number_value(json);
    if (!json_is_integer(json) && !(parser->integers_are_real && json_is_real(json)))
        return -1;
    return value >= 0 && value <= INT32_MAX && value == floor(value) ? (int64_t)value : -1;
}

/* Whether precision and scale make a decimal of the type, which notes them then. */
static bool check_decimal(struct parser *parser, const json_t *json, struct schema *type)
{
    const json_t *scale_json = json_object_get(json, "scale");
    int64_t precision = whole_number(parser, json_object_get(json, "precision"));
    int64_t scale = scale_json == NULL ? 0 : whole_number(parser, scale_json);
    bool good = false;
    if (precision < 1)
        report_warning(&parser->report, "logicalType decimal needs \"precision\", a whole number "
                                        "from 1; it is ignored" DECIMAL_READERS);
    else if (scale < 0 || scale > precision)
        warn_at(parser, "scale",
                "the scale of a decimal is a whole number from 0 to its precision, here %lld; "
                "logicalType is ignored" DECIMAL_READERS,
                (long long)precision);
    else if (type->kind == LAYOUT_FIXED) {
        /* floor(log10(2^(8n-1) - 1)): the power is never a power of ten, so the 1 is no matter. */
        int64_t most = type->count == 0 ? 0 : (int64_t)floor((8.0 * type->count - 1) * log10(2));
        if (precision <= most)
            good = true;
        else
            warn_at(parser, "precision",
                    "a fixed of %lu bytes holds at most %lld digits; logicalType is "
                    "ignored" DECIMAL_READERS,
                    (unsigned long)type->count, (long long)most);
    } else
        good = true;
    type->precision = good ? (uint32_t)precision : 0;
    type->scale = good ? (uint32_t)scale : 0;
    return good;
}

/* An invalid logical type is to be ignored, not refused: so says the specification. */
static bool check_logical(struct parser *parser, const json_t *json, struct schema *type,
                          const char *logical)
{
    const char *near = NULL, *fits = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(logical_types); i++) {
        nearest_offer(logical, logical_types[i].name, &near);
        if (strcmp(logical_types[i].name, logical) != 0)
            continue;
        fits = logical_types[i].fits;
        if (logical_types[i].kind == type->kind &&
            (type->kind != LAYOUT_FIXED || logical_types[i].fixed_bytes == ANY_SIZE ||
             logical_types[i].fixed_bytes == type->count))
            return strcmp(logical, "decimal") != 0 || check_decimal(parser, json, type);
    }
    if (fits != NULL && type->kind == LAYOUT_FIXED)
        warn_at(parser, "logicalType",
                "logicalType \"%.60s\" is for %s, not a fixed of %lu; it is ignored", logical, fits,
                (unsigned long)type->count);
    else if (fits != NULL)
        warn_at(parser, "logicalType", "logicalType \"%.60s\" is for %s, not %s; it is ignored",
                logical, fits, kind_names[type->kind]);
    else if (near != NULL)
        warn_at(parser, "logicalType",
                "unknown logicalType \"%.60s\" is ignored; did you mean \"%s\"?", logical, near);
    else
        warn_at(parser, "logicalType", "unknown logicalType \"%.60s\" is ignored", logical);
    return false;
}

/* ---- names ---- */

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

static const struct schema *name_find(struct parser *parser, const char *full)
{
    const json_t *index = json_object_get(parser->names, full);
    return index == NULL ? NULL : parser->file->types[json_integer_value(index)];
}

/* What other languages call Avro's types. */
static const struct {
    const char *word, *means;
} foreign_words[] = {
    {"bool", "boolean"},   {"integer", "int"},   {"int8", "int"},      {"int16", "int"},
    {"int32", "int"},      {"uint8", "int"},     {"uint16", "int"},    {"uint32", "long"},
    {"int64", "long"},     {"uint64", "long"},   {"float32", "float"}, {"real", "float"},
    {"float64", "double"}, {"number", "double"}, {"str", "string"},    {"text", "string"},
    {"utf8", "string"},    {"binary", "bytes"},  {"struct", "record"}, {"object", "record"},
    {"list", "array"},     {"dict", "map"},      {"none", "null"},
};

/* Whether the named type is defined anywhere in the schema, before or behind. */
static bool is_defined(const json_t *json, const char *name)
{
    const char *key;
    json_t *any = (json_t *)(uintptr_t)json, *value;
    size_t i;
    if (json_is_object(any)) {
        const char *kind = string_of(json_object_get(any, "type"));
        const char *given = string_of(json_object_get(any, "name"));
        if (kind != NULL && given != NULL && strcmp(given, name) == 0 &&
            (strcmp(kind, "record") == 0 || strcmp(kind, "enum") == 0 ||
             strcmp(kind, "fixed") == 0 || strcmp(kind, "error") == 0))
            return true;
    }
    json_object_foreach(any, key, value) if (is_defined(value, name)) return true;
    json_array_foreach(any, i, value) if (is_defined(value, name)) return true;
    return false;
}

static void *refuse_unknown(struct parser *parser, const char *name)
{
    static const char *const written_out[] = {"record", "error", "enum", "fixed", "array", "map"};
    const char *best = NULL, *known;
    json_t *value;
    for (size_t i = 0; i < ARRAY_COUNT(written_out); i++)
        if (strcmp(written_out[i], name) == 0)
            return refuse(parser,
                          "type \"%s\" must be written as an object: {\"type\": \"%s\", ...}", name,
                          name);
    if (strcmp(name, "union") == 0)
        return refuse(parser, "a union is written as a list of types: [\"null\", \"double\"]");
    if (name[0] == '\0')
        return refuse(parser, "the type's name is empty");
    for (size_t i = 0; i < ARRAY_COUNT(logical_types); i++)
        if (strcmp(logical_types[i].name, name) == 0)
            return refuse(parser,
                          "\"%s\" is a logical type: {\"type\": \"%s\", \"logicalType\": \"%s\"}",
                          name, kind_names[logical_types[i].kind], name);
    if (parser->report.findings->count < SCHEMA_FINDINGS_MAX && is_defined(parser->json, name))
        return refuse(
            parser,
            "type \"%.100s\" is not known yet here; write its definition where it is used "
            "first",
            name);
    for (size_t i = 0; i < ARRAY_COUNT(foreign_words) && best == NULL; i++)
        if (nearest_distance(foreign_words[i].word, name) == 0)
            best = foreign_words[i].means;
    for (int kind = LAYOUT_NULL; kind <= LAYOUT_STRING && best == NULL; kind++)
        if (nearest_distance(kind_names[kind], name) == 0)
            best = kind_names[kind];
    if (best == NULL) {
        for (int kind = LAYOUT_NULL; kind < LAYOUT_KINDS; kind++)
            nearest_offer(name, kind_names[kind], &best);
        if (parser->report.findings->count < SCHEMA_FINDINGS_MAX) {
            json_object_foreach(parser->names, known, value)
            {
                const char *dot = strrchr(known, '.');
                nearest_offer(name, known, &best);
                if (dot != NULL && strchr(name, '.') == NULL)
                    nearest_offer(name, dot + 1, &best);
            }
        }
    }
    if (best != NULL)
        return refuse(parser, "unknown type \"%.100s\"; did you mean \"%.100s\"?", name, best);
    return refuse(parser, "unknown type \"%.100s\"", name);
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
        char full[2 * SCHEMA_NAME_BYTES_MAX + 2];
        if ((size_t)snprintf(full, sizeof(full), "%s.%s", space, name) < sizeof(full))
            found = name_find(parser, full);
    }
    /* A bare name means the enclosing namespace; without one there, Java takes the one of no
     * namespace, which cannot be named otherwise. */
    if (found == NULL)
        found = name_find(parser, name);
    return found != NULL ? found : refuse_unknown(parser, name);
}

/* The first of the names joined by dots that is none, in `part`; or NULL. Java to 1.11 and fastavro
 * look at no namespace, so there are schemas with any in registries. */
static const char *bad_part(const char *space, char *part, size_t part_bytes)
{
    for (const char *at = space;; at++) {
        size_t bytes = strcspn(at, ".");
        snprintf(part, part_bytes, "%.*s", (int)(bytes < part_bytes ? bytes : part_bytes - 1), at);
        if (!is_name(part, false))
            return part;
        at += bytes;
        if (*at == '\0')
            return NULL;
    }
}

/* Judges a type's "name" and "namespace". False behind an error. */
static bool check_name(struct parser *parser, const json_t *json)
{
    const json_t *space_json = json_object_get(json, "namespace");
    const char *name = string_of(json_object_get(json, "name")), *space = string_of(space_json);
    const char *dot = strrchr(name, '.');
    char part[100], inside[SCHEMA_NAME_BYTES_MAX + 1] = "";
    bool good = true;
    if (dot != NULL)
        snprintf(inside, sizeof(inside), "%.*s", (int)(dot - name), name);
    if (!is_name(dot != NULL ? dot + 1 : name, false))
        good = (refuse_at(parser, "name",
                          "bad name \"%.100s\": letters, digits and _, not starting with a "
                          "digit" TYPE_NAME_READERS,
                          name),
                false);
    else if (dot != NULL && bad_part(inside, part, sizeof(part)) != NULL)
        warn_at(parser, "name",
                "\"%.100s\" in a namespace: letters, digits and _, not starting with a "
                "digit" TYPE_NAME_READERS,
                part);
    if (space_json != NULL && !json_is_null(space_json) && space == NULL)
        good = (refuse_at(parser, "namespace", "a namespace is a string"), false);
    else if (space != NULL && space[0] != '\0' && bad_part(space, part, sizeof(part)) != NULL)
        warn_at(parser, "namespace",
                "\"%.100s\" in a namespace: letters, digits and _, not starting with a "
                "digit" TYPE_NAME_READERS,
                part);
    if (primitive_kind(dot != NULL ? dot + 1 : name) >= 0) {
        refuse_at(parser, "name", "the name \"%.100s\" is that of a primitive type", name);
        good = false;
    }
    return good;
}

/* The full name, or NULL behind an error. */
static const char *full_name(struct parser *parser, const json_t *json, const char *space,
                             const char *what)
{
    char needs[40], full[2 * SCHEMA_NAME_BYTES_MAX + 2];
    const json_t *name_json = json_object_get(json, "name");
    const char *name = string_of(name_json);
    const char *given = string_of(json_object_get(json, "namespace"));
    snprintf(needs, sizeof(needs), "a type of kind %s", what);
    if (name_json == NULL)
        return refuse_missing(parser, json, "name", needs);
    if (name == NULL) {
        refuse_at(parser, "name", "a name is a string");
        return NULL;
    }
    if (parser->strict && !check_name(parser, json))
        return NULL;
    if (given != NULL)
        space = given;
    bool joined = strchr(name, '.') == NULL && space[0] != '\0';
    int bytes =
        snprintf(full, sizeof(full), "%s%s%s", joined ? space : "", joined ? "." : "", name);
    if (bytes < 0 || (size_t)bytes > SCHEMA_NAME_BYTES_MAX) {
        note_refusal(parser, -EFBIG);
        refuse_at(parser, "name", "a name with its namespace may be %u characters long",
                  SCHEMA_NAME_BYTES_MAX);
        return NULL;
    }
    return text_keep(parser, full);
}

/* Names the type after its object's "name" and "namespace", and makes the name known. */
static bool parse_name(struct parser *parser, const json_t *json, const char *space,
                       struct schema *type)
{
    bool good = check_aliases(parser, json, true);
    check_doc(parser, json);
    type->name = full_name(parser, json, space, kind_names[type->kind]);
    if (type->name == NULL)
        return false;
    const struct schema *first = parser->strict ? name_find(parser, type->name) : NULL;
    if (first != NULL) {
        uint32_t line, column;
        report_locate_place(&parser->report, first->place, &line, &column);
        refuse(parser, "the name \"%.200s\" is defined twice; first at line %lu, column %lu",
               type->name, (unsigned long)line, (unsigned long)column);
        return false;
    }
    if (json_object_set_new(parser->names, type->name, json_integer(type->node)) != 0)
        return refuse_memory(parser);
    return good;
}

/* ---- types ---- */

/* The attribute as a list, or NULL with an error. */
static const json_t *list_of(struct parser *parser, const json_t *json, const char *key,
                             const char *what)
{
    const json_t *list = json_object_get(json, key);
    if (json_is_array(list))
        return list;
    if (list == NULL)
        return refuse_missing(parser, json, key, what);
    refuse_at(parser, key, "\"%s\" must be a list", key);
    return NULL;
}

static bool keep_default(struct parser *parser, const json_t *json, struct schema_field *field)
{
    const json_t *value = json_object_get(json, "default");
    field->has_default = value != NULL;
    if (!parser->strict || value == NULL)
        return true;
    struct pending *pending = arena_take(parser->file, sizeof(*pending));
    report_into_key(&parser->report, "default");
    const struct report_place *place = report_keep(&parser->report, take_for_report, parser->file);
    report_out(&parser->report);
    if (pending == NULL || place == NULL)
        return refuse_memory(parser);
    *pending = (struct pending){NULL, value, field->type, place};
    *parser->pending_end = pending;
    parser->pending_end = &pending->next;
    return true;
}

static void check_field(struct parser *parser, const json_t *json)
{
    static const char *const known[] = {"name", "type", "doc", "default", "order", "aliases", NULL};
    static const char *const orders[] = {"ascending", "descending", "ignore"};
    const json_t *order_json = json_object_get(json, "order");
    const char *order = string_of(order_json), *near = NULL;
    if (!parser->strict)
        return;
    check_doc(parser, json);
    check_aliases(parser, json, false);
    check_keys(parser, json, known);
    for (size_t i = 0; order != NULL && i < ARRAY_COUNT(orders); i++) {
        nearest_offer(order, orders[i], &near);
        if (strcmp(order, orders[i]) == 0)
            order_json = NULL;
    }
    if (order_json != NULL && near != NULL)
        refuse_at(parser, "order", "unknown order \"%.60s\"; did you mean \"%s\"?", order, near);
    else if (order_json != NULL)
        refuse_at(parser, "order", "an order is one of: ascending, descending, ignore");
    if (json_object_get(json, "logicalType") != NULL)
        warn_at(parser, "logicalType",
                "a logicalType beside a field's type is ignored; write it into the type: "
                "\"type\": {\"type\": ..., \"logicalType\": ...}");
}

/* Keeps the name, also as it stands in JSON. */
static bool keep_field_name(struct parser *parser, const char *name, struct schema_field *field)
{
    struct text text = {0};
    json_add_string(&text, (struct span){(const uint8_t *)name, strlen(name)});
    text_add_string(&text, ": ");
    field->json_bytes = text.bytes;
    bool kept = !text.failed && (field->name = text_keep(parser, name)) != NULL &&
                (field->json = text_keep(parser, text.at)) != NULL;
    text_free(&text);
    return kept;
}

static bool parse_field(struct parser *parser, const json_t *json, const char *space,
                        uint32_t depth, json_t *seen, struct schema_field *field)
{
    if (!json_is_object(json))
        return refuse(parser, "a field is an object: {\"name\": ..., \"type\": ...}");
    const json_t *name_json = json_object_get(json, "name");
    const json_t *type = json_object_get(json, "type");
    const char *name = string_of(name_json);
    bool good = true;
    if (name_json == NULL)
        good = refuse_missing(parser, json, "name", "a field");
    else if (name == NULL)
        good = (refuse_at(parser, "name", "a name is a string"), false);
    else if (parser->strict && !is_name(name, false))
        good = (refuse_at(parser, "name",
                          "bad name \"%.100s\": letters, digits and _, not starting with a "
                          "digit; avsc, hamba and goavro do not open files with it",
                          name),
                false);
    else if (parser->strict && json_object_get(seen, name) != NULL)
        good = refuse(parser, "the record has two fields named \"%.100s\"", name);
    else if (!keep_field_name(parser, name, field) ||
             json_object_set_new(seen, name, json_true()) != 0)
        return refuse_memory(parser);
    check_field(parser, json);
    good &= keep_words(parser, json, &field->doc, &field->unit);
    if (type == NULL) {
        char what[80];
        snprintf(what, sizeof(what), name != NULL ? "field \"%.60s\"" : "a field", name);
        return refuse_missing(parser, json, "type", what);
    }
    report_into_key(&parser->report, "type");
    field->type = parse_type(parser, type, space, depth);
    report_out(&parser->report);
    return keep_default(parser, json, field) && good && field->type != NULL;
}

static const struct schema *parse_record(struct parser *parser, const json_t *json,
                                         const char *space, uint32_t depth)
{
    static const char *const known[] = {"type",   "name",    "namespace", "doc",
                                        "fields", "aliases", NULL};
    struct schema *type = type_add(parser, LAYOUT_RECORD);
    if (type == NULL)
        return NULL;
    bool good = parse_name(parser, json, space, type);
    check_keys(parser, json, known);
    const char *inner = type->name == NULL ? space : name_space(parser, type->name);
    const json_t *list = list_of(parser, json, "fields", "a record");
    if (inner == NULL || list == NULL)
        return NULL;
    size_t count = json_array_size(list);
    if (count > SCHEMA_FIELDS_MAX)
        return refuse_limit(parser, "a record may have at most %u fields", SCHEMA_FIELDS_MAX);
    type->fields = arena_take(parser->file, (count + 1) * sizeof(struct schema_field));
    json_t *seen = json_object();
    if (type->fields == NULL || seen == NULL) {
        json_decref(seen);
        return refuse_memory(parser);
    }
    type->count = (uint32_t)count;
    report_into_key(&parser->report, "fields");
    for (size_t i = 0; i < count; i++) {
        report_into_index(&parser->report, i);
        good &= parse_field(parser, json_array_get(list, i), inner, depth, seen, &type->fields[i]);
        report_out(&parser->report);
    }
    report_out(&parser->report);
    json_decref(seen);
    return good ? type : NULL;
}

static bool parse_symbols(struct parser *parser, const json_t *list, struct schema *type)
{
    json_t *seen = json_object();
    bool good = true;
    if (seen == NULL)
        return refuse_memory(parser);
    report_into_key(&parser->report, "symbols");
    for (size_t i = 0; i < type->count; i++) {
        const char *symbol = string_of(json_array_get(list, i)), *problem = NULL;
        if (symbol == NULL)
            problem = "a symbol is a string";
        else if (parser->strict && !is_name(symbol, false))
            problem = "a symbol has letters, digits and _, and does not start with a digit; but "
                      "for Java's, no reader opens files with it";
        else if (parser->strict && json_object_get(seen, symbol) != NULL)
            problem = "the symbol is there twice";
        else if ((type->symbols[i] = text_keep(parser, symbol)) == NULL ||
                 json_object_set_new(seen, symbol, json_true()) != 0)
            problem = strerror(ENOMEM);
        if (problem == NULL)
            continue;
        good = false;
        report_into_index(&parser->report, i);
        if (symbol != NULL)
            refuse(parser, "\"%.100s\": %s", symbol, problem);
        else
            refuse(parser, "%s", problem);
        report_out(&parser->report);
    }
    report_out(&parser->report);
    json_decref(seen);
    return good;
}

static const struct schema *parse_enum(struct parser *parser, const json_t *json, const char *space)
{
    static const char *const known[] = {"type",    "name",    "namespace", "doc",
                                        "symbols", "aliases", "default",   NULL};
    struct schema *type = type_add(parser, LAYOUT_ENUM);
    if (type == NULL)
        return NULL;
    bool good = parse_name(parser, json, space, type);
    check_keys(parser, json, known);
    const json_t *list = list_of(parser, json, "symbols", "an enum");
    if (list == NULL)
        return NULL;
    size_t count = json_array_size(list);
    if (count == 0 && parser->strict) {
        refuse_at(parser, "symbols", "an enum needs at least one symbol");
        return NULL;
    }
    type->symbols = arena_take(parser->file, (count + 1) * sizeof(char *));
    if (type->symbols == NULL)
        return refuse_memory(parser);
    type->count = (uint32_t)count;
    good &= parse_symbols(parser, list, type);
    const json_t *value = json_object_get(json, "default");
    if (parser->strict && value != NULL && good) {
        report_into_key(&parser->report, "default");
        schema_check_default(&parser->report, type, value, parser->integers_are_real);
        report_out(&parser->report);
    }
    return good ? type : NULL;
}

static const struct schema *parse_fixed(struct parser *parser, const json_t *json,
                                        const char *space)
{
    static const char *const known[] = {"type",    "name",        "namespace", "doc",   "size",
                                        "aliases", "logicalType", "precision", "scale", NULL};
    struct schema *type = type_add(parser, LAYOUT_FIXED);
    if (type == NULL)
        return NULL;
    bool good = parse_name(parser, json, space, type);
    check_keys(parser, json, known);
    const json_t *size = json_object_get(json, "size");
    int64_t bytes = whole_number(parser, size);
    if (size == NULL)
        return refuse_missing(parser, json, "size", "a fixed");
    if (bytes < 0) {
        if (json_number_value(size) > INT32_MAX)
            note_refusal(parser, -EFBIG); /* not Java's, but others' */
        refuse_at(parser, "size", "the \"size\" of a fixed is a whole number of bytes, 0 to %d",
                  INT32_MAX);
        return NULL;
    }
    type->count = (uint32_t)bytes;
    return good ? type : NULL;
}

static const struct schema *parse_items(struct parser *parser, const json_t *json,
                                        const char *space, uint32_t depth, enum layout_kind kind)
{
    const char *key = kind == LAYOUT_ARRAY ? "items" : "values";
    struct schema *type = type_add(parser, kind);
    if (type == NULL)
        return NULL;
    const json_t *items = json_object_get(json, key);
    if (items == NULL) {
        const char *other = kind == LAYOUT_ARRAY ? "values" : "items";
        if (json_object_get(json, other) != NULL)
            return refuse(parser, "a type of kind %s needs \"%s\", not \"%s\"", kind_names[kind],
                          key, other);
        return refuse_missing(parser, json, key,
                              kind == LAYOUT_ARRAY ? "a type of kind array" : "a type of kind map");
    }
    report_into_key(&parser->report, key);
    type->items = parse_type(parser, items, space, depth);
    report_out(&parser->report);
    return type->items != NULL ? type : NULL;
}

static const struct schema *parse_union(struct parser *parser, const json_t *json,
                                        const char *space, uint32_t depth)
{
    struct schema *type = type_add(parser, LAYOUT_UNION);
    if (type == NULL)
        return NULL;
    size_t count = json_array_size(json);
    /* A schema without datums, but one that has a canonical form. */
    if (count == 0 && parser->strict)
        return refuse(parser, "a union needs at least one type");
    json_t *seen = json_object();
    type->branches = arena_take(parser->file, (count + 1) * sizeof(struct schema *));
    if (type->branches == NULL || seen == NULL) {
        json_decref(seen);
        return refuse_memory(parser);
    }
    type->count = (uint32_t)count;
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        report_into_index(&parser->report, i);
        const struct schema *branch = parse_type(parser, json_array_get(json, i), space, depth);
        const char *key = branch == NULL ? NULL
                          : branch->name ? branch->name
                                         : kind_names[branch->kind];
        if (parser->strict && branch != NULL && branch->kind == LAYOUT_UNION)
            branch = refuse(parser, "a union cannot stand directly in a union");
        else if (parser->strict && branch != NULL && json_object_get(seen, key) != NULL)
            branch = refuse(parser, "the union has type \"%.100s\" twice", key);
        else if (branch != NULL && json_object_set_new(seen, key, json_true()) != 0)
            branch = refuse_memory(parser);
        type->branches[i] = branch;
        good &= branch != NULL;
        report_out(&parser->report);
    }
    json_decref(seen);
    return good ? type : NULL;
}

/* A type that is the one its "type" says, as if it were written there alone. By the specification
 * it is none, and few readers take it: an error in what goes into recordings, unless it is a name,
 * which Java and hamba take as well. */
static const struct schema *parse_inner(struct parser *parser, const json_t *json,
                                        const char *space, uint32_t depth)
{
    const json_t *inner = json_object_get(json, "type");
    const char *name = string_of(inner);
    if (parser->strict && json_object_get(json, "logicalType") != NULL)
        warn_at(parser, "logicalType",
                "a logicalType beside a type that is %s is ignored; it belongs to that type's own "
                "definition",
                name != NULL ? "a name" : "written out");
    report_into_key(&parser->report, "type");
    const struct schema *type = name != NULL ? parse_reference(parser, name, space)
                                             : parse_type(parser, inner, space, depth);
    if (parser->strict && name == NULL)
        type = refuse(parser,
                      "a type inside a type: write it without the outer {\"type\": ...}; "
                      "Java, fastavro, Avro for Python, avsc and polars do not open files with "
                      "it");
    else if (type != NULL)
        report_warning(&parser->report,
                       "the name of a type stands alone, not in {\"type\": ...}: fastavro, avsc, "
                       "polars and Avro for Python do not open files with it");
    report_out(&parser->report);
    return type;
}

static const struct schema *parse_object(struct parser *parser, const json_t *json,
                                         const char *space, uint32_t depth)
{
    static const char *const known[] = {"type",      "items", "values", "logicalType",
                                        "precision", "scale", NULL};
    const json_t *logical_json = json_object_get(json, "logicalType");
    const char *name = string_of(json_object_get(json, "type"));
    const char *logical = string_of(logical_json);
    int primitive = name == NULL ? -1 : primitive_kind(name);
    const struct schema *type;
    if (json_object_get(json, "type") == NULL && json_is_string(json_object_get(json, "protocol")))
        return refuse(parser,
                      "a protocol (.avpr), not a schema: save the record that the datums are "
                      "of, out of its \"types\", in a file of its own");
    if (json_object_get(json, "type") == NULL)
        return refuse_missing(parser, json, "type", "a type written as an object");
    if (name == NULL)
        return parse_inner(parser, json, space, depth);
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0)
        type = parse_record(parser, json, space, depth);
    else if (strcmp(name, "enum") == 0)
        type = parse_enum(parser, json, space);
    else if (strcmp(name, "fixed") == 0)
        type = parse_fixed(parser, json, space);
    else if (strcmp(name, "array") == 0 || strcmp(name, "map") == 0) {
        check_keys(parser, json, known);
        type = parse_items(parser, json, space, depth,
                           strcmp(name, "map") == 0 ? LAYOUT_MAP : LAYOUT_ARRAY);
    } else if (primitive >= 0) {
        check_keys(parser, json, known);
        bool own = logical != NULL || json_object_get(json, "doc") != NULL ||
                   json_object_get(json, "unit") != NULL || json_object_get(json, "units") != NULL;
        type = own ? type_add(parser, (enum layout_kind)primitive)
                   : parse_reference(parser, name, space);
    } else
        return parse_inner(parser, json, space, depth);
    if (parser->strict && logical_json != NULL && logical == NULL)
        warn_at(parser, "logicalType", "a logicalType is a string; it is ignored");
    if (type == NULL)
        return NULL;
    /* It was made right here, by type_add; a plain primitive has nothing said about it. */
    struct schema *made = (struct schema *)(uintptr_t)type;
    if (logical != NULL) {
        made->logical_holds = check_logical(parser, json, made, logical);
        made->logical = text_keep(parser, logical);
        if (made->logical == NULL)
            return NULL;
    }
    return keep_words(parser, json, &made->doc, &made->unit) ? type : NULL;
}

static const struct schema *parse_type(struct parser *parser, const json_t *json, const char *space,
                                       uint32_t depth)
{
    if (depth >= SCHEMA_NESTING_MAX)
        return refuse_limit(parser, "types nest deeper than %u levels", SCHEMA_NESTING_MAX);
    if (json_is_string(json))
        return parse_reference(parser, string_of(json), space);
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
        if (type->count == 0)
            return 1;
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
    report_go(&parser->report, first->place);
    refuse(parser,
           "record \"%.100s\" contains itself by %s with nothing between that could be left out (a "
           "union, an array, a map): its datums would be endless",
           first->name, way);
}

/* Finds the levels of every type: nothing is known at first, and each pass finds the types whose
 * datums are one level higher. What is still unknown when a pass finds nothing has only endless
 * datums. */
static void find_levels(struct parser *parser)
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
            return;
        }
        if (type->levels > SCHEMA_LEVELS_MAX)
            type->levels = SCHEMA_LEVELS_MAX + 1;
    }
}

/* What schema_compile would refuse has a place here. */
static void check_limits(struct parser *parser)
{
    char message[300];
    const struct schema *at = compile_check(parser->file, message, sizeof(message));
    if (at == NULL)
        return;
    report_go(&parser->report, at->place);
    refuse(parser, "%s", message);
}

/* NULL behind an error. */
static json_t *read_json(struct parser *parser, struct span text)
{
    const size_t flags =
        (parser->strict ? JSON_REJECT_DUPLICATES : 0) | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_error_t fault;
    const char *at = (const char *)text.at;
    json_t *json;
    if (text.bytes >= 2 && (memcmp(at, "\xff\xfe", 2) == 0 || memcmp(at, "\xfe\xff", 2) == 0 ||
                            (at[0] == '\0') != (at[1] == '\0'))) {
        report_error_at(&parser->report, 0, "the text is UTF-16; save it as UTF-8");
        return NULL;
    }
    if (text.bytes >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
        report_error_at(&parser->report, 0,
                        "not JSON: the text begins with a byte order mark; save it without one");
        return NULL;
    }
    json = json_loadb(at, text.bytes, flags, &fault);
    /* A number too big for 64 bits is fine where nobody reads it (a default, a user's attribute).
     */
    if (json == NULL && json_error_code(&fault) == json_error_numeric_overflow) {
        json = json_loadb(at, text.bytes, flags | JSON_DECODE_INT_AS_REAL, &fault);
        parser->integers_are_real = true;
    }
    if (json != NULL)
        return json;
    /* jansson tells where the offending token ends; people look where it begins. */
    size_t offset = fault.position < 0 ? 0 : (size_t)fault.position;
    enum json_error_code code = json_error_code(&fault);
    bool inside = code == json_error_invalid_utf8 || code == json_error_null_character;
    if (!inside)
        offset = report_token_start(text, offset);
    note_refusal(parser, code == json_error_stack_overflow ? -EFBIG : -EINVAL);
    if (code == json_error_out_of_memory)
        refuse_memory(parser);
    else if (code == json_error_stack_overflow)
        report_error_at(&parser->report, offset, "the JSON nests deeper than %u levels",
                        JSON_LEVELS_MAX);
    else if (code == json_error_premature_end_of_input)
        report_error_at(&parser->report, text.bytes, "not JSON: the text ends too early");
    else
        report_error_at(&parser->report, offset, "%s%s",
                        code == json_error_duplicate_key ? "" : "not JSON: ", fault.text);
    return NULL;
}

/* The schema's text, kept; a file's is mended beside it, where the report will look for places.
 * False without memory. */
static bool keep_schema(struct parser *parser, struct span text)
{
    uint8_t *kept = arena_take(parser->file, text.bytes + 1);
    uint8_t *read = parser->strict ? kept : arena_take(parser->file, text.bytes + 1);
    if (kept == NULL || read == NULL)
        return false;
    if (text.bytes > 0) {
        memcpy(kept, text.at, text.bytes);
        memcpy(read, text.at, text.bytes);
    }
    if (!parser->strict)
        mend_json(read, text.bytes);
    parser->file->text = (struct span){kept, text.bytes};
    parser->report.text = (struct span){read, text.bytes};
    return true;
}

static struct schema_file *read_schema(struct span text, bool strict,
                                       struct schema_findings *findings, int *status)
{
    struct parser parser = {.strict = strict};
    struct schema_file *file = NULL;
    json_t *json = NULL;

    parser.pending_end = &parser.pending;
    if (report_begin(&parser.report, (struct span){NULL, 0}, findings) < 0) {
        findings->errors++;
        *status = -ENOMEM;
        return NULL;
    }
    parser.report.errors_only = !strict;
    if (text.bytes > LAYOUT_SCHEMA_BYTES_MAX) {
        refuse_limit(&parser, "the schema is longer than %u bytes", LAYOUT_SCHEMA_BYTES_MAX);
        goto out;
    }
    file = calloc(1, sizeof(*file));
    parser.names = json_object();
    parser.file = file;
    if (file == NULL || parser.names == NULL || !keep_schema(&parser, text)) {
        refuse_memory(&parser);
        goto out;
    }
    parser.json = json = read_json(&parser, parser.report.text);
    if (json == NULL)
        goto out;
    file->root = parse_type(&parser, json, "", 0);
    if (findings->errors == 0)
        find_levels(&parser);
    for (const struct pending *one = parser.pending; one != NULL; one = one->next) {
        report_go(&parser.report, one->place);
        schema_check_default(&parser.report, one->type, one->value, parser.integers_are_real);
    }
    if (strict && findings->errors == 0)
        check_limits(&parser);
out:
    json_decref(json);
    json_decref(parser.names);
    report_end(&parser.report);
    report_sort(findings);
    *status = parser.status != 0 || findings->errors == 0 ? parser.status : -EINVAL;
    if (findings->errors > 0) {
        schema_free(file);
        return NULL;
    }
    return file;
}

struct schema_file *schema_read(struct span text, struct schema_findings *findings)
{
    int status;
    return read_schema(text, true, findings, &status);
}

struct schema_file *schema_parse_header(struct span text, int *status, char *error,
                                        size_t error_bytes)
{
    struct schema_findings findings = {0};
    struct schema_file *file = read_schema(text, false, &findings, status);
    if (file == NULL) {
        snprintf(error, error_bytes, "%s", strerror(ENOMEM));
        for (size_t i = 0; i < findings.count; i++) {
            const struct schema_finding *one = &findings.list[i];
            if (one->warning)
                continue;
            snprintf(error, error_bytes, "line %lu, column %lu: %s%s%s", (unsigned long)one->line,
                     (unsigned long)one->column, one->path, one->path[0] != '\0' ? ": " : "",
                     one->message);
            break;
        }
    }
    schema_findings_free(&findings);
    return file;
}

struct schema_file *schema_parse(struct span text, char *error, size_t error_bytes)
{
    int status;
    return schema_parse_header(text, &status, error, error_bytes);
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
