/* SPDX-License-Identifier: MIT
 * Canonical form and fingerprint against the table that Apache Avro's own implementations are
 * tested with, the message Apache ships in single-object encoding, and a few worked by hand.
 * Relies on cmocka; the tables are looked for in FLOTILLA_TEST_DATA, else ../shared/data. */
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
#include "schema/canonical.h"
#include "schema/json.h"
#include "schema/schema.h"

/* The file below the data folder's avro/, NUL behind, from malloc; NULL where it is missing. */
static char *read_data(const char *name, size_t *bytes)
{
    char path[1000];
    const char *folder = getenv("FLOTILLA_TEST_DATA");
    snprintf(path, sizeof(path), "%s/avro/%s", folder ? folder : "../shared/data", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        print_message("needs %s\n", path);
        return NULL;
    }
    char *text = malloc(1 << 20);
    assert_non_null(text);
    *bytes = fread(text, 1, (1 << 20) - 1, file);
    text[*bytes] = '\0';
    fclose(file);
    return text;
}

static struct schema_file *parse(const char *text, size_t bytes)
{
    char error[500];
    struct schema_file *file =
        schema_parse((struct span){(const uint8_t *)text, bytes}, error, sizeof(error));
    if (file == NULL)
        fail_msg("%.*s\n  refused: %s", (int)bytes, text, error);
    return file;
}

static void check_canonical(const char *input, size_t bytes, const char *expected,
                            const int64_t *fingerprint)
{
    char *text;
    size_t text_bytes;
    uint64_t found;
    struct schema_file *file = parse(input, bytes);
    assert_int_equal(schema_canonical(file, &text, &text_bytes), 0);
    assert_string_equal(text, expected);
    assert_int_equal(text_bytes, strlen(expected));
    assert_int_equal(schema_fingerprint(file, &found), 0);
    if (fingerprint != NULL)
        assert_true(found == (uint64_t)*fingerprint);
    schema_free(file);
    /* The canonical form of the canonical form is itself. */
    file = parse(text, text_bytes);
    char *again;
    assert_int_equal(schema_canonical(file, &again, &text_bytes), 0);
    assert_string_equal(again, text);
    schema_free(file);
    free(again);
    free(text);
}

static void test_apache_table(void **state)
{
    (void)state;
    size_t bytes;
    unsigned cases = 0, fingerprints = 0;
    char *text = read_data("schema-tests.txt", &bytes);
    if (text == NULL)
        skip();
    for (char *at = strstr(text, "\n<<INPUT"); at != NULL; cases++) {
        char *input = at + strlen("\n<<INPUT"), *end;
        if (*input == '\n') { /* up to a line that says so */
            end = strstr(input, "\nINPUT\n");
            assert_non_null(end);
        } else
            end = strchr(input, '\n');
        char *canonical = strstr(end, "\n<<canonical ");
        assert_non_null(canonical);
        canonical += strlen("\n<<canonical ");
        char *line_end = strchr(canonical, '\n');
        assert_non_null(line_end);
        at = strstr(line_end, "\n<<INPUT");
        *line_end = '\0';
        static const char mark[] = "<<fingerprint ";
        bool has = strncmp(line_end + 1, mark, strlen(mark)) == 0;
        int64_t fingerprint = has ? strtoll(line_end + 1 + strlen(mark), NULL, 10) : 0;
        check_canonical(input, (size_t)(end - input), canonical, has ? &fingerprint : NULL);
        fingerprints += has;
    }
    free(text);
    assert_int_equal(cases, 34);
    assert_int_equal(fingerprints, 26);
}

static void test_by_hand(void **state)
{
    static const struct {
        const char *input, *canonical;
    } cases[] = {
        /* A named type is written out once, then called by its full name. */
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"n\",\"fields\":["
         "{\"name\":\"a\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}},"
         "{\"name\":\"b\",\"type\":\"F\"},{\"name\":\"c\",\"type\":[\"null\",\"n.R\"]}]}",
         "{\"name\":\"n.R\",\"type\":\"record\",\"fields\":["
         "{\"name\":\"a\",\"type\":{\"name\":\"n.F\",\"type\":\"fixed\",\"size\":2}},"
         "{\"name\":\"b\",\"type\":\"n.F\"},{\"name\":\"c\",\"type\":[\"null\",\"n.R\"]}]}"},
        /* Logical types do not count, escapes are resolved, an empty namespace is none. */
        {"{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", "\"long\""},
        {"{\"\\u0074ype\":\"enum\",\"name\":\"\\u0045\",\"namespace\":\"\",\"symbols\":[\"A\"],"
         "\"default\":\"A\"}",
         "{\"name\":\"E\",\"type\":\"enum\",\"symbols\":[\"A\"]}"},
        {"{\"type\":\"error\",\"name\":\"X\",\"fields\":[]}",
         "{\"name\":\"X\",\"type\":\"record\",\"fields\":[]}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check_canonical(cases[i].input, strlen(cases[i].input), cases[i].canonical, NULL);
    assert_true(canonical_crc64((struct span){NULL, 0}) == 0xc15d213aa4d7a795u);
}

static void test_apache_message(void **state)
{
    (void)state;
    size_t schema_bytes, bytes, datum_bytes, image_bytes;
    char *schema = read_data("messageV1-test_schema.avsc", &schema_bytes);
    char *message = read_data("messageV1-test_message.bin", &bytes);
    if (schema == NULL || message == NULL) {
        free(schema);
        free(message);
        skip();
    }
    char error[500];
    uint8_t *image;
    uint64_t fingerprint;
    struct layout layout;
    struct text text = {0};
    struct schema_file *file = parse(schema, schema_bytes);
    assert_int_equal(schema_fingerprint(file, &fingerprint), 0);
    assert_int_equal(schema_compile(file, NULL, NULL, &image, &image_bytes, error, sizeof(error)),
                     0);
    assert_int_equal(layout_load(&layout, (struct span){image, image_bytes}), 0);
    assert_true(layout.fingerprint == fingerprint);
    assert_true(bytes > 10);
    assert_int_equal((uint8_t)message[0], 0xc3);
    assert_int_equal((uint8_t)message[1], 0x01);
    for (int i = 0; i < 8; i++)
        assert_int_equal((uint8_t)message[2 + i], fingerprint >> 8 * i & 0xff);
    struct span datum = {(const uint8_t *)message + 10, bytes - 10};
    assert_int_equal(datum_check(&layout, datum, &datum_bytes), REJECT_NONE);
    assert_int_equal(datum_bytes, datum.bytes);
    assert_int_equal(datum_write_json(schema_root(file), datum, &datum_bytes, &text), REJECT_NONE);
    assert_string_equal(
        text.at, "{\"id\": 42, \"name\": \"Bill\", \"tags\": [\"dog_lover\", \"cat_hater\"]}");
    text_free(&text);
    schema_free(file);
    free(image);
    free(schema);
    free(message);
}

/* The interop schema comes back from its canonical form with the same datums. */
static void test_interop(void **state)
{
    (void)state;
    size_t bytes, canonical_bytes;
    char *canonical, difference[300] = "";
    char *schema = read_data("interop.avsc", &bytes);
    if (schema == NULL)
        skip();
    struct schema_file *file = parse(schema, bytes);
    assert_int_equal(schema_canonical(file, &canonical, &canonical_bytes), 0);
    struct schema_file *again = parse(canonical, canonical_bytes);
    if (schema_compare(file, again, difference, sizeof(difference)) != 0)
        fail_msg("%s", difference);
    uint64_t one, other;
    assert_int_equal(schema_fingerprint(file, &one), 0);
    assert_int_equal(schema_fingerprint(again, &other), 0);
    assert_true(one == other);
    schema_free(file);
    schema_free(again);
    free(canonical);
    free(schema);
}

static void test_datum_bytes(void **state)
{
    static const struct {
        const char *text;
        uint64_t least, most;
    } cases[] = {
        {"\"null\"", 0, 0},
        {"\"int\"", 1, 5},
        {"\"long\"", 1, 10},
        {"\"string\"", 1, UINT64_MAX},
        {"[\"null\",\"double\"]", 1, 9},
        {"{\"type\":\"array\",\"items\":\"null\"}", 1, UINT64_MAX},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":12}", 12, 12},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"boolean\"},"
         "{\"name\":\"b\",\"type\":[\"float\",{\"type\":\"enum\",\"name\":\"E\",\"symbols\":"
         "[\"A\"]}]}]}",
         3, 6},
        /* The way back into R is longer than the other branch: 1 + 1 + 1, not 1 + 1 + nothing. */
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"},"
         "{\"name\":\"b\",\"type\":[\"R\",\"int\"]}]}",
         3, UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t least, most;
        struct schema_file *file = parse(cases[i].text, strlen(cases[i].text));
        assert_int_equal(schema_datum_bytes(file, &least, &most), 0);
        if (least != cases[i].least || most != cases[i].most)
            fail_msg("%s: %llu to %llu", cases[i].text, (unsigned long long)least,
                     (unsigned long long)most);
        schema_free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apache_table),   cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_apache_message), cmocka_unit_test(test_interop),
        cmocka_unit_test(test_datum_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
