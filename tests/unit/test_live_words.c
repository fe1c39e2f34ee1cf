/* SPDX-License-Identifier: MIT
 * A client's messages: what is taken, and what of each is refused, and why. Relies on cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "gateway/live_words.h"

static struct live_request request;
static char error[600];

/* With ' for ". */
static bool reads(const char *text)
{
    static char message[70000];
    size_t bytes = strlen(text);
    for (size_t i = 0; i <= bytes; i++)
        message[i] = text[i] == '\'' ? '"' : text[i];
    json_decref(request.message);
    error[0] = '\0';
    return live_read(&request, (struct span){(const uint8_t *)message, bytes}, error, sizeof error);
}

static void assert_refused(const char *text, uint32_t id, const char *why)
{
    assert_false(reads(text));
    assert_int_equal(request.id, id);
    if (strstr(error, why) == NULL)
        fail_msg("%s: %s", text, error);
}

static void test_taken(void **state)
{
    (void)state;
    assert_true(reads("{'op': 'subscribe', 'id': 7, 'channel': 'engine', 'fields': ['speed', "
                      "'cylinders[0]'], 'bin_ns': '100000000', 'back_ns': '60000000000', "
                      "'latest': true}"));
    assert_int_equal(request.op, LIVE_SUBSCRIBE);
    assert_int_equal(request.id, 7);
    assert_string_equal(request.channel, "engine");
    assert_int_equal(request.field_count, 2);
    assert_string_equal(request.fields[1], "cylinders[0]");
    assert_int_equal(request.bin_ns, 100000000);
    assert_int_equal(request.back_ns, 60000000000);
    assert_true(request.latest);
    assert_true(reads("{'op':'subscribe','id':4294967295,'channel':'e','fields':['x'],"
                      "'bin_ns':'0'}"));
    assert_true(reads("{'op':'history','id':1,'channel':'e','fields':['x'],'from':'-5','to':'9',"
                      "'points':40000}"));
    assert_int_equal(request.from_ns, -5);
    assert_int_equal(request.points, 40000);
    assert_true(reads("{'op':'unsubscribe','id':1}"));
    assert_true(reads(" {'op':'cancel','id':1} "));
}

#define SUBSCRIBE "{'op':'subscribe','id':3,'channel':'e','fields':['x'],'bin_ns':"
#define HISTORY   "{'op':'history','id':3,'channel':'e','fields':['x'],'from':'1','to':'2'," POINTS
#define POINTS    "'points':"

static void test_refused(void **state)
{
    (void)state;
    assert_refused("", 0, "no JSON");
    assert_refused("{", 0, "no JSON");
    assert_refused("7", 0, "no JSON");
    assert_refused("[]", 0, "no JSON object");
    assert_refused("{'op':'cancel','id':1} x", 0, "no JSON");
    assert_refused("{'op':'cancel','op':'cancel','id':1}", 0, "no JSON");
    assert_refused("{'op':'dance','id':9}", 9, "op: one of");
    assert_refused("{'id':9}", 9, "op: one of");
    assert_refused("{'op':'cancel'}", 0, "id:");
    assert_refused("{'op':'cancel','id':0}", 0, "id:");
    assert_refused("{'op':'cancel','id':4294967296}", 0, "id:");
    assert_refused("{'op':'cancel','id':'1'}", 0, "id:");
    assert_refused("{'op':'cancel','id':1.0}", 0, "id:");
    assert_refused("{'op':'cancel','id':1,'channel':'e'}", 1, "no \"channel\" in cancel");
    assert_refused("{'op':'subscribe','id':3}", 3, "channel is missing");
    assert_refused("{'op':'subscribe','id':3,'channel':'../e','fields':['x'],'bin_ns':'0'}", 3,
                   "channel:");
    assert_refused("{'op':'subscribe','id':3,'channel':'e\\u0000','fields':['x'],'bin_ns':'0'}", 0,
                   "no JSON"); /* jansson takes none */
    assert_refused("{'op':'subscribe','id':3,'channel':'e','fields':[],'bin_ns':'0'}", 3,
                   "fields:");
    assert_refused("{'op':'subscribe','id':3,'channel':'e','fields':'x','bin_ns':'0'}", 3,
                   "fields:");
    assert_refused("{'op':'subscribe','id':3,'channel':'e','fields':[1],'bin_ns':'0'}", 3,
                   "fields:");
    static const char *const widths[] = {"0.1",
                                         "'3000000'",
                                         "'100'",
                                         "'10000000000000'",
                                         "'-1'",
                                         "''",
                                         "'01000000'",
                                         "' 1000000'",
                                         "1000000",
                                         "null",
                                         "'99999999999999999999'",
                                         "'1000001'",
                                         "'1e6'"};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, SUBSCRIBE "%s}", widths[i]);
        assert_refused(text, 3, "bin_ns:");
    }
    assert_refused(SUBSCRIBE "'0','back_ns':'1'}", 3, "single datums have no past");
    assert_refused(SUBSCRIBE "'1000000','back_ns':'100001000000'}", 3, "at most 100000 bins");
    assert_refused(SUBSCRIBE "'1000000','latest':1}", 3, "latest:");
    assert_refused(HISTORY "0}", 3, "points:");
    assert_refused(HISTORY "40001}", 3, "points:");
    assert_refused(HISTORY "'9'}", 3, "points:");
    assert_refused("{'op':'history','id':3,'channel':'e','fields':['x'],'from':'2','to':'2',"
                   "'points':1}",
                   3, "ends before it begins");
    assert_refused("{'op':'history','id':3,'channel':'e','fields':['x'],'from':'-0','to':'2',"
                   "'points':1}",
                   3, "from:");
    assert_refused("{'op':'subscribe','id':3,'channel':'e','fields':[[[[['x']]]]],'bin_ns':'0'}", 0,
                   "nested");
}

/* A message with so many fields; `more` stands behind them. */
static const char *with_fields(const char *front, int count, const char *more)
{
    static struct text text;
    text_clear(&text);
    text_add_string(&text, front);
    for (int i = 0; i < count; i++)
        text_add_string(&text, i == 0 ? "'x'" : ",'x'");
    text_add_string(&text, more);
    return text.at;
}

/* As deep and as many as a message of 64 KiB can have. */
static void test_large(void **state)
{
    static const char front[] = "{'op':'subscribe','id':3,'channel':'e','bin_ns':'0','fields':[";
    static char deep[65537];
    (void)state;
    memset(deep, '[', 65536);
    assert_refused(deep, 0, "nested");
    assert_true(reads(with_fields(front, 1024, "]}")));
    assert_int_equal(request.field_count, 1024);
    assert_refused(with_fields(front, 1025, "]}"), 3, "fields:");
    assert_refused(with_fields("{'op':'history','id':3,'channel':'e','from':'0','to':'9',"
                               "'points':40000,'fields':[",
                               60, "]}"),
                   3, "points times fields");
}

static void test_width(void **state)
{
    (void)state;
    assert_int_equal(live_width(1000, 1000), 1);
    assert_int_equal(live_width(999, 1000), 1);
    assert_int_equal(live_width(60000000000, 600), 100000000);
    assert_int_equal(live_width(60000000000, 601), 50000000);
    assert_int_equal(live_width(60000000000, 299), 200000000);
    for (uint32_t points = 1; points < 40000; points += 97) {
        uint64_t width = live_width(86400000000000, points), bins = 86400000000000 / width;
        assert_true(bins >= points && bins <= 5 * (uint64_t)points / 2 + 1);
    }
    assert_true(live_width(UINT64_C(1) << 62, 1) > 0);
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(request.message);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_width),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
