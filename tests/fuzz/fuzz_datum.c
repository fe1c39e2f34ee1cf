/* SPDX-License-Identifier: MIT
 * Fuzzes the walk over datums: the first byte chooses a schema, the rest is a datagram. Judged by
 * libavro, and by a third, loose walk that decodes as libavro does and notes where Flotilla differs
 * on purpose: enum difference names all of these, and each refusal libavro does not share must have
 * one as its reason. datum_leaves, datum_write_json and columns_read must agree, a message in CDR
 * ends where a reader that goes by its definition's text ends, and what libavro
 * read and wrote again must mean the same.
 * Relies on libFuzzer and on libavro 1.11. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/datum.h"
#include "avro/layout.h"
#include "base/check.h"
#include "libavro_judge.h"
#include "schema/columns.h"
#include "schema/json.h"
#include "schema/ros2msg.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What libavro 1.11 takes and we refuse. Beyond these, both take the same bytes. Not in the list,
 * because libavro is not asked: a union's branch or an enum's symbol beyond the last (it reads what
 * lies behind its tables, or keeps a number without a name), a block of INT64_MIN items, nesting
 * and empty items without end. */
enum difference {
    SAME,
    TEXT,       /* strings and map keys that are not UTF-8 */
    TRUTH,      /* booleans other than 0 and 1 */
    LOST_BITS,  /* a tenth byte of a varint with more than the one bit that is left */
    LONG_INT,   /* an int or a symbol in more than five bytes */
    BLOCK_SIZE, /* a block whose byte count is wrong; libavro never looks at it */
    DEPTH,      /* deeper than LAYOUT_DEPTH_MAX */
    EMPTY_ITEMS /* more items without bytes than LAYOUT_EMPTY_ITEMS_MAX */
};
static const enum reject reason_of[] = {
    [SAME] = REJECT_NONE,        [TEXT] = REJECT_UTF8,         [TRUTH] = REJECT_BOOLEAN,
    [LOST_BITS] = REJECT_VARINT, [LONG_INT] = REJECT_VARINT,   [BLOCK_SIZE] = REJECT_BLOCK_SIZE,
    [DEPTH] = REJECT_DEPTH,      [EMPTY_ITEMS] = REJECT_COUNT,
};

#define ASKED_DEPTH_MAX 1000u                         /* of libavro's recursion */
#define ASKED_EMPTY_MAX (LAYOUT_EMPTY_ITEMS_MAX + 1u) /* of its patience */
#define KEYS_MAX        64u                           /* of a map that is compared */
#define DATUMS_MAX      8u                            /* of a datagram */

static const char *const texts[] = {
    "{\"type\":\"record\",\"name\":\"Plain\",\"fields\":[{\"name\":\"z\",\"type\":\"boolean\"},"
    "{\"name\":\"i\",\"type\":\"int\"},{\"name\":\"l\",\"type\":\"long\"},"
    "{\"name\":\"f\",\"type\":\"float\"},{\"name\":\"d\",\"type\":\"double\"},"
    "{\"name\":\"b\",\"type\":\"bytes\"},{\"name\":\"s\",\"type\":\"string\"},"
    "{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"X\",\"size\":3}},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\"]}},"
    "{\"name\":\"n\",\"type\":\"null\"}]}",
    "{\"type\":\"record\",\"name\":\"Nested\",\"fields\":[{\"name\":\"t\",\"type\":\"long\"},"
    "{\"name\":\"p\",\"type\":{\"type\":\"record\",\"name\":\"P\",\"fields\":["
    "{\"name\":\"a\",\"type\":\"double\"},{\"name\":\"v\",\"type\":[\"null\",\"int\",\"string\"]}]}"
    "},{\"name\":\"q\",\"type\":\"P\"},{\"name\":\"r\",\"type\":[\"P\",\"null\"]}]}",
    "{\"type\":\"record\",\"name\":\"List\",\"fields\":[{\"name\":\"v\",\"type\":\"long\"},"
    "{\"name\":\"next\",\"type\":[\"null\",\"List\"]}]}",
    "{\"type\":\"record\",\"name\":\"Tree\",\"fields\":[{\"name\":\"v\",\"type\":\"int\"},"
    "{\"name\":\"kids\",\"type\":{\"type\":\"array\",\"items\":\"Tree\"}},"
    "{\"name\":\"w\",\"type\":\"float\"}]}",
    "{\"type\":\"array\",\"items\":\"int\"}",
    "{\"type\":\"map\",\"values\":\"double\"}",
    "{\"type\":\"array\",\"items\":\"null\"}",
    "{\"type\":\"record\",\"name\":\"Empties\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":"
    "\"array\",\"items\":{\"type\":\"record\",\"name\":\"N\",\"fields\":[{\"name\":\"n\",\"type\":"
    "\"null\"}]}}},{\"name\":\"i\",\"type\":\"int\"},{\"name\":\"m\",\"type\":{\"type\":\"map\","
    "\"values\":\"N\"}},{\"name\":\"b\",\"type\":{\"type\":\"array\",\"items\":\"N\"}}]}",
    "[\"null\",\"boolean\",\"int\",\"long\",\"float\",\"double\",\"bytes\",\"string\","
    "{\"type\":\"array\",\"items\":[\"null\",\"string\"]},{\"type\":\"map\",\"values\":\"bytes\"}]",
    "{\"type\":\"map\",\"values\":{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":"
    "[\"int\",\"string\",{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}]}}}",
    "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":"
    "\"boolean\"}}}",
    "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"b\",\"type\":[\"null\",{\"type\":"
    "\"record\",\"name\":\"B\",\"fields\":[{\"name\":\"x\",\"type\":\"double\"},{\"name\":\"a\","
    "\"type\":[\"null\",\"A\"]},{\"name\":\"y\",\"type\":\"int\"}]}]},{\"name\":\"c\",\"type\":"
    "[\"int\",\"B\"]},{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"A\"}}]}",
    "\"string\"",
    "\"long\"",
    "\"int\"",
    "{\"type\":\"enum\",\"name\":\"Only\",\"symbols\":[\"One\",\"Two\"]}",
    "{\"type\":\"record\",\"name\":\"Rare\",\"fields\":[{\"name\":\"o\",\"type\":[{\"type\":"
    "\"record\","
    "\"name\":\"O\",\"fields\":[{\"name\":\"n\",\"type\":[\"null\"]},{\"name\":\"x\",\"type\":["
    "\"O\","
    "\"float\"]},{\"name\":\"y\",\"type\":\"float\"}]}]},{\"name\":\"z\",\"type\":{\"type\":"
    "\"fixed\","
    "\"name\":\"Z\",\"size\":0}},{\"name\":\"p\",\"type\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"record\",\"name\":\"Q\",\"fields\":[{\"name\":\"a\",\"type\":\"double\"},{\"name\":\"b\","
    "\"type\":"
    "\"float\"}]}}}]}",
};
#define SCHEMAS ARRAY_COUNT(texts)

static struct judged {
    struct schema_file *file;
    uint8_t *image;
    struct layout layout;
    struct leaf *leaves, *found;
    struct libavro_judge *libavro;
    const struct columns *columns; /* all */
    const struct columns **alone;  /* each of them */
    struct column_value *values;
    struct ros2msg message;
} judged[SCHEMAS];

/* ---- the loose walk ---- */

struct open_type {
    const struct schema *type;
    const struct open_type *outer;
};

struct loose {
    const uint8_t *start, *at, *end;
    enum difference first;
    bool not_asked;    /* libavro would not survive it */
    bool not_compared; /* libavro's values are texts that end at a NUL, and maps of unlike keys */
    uint64_t empty_items;
    struct leaf *leaves;
    uint32_t leaf_count;
};

static void differ(struct loose *loose, enum difference difference)
{
    if (loose->first == SAME)
        loose->first = difference;
}

static bool refuse_to_ask(struct loose *loose)
{
    loose->not_asked = true;
    return false;
}

static bool take_long(struct loose *loose, int64_t *value)
{
    uint64_t raw = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (loose->at == loose->end)
            return false;
        uint8_t byte = *loose->at++;
        if (i == 9 && byte > 1 && byte < 0x80)
            differ(loose, LOST_BITS);
        raw |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = (int64_t)((raw >> 1) ^ (0 - (raw & 1)));
            return true;
        }
    }
    return false;
}

static bool take(struct loose *loose, uint64_t bytes)
{
    if (bytes > (uint64_t)(loose->end - loose->at))
        return false;
    loose->at += bytes;
    return true;
}

/* By decoding, where the others go by ranges of bytes. */
static bool is_text(const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        uint32_t lead = at[i++], point;
        unsigned more = lead < 0x80 ? 0 : lead < 0xc0 ? 9 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        if (more > 3 || lead > 0xf7 || more > bytes - i)
            return false;
        point = more == 0 ? lead : lead & (0x3fu >> more);
        for (unsigned k = 0; k < more; k++) {
            if (at[i] >> 6 != 2)
                return false;
            point = point << 6 | (at[i++] & 0x3fu);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (point < least[more] || point > 0x10ffff || point >> 11 == 0x1b)
            return false;
    }
    return true;
}

static bool take_counted(struct loose *loose, bool text, struct span *content)
{
    int64_t bytes;
    if (!take_long(loose, &bytes) || bytes < 0)
        return false;
    *content = (struct span){loose->at, (size_t)bytes};
    if (!take(loose, (uint64_t)bytes))
        return false;
    if (text && !is_text(content->at, content->bytes))
        differ(loose, TEXT);
    if (text && content->bytes > 0 && memchr(content->at, 0, content->bytes) != NULL)
        loose->not_compared = true;
    return true;
}

static bool take_type(struct loose *loose, const struct schema *type, uint32_t depth,
                      const struct open_type *outer);

static bool take_items(struct loose *loose, const struct schema *type, uint32_t depth)
{
    struct span keys[KEYS_MAX];
    uint32_t key_count = 0;
    for (;;) {
        int64_t count, bytes = -1;
        const uint8_t *block_end = NULL;
        if (!take_long(loose, &count))
            return false;
        if (count == 0)
            return true;
        if (count == INT64_MIN)
            return refuse_to_ask(loose);
        if (count < 0) {
            if (!take_long(loose, &bytes))
                return false;
            count = -count;
            if (bytes < 0 || bytes > loose->end - loose->at)
                differ(loose, BLOCK_SIZE);
            else
                block_end = loose->at + bytes;
        }
        for (int64_t i = 0; i < count; i++) {
            const uint8_t *before = loose->at;
            if (type->kind == LAYOUT_MAP) {
                struct span key;
                if (!take_counted(loose, true, &key))
                    return false;
                for (uint32_t k = 0; k < key_count; k++)
                    if (keys[k].bytes == key.bytes && memcmp(keys[k].at, key.at, key.bytes) == 0)
                        loose->not_compared = true;
                if (key_count == KEYS_MAX)
                    loose->not_compared = true;
                else
                    keys[key_count++] = key;
            }
            if (!take_type(loose, type->items, depth + 1, NULL))
                return false;
            if (loose->at != before)
                continue;
            if (++loose->empty_items > LAYOUT_EMPTY_ITEMS_MAX)
                differ(loose, EMPTY_ITEMS);
            if (loose->empty_items > ASKED_EMPTY_MAX)
                return refuse_to_ask(loose);
        }
        if (block_end != NULL && loose->at != block_end)
            differ(loose, BLOCK_SIZE);
    }
}

static void note_leaf(struct loose *loose, const struct schema *type, const uint8_t *first,
                      int64_t integer)
{
    struct leaf *leaf = &loose->leaves[loose->leaf_count++];
    *leaf = (struct leaf){.offset = (uint32_t)(first - loose->start),
                          .bytes = (uint8_t)(loose->at - first),
                          .kind = (uint8_t)type->kind};
    if (type->kind == LAYOUT_FLOAT) {
        float real;
        memcpy(&real, first, sizeof real);
        leaf->value.real = (double)real;
    } else if (type->kind == LAYOUT_DOUBLE) {
        memcpy(&leaf->value.real, first, sizeof leaf->value.real);
    } else {
        leaf->value.integer = integer;
    }
}

static bool take_number(struct loose *loose, const struct schema *type, bool listing)
{
    const uint8_t *first = loose->at;
    int64_t value = 0;
    if (type->kind == LAYOUT_FLOAT || type->kind == LAYOUT_DOUBLE) {
        if (!take(loose, type->kind == LAYOUT_FLOAT ? 4 : 8))
            return false;
    } else if (!take_long(loose, &value)) {
        return false;
    } else if (type->kind == LAYOUT_INT) {
        if (value < INT32_MIN || value > INT32_MAX)
            return false;
        if (loose->at - first > 5)
            differ(loose, LONG_INT);
    }
    /* What is refused has no list that would be looked at. */
    if (listing && loose->first == SAME)
        note_leaf(loose, type, first, value);
    return true;
}

/* `outer` are the types that are open, NULL inside arrays, maps and what leads back: no leaves. */
static bool take_type(struct loose *loose, const struct schema *type, uint32_t depth,
                      const struct open_type *outer)
{
    const struct open_type inner = {type, outer};
    const uint8_t *first = loose->at;
    struct span content;
    int64_t number;
    if (type->kind >= LAYOUT_UNION) {
        if (depth >= LAYOUT_DEPTH_MAX)
            differ(loose, DEPTH);
        if (depth > ASKED_DEPTH_MAX)
            return refuse_to_ask(loose);
    }
    for (const struct open_type *open = outer; open != NULL; open = open->outer)
        if (open->type == type)
            outer = NULL;
    switch (type->kind) {
    case LAYOUT_NULL:
        return true;
    case LAYOUT_BOOLEAN:
        if (loose->at<loose->end && * loose->at> 1)
            differ(loose, TRUTH);
        return take(loose, 1);
    case LAYOUT_INT:
    case LAYOUT_LONG:
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        return take_number(loose, type, outer != NULL || depth == 0);
    case LAYOUT_BYTES:
    case LAYOUT_STRING:
        return take_counted(loose, type->kind == LAYOUT_STRING, &content);
    case LAYOUT_FIXED:
        return take(loose, type->count);
    case LAYOUT_ENUM:
        if (!take_long(loose, &number))
            return false;
        if (number < 0 || number >= (int64_t)type->count)
            return refuse_to_ask(loose);
        if (loose->at - first > 5)
            differ(loose, LONG_INT);
        return true;
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return take_items(loose, type, depth);
    case LAYOUT_UNION:
        if (!take_long(loose, &number))
            return false;
        if (number < 0 || number >= (int64_t)type->count)
            return refuse_to_ask(loose);
        return take_type(loose, type->branches[number], depth + 1,
                         outer != NULL || depth == 0 ? &inner : NULL);
    default: /* a record */
        for (uint32_t i = 0; i < type->count; i++)
            if (!take_type(loose, type->fields[i].type, depth + 1,
                           outer != NULL || depth == 0 ? &inner : NULL))
                return false;
        return true;
    }
}

/* ---- the judgement ---- */

/* libavro takes what the loose walk takes; and what it read from a datum that we take as well means
 * the same when it has written it again. */
static void ask_libavro(const struct judged *by, const struct loose *loose, struct span rest,
                        bool takes)
{
    static struct text ours, theirs;
    bool compare = takes && loose->first == SAME && !loose->not_compared;
    const struct schema *root = schema_root(by->file);
    size_t used = (size_t)(loose->at - loose->start), bytes, read;
    uint8_t *written = NULL;
    CHECK(libavro_judge_read(by->libavro, rest.at, rest.bytes, used, compare ? &written : NULL,
                             &bytes) == takes);
    if (!compare)
        return;
    text_clear(&ours);
    text_clear(&theirs);
    CHECK(datum_write_json(root, rest, &read, &ours) == REJECT_NONE);
    CHECK(datum_write_json(root, (struct span){written, bytes}, &read, &theirs) == REJECT_NONE);
    CHECK(read == bytes && ours.bytes == theirs.bytes);
    CHECK(memcmp(ours.at, theirs.at, ours.bytes) == 0);
    free(written);
}

static void check_leaves(struct judged *by, struct span rest, enum reject reason, size_t bytes,
                         const struct loose *loose)
{
    uint32_t count = 0;
    size_t listed;
    CHECK(datum_leaves(&by->layout, rest, &listed, by->found, &count) == reason);
    CHECK(listed == bytes && count <= by->layout.leaf_count);
    uint32_t there = 0;
    for (uint32_t i = 0; i < count; i++) { /* nulls in the place of numbers are listed as well */
        const struct leaf *one = &by->found[i];
        if (one->index != LEAF_MISSING) {
            by->found[there++] = *one;
            continue;
        }
        CHECK(one->kind == LAYOUT_NULL && one->bytes > 0 && one->offset + one->bytes <= bytes);
        CHECK(by->layout.nodes[one->value.missing.node].kind == LAYOUT_UNION);
    }
    count = there;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(by->found[i].index < by->layout.leaf_count);
        CHECK(i == 0 || by->found[i].index > by->found[i - 1].index);
    }
    if (reason != REJECT_NONE)
        return;
    CHECK(count == loose->leaf_count);
    for (uint32_t i = 0; i < count; i++) {
        const struct leaf *a = &by->found[i], *b = &loose->leaves[i];
        CHECK(a->offset == b->offset && a->bytes == b->bytes && a->kind == b->kind);
        CHECK(memcmp(&a->value, &b->value, sizeof a->value) == 0);
    }
}

static void check_json(const struct judged *by, struct span rest, enum reject reason, size_t bytes)
{
    static struct text text;
    size_t printed;
    text_clear(&text);
    enum reject other = datum_write_json(schema_root(by->file), rest, &printed, &text);
    CHECK((other == REJECT_NONE) == (reason == REJECT_NONE));
    /* The walk sees at once that a count is too large, the printer when the bytes end. */
    if (reason != REJECT_COUNT)
        CHECK(other == reason && printed == bytes);
    CHECK(reason == REJECT_NONE ? text.bytes > 0 : text.bytes == 0);
}

/* Prints what columns show of a datum that is valid, by the schema and not by columns: `text` gets
 * it as columns_write_json would print it, and whether anything is there at all is returned.
 * `may_be_null`: this or something around it is in a union of several. */
struct shown {
    const uint8_t *at, *end;
    struct text *text;
    const struct schema *open[LAYOUT_DEPTH_MAX + 1];
    uint32_t open_count;
};

static bool has_columns(struct shown *shown, const struct schema *type)
{
    bool any = false;
    switch (type->kind) {
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        return has_columns(shown, type->items);
    case LAYOUT_UNION:
        for (uint32_t i = 0; i < type->count; i++)
            any |= type->branches[i]->kind != LAYOUT_NULL && has_columns(shown, type->branches[i]);
        return any || (type->count == 1 && type->branches[0]->kind == LAYOUT_NULL);
    case LAYOUT_RECORD:
        for (uint32_t i = 0; i < shown->open_count; i++)
            if (shown->open[i] == type)
                return false;
        shown->open[shown->open_count++] = type;
        for (uint32_t i = 0; i < type->count && !any; i++)
            any = has_columns(shown, type->fields[i].type);
        shown->open_count--;
        return any;
    default:
        return true;
    }
}

static void show_text(struct shown *shown, const char *text)
{
    text_add_bytes(shown->text, text, strlen(text));
}

static bool show(struct shown *shown, const struct schema *type, bool may_be_null);

/* Past a value, of which nothing is shown. */
static void pass(struct shown *shown, const struct schema *type)
{
    struct text unseen = {0};
    size_t bytes;
    struct span rest = {shown->at, (size_t)(shown->end - shown->at)};
    CHECK(datum_write_json(type, rest, &bytes, &unseen) == REJECT_NONE);
    shown->at += bytes;
    text_free(&unseen);
}

static int64_t show_long(struct shown *shown)
{
    struct loose loose = {.at = shown->at, .end = shown->end};
    int64_t value;
    CHECK(take_long(&loose, &value));
    shown->at = loose.at;
    return value;
}

static void show_items(struct shown *shown, const struct schema *type)
{
    static const struct schema key = {.kind = LAYOUT_STRING};
    bool map = type->kind == LAYOUT_MAP, first = true;
    show_text(shown, map ? "{" : "[");
    for (int64_t count; (count = show_long(shown)) != 0;) {
        if (count < 0) {
            show_long(shown);
            count = -count;
        }
        for (; count > 0; count--, first = false) {
            show_text(shown, first ? "" : ", ");
            if (map) {
                show(shown, &key, false);
                show_text(shown, ": ");
            }
            show(shown, type->items, false);
        }
    }
    show_text(shown, map ? "}" : "]");
}

static bool show_record(struct shown *shown, const struct schema *type, bool may_be_null)
{
    size_t before = shown->text->bytes;
    bool any = false, first = true;
    shown->open[shown->open_count++] = type;
    show_text(shown, "{");
    for (uint32_t i = 0; i < type->count; i++) {
        if (!has_columns(shown, type->fields[i].type)) {
            pass(shown, type->fields[i].type);
            continue;
        }
        show_text(shown, first ? "\"" : ", \"");
        show_text(shown, type->fields[i].name);
        show_text(shown, "\": ");
        any |= show(shown, type->fields[i].type, may_be_null);
        first = false;
    }
    show_text(shown, "}");
    shown->open_count--;
    if (!any && may_be_null) {
        shown->text->bytes = before;
        show_text(shown, "null");
    }
    return any;
}

static bool show(struct shown *shown, const struct schema *type, bool may_be_null)
{
    size_t bytes;
    switch (type->kind) {
    case LAYOUT_NULL:
        show_text(shown, "null");
        return false;
    case LAYOUT_RECORD:
        return show_record(shown, type, may_be_null);
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        show_items(shown, type);
        return true;
    case LAYOUT_UNION:
        may_be_null |= type->count > 1;
        type = type->branches[show_long(shown)];
        if (has_columns(shown, type))
            return show(shown, type, may_be_null);
        pass(shown, type);
        show_text(shown, "null");
        return false;
    default: {
        struct span rest = {shown->at, (size_t)(shown->end - shown->at)};
        CHECK(datum_write_json(type, rest, &bytes, shown->text) == REJECT_NONE);
        shown->at += bytes;
        return true;
    }
    }
}

static void same_value(const struct column *column, const struct column_value *a,
                       const struct column_value *b)
{
    enum layout_kind kind = column->type->kind;
    CHECK(a->present == b->present);
    if (!a->present)
        return;
    if (kind == LAYOUT_FLOAT || kind == LAYOUT_DOUBLE)
        CHECK(memcmp(&a->real, &b->real, sizeof a->real) == 0);
    else if (kind <= LAYOUT_LONG || kind == LAYOUT_ENUM)
        CHECK(a->integer == b->integer);
    else
        CHECK(a->bytes.at == b->bytes.at && a->bytes.bytes == b->bytes.bytes);
    if (column->items != NULL)
        CHECK(a->item_count == b->item_count);
}

/* Columns take what the walk takes, each alone as all at once, and say what the bytes say. */
/* ---- a message by its definition's text ---- */

struct message {
    const char *text;
    const uint8_t *first, *at, *end; /* first: behind the four bytes in front */
};

static uint32_t take_cdr(struct message *message, size_t bytes)
{
    uint32_t value = 0;
    message->at += (size_t)(message->first - message->at) & (bytes - 1);
    CHECK(bytes <= (size_t)(message->end - message->at));
    memcpy(&value, message->at, bytes < 4 ? bytes : 4);
    message->at += bytes;
    return value;
}

static void read_definition(struct message *message, const char *line);

/* Of a type without brackets. */
static void read_one(struct message *message, const char *type, size_t bytes)
{
    static const struct {
        const char *name;
        size_t bytes;
    } plain[] = {{"bool", 1},  {"uint8", 1},   {"int32", 4},  {"uint32", 4},
                 {"int64", 8}, {"float32", 4}, {"float64", 8}};
    char head[200];
    for (size_t i = 0; i < ARRAY_COUNT(plain); i++)
        if (strlen(plain[i].name) == bytes && memcmp(plain[i].name, type, bytes) == 0) {
            uint32_t value = take_cdr(message, plain[i].bytes);
            CHECK(i > 0 || value < 2);
            return;
        }
    if (bytes == 6 && memcmp(type, "string", 6) == 0) {
        uint32_t size = take_cdr(message, 4);
        CHECK(size > 0 && size <= (size_t)(message->end - message->at));
        CHECK(message->at[size - 1] == 0);
        message->at += size;
        return;
    }
    snprintf(head, sizeof head, "\nMSG: %.*s\n", (int)bytes, type);
    const char *found = strstr(message->text, head);
    CHECK(found != NULL);
    read_definition(message, found + strlen(head));
}

static void read_definition(struct message *message, const char *line)
{
    for (; *line != '\0' && *line != '='; line = strchr(line, '\n') + 1) {
        size_t type = strcspn(line, " "), bare = strcspn(line, " [");
        if (*line == '#' || strcspn(line, "=") < strcspn(line, "#\n"))
            continue;
        size_t count = bare == type ? 1 : strtoul(line + bare + 1, NULL, 10);
        if (bare + 2 == type)
            count = take_cdr(message, 4);
        for (size_t i = 0; i < count; i++)
            read_one(message, line, bare);
    }
}

static void check_message(const struct judged *by)
{
    static struct text bytes;
    text_clear(&bytes);
    CHECK(cdr_write(&by->message.steps, 5000000007, by->values, &bytes));
    const uint8_t *at = (const uint8_t *)bytes.at, *first = at + CDR_FRONT_BYTES;
    struct message message = {by->message.text, first, first, at + bytes.bytes};
    read_definition(&message, by->message.text);
    CHECK(message.at == message.end);
}

static void check_columns(const struct judged *by, struct span rest, enum reject reason,
                          size_t bytes)
{
    static struct text ours, theirs;
    size_t read;
    enum reject other = columns_read(by->columns, rest, &read, by->values);
    CHECK((other == REJECT_NONE) == (reason == REJECT_NONE));
    if (reason != REJECT_COUNT)
        CHECK(other == reason && read == bytes);
    for (uint32_t i = 0; i < by->columns->count; i++) {
        struct column_value value;
        size_t again;
        CHECK(columns_read(by->alone[i], rest, &again, &value) == other && again == read);
        if (reason == REJECT_NONE)
            same_value(&by->columns->list[i], &by->values[i], &value);
    }
    if (reason != REJECT_NONE)
        return;
    struct shown shown = {.at = rest.at, .end = rest.at + bytes, .text = &theirs};
    text_clear(&ours);
    text_clear(&theirs);
    columns_write_json(by->columns, by->values, &ours);
    show(&shown, schema_root(by->file), false);
    CHECK(ours.bytes == theirs.bytes && memcmp(ours.at, theirs.at, ours.bytes) == 0);
    check_message(by);
}

/* A datum's front is no datum. */
static void check_fronts(const struct judged *by, struct span rest, size_t bytes)
{
    size_t read, step = bytes / 16 + 1;
    for (size_t front = bytes; front > 0; front -= front < step ? front : step) {
        uint8_t *copy = malloc(front); /* of exactly this size, for the sanitizer to guard */
        CHECK(copy != NULL);
        memcpy(copy, rest.at, front - 1);
        uint8_t *at = realloc(copy, front - 1 > 0 ? front - 1 : 1);
        CHECK(at != NULL);
        CHECK(datum_check(&by->layout, (struct span){at, front - 1}, &read) != REJECT_NONE);
        CHECK(read <= front - 1);
        free(at);
    }
}

static size_t judge(struct judged *by, struct span rest)
{
    size_t bytes;
    struct loose loose = {
        .start = rest.at, .at = rest.at, .end = rest.at + rest.bytes, .leaves = by->leaves};
    enum reject reason = datum_check(&by->layout, rest, &bytes);
    CHECK(bytes <= rest.bytes);
    bool takes = take_type(&loose, schema_root(by->file), 0, NULL);
    if (reason == REJECT_NONE)
        CHECK(takes && loose.first == SAME && (size_t)(loose.at - loose.start) == bytes);
    else if (takes)
        CHECK(loose.first != SAME && reason_of[loose.first] == reason);
    check_leaves(by, rest, reason, bytes, &loose);
    check_json(by, rest, reason, bytes);
    check_columns(by, rest, reason, bytes);
    if (!loose.not_asked)
        ask_libavro(by, &loose, rest, takes);
    if (reason != REJECT_NONE)
        return 0;
    check_fronts(by, rest, bytes);
    return bytes;
}

static void select_columns(struct judged *by)
{
    char error[300];
    CHECK(columns_select(by->file, NULL, 0, &by->columns, error, sizeof error) == 0);
    by->alone = calloc(by->columns->count + 1u, sizeof *by->alone);
    by->values = calloc(by->columns->value_room + 1u, sizeof *by->values);
    CHECK(by->alone != NULL && by->values != NULL);
    for (uint32_t i = 0; i < by->columns->count; i++) {
        CHECK(columns_select(by->file, &by->columns->list[i].path, 1, &by->alone[i], error,
                             sizeof error) == 0);
        CHECK(by->alone[i]->count == 1);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < SCHEMAS; i++) {
        struct judged *by = &judged[i];
        struct span text = {(const uint8_t *)texts[i], strlen(texts[i])};
        char error[300];
        size_t bytes;
        by->file = schema_parse(text, error, sizeof error);
        CHECK(by->file != NULL);
        CHECK(schema_compile(by->file, NULL, NULL, &by->image, &bytes, error, sizeof error) == 0);
        CHECK(layout_load(&by->layout, (struct span){by->image, bytes}) == 0);
        by->leaves = calloc(by->layout.leaf_count + 1u, sizeof *by->leaves);
        by->found = calloc(by->layout.leaf_count + 1u, sizeof *by->found);
        CHECK(by->leaves != NULL && by->found != NULL);
        by->libavro = libavro_judge_open(texts[i]);
        select_columns(by);
        CHECK(ros2msg_make(&by->message, by->columns, "c") == 0);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span rest = {data + 1, size - 1};
    struct judged *by = &judged[data[0] % SCHEMAS];
    for (unsigned i = 0; i < DATUMS_MAX; i++) {
        size_t bytes = judge(by, rest);
        if (bytes == 0)
            break;
        rest.at += bytes;
        rest.bytes -= bytes;
    }
    return 0;
}
