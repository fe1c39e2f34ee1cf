/* SPDX-License-Identifier: MIT
 * The walk: what each fault is called and where it is found; random bytes never lead it astray.
 * Layouts come from schemas, datums are written out by hand after the Avro specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avro/datum.h"
#include "schema/schema.h"

struct compiled {
    uint8_t *image;
    size_t bytes;
    struct layout layout;
};

static void compile(struct compiled *compiled, const char *schema, const char *time,
                    const char *sequence)
{
    char error[300] = "";
    struct span text = {(const uint8_t *)schema, strlen(schema)};
    struct schema_file *file = schema_parse(text, error, sizeof(error));
    if (file == NULL)
        fail_msg("%s", error);
    int status = schema_compile(file, time, sequence, &compiled->image, &compiled->bytes, error,
                                sizeof(error));
    if (status < 0)
        fail_msg("%s", error);
    schema_free(file);
    struct span image = {compiled->image, compiled->bytes};
    assert_int_equal(layout_load(&compiled->layout, image), 0);
}

struct sample {
    const char *schema;
    const char *bytes;
    size_t count;
    enum reject reason;
    size_t at; /* the datum's length, or the fault's offset */
};
#define BYTES(text) text, sizeof(text) - 1

static const struct sample samples[] = {
    {"\"null\"", BYTES(""), REJECT_NONE, 0},
    {"\"boolean\"", BYTES("\x01"), REJECT_NONE, 1},
    {"\"boolean\"", BYTES("\x02"), REJECT_BOOLEAN, 0},
    {"\"boolean\"", BYTES(""), REJECT_TRUNCATED, 0},
    {"\"int\"", BYTES("\xfe\xff\xff\xff\x0f"), REJECT_NONE, 5},
    {"\"int\"", BYTES("\xff\xff\xff\xff\x0f"), REJECT_NONE, 5},
    {"\"int\"", BYTES("\x80\x80\x80\x80\x10"), REJECT_VARINT, 0},
    {"\"int\"", BYTES("\x80\x80\x80\x80\x80\x00"), REJECT_VARINT, 0},
    {"\"int\"", BYTES("\x80"), REJECT_TRUNCATED, 0},
    {"\"long\"", BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), REJECT_NONE, 10},
    {"\"long\"", BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), REJECT_VARINT, 0},
    {"\"float\"", BYTES("\0\0\0"), REJECT_TRUNCATED, 0},
    {"\"double\"", BYTES("\0\0\0\0\0\0\0\0"), REJECT_NONE, 8},
    {"\"bytes\"", BYTES("\x04\xff\xfe"), REJECT_NONE, 3},
    {"\"bytes\"", BYTES("\x01"), REJECT_LENGTH, 0},
    {"\"bytes\"", BYTES("\x06\xff"), REJECT_TRUNCATED, 1},
    {"\"string\"", BYTES("\x04\xc3\xa9"), REJECT_NONE, 3},
    {"\"string\"", BYTES("\x04\xc0\x80"), REJECT_UTF8, 1},
    {"\"string\"", BYTES("\x06\xed\xa0\x80"), REJECT_UTF8, 1},
    {"\"string\"", BYTES("\x08\xf4\x90\x80\x80"), REJECT_UTF8, 1},
    {"\"string\"", BYTES("\x02\xc3"), REJECT_UTF8, 1},
    {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}", BYTES("abc"), REJECT_NONE, 3},
    {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}", BYTES("ab"), REJECT_TRUNCATED, 0},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", BYTES("\x02"), REJECT_NONE, 1},
    {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", BYTES("\x04"), REJECT_ENUM, 0},
    {"[\"null\",\"int\"]", BYTES("\x02\x0a"), REJECT_NONE, 2},
    {"[\"null\",\"int\"]", BYTES("\x04"), REJECT_UNION, 0},
    {"[\"null\",\"int\"]", BYTES("\x01"), REJECT_UNION, 0},
    {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x04\x02\x04\0"), REJECT_NONE, 4},
    {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x03\x04\x02\x04\0"), REJECT_NONE, 5},
    {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x03\x02\x02\x04\0"), REJECT_BLOCK_SIZE, 0},
    {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x7e\x02\0"), REJECT_COUNT, 0},
    {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\x04\x02"), REJECT_COUNT, 0},
    {"{\"type\":\"array\",\"items\":\"int\"}", BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0"),
     REJECT_COUNT, 0},
    {"{\"type\":\"array\",\"items\":\"null\"}", BYTES("\x06\0"), REJECT_NONE, 2},
    {"{\"type\":\"array\",\"items\":\"null\"}", BYTES("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0"),
     REJECT_COUNT, 0},
    {"{\"type\":\"map\",\"values\":\"int\"}", BYTES("\x02\x02k\x02\0"), REJECT_NONE, 5},
    {"{\"type\":\"map\",\"values\":\"int\"}", BYTES("\x02\x02\xff\x02\0"), REJECT_UTF8, 2},
};

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        const struct sample *sample = &samples[i];
        struct compiled compiled;
        compile(&compiled, sample->schema, NULL, NULL);
        /* A copy of just that length, so that the sanitizer sees a step beyond it. */
        uint8_t *copy = malloc(sample->count + 1);
        memcpy(copy + 1, sample->bytes, sample->count);
        size_t at = 999;
        enum reject reason =
            datum_check(&compiled.layout, (struct span){copy + 1, sample->count}, &at);
        if (reason != sample->reason || at != sample->at)
            fail_msg("sample %zu: %s at %zu", i, datum_reject_name(reason), at);
        free(copy);
        free(compiled.image);
    }
}

static const char list_schema[] =
    "{\"type\":\"record\",\"name\":\"Node\",\"fields\":[{\"name\":\"value\",\"type\":\"double\"},"
    "{\"name\":\"next\",\"type\":[\"null\",\"Node\"]}]}";

static void test_depth(void **state)
{
    (void)state;
    struct compiled compiled;
    compile(&compiled, list_schema, NULL, NULL);
    uint8_t bytes[9 * 200];
    for (int nodes = 1; nodes < 200; nodes++) {
        memset(bytes, 0, sizeof(bytes));
        for (int i = 0; i < nodes - 1; i++)
            bytes[9 * i + 8] = 2;
        size_t at;
        enum reject reason =
            datum_check(&compiled.layout, (struct span){bytes, (size_t)nodes * 9}, &at);
        bool fits = 2 * nodes <= (int)LAYOUT_DEPTH_MAX; /* a record and a union each */
        assert_int_equal(reason, fits ? REJECT_NONE : REJECT_DEPTH);
    }
    free(compiled.image);
}

static void test_leaves_are_numbered_by_path(void **state)
{
    (void)state;
    struct compiled compiled;
    compile(&compiled,
            "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
            "{\"name\":\"a\",\"type\":{\"type\":\"record\",\"name\":\"V\",\"fields\":["
            "{\"name\":\"x\",\"type\":\"float\"},{\"name\":\"y\",\"type\":\"int\"}]}},"
            "{\"name\":\"skipped\",\"type\":{\"type\":\"array\",\"items\":\"V\"}},"
            "{\"name\":\"u\",\"type\":[\"int\",\"null\",\"V\"]},"
            "{\"name\":\"b\",\"type\":\"V\"},"
            "{\"name\":\"t\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}}]}",
            "t", "b.y");
    /* a.x 0, a.y 1, u(int) 2, u(V).x 3, u(V).y 4, b.x 5, b.y 6, t 7 */
    assert_int_equal(compiled.layout.leaf_count, 8);
    assert_int_equal(compiled.layout.time_leaf, 7);
    assert_int_equal(compiled.layout.sequence_leaf, 6);
    static const uint8_t bytes[] = {0, 0, 0x80, 0x3f, 6,          /* a: 1.0, 3 */
                                    2, 0, 0,    0,    0,    8, 0, /* one item */
                                    4, 0, 0,    0,    0x40, 9,    /* u: V 2.0, -5 */
                                    0, 0, 0,    0,    2,          /* b: 0.0, 1 */
                                    20};
    struct leaf leaves[8];
    uint32_t count;
    size_t at;
    assert_int_equal(
        datum_leaves(&compiled.layout, (struct span){bytes, sizeof(bytes)}, &at, leaves, &count),
        REJECT_NONE);
    assert_int_equal(at, sizeof(bytes));
    static const uint32_t numbers[] = {0, 1, 3, 4, 5, 6, 7};
    assert_int_equal(count, 7);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(leaves[i].index, numbers[i]);
    assert_true(leaves[0].value.real == 1.0 && leaves[2].value.real == 2.0);
    assert_int_equal(leaves[3].value.integer, -5);
    assert_int_equal(leaves[5].value.integer, 1);
    for (uint32_t i = 0; i < 8; i++) /* the time, the sequence, and what has a logical type */
        assert_int_equal(layout_is_kept(&compiled.layout, i), i >= 6);
    assert_true(compiled.layout.has_optional);
    free(compiled.image);
}

static void test_random_bytes(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        list_schema,
        "{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":[\"null\",\"string\",\"long\"]}"
        "}",
        "{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"c\",\"type\":"
        "{\"type\":\"array\",\"items\":\"T\"}},{\"name\":\"n\",\"type\":\"null\"}]}",
    };
    /* Every kind of step, and the two walks that read a sequence. */
    static const char steps[] =
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
        "{\"name\":\"i\",\"type\":\"int\"},{\"name\":\"b\",\"type\":\"boolean\"},"
        "{\"name\":\"n\",\"type\":{\"type\":\"record\",\"name\":\"N\",\"fields\":["
        "{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},"
        "{\"name\":\"x\",\"type\":\"float\"},{\"name\":\"q\",\"type\":\"long\"}]}},"
        "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":"
        "[\"a\",\"b\",\"c\"]}},"
        "{\"name\":\"u\",\"type\":[\"null\",\"long\",\"R\"]},"
        "{\"name\":\"s\",\"type\":\"string\"},{\"name\":\"y\",\"type\":\"bytes\"}]}";
    uint32_t sequences = 0;
    srand(20260101);
    for (size_t s = 0; s < 4; s++) {
        struct compiled compiled;
        compile(&compiled, s < 3 ? schemas[s] : steps, NULL, s < 3 ? NULL : "n.q");
        assert_int_equal(compiled.layout.sequence_step == LAYOUT_NO_STEP, s < 3);
        struct leaf *leaves = calloc(compiled.layout.leaf_count + 1, sizeof(*leaves));
        for (int round = 0; round < 100000; round++) {
            uint8_t *bytes = malloc(64);
            size_t length = (size_t)rand() % 64, at, again;
            for (size_t i = 0; i < length; i++)
                bytes[i] = (uint8_t)(rand() % (s < 3 ? 3 : 6) ? rand() % 8 : rand());
            uint32_t count;
            enum reject one = datum_check(&compiled.layout, (struct span){bytes, length}, &at);
            enum reject two = datum_leaves(&compiled.layout, (struct span){bytes, length}, &again,
                                           leaves, &count);
            assert_int_equal(one, two);
            assert_int_equal(at, again);
            assert_true(at <= length);
            for (uint32_t i = 0; one == REJECT_NONE && i < count; i++)
                if (leaves[i].index == compiled.layout.sequence_leaf) {
                    int64_t value = datum_sequence(&compiled.layout, (struct span){bytes, at});
                    assert_true(value == leaves[i].value.integer);
                    sequences++;
                }
            free(bytes);
        }
        free(leaves);
        free(compiled.image);
    }
    assert_true(sequences > 100);
}

/* Whatever bytes of the one size there is are a datum, and no others. */
static void test_fixed_layouts(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        uint32_t bytes; /* 0: not of one size */
    } cases[] = {
        {"\"double\"", 8},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":70000}", 70000},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":["
         "{\"name\":\"a\",\"type\":\"double\"},{\"name\":\"o\",\"type\":\"null\"},"
         "{\"name\":\"v\",\"type\":{\"type\":\"record\",\"name\":\"V\",\"fields\":["
         "{\"name\":\"x\",\"type\":\"float\"},{\"name\":\"y\",\"type\":\"float\"}]}},"
         "{\"name\":\"w\",\"type\":\"V\"}]}",
         24},
        {"\"null\"", 0},
        {"\"boolean\"", 0},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":["
         "{\"name\":\"a\",\"type\":\"double\"},{\"name\":\"b\",\"type\":\"int\"}]}",
         0},
    };
    static uint8_t bytes[70001];
    memset(bytes, 0xff, sizeof(bytes));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct compiled compiled;
        size_t at;
        compile(&compiled, cases[i].schema, NULL, NULL);
        const struct layout *layout = &compiled.layout;
        assert_int_equal(layout->is_fixed, cases[i].bytes > 0);
        assert_int_equal(layout->fixed_bytes, cases[i].bytes);
        if (layout->is_fixed) {
            struct span datum = {bytes, cases[i].bytes};
            assert_int_equal(datum_check(layout, datum, &at), REJECT_NONE);
            assert_int_equal(at, datum.bytes);
            datum.bytes--;
            assert_int_equal(datum_check(layout, datum, &at), REJECT_TRUNCATED);
        }
        free(compiled.image);
    }
}

static void test_damaged_layouts_are_refused(void **state)
{
    (void)state;
    struct compiled compiled;
    compile(&compiled, list_schema, NULL, NULL);
    for (size_t at = 0; at < compiled.bytes; at++)
        for (int bit = 0; bit < 8; bit++) {
            compiled.image[at] ^= (uint8_t)(1 << bit);
            struct layout layout;
            struct span image = {compiled.image, compiled.bytes};
            assert_true(layout_load(&layout, image) < 0);
            compiled.image[at] ^= (uint8_t)(1 << bit);
        }
    free(compiled.image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_leaves_are_numbered_by_path),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_fixed_layouts),
        cmocka_unit_test(test_damaged_layouts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
