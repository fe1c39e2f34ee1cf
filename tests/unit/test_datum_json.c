/* SPDX-License-Identifier: MIT
 * Datums as JSON and made-up datums. Bytes and texts were worked out by hand from the Avro 1.11
 * specification. What the printer takes is compared with datum_check, which was written another
 * way, over mutated datums. Relies on cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "avro/datum.h"
#include "base/check.h"
#include "base/varint.h"
#include "schema/json.h"
#include "schema/schema.h"
#include "schema/synth.h"

struct compiled {
    struct schema_file *file;
    uint8_t *image;
    struct layout layout;
};

static void compile(struct compiled *compiled, const char *text, const char *time,
                    const char *sequence)
{
    char error[512];
    size_t bytes;
    compiled->file =
        schema_parse((struct span){(const uint8_t *)text, strlen(text)}, error, sizeof(error));
    if (compiled->file == NULL || schema_compile(compiled->file, time, sequence, &compiled->image,
                                                 &bytes, error, sizeof(error)) < 0)
        fail_msg("%s\n  refused: %s", text, error);
    assert_int_equal(layout_load(&compiled->layout, (struct span){compiled->image, bytes}), 0);
}

static void release(struct compiled *compiled)
{
    schema_free(compiled->file);
    free(compiled->image);
}

/* A tree: { long id; [null, Tree] left; array of Tree more; map of string notes; enum; fixed } */
static const char tree[] =
    "{\"type\":\"record\",\"name\":\"Tree\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"long\"},"
    "{\"name\":\"left\",\"type\":[\"null\",\"Tree\"]},"
    "{\"name\":\"more\",\"type\":{\"type\":\"array\",\"items\":\"Tree\"}},"
    "{\"name\":\"notes\",\"type\":{\"type\":\"map\",\"values\":\"string\"}},"
    "{\"name\":\"kind\",\"type\":{\"type\":\"enum\",\"name\":\"Kind\",\"symbols\":[\"A\",\"B\"]}},"
    "{\"name\":\"mark\",\"type\":{\"type\":\"fixed\",\"name\":\"Mark\",\"size\":2}}]}";

/* Every type, as a channel may have it. */
static const char engine[] =
    "{\"type\":\"record\",\"name\":\"Engine\",\"fields\":["
    "{\"name\":\"time\",\"type\":[\"null\",{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}"
    "]},"
    "{\"name\":\"counter\",\"type\":[\"int\",\"null\"]},"
    "{\"name\":\"on\",\"type\":\"boolean\"},{\"name\":\"speed\",\"type\":\"float\"},"
    "{\"name\":\"any\",\"type\":[\"null\",\"double\",\"string\",\"bytes\",\"boolean\"]},"
    "{\"name\":\"id\",\"type\":{\"type\":\"string\",\"logicalType\":\"uuid\"}},"
    "{\"name\":\"price\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":4}}"
    ","
    "{\"name\":\"day\",\"type\":{\"type\":\"int\",\"logicalType\":\"date\"}},"
    "{\"name\":\"path\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"map\",\"values\":"
    "\"double\"}}},"
    "{\"name\":\"nothing\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},"
    "{\"name\":\"empty\",\"type\":{\"type\":\"record\",\"name\":\"Empty\",\"fields\":[]}}]}";

static const char mutual[] =
    "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"b\",\"type\":{\"type\":\"record\","
    "\"name\":\"B\",\"fields\":[{\"name\":\"a\",\"type\":[\"A\",\"null\",\"int\"]},{\"name\":"
    "\"as\","
    "\"type\":{\"type\":\"map\",\"values\":\"A\"}}]}},{\"name\":\"c\",\"type\":[\"B\",\"string\"]}]"
    "}";

static void test_known_texts(void **state)
{
    static const struct {
        const char *schema, *bytes; /* in hexadecimal */
        const char *text;
    } cases[] = {
        {"\"null\"", "", "null"},
        {"\"boolean\"", "01", "true"},
        {"\"int\"", "01", "-1"},
        {"\"int\"", "feffffff0f", "2147483647"},
        {"\"long\"", "ffffffffffffffffff01", "-9223372036854775808"},
        {"\"double\"", "9a9999999999b93f", "0.1"},
        {"\"double\"", "0000000000000840", "3.0"},
        {"\"double\"", "555555555555d53f", "0.3333333333333333"},
        {"\"double\"", "9c7500883ce4377e", "1e+300"},
        {"\"double\"", "0000000000000080", "-0.0"},
        {"\"float\"", "cdcccc3d", "0.10000000149011612"},
        {"\"float\"", "0000c07f", "\"NaN\""},
        {"\"double\"", "000000000000f07f", "\"Infinity\""},
        {"\"float\"", "000080ff", "\"-Infinity\""},
        {"\"string\"", "06666f6f", "\"foo\""},
        {"\"string\"", "0e225c0a01c3bc7f", "\"\\\"\\\\\\n\\u0001\xc3\xbc\\u007f\""},
        {"\"bytes\"", "0800ff4122", "\"\\u0000\\u00ffA\\\"\""},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "80e9", "\"\\u0080\\u00e9\""},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"X\",\"Y\"]}", "02", "\"Y\""},
        {"[\"null\",\"double\"]", "00", "null"},
        {"[\"null\",\"double\"]", "020000000000000c40", "3.5"},
        {"{\"type\":\"array\",\"items\":\"long\"}", "04063600", "[3, 27]"},
        {"{\"type\":\"array\",\"items\":\"long\"}", "0304063600", "[3, 27]"},
        {"{\"type\":\"array\",\"items\":\"long\"}", "0206023600", "[3, 27]"},
        {"{\"type\":\"array\",\"items\":\"null\"}", "0600", "[null, null, null]"},
        {"{\"type\":\"map\",\"values\":\"int\"}", "0402610202620400", "{\"a\": 1, \"b\": 2}"},
        {tree,
         "02"
         "00"
         "00"
         "00"
         "00"
         "4142",
         "{\"id\": 1, \"left\": null, \"more\": [], \"notes\": {}, \"kind\": \"A\", \"mark\": "
         "\"AB\"}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct compiled compiled;
        struct text text = {0};
        size_t used, count = strlen(cases[i].bytes) / 2;
        uint8_t *bytes = malloc(count + 1);
        assert_non_null(bytes);
        for (size_t k = 0; k < count; k++) {
            unsigned byte;
            assert_int_equal(sscanf(cases[i].bytes + 2 * k, "%2x", &byte), 1);
            bytes[k] = (uint8_t)byte;
        }
        compile(&compiled, cases[i].schema, NULL, NULL);
        text_add_bytes(&text, ">", 1);
        enum reject reason =
            datum_write_json(schema_root(compiled.file), (struct span){bytes, count}, &used, &text);
        if (reason != REJECT_NONE || used != count || strcmp(text.at + 1, cases[i].text) != 0)
            fail_msg("%s %s gives %s, used %zu: %s", cases[i].schema, cases[i].bytes,
                     datum_reject_name(reason), used, text.at);
        /* Cut short anywhere, it is refused and leaves the text alone. */
        for (size_t cut = 0; cut < count; cut++) {
            text.bytes = 1;
            reason = datum_write_json(schema_root(compiled.file), (struct span){bytes, cut}, &used,
                                      &text);
            assert_true(reason == REJECT_TRUNCATED || reason == REJECT_BLOCK_SIZE);
            assert_int_equal(text.bytes, 1);
            assert_string_equal(text.at, ">");
        }
        text_free(&text);
        free(bytes);
        release(&compiled);
    }
}

static uint64_t random_state;
static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % limit);
}

#define START_NS 1767225600000000000ull /* 2026-01-01T00:00:00Z */

static void test_takes_what_datum_check_takes(void **state)
{
    static const char *const schemas[] = {tree, engine, mutual};
    (void)state;
    random_state = 20260101;
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (size_t i = 0; i < ARRAY_COUNT(schemas); i++) {
        struct compiled compiled;
        struct text text = {0};
        unsigned taken = 0, refused = 0;
        compile(&compiled, schemas[i], NULL, NULL);
        struct synth *synth = synth_new(compiled.file, &compiled.layout, 7);
        uint8_t whole[4096];
        for (unsigned n = 0; n < 4000; n++) {
            long bytes = synth_datum(synth, START_NS + n * 10000000ull, whole, sizeof(whole));
            assert_true(bytes > 0);
            size_t count = random_below(8) ? (size_t)bytes : random_below((uint32_t)bytes + 1);
            for (uint32_t k = random_below(4); k > 0; k--)
                whole[random_below((uint32_t)bytes)] =
                    (uint8_t)(random_below(3) ? random_below(8) : random_below(256));
            /* In memory of exactly its size, so that a sanitizer sees a step too far. */
            uint8_t *exact = malloc(count + 1);
            memcpy(exact + 1, whole, count);
            struct span span = {exact + 1, count};
            size_t checked, printed;
            enum reject check = datum_check(&compiled.layout, span, &checked);
            text_clear(&text);
            enum reject print = datum_write_json(schema_root(compiled.file), span, &printed, &text);
            assert_int_equal(check == REJECT_NONE, print == REJECT_NONE);
            if (check == REJECT_NONE) {
                assert_int_equal(checked, printed);
                json_error_t fault;
                json_t *json =
                    json_loadb(text.at, text.bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);
                /* A key may hold a NUL; it is well-formed, only jansson cannot keep it. */
                if (json == NULL && json_error_code(&fault) != json_error_null_byte_in_key)
                    fail_msg("%s: %s", fault.text, text.at);
                json_decref(json);
            }
            *(check == REJECT_NONE ? &taken : &refused) += 1;
            free(exact);
        }
        assert_true(taken > 100 && refused > 100); /* else the mutations prove nothing */
        synth_free(synth);
        text_free(&text);
        release(&compiled);
    }
}

static void test_made_up_datums(void **state)
{
    (void)state;
    struct compiled compiled;
    compile(&compiled, engine, "time", "counter");
    struct synth *synth = synth_new(compiled.file, &compiled.layout, 3);
    struct synth *same = synth_new(compiled.file, &compiled.layout, 3);
    struct synth *other = synth_new(compiled.file, &compiled.layout, 4);
    struct text text = {0};
    unsigned null_anys = 0, differing = 0;
    double low = 1e9, high = -1e9;
    for (unsigned n = 0; n < 1000; n++) {
        uint64_t now_ns = START_NS + n * 20000000ull;
        uint8_t bytes[4096], again[4096];
        long count = synth_datum(synth, now_ns, bytes, sizeof(bytes));
        size_t used;
        assert_int_equal(datum_check(&compiled.layout, (struct span){bytes, (size_t)count}, &used),
                         REJECT_NONE);
        assert_int_equal(used, count);
        assert_int_equal(synth_datum(same, now_ns, again, sizeof(again)), count);
        assert_memory_equal(bytes, again, (size_t)count);
        differing += synth_datum(other, now_ns, again, sizeof(again)) != count ||
                     memcmp(bytes, again, (size_t)count) != 0;

        text_clear(&text);
        datum_write_json(schema_root(compiled.file), (struct span){bytes, (size_t)count}, &used,
                         &text);
        json_t *json = json_loadb(text.at, text.bytes, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        /* Nullable, but never null: a missing number would look like a loss. */
        assert_int_equal(json_integer_value(json_object_get(json, "time")), now_ns / 1000);
        assert_true(json_is_integer(json_object_get(json, "counter")));
        assert_int_equal(json_integer_value(json_object_get(json, "counter")), n);
        assert_int_equal(json_integer_value(json_object_get(json, "day")), 20454);
        assert_int_equal(json_string_length(json_object_get(json, "id")), 36);
        null_anys += json_is_null(json_object_get(json, "any"));
        double speed = json_real_value(json_object_get(json, "speed"));
        low = speed < low ? speed : low;
        high = speed > high ? speed : high;
        json_decref(json);
    }
    assert_in_range(null_anys, 100, 200); /* one in seven */
    assert_true(differing > 900);
    assert_true(low < -5 && high > 5); /* it moves, to both sides of zero */
    text_free(&text);
    synth_free(synth);
    synth_free(same);
    synth_free(other);

    /* Too little room is told, and the next datum goes on. */
    synth = synth_new(compiled.file, &compiled.layout, 3);
    uint8_t bytes[4096];
    assert_true(synth_datum(synth, START_NS, bytes, 20) < 0);
    assert_true(synth_datum(synth, START_NS, bytes, sizeof(bytes)) > 20);
    synth_free(synth);
    release(&compiled);
}

static void test_made_up_recursion_ends(void **state)
{
    static const char *const schemas[] = {tree,
                                          mutual,
                                          engine,
                                          "\"null\"",
                                          "[\"null\"]",
                                          "{\"type\":\"record\",\"name\":\"L\",\"fields\":[{"
                                          "\"name\":\"n\",\"type\":[\"L\",\"null\"]}]}",
                                          "{\"type\":\"record\",\"name\":\"M\",\"fields\":[{"
                                          "\"name\":\"n\",\"type\":{\"type\":\"map\","
                                          "\"values\":{\"type\":\"array\",\"items\":\"M\"}}}]}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(schemas); i++) {
        struct compiled compiled;
        compile(&compiled, schemas[i], NULL, NULL);
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct synth *synth = synth_new(compiled.file, &compiled.layout, seed);
            for (unsigned n = 0; n < 30; n++) {
                uint8_t bytes[4096];
                size_t used;
                long count = synth_datum(synth, START_NS + n, bytes, sizeof(bytes));
                assert_true(count >= 0);
                assert_int_equal(
                    datum_check(&compiled.layout, (struct span){bytes, (size_t)count}, &used),
                    REJECT_NONE);
                assert_int_equal(used, count);
            }
            synth_free(synth);
        }
        release(&compiled);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_texts),
        cmocka_unit_test(test_takes_what_datum_check_takes),
        cmocka_unit_test(test_made_up_datums),
        cmocka_unit_test(test_made_up_recursion_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
