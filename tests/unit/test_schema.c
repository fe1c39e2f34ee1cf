/* SPDX-License-Identifier: MIT
 * Schemas: what is accepted, what is refused and where, and what they compile to. Expected numbers
 * were worked out by hand from the Avro 1.11 specification. Relies on cmocka. */
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
#include "schema/schema.h"

/* A schema, compiled and loaded. */
struct compiled {
    struct schema_file *file;
    uint8_t *image;
    size_t image_bytes;
    struct layout layout;
    char error[512];
};

static int compile(struct compiled *compiled, const char *text, const char *time,
                   const char *sequence)
{
    *compiled = (struct compiled){0};
    compiled->file = schema_parse((struct span){(const uint8_t *)text, strlen(text)},
                                  compiled->error, sizeof(compiled->error));
    if (compiled->file == NULL)
        return -1;
    int status = schema_compile(compiled->file, time, sequence, &compiled->image,
                                &compiled->image_bytes, compiled->error, sizeof(compiled->error));
    if (status < 0)
        return status;
    return layout_load(&compiled->layout, (struct span){compiled->image, compiled->image_bytes});
}

static void release(struct compiled *compiled)
{
    schema_free(compiled->file);
    free(compiled->image);
}

static void compile_well(struct compiled *compiled, const char *text)
{
    if (compile(compiled, text, NULL, NULL) < 0)
        fail_msg("%s\n  refused: %s", text, compiled->error);
}

#define RECORD(fields)    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"

static void test_accepts(void **state)
{
    static const struct {
        const char *text;
        uint32_t nodes, leaves, min_bytes;
    } cases[] = {
        {"\"int\"", 1, 1, 1},
        {" { \"type\" : { \"type\" : {\"type\":\"string\"}}} ", 1, 0, 1},
        {"[\"null\",\"double\"]", 3, 1, 1},
        {"[\"double\"]", 2, 1, 9},
        {RECORD(""), 1, 0, 0},
        {RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"double\"") "," FIELD("c", "\"float\"")), 4,
         3, 13},
        /* Plain uses of a primitive share a node, logical ones do not. */
        {RECORD(FIELD("a", "\"long\"") "," FIELD("b", "{\"type\":\"long\"}") "," FIELD(
             "c", "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}")),
         3, 3, 3},
        {RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"double\"}") "," FIELD(
             "b", "{\"type\":\"map\",\"values\":[\"null\",\"int\"]}")),
         7, 0, 2},
        {RECORD(
             FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":16}") "," FIELD("b", "\"F\"")),
         2, 0, 32},
        {RECORD(FIELD("a",
                      "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"X\"],\"default\":\"X\"}")),
         2, 0, 1},
        {"{\"type\":\"error\",\"name\":\"a.b.C\",\"fields\":[" FIELD("m", "[\"null\",\"C\"]") "]}",
         3, 0, 1},
        /* A name with dots carries its namespace, and hands it on to what is inside. */
        {"{\"type\":\"record\",\"name\":\"x.y.A\",\"namespace\":\"ignored\",\"fields\":"
         "[" FIELD("e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"Q\"]}") "," FIELD(
             "f", "\"E\"") "," FIELD("g", "\"x.y.E\"") "]}",
         2, 0, 3},
        {"{\"type\":\"record\",\"name\":\"A\",\"namespace\":\"n\",\"aliases\":[\"Old\"],"
         "\"doc\":\"d\","
         "\"mine\":{\"x\":18446744073709551616},\"fields\":[{\"name\":\"a\",\"type\":\"int\","
         "\"default\":3,\"order\":\"ignore\",\"aliases\":[\"b\"]}]}",
         2, 1, 1},
        /* A union's branch number takes a second byte from 64 on; here the smallest is number
           0. */
        {"[{\"type\":\"fixed\",\"name\":\"F\",\"size\":9},\"string\"]", 3, 0, 2},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct compiled compiled;
        compile_well(&compiled, cases[i].text);
        const struct layout *layout = &compiled.layout;
        if (layout->node_count != cases[i].nodes || layout->leaf_count != cases[i].leaves ||
            layout->nodes[layout->root].min_bytes != cases[i].min_bytes)
            fail_msg("%s\n  gives %u nodes, %u leaves, %u bytes", cases[i].text, layout->node_count,
                     layout->leaf_count, layout->nodes[layout->root].min_bytes);
        assert_int_equal(layout->schema.bytes, strlen(cases[i].text));
        assert_memory_equal(layout->schema.at, cases[i].text, layout->schema.bytes);
        release(&compiled);
    }
}

/* As what goes into recordings. `warnings` gets them all, one a line; NULL and the first error. */
static struct schema_file *read_strictly(const char *text, char error[512], char warnings[2000])
{
    struct schema_findings findings = {0};
    struct schema_file *file =
        schema_read((struct span){(const uint8_t *)text, strlen(text)}, &findings);
    error[0] = warnings[0] = '\0';
    for (size_t i = 0; i < findings.count; i++) {
        const struct schema_finding *one = &findings.list[i];
        size_t used = strlen(warnings);
        if (one->warning)
            snprintf(warnings + used, 2000 - used, "%s: %s\n", one->path, one->message);
        else if (error[0] == '\0')
            snprintf(error, 512, "line %lu, column %lu: %s%s%s", (unsigned long)one->line,
                     (unsigned long)one->column, one->path, one->path[0] ? ": " : "", one->message);
    }
    schema_findings_free(&findings);
    return file;
}

static void test_refuses_with_the_place(void **state)
{
    static const struct {
        const char *text, *error; /* a part of it */
    } cases[] = {
        {"", "line 1, column 1: not JSON: the text ends too early"},
        {"{\n \"type\" \"int\"}", "line 2, column "},
        {"{\"type\":\"int\",\"type\":\"long\"}", "duplicate object key"},
        {"\"int\" 1", "line 1, column 7: not JSON: end of file expected"},
        {"7", "a type is a name, a list (a union) or an object"},
        {"\"flaot\"", "unknown type \"flaot\""},
        {RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"int\"") "," FIELD("c", "\"flaot\"")),
         "fields[2].type: unknown type \"flaot\""},
        {RECORD(FIELD(
             "a", "[\"null\",{\"type\":\"array\",\"items\":{\"type\":\"map\",\"values\":\"x\"}}]")),
         "fields[0].type[1].items.values: unknown type \"x\""},
        {RECORD(FIELD("a", "{\"type\":\"x\\u001by\"}")),
         "fields[0].type.type: unknown type \"x?y\""},
        {RECORD(FIELD("a", "\"array\"")), "must be written as an object"},
        {RECORD(FIELD("a", "\"int\"") "," FIELD("a", "\"int\"")),
         "fields[1]: the record has two fields named \"a\""},
        {RECORD(FIELD("a-b", "\"int\"")), "fields[0].name: bad name \"a-b\""},
        {RECORD("{\"type\":\"int\"}"), "fields[0]: a field needs \"name\""},
        {RECORD("{\"name\":\"x\"}"), "fields[0]: field \"x\" needs \"type\""},
        {RECORD("\"x\""), "fields[0]: a field is an object"},
        {"{\"type\":\"record\",\"name\":\"A\"}", "a record needs \"fields\""},
        {"{\"type\":\"record\",\"fields\":[]}", "needs \"name\""},
        {"{\"type\":\"record\",\"name\":\"1A\",\"fields\":[]}", "name: bad name \"1A\""},
        {"{\"type\":\"record\",\"name\":\"A.\",\"fields\":[]}", "name: bad name \"A.\""},
        {"{\"type\":\"record\",\"name\":\"A\",\"aliases\":\"B\",\"fields\":[]}", "\"aliases\""},
        {"{\"type\":\"record\",\"name\":\"int\",\"fields\":[]}", "that of a primitive type"},
        {RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"R\",\"size\":1}")),
         "fields[0].type: the name \"R\" is defined twice"},
        {"[\"int\",\"int\"]", "[1]: the union has type \"int\" twice"},
        {"[\"long\",{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}]",
         "[1]: the union has"},
        {"[{\"type\":\"map\",\"values\":\"int\"},{\"type\":\"map\",\"values\":\"long\"}]",
         "[1]: the union has type \"map\" twice"},
        {"[\"int\",[\"null\"]]", "[1]: a union cannot stand directly in a union"},
        {"[]", "a union needs at least one type"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a\",\"b\",\"a\"]}",
         "symbols[2]: \"a\": "},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a b\"]}", "symbols[0]: \"a b\": "},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[1]}", "symbols[0]: a symbol is a string"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}", "at least one symbol"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}", "\"size\""},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1.5}", "\"size\""},
        {"{\"type\":\"array\"}", "needs \"items\""},
        {"{\"type\":\"map\",\"items\":\"int\"}", "needs \"values\""},
        {"{\"items\":\"int\"}", "needs \"type\""},
        {RECORD(FIELD("a", "\"R\"")), "record \"R\" contains itself by a "},
        {RECORD(FIELD("a", "[\"R\"]")), "record \"R\" contains itself by a "},
        {RECORD(FIELD("z", "\"int\"") "," FIELD(
             "b", "{\"type\":\"record\",\"name\":\"B\",\"fields\":[" FIELD("a", "\"R\"") "]}")),
         "record \"R\" contains itself by b.a "},
        {"{\"type\":{\"type\":\"string\"}}",
         "column 9: type: a type inside a type: write it without"},
        {"{\"type\":[\"null\",\"double\"]}",
         "column 9: type: a type inside a type: write it without"},
        {RECORD(FIELD("a", "{\"type\":{\"type\":\"map\",\"values\":\"int\"}}")),
         "fields[0].type.type: a type inside a type"},
        {"{\"protocol\":\"P\",\"types\":[]}", "column 1: a protocol (.avpr), not a schema"},
        {"\xff\xfe{", "column 1: the text is UTF-16"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char error[512], warnings[2000];
        if (read_strictly(cases[i].text, error, warnings) != NULL)
            fail_msg("accepted: %s", cases[i].text);
        if (strstr(error, cases[i].error) == NULL)
            fail_msg("%s\n  says: %s\n  not:  %s", cases[i].text, error, cases[i].error);
    }
}

/* What some readers of recordings would not open. */
static void test_warns_of_readers(void **state)
{
    static const struct {
        const char *text, *warning;
    } cases[] = {
        {RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}") "," FIELD(
             "b", "{\"type\":\"F\"}")),
         "fields[1].type.type: the name of a type stands alone, not in {\"type\": ...}: fastavro, "
         "avsc, polars and Avro for Python do not open files with it\n"},
        {RECORD("{\"name\":\"a\",\"type\":\"float\",\"default\":\"-Infinity\"}"),
         "fields[0].default: the default of a float is \"-Infinity\": avsc, hamba, goavro and "
         "polars do not open files with it\n"},
        {RECORD("{\"name\":\"a\",\"type\":[\"double\",\"null\"],\"default\":\"NaN\"}"),
         "fields[0].default: the default of a double is \"NaN\": avsc, hamba, goavro and polars do "
         "not open files with it\n"},
        {RECORD("{\"name\":\"a\",\"type\":[\"double\",\"null\"],\"default\":null}"),
         "fields[0].default: the default of a union is of its first type, here double; Java 1.11 "
         "refuses the schema, and avsc, hamba and goavro do not open files with it: to have null "
         "as the default, put it first\n"},
        {"{\"type\":\"record\",\"name\":\"A\",\"namespace\":\"my-db.t\",\"fields\":[]}",
         "namespace: \"my-db\" in a namespace: letters, digits and _, not starting with a digit; "
         "avsc, hamba, goavro and Avro for Python do not open files with it\n"},
        {"{\"type\":\"record\",\"name\":\"O$.A\",\"fields\":[]}",
         "name: \"O$\" in a namespace: letters, digits and _, not starting with a digit; avsc, "
         "hamba, goavro and Avro for Python do not open files with it\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char error[512], warnings[2000];
        struct schema_file *file = read_strictly(cases[i].text, error, warnings);
        if (file == NULL)
            fail_msg("%s\n  refused: %s", cases[i].text, error);
        assert_string_equal(warnings, cases[i].warning);
        schema_free(file);
    }
}

/* What stands in headers of files that Java, fastavro or hamba read. */
static void test_files_hold(void **state)
{
#define NAMED(name, more)                                                                          \
    "{\"type\":\"record\",\"name\":\"" name "\"" more ",\"fields\":[" FIELD("x", "\"double\"") "]" \
                                                                                               "}"
    static const char *const texts[] = {
        NAMED("Gr\xc3\xb6\xc3\x9f"
              "e",
              ""),
        NAMED("my type", ""),
        NAMED("", ""),
        NAMED("int", ""),
        NAMED("n.long", ""),
        NAMED("1$-\\\"", ""),
        NAMED("A", ",\"namespace\":\"org.apache.avro.mapred.TestReflectJob$\""),
        NAMED("A", ",\"namespace\":\"..\""),
        NAMED("A", ",\"namespace\":7,\"doc\":7,\"aliases\":\"b c\""),
        NAMED("A", ",\"doc\":\"1\",\"doc\":\"2\",\"k\\u0000\":1"),
        NAMED("A", ",\"doc\":\"\\ud83d \\uDe00 \\ud83d\\ude00 \xb0"
                   "C \xed\xa0\x80\",\"n\":[1e400,"
                   "-1E+999,99999999999999999999,NaN,-Infinity,Infinity,-0.0,true,12e3]"),
        "/* c \"*/" NAMED("A", "// \n") "//",
        RECORD(FIELD("Engine speed (rpm)", "\"int\"") "," FIELD("a.b", "\"int\"") "," FIELD(
            "", "\"int\"") "," FIELD("", "\"int\"")),
        RECORD(FIELD("a", "[\"int\",\"int\",[\"null\",[\"int\"]],{\"type\":\"array\",\"items\":[]},"
                          "{\"type\":\"array\",\"items\":\"int\"}]")),
        RECORD(FIELD(
            "a", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"N/"
                 "A\",\"1\",\"1\"]}") "," FIELD("b", "{\"type\":\"enum\",\"name\":\"E\","
                                                     "\"symbols\":[]}") "," FIELD("c", "\"E\"")),
        RECORD("{\"name\":\"a\",\"type\":{\"type\":{\"type\":[\"null\",\"R\"]}},\"order\":"
               "\"desc\","
               "\"default\":{}}"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct compiled compiled;
        uint64_t least, most;
        compile_well(&compiled, texts[i]);
        assert_memory_equal(schema_text(compiled.file).at, texts[i], strlen(texts[i]));
        assert_int_equal(schema_datum_bytes(compiled.file, &least, &most), 0);
        assert_true(least <= most);
        release(&compiled);
    }
}

/* Repeats `part` `count` times between `front` and `back`, in memory from malloc. */
static char *repeat(const char *front, const char *part, size_t count, const char *middle,
                    const char *after, const char *back)
{
    size_t bytes =
        strlen(front) + count * (strlen(part) + strlen(after)) + strlen(middle) + strlen(back) + 1;
    char *text = malloc(bytes), *at = text;
    assert_non_null(text);
    at += snprintf(at, bytes, "%s", front);
    for (size_t i = 0; i < count; i++)
        at += snprintf(at, bytes - (size_t)(at - text), "%s", part);
    at += snprintf(at, bytes - (size_t)(at - text), "%s", middle);
    for (size_t i = 0; i < count; i++)
        at += snprintf(at, bytes - (size_t)(at - text), "%s", after);
    snprintf(at, bytes - (size_t)(at - text), "%s", back);
    return text;
}

static void refuses(char *text, const char *error)
{
    struct compiled compiled;
    assert_true(compile(&compiled, text, NULL, NULL) < 0);
    if (strstr(compiled.error, error) == NULL)
        fail_msg("says: %s\n  not:  %s", compiled.error, error);
    release(&compiled);
    free(text);
}

/* The link from field or branch `i` of the type at `node`. */
static uint32_t link_at(const struct layout *layout, uint32_t node, uint32_t i)
{
    return layout->links[layout->nodes[node & ~LAYOUT_LINK_UNNUMBERED].first + i];
}

static void test_bounds(void **state)
{
    (void)state;
    refuses(repeat("", "{\"type\":\"array\",\"items\":", 600, "\"int\"", "}", ""), "nest deeper");
    refuses(repeat("", "[", 100000, "", "]", ""), "the JSON nests deeper than 2048 levels");

    /* 300 records each in the next: well-formed, but no datum could pass the relay's depth. */
    char *text = malloc(1 << 20), *at = text;
    at += snprintf(at, 200,
                   "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"r\","
                   "\"type\":{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}}");
    for (int i = 1; i < 300; i++)
        at += snprintf(at, 200,
                       ",{\"name\":\"r%d\",\"type\":{\"type\":\"record\",\"name\":\"R%d\","
                       "\"fields\":[{\"name\":\"a\",\"type\":\"R%d\"}]}}",
                       i, i, i - 1);
    snprintf(at, 10, "]}");
    refuses(text, "deeper than 256");

    /* Each record holds the one before twice: 2^40 numbers, or 2^40 fields without any. */
    for (int numbers = 0; numbers < 2; numbers++) {
        text = malloc(1 << 20);
        at = text + snprintf(text, 200,
                             "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"r\","
                             "\"type\":{\"type\":\"record\",\"name\":\"R0\",\"fields\":[%s]}}",
                             numbers ? FIELD("n", "\"int\"") : "");
        for (int i = 1; i <= 40; i++)
            at += snprintf(
                at, 300,
                ",{\"name\":\"r%d\",\"type\":{\"type\":\"record\",\"name\":\"R%d\",\"fields\":["
                "{\"name\":\"a\",\"type\":\"R%d\"},{\"name\":\"b\",\"type\":\"R%d\"}]}}",
                i, i, i - 1, i - 1);
        snprintf(at, 10, "]}");
        if (!numbers) {
            refuses(text, "record \"A\" has more than 1048576 fields without a byte");
            continue;
        }
        /* R0 to R15 have 65,535 numbers together; those of the others have no number. */
        struct compiled compiled;
        compile_well(&compiled, text);
        assert_int_equal(compiled.layout.leaf_count, 65535);
        assert_false(link_at(&compiled.layout, compiled.layout.root, 15) & LAYOUT_LINK_UNNUMBERED);
        for (uint32_t i = 16; i <= 40; i++)
            assert_true(link_at(&compiled.layout, compiled.layout.root, i) &
                        LAYOUT_LINK_UNNUMBERED);
        struct schema_use use = {.averages = true};
        struct schema_refusal refusal;
        uint8_t *image;
        size_t bytes;
        assert_int_equal(schema_compile_for(compiled.file, &use, &image, &bytes, &refusal),
                         -EINVAL);
        assert_int_equal(refusal.of, SCHEMA_OF_AVERAGES);
        assert_non_null(strstr(refusal.message, "record \"A\" has more than 65536 numbers"));
        release(&compiled);
        free(text);
    }
}

static void test_keep(void **state)
{
    static const char schema[] =
        RECORD(FIELD("flags", "\"int\"") "," FIELD("speed", "\"double\"") "," FIELD(
            "nav",
            "[\"null\",{\"type\":\"record\",\"name\":\"N\",\"fields\":[" FIELD(
                "heading",
                "\"float\"") "," FIELD("turn",
                                       "\"float\"") "]}]") "," FIELD("v", "[\"int\",\"double\"]"));
    static const struct {
        const char *keep[3];
        uint32_t bits;     /* by leaf: flags, speed, nav.heading, nav.turn, v:int, v:double */
        const char *error; /* NULL: none */
    } cases[] = {
        {{NULL}, 0, NULL},
        {{"flags", "nav.heading"}, 1 | 4, NULL},
        {{"nav"}, 4 | 8, NULL},
        {{"v"}, 16 | 32, NULL},
        {{"v:int", "speed"}, 2 | 16, NULL},
        {{"flags", "nav.headign"}, 0, "no number \"nav.headign\"; did you mean \"nav.heading\"?"},
        {{"nva"}, 0, "no number \"nva\"; did you mean \"nav\"?"},
        {{"xyz"}, 0, "no number \"xyz\" ("},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct compiled compiled;
        struct schema_use use = {.keep = cases[i].keep};
        struct schema_refusal refusal;
        uint8_t *image;
        size_t bytes;
        while (use.keep_count < 3 && cases[i].keep[use.keep_count] != NULL)
            use.keep_count++;
        compile_well(&compiled, schema);
        int status = schema_compile_for(compiled.file, &use, &image, &bytes, &refusal);
        assert_int_equal(status, cases[i].error == NULL ? 0 : -EINVAL);
        if (status == 0) {
            struct layout layout;
            assert_int_equal(layout_load(&layout, (struct span){image, bytes}), 0);
            assert_int_equal(layout.leaf_count, 6);
            for (uint32_t leaf = 0; leaf < 6; leaf++)
                assert_int_equal(layout_is_kept(&layout, leaf), cases[i].bits >> leaf & 1);
            free(image);
        } else {
            assert_int_equal(refusal.of, SCHEMA_OF_KEEP);
            assert_int_equal(refusal.index, use.keep_count - 1);
            if (strstr(refusal.message, cases[i].error) == NULL)
                fail_msg("%s\n  not: %s", refusal.message, cases[i].error);
        }
        release(&compiled);
    }
}

static void test_mutual_recursion(void **state)
{
    (void)state;
    struct compiled compiled;
    /* A { B b; B again; int x }   B { ["null", A] a; double y } */
    compile_well(
        &compiled,
        "{\"type\":\"record\",\"name\":\"A\",\"fields\":["
        "{\"name\":\"b\",\"type\":{\"type\":\"record\",\"name\":\"B\",\"fields\":["
        "{\"name\":\"a\",\"type\":[\"null\",\"A\"]},{\"name\":\"y\",\"type\":\"double\"}]}},"
        "{\"name\":\"again\",\"type\":\"B\"},{\"name\":\"x\",\"type\":\"int\"}]}");
    const struct layout *layout = &compiled.layout;
    uint32_t b = link_at(layout, layout->root, 0);
    assert_false(b & LAYOUT_LINK_UNNUMBERED);
    assert_int_equal(link_at(layout, layout->root, 1), b); /* a named type is one node */
    uint32_t back = link_at(layout, link_at(layout, b, 0), 1);
    assert_int_equal(back, layout->root | LAYOUT_LINK_UNNUMBERED);
    assert_int_equal(layout->leaf_count, 3); /* b.y, again.y, x */
    /* b: null a (0), y; again: the same; x: and back into A once. */
    static const uint8_t null_datum[] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 2, 2, 6};
    struct leaf leaves[3];
    uint32_t count;
    size_t bytes;
    assert_int_equal(
        datum_leaves(layout, (struct span){null_datum, sizeof(null_datum)}, &bytes, leaves, &count),
        REJECT_NONE);
    assert_int_equal(bytes, sizeof(null_datum));
    assert_int_equal(count, 3);
    assert_int_equal(leaves[2].index, 2);
    assert_int_equal(leaves[2].value.integer, 3);
    uint8_t nested[2 * sizeof(null_datum)];
    nested[0] = 2; /* b.a is an A */
    memcpy(nested + 1, null_datum, sizeof(null_datum));
    memcpy(nested + 1 + sizeof(null_datum), null_datum + 1, sizeof(null_datum) - 1);
    assert_int_equal(
        datum_leaves(layout, (struct span){nested, sizeof(nested)}, &bytes, leaves, &count),
        REJECT_NONE);
    assert_int_equal(bytes, sizeof(nested));
    assert_int_equal(count, 3); /* those of the inner A have no number */
    assert_int_equal(leaves[0].offset, 1 + sizeof(null_datum));
    release(&compiled);
}

/* R { [int, double] value; [null, H] head; string s }
 * H { [long, null] n; double t; [null, R] up } */
static const char timed[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
    "{\"name\":\"value\",\"type\":[\"int\",\"double\"]},"
    "{\"name\":\"head\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"H\",\"fields\":["
    "{\"name\":\"n\",\"type\":[\"long\",\"null\"]},{\"name\":\"t\",\"type\":\"double\"},"
    "{\"name\":\"up\",\"type\":[\"null\",\"R\"]}]}]},"
    "{\"name\":\"s\",\"type\":\"string\"}]}";

static void test_time_and_sequence(void **state)
{
    (void)state;
    struct compiled compiled;
    assert_int_equal(compile(&compiled, timed, "head.t", "head.n"), 0);
    assert_int_equal(compiled.layout.time_leaf, 3);
    assert_int_equal(compiled.layout.sequence_leaf, 2);
    release(&compiled);
    assert_int_equal(compile(&compiled, timed, "", NULL), 0);
    assert_int_equal(compiled.layout.time_leaf, LAYOUT_NO_LEAF);
    assert_int_equal(compiled.layout.sequence_leaf, LAYOUT_NO_LEAF);
    release(&compiled);

    static const struct {
        const char *time, *sequence, *error;
    } wrong[] = {
        {"nope", "", "time: record \"R\" has no field \"nope\""},
        {"head.nope", "", "time: record \"H\" has no field \"nope\""},
        {"head", "", "time: field \"head\" is of type record, not a number"},
        {"head.", "", "time: record \"H\" has no field \"\""},
        {"s", "", "time: field \"s\" is of type string, not a number"},
        {"s.x", "", "time: \"s\" is of type string and has no fields"},
        {"value", "", "time: \"value\" is a union of several types"},
        {"head.up.s", "", "time: \"head.up\" leads back into a type that contains it"},
        {"", "head.t", "sequence: field \"head.t\" is of type double, not int or long"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_true(compile(&compiled, timed, wrong[i].time, wrong[i].sequence) < 0);
        assert_string_equal(compiled.error, wrong[i].error);
        release(&compiled);
    }
}

static void add_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    char *text = context;
    size_t used = strlen(text);
    snprintf(text + used, 400 - used, "%u %s %s;", index, path, schema_kind_name(type->kind));
}

static void test_visit_leaves(void **state)
{
    (void)state;
    struct compiled compiled;
    char text[400] = "";
    compile_well(&compiled, timed);
    schema_visit_leaves(compiled.file, &compiled.layout, add_leaf, text);
    assert_string_equal(text, "0 value:int int;1 value:double double;2 head.n long;"
                              "3 head.t double;");
    release(&compiled);
}

static void test_plain_values(void **state)
{
    static const struct {
        const char *type, *logical;
        bool plain;
    } cases[] = {
        {"int", "date", true},
        {"long", "date", false},
        {"int", "time-millis", true},
        {"long", "timestamp-nanos", true},
        {"long", "nonsense", false},
        {"long", "local-timestamp-millis", true},
        {"double", "timestamp-millis", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[200];
        struct compiled compiled;
        snprintf(text, sizeof(text), "{\"type\":\"%s\",\"logicalType\":\"%s\"}", cases[i].type,
                 cases[i].logical);
        compile_well(&compiled, text);
        assert_string_equal(schema_root(compiled.file)->logical, cases[i].logical);
        assert_int_equal(layout_is_kept(&compiled.layout, 0), cases[i].plain);
        release(&compiled);
    }
}

static void test_damaged_image(void **state)
{
    (void)state;
    struct compiled compiled;
    struct layout layout;
    compile_well(&compiled, timed);
    for (size_t i = 0; i < compiled.image_bytes; i++) {
        compiled.image[i] ^= 0x10;
        assert_true(layout_load(&layout, (struct span){compiled.image, compiled.image_bytes}) < 0);
        compiled.image[i] ^= 0x10;
    }
    for (size_t i = 0; i < compiled.image_bytes; i++)
        assert_true(layout_load(&layout, (struct span){compiled.image, i}) < 0);
    assert_int_equal(layout_load(&layout, (struct span){compiled.image, compiled.image_bytes}), 0);
    release(&compiled);
}

static void test_compare(void **state)
{
    static const struct {
        const char *a, *b, *difference; /* NULL: they agree */
    } cases[] = {
        {"\"int\"", "{\"type\":\"int\"}", NULL},
        {"\"int\"", "\"long\"", "int, not long"},
        /* One that was written to the schema later, or that says nothing, is none. */
        {"\"long\"", "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", NULL},
        {"{\"type\":\"long\",\"logicalType\":\"foo\"}",
         "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", NULL},
        {"{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}",
         "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}",
         "logicalType timestamp-micros, not timestamp-millis"},
        {RECORD(FIELD("a", "[\"null\",\"R\"]")),
         "{\"type\":\"record\",\"name\":\"ns.Other\",\"doc\":\"x\",\"fields\":[" FIELD(
             "a", "[\"null\",\"Other\"]") "]}",
         NULL},
        {RECORD(FIELD("a", "[\"null\",\"int\"]")), RECORD(FIELD("a", "[\"null\",\"float\"]")),
         "a[1]: int, not float"},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("b", "\"int\"")),
         "field 0 is \"a\", not \"b\""},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"int\"")),
         "record of 1, not of 2"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}",
         "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"C\"]}",
         "symbol 1 is \"B\", not \"C\""},
        {"{\"type\":\"array\",\"items\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}}",
         "{\"type\":\"array\",\"items\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}}",
         "[]: fixed of 2, not of 3"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct compiled a, b;
        char difference[200] = "";
        compile_well(&a, cases[i].a);
        compile_well(&b, cases[i].b);
        int status = schema_compare(a.file, b.file, difference, sizeof(difference));
        assert_int_equal(status == 0, cases[i].difference == NULL);
        assert_string_equal(difference, cases[i].difference ? cases[i].difference : "");
        release(&a);
        release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),          cmocka_unit_test(test_refuses_with_the_place),
        cmocka_unit_test(test_warns_of_readers), cmocka_unit_test(test_files_hold),
        cmocka_unit_test(test_bounds),           cmocka_unit_test(test_keep),
        cmocka_unit_test(test_mutual_recursion), cmocka_unit_test(test_time_and_sequence),
        cmocka_unit_test(test_visit_leaves),     cmocka_unit_test(test_plain_values),
        cmocka_unit_test(test_damaged_image),    cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
