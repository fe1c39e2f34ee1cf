/* SPDX-License-Identifier: MIT
 * Messages of ROS 2: which text a schema gives, and which bytes a datum. Both were worked out by
 * hand from design.ros2.org and the CDR rules; scenario 077 reads them with the mcap package.
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

#include "base/check.h"
#include "schema/ros2msg.h"

#define AND                  ","
#define RECORD(name, fields) "{\"type\":\"record\",\"name\":\"" name "\",\"fields\":[" fields "]}"
#define FIELD(name, type)    "{\"name\":\"" name "\",\"type\":" type "}"
#define ARRAY(items)         "{\"type\":\"array\",\"items\":" items "}"
#define MAP(values)          "{\"type\":\"map\",\"values\":" values "}"

struct made {
    struct schema_file *file;
    const struct columns *columns;
    struct ros2msg message;
};

static struct made make(const char *schema, const char *package)
{
    struct made made = {0};
    char error[512];
    made.file =
        schema_parse((struct span){(const uint8_t *)schema, strlen(schema)}, error, sizeof(error));
    if (made.file == NULL)
        fail_msg("%s\n  refused: %s", schema, error);
    assert_int_equal(columns_select(made.file, NULL, 0, &made.columns, error, sizeof(error)), 0);
    assert_int_equal(ros2msg_make(&made.message, made.columns, package), 0);
    return made;
}

static void unmake(struct made *made)
{
    ros2msg_free(&made->message);
    columns_free(made->columns);
    schema_free(made->file);
}

#define LINE                                                                                       \
    "========================================"                                                     \
    "========================================\n"
#define HEADER "std_msgs/Header header\n"
#define PARTS                                                                                      \
    LINE "MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n" LINE             \
         "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"

static const struct {
    const char *schema, *package, *name, *text;
} texts[] = {
    {"\"double\"", "Engine-2", "engine_2/msg/Datum", HEADER "float64 value\n" PARTS},
    {"\"null\"", "std_msgs", "std_msgs_2/msg/Datum", HEADER "bool value_valid\n" PARTS},
    {RECORD("a.b.engine_sample", FIELD("header", "\"long\"") AND FIELD("Oil.Temp2", "\"float\"")
                                     AND FIELD("oil_temp2", "\"int\"") AND FIELD(
                                         "2nd", "\"string\"") AND FIELD("__", "\"bytes\"")),
     "9", "x9/msg/EngineSample",
     HEADER "int64 header_2  # \"header\"\n"
            "float32 oil_temp2  # \"Oil.Temp2\"\n"
            "int32 oil_temp2_2  # \"oil_temp2\"\n"
            "string x2nd  # \"2nd\"\n"
            "uint8[] x  # \"__\"\n" PARTS},
    {RECORD(
         "S",
         "{\"name\":\"rpm\",\"type\":\"float\",\"unit\":\"1/min\",\"doc\":\"of the\\n shaft\"}" AND
         "{\"name\":\"at\",\"type\":{\"type\":\"long\",\"logicalType\":"
         "\"timestamp-micros\"}}" AND FIELD("id",
                                            "{\"type\":\"fixed\",\"name\":\"Id\",\"size\":16}")
             AND FIELD("state", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"off\","
                                "\"On\",\"on\"]}")),
     "c", "c/msg/S",
     HEADER "float32 rpm  # [1/min] of the  shaft\n"
            "int64 at  # timestamp-micros\n"
            "uint8[16] id\n"
            "int32 STATE_OFF=0  # \"off\"\n"
            "int32 STATE_ON=1  # \"On\"\n"
            "int32 STATE_ON_2=2  # \"on\"\n"
            "int32 state\n" PARTS},
    /* What may be null, and unions, keep what they are for behind all fields. */
    {RECORD("S", FIELD("a", "[\"null\",\"double\"]") AND FIELD("a_valid", "\"boolean\"")
                     AND FIELD("u", "[\"null\",\"int\",\"string\"]") AND FIELD("n", "\"null\"")),
     "c", "c/msg/S",
     HEADER "float64 a\nbool a_valid\nint32 u_int  # \"int\"\nstring u_string  # \"string\"\n"
            "bool a_valid_2\nbool u_int_valid\nbool u_string_valid\nbool n_valid\n" PARTS},
    /* Records are messages; of the same name and content one. */
    {RECORD("S", FIELD("p", RECORD("P", FIELD("x", "\"int\""))) AND FIELD("q", "[\"null\",\"P\"]")
                     AND FIELD("r", RECORD("m.P", FIELD("x", "\"long\"")))
                         AND FIELD("t", ARRAY("\"P\""))),
     "c", "c/msg/S",
     HEADER "c/P p\nc/P q\nc/PN2 r\nc/P[] t\nbool q_valid\n" PARTS LINE "MSG: c/P\nint32 x\n" LINE
            "MSG: c/PN2\nint64 x\n"},
    {RECORD("S", FIELD("f", ARRAY("\"float\"")) AND FIELD("ff", ARRAY(ARRAY("\"float\"")))
                     AND FIELD("o", ARRAY("[\"null\",\"int\"]")) AND FIELD("m", MAP("\"int\""))
                         AND FIELD("b", ARRAY("\"bytes\""))),
     "c", "c/msg/S",
     HEADER "float32[] f\nc/FfItem[] ff\nc/OItem[] o\nc/MEntry[] m\nc/BItem[] b\n" PARTS LINE
            "MSG: c/FfItem\nfloat32[] value\n" LINE
            "MSG: c/OItem\nint32 value\nbool value_valid\n" LINE
            "MSG: c/MEntry\nstring key\nint32 value\n" LINE "MSG: c/BItem\nuint8[] value\n"},
    {RECORD("L", FIELD("v", "\"int\"") AND FIELD("next", "[\"null\",\"L\"]")), "c", "c/msg/L",
     HEADER "int32 v\n# left out, for it leads back into what contains it: next\n" PARTS},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct made made = make(texts[i].schema, texts[i].package);
        assert_string_equal(made.message.name, texts[i].name);
        assert_string_equal(made.message.text, texts[i].text);
        unmake(&made);
    }
}

/* What some readers take for the end of a line is none in a comment. */
static void test_comments_stay_on_their_line(void **state)
{
    (void)state;
    struct made made = make("{\"type\":\"record\",\"name\":\"S\",\"fields\":[{\"name\":\"a\","
                            "\"type\":\"int\",\"doc\":\"1\xe2\x80\xa8"
                            "2\xc2\x85"
                            "3\\r\\u001c4\xc2\xb5\"}]}",
                            "c");
    assert_non_null(strstr(made.message.text, "int32 a  # 1 2 3  4\xc2\xb5\n"));
    unmake(&made);
}

/* In front of each: 00 01 00 00, the time's seconds and nanoseconds, "" as the frame. */
#define FRONT  0, 1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0
#define TIME   1000000002u
#define NAN_32 0, 0, 0xc0, 0x7f

static const struct {
    const char *schema;
    uint8_t datum[32], datum_bytes;
    uint8_t bytes[96], byte_count;
} wires[] = {
    {"\"int\"", {3}, 1, {FRONT, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}, 24},
    /* 8 bytes are aligned to 8, counted from behind the first 4 of all. */
    {"\"long\"", {1}, 1, {FRONT, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}, 28},
    {"\"string\"", {4, 'a', 'b'}, 3, {FRONT, 0, 0, 0, 3, 0, 0, 0, 'a', 'b', 0}, 27},
    {"[\"null\",\"float\"]", {0}, 1, {FRONT, 0, 0, 0, NAN_32, 0}, 25},
    {"[\"null\",\"float\"]", {2, 0, 0, 0x80, 0x3f}, 5, {FRONT, 0, 0, 0, 0, 0, 0x80, 0x3f, 1}, 25},
    /* A boolean, a long and a fixed: no padding but in front of the long. */
    {RECORD("R", FIELD("a", "\"boolean\"") AND FIELD("b", "\"long\"")
                     AND FIELD("c", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}")),
     {1, 4, 8, 9},
     4,
     {FRONT, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 8, 9},
     30},
    /* An array in two blocks, the second with its bytes. */
    {ARRAY("\"int\""),
     {2, 2, 3, 4, 4, 6, 0},
     7,
     {FRONT, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0},
     36},
    {ARRAY("\"double\""), {0}, 1, {FRONT, 0, 0, 0, 0, 0, 0, 0}, 24},
    {MAP("\"int\""),
     {2, 2, 'k', 14, 0},
     5,
     {FRONT, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 'k', 0, 0, 0, 7, 0, 0, 0},
     36},
    {ARRAY(ARRAY("\"boolean\"")),
     {4, 2, 1, 0, 0, 0},
     6,
     {FRONT, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},
     36},
    {"[\"string\",\"int\"]",
     {2, 2},
     2,
     {FRONT, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1},
     34},
    {"\"null\"", {0}, 0, {FRONT, 0}, 18},
};

static void test_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(wires); i++) {
        struct made made = make(wires[i].schema, "c");
        struct column_value *values = calloc(made.columns->value_room + 1, sizeof(*values));
        struct text out = {0};
        size_t bytes;
        /* Behind other bytes, of which alignment knows nothing. */
        text_add_string(&out, "abc");
        assert_int_equal(columns_read(made.columns,
                                      (struct span){wires[i].datum, wires[i].datum_bytes}, &bytes,
                                      values),
                         REJECT_NONE);
        assert_int_equal(bytes, wires[i].datum_bytes);
        assert_true(cdr_write(&made.message.steps, TIME, values, &out));
        if (out.bytes != wires[i].byte_count + 3u)
            fail_msg("%s: %zu bytes, not %u", wires[i].schema, out.bytes - 3, wires[i].byte_count);
        assert_memory_equal(out.at + 3, wires[i].bytes, wires[i].byte_count);
        text_free(&out);
        free(values);
        unmake(&made);
    }
}

static void test_a_late_time_is_the_last(void **state)
{
    (void)state;
    struct made made = make("\"null\"", "c");
    struct column_value values[1];
    struct text out = {0};
    const uint8_t late[] = {0, 1, 0, 0, 255, 255, 255, 127};
    size_t bytes;
    columns_read(made.columns, (struct span){late, 0}, &bytes, values);
    assert_true(cdr_write(&made.message.steps, UINT64_MAX, values, &out));
    assert_memory_equal(out.at, late, sizeof(late));
    text_free(&out);
    unmake(&made);
}

/* An enum stands in the text once for each field of it: that is refused before it is too long. */
static void test_too_long(void **state)
{
    (void)state;
    struct text schema = {0};
    char error[512];
    text_add_string(&schema, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"f\","
                             "\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"S\"");
    for (int i = 0; i < 1000; i++)
        text_add(&schema, ",\"%0100d\"", i);
    text_add_string(&schema, "]}}");
    for (int i = 0; i < 100; i++)
        text_add(&schema, ",{\"name\":\"f%d\",\"type\":\"E\"}", i);
    text_add_string(&schema, "]}");
    struct schema_file *file =
        schema_parse((struct span){(const uint8_t *)schema.at, schema.bytes}, error, sizeof(error));
    const struct columns *columns;
    struct ros2msg message;
    if (file == NULL)
        fail_msg("%s", error);
    assert_int_equal(columns_select(file, NULL, 0, &columns, error, sizeof(error)), 0);
    assert_int_equal(ros2msg_make(&message, columns, "c"), -E2BIG);
    assert_null(message.text);
    columns_free(columns);
    schema_free(file);
    text_free(&schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),    cmocka_unit_test(test_comments_stay_on_their_line),
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_a_late_time_is_the_last),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
