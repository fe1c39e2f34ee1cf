/* SPDX-License-Identifier: MIT
 * Columns: which a schema has, what is said of them, how they are chosen, what a datum has in them.
 * Bytes and texts were worked out by hand from the Avro 1.11 specification; what is taken is
 * compared with datum_check over mutated datums, and each column read alone with all read at once.
 * Relies on cmocka. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avro/datum.h"
#include "base/check.h"
#include "schema/columns.h"
#include "schema/json.h"
#include "schema/schema.h"
#include "schema/synth.h"

#define AND                    ","
#define RECORD(name, fields)   "{\"type\":\"record\",\"name\":\"" name "\",\"fields\":[" fields "]}"
#define FIELD(name, type)      "{\"name\":\"" name "\",\"type\":" type "}"
#define SAID(name, type, unit) "{\"name\":\"" name "\",\"unit\":\"" unit "\",\"type\":" type "}"
#define ARRAY(items)           "{\"type\":\"array\",\"items\":" items "}"
#define MAP(values)            "{\"type\":\"map\",\"values\":" values "}"
#define FIXED(name, size)      "{\"type\":\"fixed\",\"name\":\"" name "\",\"size\":" size "}"

static struct schema_file *parse(const char *text)
{
    char error[512];
    struct schema_file *file =
        schema_parse((struct span){(const uint8_t *)text, strlen(text)}, error, sizeof(error));
    if (file == NULL)
        fail_msg("%s\n  refused: %s", text, error);
    return file;
}

/* Those of the fields, joined by commas; NULL: all. */
static int choose(const struct schema_file *file, const char *fields,
                  const struct columns **columns, char *error, size_t error_bytes)
{
    char text[512];
    const char *list[16];
    size_t count = 0;
    if (fields == NULL)
        return columns_select(file, NULL, 0, columns, error, error_bytes);
    snprintf(text, sizeof(text), "%s", fields);
    for (char *at = text; at != NULL && count < ARRAY_COUNT(list);) {
        list[count++] = at;
        at = strchr(at, ',');
        if (at != NULL)
            *at++ = '\0';
    }
    return columns_select(file, list, count, columns, error, error_bytes);
}

static const struct columns *chosen(const struct schema_file *file, const char *fields)
{
    char error[512] = "";
    const struct columns *columns;
    int status = choose(file, fields, &columns, error, sizeof(error));
    if (status != 0)
        fail_msg("%s: %s", fields ? fields : "all", error);
    assert_string_equal(error, "");
    return columns;
}

/* One line a column: path, kind, "?" if nullable, the unit; items indented below theirs. */
static void list(const struct columns *columns, unsigned indent, char *out, size_t room)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct column *column = &columns->list[i];
        size_t used = strlen(out);
        snprintf(out + used, room - used, "%*s%s %s%s%s%s\n", (int)indent, "", column->path,
                 schema_kind_name(column->type->kind), column->nullable ? "?" : "",
                 column->unit ? " " : "", column->unit ? column->unit : "");
        if (column->items != NULL)
            list(column->items, indent + 1, out, room);
    }
}

static const struct {
    const char *schema, *fields, *listed;
} shapes[] = {
    {"\"double\"", NULL, " double\n"},
    {"[\"null\",\"int\"]", NULL, " int?\n"},
    {"[\"int\"]", NULL, " int\n"},
    {"\"null\"", NULL, " null\n"},
    {"[\"null\"]", NULL, " null?\n"},
    {"[\"null\",\"int\",\"string\"]", NULL, ":int int?\n:string string?\n"},
    {ARRAY("\"int\""), NULL, " array\n [] int\n"},
    {ARRAY(RECORD("R", FIELD("x", "\"int\""))), NULL, " array\n [].x int\n"},
    {ARRAY(RECORD("R", FIELD("x", "\"int\"") AND FIELD("y", "\"int\""))), "[].y",
     " array\n [].y int\n"},
    {RECORD("R",
            FIELD("a", "\"long\"") AND FIELD(
                "b", RECORD("S", FIELD("c", "\"float\"") AND FIELD("d", "[\"string\",\"null\"]")))),
     NULL, "a long\nb.c float\nb.d string?\n"},
    {RECORD("R",
            FIELD("a", "\"long\"") AND FIELD(
                "b", RECORD("S", FIELD("c", "\"float\"") AND FIELD("d", "[\"string\",\"null\"]")))),
     "b.d,a", "a long\nb.d string?\n"},
    /* What stands in something nullable is nullable. */
    {RECORD("R", FIELD("p", "[\"null\"," RECORD("P", FIELD("x", "\"int\"")) "]")), NULL,
     "p.x int?\n"},
    {RECORD("R", FIELD("v", "[" RECORD("n.A", FIELD("x", "\"int\"")) "," RECORD(
                                "m.A", FIELD("x", "\"int\"")) ",\"null\"]")),
     NULL, "v:n.A.x int?\nv:m.A.x int?\n"},
    {RECORD("R", FIELD("v", "[" RECORD("n.A", FIELD("x", "\"int\"")) "," RECORD(
                                "m.A", FIELD("x", "\"int\"")) ",\"null\"]")),
     "v:m.A", "v:m.A.x int?\n"},
    {RECORD("R", FIELD("m", MAP(ARRAY("[\"null\",\"bytes\"]")))), NULL,
     "m map\n m[] array\n  m[][] bytes?\n"},
    {RECORD("R", FIELD("t", ARRAY(RECORD("T", FIELD("x", "\"int\"") AND FIELD("y", "\"int\""))))),
     "t.y", "t array\n t[].y int\n"},
    {RECORD("R", FIELD("t", ARRAY(RECORD("T", FIELD("x", "\"int\"") AND FIELD("y", "\"int\""))))),
     "t[].x", "t array\n t[].x int\n"},
    {RECORD("R", FIELD("t", ARRAY(RECORD("T", FIELD("x", "\"int\"") AND FIELD("y", "\"int\""))))),
     "t[]", "t array\n t[].x int\n t[].y int\n"},
    /* Recursion is left out, and so are records without fields. */
    {RECORD("L", FIELD("v", "\"int\"") AND FIELD("next", "[\"null\",\"L\"]")
                     AND FIELD("all", ARRAY("\"L\""))),
     NULL, "v int\n"},
    {RECORD("R",
            FIELD("e", RECORD("E", "")) AND FIELD("a", ARRAY("\"E\"")) AND FIELD("n", "\"null\"")),
     NULL, "n null\n"},
    /* Units: the field's, its type's, that of a record around for plain numbers; of items. */
    {RECORD("R", SAID("a", "{\"type\":\"double\",\"unit\":\"km\"}", "m") AND FIELD(
                     "b", "{\"type\":\"double\",\"units\":\"km\"}") AND FIELD("c", "\"double\"")),
     NULL, "a double m\nb double km\nc double\n"},
    {RECORD("R",
            SAID("v",
                 RECORD("V", FIELD("x", "\"float\"") AND FIELD("frame", "\"string\"")
                                 AND FIELD("t", "{\"type\":\"long\",\"logicalType\":\"timestamp-"
                                                "micros\"}") AND SAID("q", "\"float\"", "1")),
                 "m/s") AND FIELD("w", "\"V\"")),
     NULL,
     "v.x float m/s\nv.frame string\nv.t long\nv.q float 1\nw.x float\nw.frame string\nw.t "
     "long\nw.q float 1\n"},
    {RECORD("R", SAID("c", ARRAY("\"float\""), "K") AND FIELD("d", ARRAY("{\"type\":\"int\","
                                                                         "\"unit\":\"V\"}"))
                     AND SAID("o", "[\"null\"," MAP("\"double\"") "]", "A")),
     NULL, "c array K\n c[] float K\nd array V\n d[] int V\no map? A\n o[] double A\n"},
    {RECORD("R",
            SAID("t", ARRAY(RECORD("T", FIELD("x", "\"int\"") AND FIELD("s", "\"string\""))), "m")),
     NULL, "t array m\n t[].x int m\n t[].s string\n"},
};

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(shapes); i++) {
        char listed[1024] = "";
        struct schema_file *file = parse(shapes[i].schema);
        const struct columns *columns = chosen(file, shapes[i].fields);
        list(columns, 0, listed, sizeof(listed));
        assert_string_equal(listed, shapes[i].listed);
        columns_free(columns);
        schema_free(file);
    }
}

static void test_words(void **state)
{
    (void)state;
    struct schema_file *file = parse(RECORD(
        "R",
        "{\"name\":\"a\",\"doc\":\"of a\",\"type\":\"double\"},"
        "{\"name\":\"b\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"doc\":\"of "
        "E\",\"symbols\":[\"X\",\"Y\"]}},"
        "{\"name\":\"c\",\"doc\":7,\"unit\":7,\"type\":\"int\"},"
        "{\"name\":\"d\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,"
        "\"scale\":2}},"
        "{\"name\":\"e\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,"
        "\"scale\":10}}"));
    const struct columns *columns = chosen(file, NULL);
    assert_int_equal(columns->count, 5);
    assert_string_equal(columns->list[0].doc, "of a");
    assert_string_equal(columns->list[1].doc, "of E");
    assert_string_equal(columns->list[1].type->symbols[1], "Y");
    assert_null(columns->list[2].doc);
    assert_null(columns->list[2].unit);
    assert_true(columns->list[3].type->logical_holds);
    assert_int_equal(columns->list[3].type->precision, 9);
    assert_int_equal(columns->list[3].type->scale, 2);
    assert_false(columns->list[4].type->logical_holds);
    assert_int_equal(columns->list[4].type->precision, 0);
    columns_free(columns);
    schema_free(file);
}

#define POSITION RECORD("Position", FIELD("lat", "\"double\"") AND FIELD("lon", "\"double\""))
#define FRIENDS  FIELD("friends", ARRAY("\"Person\""))
#define CREW     ARRAY(RECORD("Person", FIELD("name", "\"string\"") AND FRIENDS))
static const char vehicle[] =
    RECORD("Vehicle", FIELD("time", "\"long\"") AND FIELD("position", POSITION)
                          AND FIELD("empty", RECORD("Empty", ""))
                              AND FIELD("left", "[\"null\",\"Vehicle\"]") AND FIELD("crew", CREW));

static void test_refused(void **state)
{
    static const struct {
        const char *fields, *error;
    } cases[] = {
        {"tiem", "no field \"tiem\"; did you mean \"time\"?"},
        {"postion.lat", "no field \"postion.lat\"; did you mean \"position.lat\"?"},
        {"lon", "no field \"lon\"; did you mean \"position.lon\"?"},
        {"time,position.alt", "no field \"position.alt\"; did you mean \"position.lat\"?"},
        {"position.lat.x", "no field \"position.lat.x\"; did you mean \"position.lat\"?"},
        {"posi", "no field \"posi\""},
        {"crew.nam", "no field \"crew.nam\"; did you mean \"crew[].name\"?"},
        {"empty", "field \"empty\" has no column"},
        {"left",
         "field \"left\" has no column: \"left\" leads back into Vehicle, which contains it"},
        {"left.time",
         "field \"left.time\" has no column: \"left\" leads back into Vehicle, which contains it"},
        {"crew.friends.name", "field \"crew.friends.name\" has no column: \"crew[].friends[]\" "
                              "leads back into Person, which contains it"},
    };
    (void)state;
    struct schema_file *file = parse(vehicle);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char error[512] = "";
        const struct columns *columns;
        assert_int_equal(choose(file, cases[i].fields, &columns, error, sizeof(error)), -EINVAL);
        assert_string_equal(error, cases[i].error);
        assert_null(columns);
    }
    const struct columns *columns = chosen(file, NULL);
    assert_int_equal(columns->recursive_count, 2);
    assert_string_equal(columns->recursive[0], "left");
    assert_string_equal(columns->recursive[1], "crew[].friends[]");
    columns_free(columns);
    columns_free(NULL);
    schema_free(file);
}

static size_t from_hex(const char *text, uint8_t *out)
{
    size_t bytes = 0;
    for (unsigned value; *text != '\0'; text += 2) {
        assert_int_equal(sscanf(text, "%2x", &value), 1);
        out[bytes++] = (uint8_t)value;
    }
    return bytes;
}

static enum reject read_json(const struct columns *columns, struct span datum, size_t *bytes,
                             struct text *text)
{
    struct column_value *values = malloc((columns->value_room + 1) * sizeof(*values));
    enum reject reason = columns_read(columns, datum, bytes, values);
    text_clear(text);
    if (reason == REJECT_NONE)
        columns_write_json(columns, values, text);
    free(values);
    return reason;
}

#define NESTED                                                                                     \
    RECORD("R", FIELD("p", "[\"null\"," RECORD("P", FIELD("x", "\"int\"")                          \
                                                        AND FIELD("y", "\"int\"")) "]")            \
                    AND FIELD("v", "[\"double\",\"string\",\"null\",\"P\"]"))
#define POINTS                                                                                     \
    RECORD("R", FIELD("n", "\"int\"") AND FIELD(                                                   \
                    "p", ARRAY(RECORD("P", FIELD("x", "\"int\"") AND FIELD("y", "\"string\""))))   \
                    AND FIELD("f", FIXED("F", "2")))

static void test_values(void **state)
{
    static const struct {
        const char *schema, *fields, *bytes, *text;
    } cases[] = {
        {"\"double\"", NULL, "000000000000f03f", "1.0"},
        {"\"boolean\"", NULL, "01", "true"},
        {"\"null\"", NULL, "", "null"},
        {"[\"null\",\"int\"]", NULL, "00", "null"},
        {"[\"null\",\"int\"]", NULL, "0204", "2"},
        {"[\"int\",\"null\"]", NULL, "0004", "2"},
        {"[\"int\",\"null\"]", NULL, "02", "null"},
        {"[\"int\"]", NULL, "0004", "2"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"X\",\"Y\"]}", NULL, "02", "\"Y\""},
        {NESTED, NULL, "02020400000000000000f03f", "{\"p\": {\"x\": 1, \"y\": 2}, \"v\": 1.0}"},
        {NESTED, NULL, "0002026a", "{\"p\": null, \"v\": \"j\"}"},
        {NESTED, "p.y", "0002026a", "{\"p\": null}"},
        {NESTED, "p.y", "02020404", "{\"p\": {\"y\": 2}}"},
        {NESTED, "v", "00060608", "{\"v\": {\"x\": 3, \"y\": 4}}"},
        {NESTED, "v:P.y", "00060608", "{\"v\": {\"y\": 4}}"},
        {NESTED, "v:P.y", "0002026a", "{\"v\": null}"},
        {NESTED, "v:string", "0002026a", "{\"v\": \"j\"}"},
        {NESTED, "v", "0004", "{\"v\": null}"},
        /* Two blocks, the second with its size; then none. */
        {POINTS, NULL, "02020200010604020000fe41",
         "{\"n\": 1, \"p\": [{\"x\": 1, \"y\": \"\"}, {\"x\": 2, \"y\": \"\\u0000\"}], \"f\": "
         "\"\\u00fe"
         "A\"}"},
        {POINTS, "f", "02000102", "{\"f\": \"\\u0001\\u0002\"}"},
        {POINTS, "p.y", "020202026b010604026c000102", "{\"p\": [{\"y\": \"k\"}, {\"y\": \"l\"}]}"},
        {ARRAY("\"null\""), NULL, "060400", "[null, null, null, null, null]"},
        {ARRAY(ARRAY("\"long\"")), NULL, "040202000404060000", "[[1], [2, 3]]"},
        {MAP("\"boolean\""), NULL, "0402610102620000", "{\"a\": true, \"b\": false}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t bytes[64];
        struct span datum = {bytes, from_hex(cases[i].bytes, bytes)};
        struct text text = {0};
        struct schema_file *file = parse(cases[i].schema);
        const struct columns *columns = chosen(file, cases[i].fields);
        size_t used;
        enum reject reason = read_json(columns, datum, &used, &text);
        if (reason != REJECT_NONE)
            fail_msg("case %zu: %s at %zu", i, datum_reject_name(reason), used);
        assert_string_equal(text.at, cases[i].text);
        assert_int_equal(used, datum.bytes);
        text_free(&text);
        columns_free(columns);
        schema_free(file);
    }
}

/* A value's own bytes, where an iteration goes wrong quietly: counts, keys, the end said twice. */
static void test_items(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct schema_file *file =
        parse(RECORD("R", FIELD("m", MAP("\"int\"")) AND FIELD("z", ARRAY("\"null\""))));
    const struct columns *columns = chosen(file, NULL);
    struct column_value values[8], item[1];
    struct span datum = {bytes, from_hex("020261020308026204026306000afa0100", bytes)};
    size_t used;
    /* The size of the second block is wrong. */
    assert_int_equal(columns_read(columns, datum, &used, values), REJECT_BLOCK_SIZE);
    assert_int_equal(used, 4);
    datum.bytes = from_hex("02026102030c0262040263060009000600", bytes);
    assert_int_equal(columns_read(columns, datum, &used, values), REJECT_NONE);
    assert_int_equal(used, datum.bytes);
    assert_int_equal(values[0].item_count, 3);
    assert_int_equal(values[1].item_count, 8);
    struct column_items items = column_items(&columns->list[0], &values[0]);
    for (int i = 0; i < 3; i++) {
        assert_true(column_items_next(&items, item));
        assert_int_equal(items.key.bytes, 1);
        assert_int_equal(items.key.at[0], 'a' + i);
        assert_int_equal(item[0].integer, 1 + i);
    }
    assert_false(column_items_next(&items, item));
    assert_false(column_items_next(&items, item));
    items = column_items(&columns->list[1], &values[1]);
    for (int i = 0; i < 8; i++)
        assert_true(column_items_next(&items, item));
    assert_false(column_items_next(&items, item));
    columns_free(columns);
    schema_free(file);
}

/* Arrays in arrays, as deep as a datum may nest and deeper. */
static void test_deep(void **state)
{
    (void)state;
    for (unsigned levels = LAYOUT_DEPTH_MAX - 1; levels <= LAYOUT_DEPTH_MAX + 2; levels++) {
        char schema[8200] = "\"int\"";
        uint8_t bytes[1024];
        size_t used, length = 0;
        for (unsigned i = 0; i < levels; i++) {
            char inner[8100];
            memcpy(inner, schema, sizeof(inner));
            snprintf(schema, sizeof(schema), ARRAY("%s"), inner);
            bytes[length++] = 2; /* one item */
        }
        bytes[length++] = 14;
        memset(bytes + length, 0, levels);
        length += levels;
        struct schema_file *file = parse(schema);
        const struct columns *columns = chosen(file, NULL);
        struct text text = {0};
        enum reject reason = read_json(columns, (struct span){bytes, length}, &used, &text);
        assert_int_equal(reason, levels <= LAYOUT_DEPTH_MAX ? REJECT_NONE : REJECT_DEPTH);
        if (reason == REJECT_NONE)
            assert_int_equal(strspn(text.at, "["), levels);
        text_free(&text);
        columns_free(columns);
        schema_free(file);
    }
}

/* Of two of two of two ...: a short schema of more fields than there can be. */
static void test_many(void **state)
{
    (void)state;
    char schema[8192] = "", error[200];
    const struct columns *columns;
    size_t used = 0;
    for (unsigned i = 0; i < 40; i++)
        used +=
            (size_t)snprintf(schema + used, sizeof(schema) - used,
                             "{\"type\":\"record\",\"name\":\"R%u\",\"fields\":[{\"name\":\"a\","
                             "\"type\":",
                             i);
    used += (size_t)snprintf(schema + used, sizeof(schema) - used, "\"%s\"", "int");
    for (unsigned i = 40; i-- > 0;)
        used += (size_t)snprintf(schema + used, sizeof(schema) - used,
                                 i == 39 ? "}]}" : "},{\"name\":\"b\",\"type\":\"R%u\"}]}", i + 1);
    struct schema_file *file = parse(schema);
    assert_int_equal(choose(file, NULL, &columns, error, sizeof(error)), -E2BIG);
    assert_string_equal(error, "a datum has more than 65536 columns; choose some fields");
    columns =
        chosen(file, "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a");
    assert_int_equal(columns->count, 8);
    columns_free(columns);
    schema_free(file);
}

#define UNIONS                                                                                     \
    FIELD("a", "[\"null\",\"long\",\"string\"]") AND FIELD("e", "[" FIXED("F", "3") ",\"null\"]")
#define REALS                                                                                      \
    FIELD("b", "\"float\"")                                                                        \
    AND FIELD("c", "\"float\"") AND FIELD("i", "\"double\"") AND FIELD("j", "\"double\"")
#define REPEATED                                                                                   \
    FIELD("d", ARRAY("\"double\"")) AND FIELD("f", MAP("[\"null\"," ARRAY("\"F\"") "]"))
#define NULLS ARRAY(RECORD("R", FIELD("x", "\"int\"") AND FIELD("n", ARRAY("\"null\""))))
static const char *const mutated[] = {
    vehicle,
    RECORD("R",
           UNIONS AND REALS AND REPEATED AND FIELD("g", "\"boolean\"") AND FIELD("h", "\"bytes\"")),
    NULLS,
};

static uint64_t random_state;
static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % limit);
}

/* A column read alone has what it has among all others; `alone` has nothing but it. */
static void compare_value(const struct column *a, const struct column_value *x,
                          const struct column *b, const struct column_value *y)
{
    assert_string_equal(a->path, b->path);
    assert_int_equal(x->present, y->present);
    if (!x->present)
        return;
    if (a->type->kind == LAYOUT_BOOLEAN || a->type->kind == LAYOUT_INT ||
        a->type->kind == LAYOUT_LONG || a->type->kind == LAYOUT_ENUM)
        assert_true(x->integer == y->integer);
    else if (a->type->kind == LAYOUT_FLOAT || a->type->kind == LAYOUT_DOUBLE)
        assert_memory_equal(&x->real, &y->real, sizeof(double));
    else {
        assert_ptr_equal(x->bytes.at, y->bytes.at);
        assert_int_equal(x->bytes.bytes, y->bytes.bytes);
        if (a->items != NULL)
            assert_int_equal(x->item_count, y->item_count);
    }
}

static void test_takes_what_datum_check_takes(void **state)
{
    (void)state;
    random_state = 20260101;
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (size_t i = 0; i < ARRAY_COUNT(mutated); i++) {
        char error[512];
        uint8_t *image, whole[4096];
        size_t image_bytes;
        struct layout layout;
        unsigned taken = 0, refused = 0;
        struct schema_file *file = parse(mutated[i]);
        assert_int_equal(schema_compile(file, "", "", &image, &image_bytes, error, sizeof(error)),
                         0);
        assert_int_equal(layout_load(&layout, (struct span){image, image_bytes}), 0);
        const struct columns *all = chosen(file, NULL), *alone[16];
        assert_true(all->count <= ARRAY_COUNT(alone));
        for (uint32_t k = 0; k < all->count; k++) {
            alone[k] = chosen(file, all->list[k].path);
            assert_int_equal(alone[k]->count, 1);
        }
        struct synth *synth = synth_new(file, &layout, 7);
        for (unsigned n = 0; n < 4000; n++) {
            long bytes = synth_datum(synth, 1767225600000000000ull + n, whole, sizeof(whole));
            assert_true(bytes > 0);
            size_t count = random_below(8) ? (size_t)bytes : random_below((uint32_t)bytes + 1);
            for (uint32_t k = random_below(4); k > 0; k--)
                whole[random_below((uint32_t)bytes)] =
                    (uint8_t)(random_below(3) ? random_below(8) : random_below(256));
            /* In memory of exactly its size, so that a sanitizer sees a step too far. */
            uint8_t *exact = malloc(count + 1);
            memcpy(exact + 1, whole, count);
            struct span span = {exact + 1, count};
            struct column_value values[16], value[1];
            struct text text = {0};
            size_t checked, read, again;
            enum reject check = datum_check(&layout, span, &checked);
            enum reject reason = columns_read(all, span, &read, values);
            assert_int_equal(check == REJECT_NONE, reason == REJECT_NONE);
            if (check != REJECT_COUNT) {
                assert_int_equal(reason, check);
                assert_int_equal(read, checked);
            }
            for (uint32_t k = 0; k < all->count; k++) {
                assert_int_equal(columns_read(alone[k], span, &again, value), reason);
                assert_int_equal(again, read);
                if (reason == REJECT_NONE)
                    compare_value(&all->list[k], &values[k], &alone[k]->list[0], value);
            }
            if (reason == REJECT_NONE)
                assert_int_equal(read_json(all, span, &again, &text), REJECT_NONE);
            *(reason == REJECT_NONE ? &taken : &refused) += 1;
            text_free(&text);
            free(exact);
        }
        assert_true(taken > 100 && refused > 100); /* else the mutations prove nothing */
        synth_free(synth);
        for (uint32_t k = 0; k < all->count; k++)
            columns_free(alone[k]);
        columns_free(all);
        schema_free(file);
        free(image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),  cmocka_unit_test(test_words),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_values),
        cmocka_unit_test(test_items),   cmocka_unit_test(test_deep),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_takes_what_datum_check_takes),
    };
    return cmocka_run_group_tests_name("columns", tests, NULL, NULL);
}
