/* SPDX-License-Identifier: MIT
 * The words of Foxglove's protocol: what a client's messages are taken for, and our own to the
 * byte, as the specification has them. Relies on cmocka. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "gateway/foxglove_words.h"

static struct foxglove_request read(bool text, const void *bytes, size_t count)
{
    struct foxglove_request request;
    assert_int_equal(foxglove_read(&request, text, (struct span){bytes, count}), 0);
    return request;
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        enum foxglove_word word;
        size_t count;
        uint32_t first, channel;
    } cases[] = {
        {"{\"op\":\"subscribe\",\"subscriptions\":[{\"id\":7,\"channelId\":3},{\"id\":0,"
         "\"channelId\":4294967295}]}",
         FOXGLOVE_SUBSCRIBE, 2, 7, 3},
        {"{\"op\":\"subscribe\",\"subscriptions\":[]}", FOXGLOVE_SUBSCRIBE, 0, 0, 0},
        {" {\"subscriptionIds\":[9],\"op\":\"unsubscribe\",\"more\":{}} ", FOXGLOVE_UNSUBSCRIBE, 1,
         9, 0},
        {"{\"op\":\"subscribe\"}", FOXGLOVE_WRONG, 0, 0, 0},
        {"{\"op\":\"subscribe\",\"subscriptions\":{}}", FOXGLOVE_WRONG, 0, 0, 0},
        {"{\"op\":\"subscribe\",\"subscriptions\":[1]}", FOXGLOVE_WRONG, 0, 0, 0},
        {"{\"op\":\"subscribe\",\"subscriptions\":[{\"id\":-1,\"channelId\":3}]}", FOXGLOVE_WRONG,
         0, 0, 0},
        {"{\"op\":\"subscribe\",\"subscriptions\":[{\"id\":1,\"channelId\":4294967296}]}",
         FOXGLOVE_WRONG, 0, 0, 0},
        {"{\"op\":\"subscribe\",\"subscriptions\":[{\"id\":1.5,\"channelId\":3}]}", FOXGLOVE_WRONG,
         0, 0, 0},
        {"{\"op\":\"unsubscribe\",\"subscriptionIds\":[\"9\"]}", FOXGLOVE_WRONG, 0, 0, 0},
        {"{\"op\":\"getParameters\",\"parameterNames\":[]}", FOXGLOVE_UNKNOWN, 0, 0, 0},
        {"{\"op\":5}", FOXGLOVE_WRONG, 0, 0, 0},
        {"[]", FOXGLOVE_WRONG, 0, 0, 0},
        {"", FOXGLOVE_WRONG, 0, 0, 0},
        {"{\"op\":\"subscribe\"", FOXGLOVE_WRONG, 0, 0, 0},
        {"{\"op\":\"subscribe\",\"op\":\"unsubscribe\",\"subscriptionIds\":[]}", FOXGLOVE_WRONG, 0,
         0, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct foxglove_request request = read(true, cases[i].message, strlen(cases[i].message));
        if (request.word != cases[i].word || request.pair_count != cases[i].count)
            fail_msg("%s: %d with %zu: %s", cases[i].message, (int)request.word, request.pair_count,
                     request.why);
        assert_true((request.why[0] != '\0') ==
                    (request.word == FOXGLOVE_WRONG || request.word == FOXGLOVE_UNKNOWN));
        if (request.pair_count > 0) {
            assert_int_equal(request.pairs[0].subscription, cases[i].first);
            assert_int_equal(request.pairs[0].channel, cases[i].channel);
        }
        free(request.pairs);
    }
}

static void test_too_many(void **state)
{
    (void)state;
    struct text text = {0};
    text_add_string(&text, "{\"op\":\"unsubscribe\",\"subscriptionIds\":[0");
    for (uint32_t i = 1; i < FOXGLOVE_PAIRS_MAX; i++)
        text_add(&text, ",%u", i);
    size_t end = text.bytes;
    text_add_string(&text, "]}");
    struct foxglove_request request = read(true, text.at, text.bytes);
    assert_int_equal(request.word, FOXGLOVE_UNSUBSCRIBE);
    assert_int_equal(request.pair_count, FOXGLOVE_PAIRS_MAX);
    free(request.pairs);
    text.bytes = end;
    text_add_string(&text, ",1]}");
    request = read(true, text.at, text.bytes);
    assert_int_equal(request.word, FOXGLOVE_WRONG);
    free(request.pairs);
    text_free(&text);
}

static void test_playback(void **state)
{
    (void)state;
    /* Play at 1.5, to 100.5 s, "some-id". */
    static const char message[] = "\x03\x00\x00\x00\xc0\x3f\x01\x00\x4d\x44\x66\x17\x00\x00\x00"
                                  "\x07\x00\x00\x00some-id";
    size_t count = sizeof(message) - 1;
    struct foxglove_request request = read(false, message, count);
    assert_int_equal(request.word, FOXGLOVE_PLAYBACK);
    assert_true(request.playback.plays && request.playback.seeks);
    assert_true(request.playback.speed == 1.5f);
    assert_int_equal(request.playback.seek_ns, 100500000000);
    assert_string_equal(request.playback.id, "some-id");
    for (size_t bytes = 0; bytes < count; bytes++)
        assert_int_equal(read(false, message, bytes).word, FOXGLOVE_WRONG);
    char other[sizeof(message)];
    memcpy(other, message, sizeof(message));
    other[1] = 1;
    other[6] = 0;
    request = read(false, other, count);
    assert_true(request.word == FOXGLOVE_PLAYBACK && !request.playback.plays &&
                !request.playback.seeks);
    other[1] = 2;
    assert_int_equal(read(false, other, count).word, FOXGLOVE_WRONG);
    other[1] = 0;
    other[20] = '\0'; /* in the id */
    assert_int_equal(read(false, other, count).word, FOXGLOVE_WRONG);
    other[20] = (char)0xff;
    assert_int_equal(read(false, other, count).word, FOXGLOVE_WRONG);
    assert_int_equal(read(false, "\x01\x01\x00\x00\x00", 5).word, FOXGLOVE_UNKNOWN);
    assert_int_equal(read(false, "\x02", 1).word, FOXGLOVE_UNKNOWN);
    assert_int_equal(read(false, "\x09", 1).word, FOXGLOVE_WRONG);
}

static void expect(struct text *text, const void *bytes, size_t count)
{
    assert_false(text->failed);
    assert_int_equal(text->bytes, count);
    assert_memory_equal(text->at, bytes, count);
    text_clear(text);
}

static void test_ours(void **state)
{
    (void)state;
    struct text out = {0};
    char front[FOXGLOVE_DATA_BYTES];
    static const struct foxglove_channel channel = {5, "/engine", "engine/msg/Sample",
                                                    "float64 x\n# \"quoted\"\n"};
    foxglove_write_advertise(&out, &channel);
    static const char advertise[] =
        "{\"op\":\"advertise\",\"channels\":[{\"id\":5,\"topic\":\"/engine\",\"encoding\":\"cdr\","
        "\"schemaName\":\"engine/msg/Sample\",\"schemaEncoding\":\"ros2msg\",\"schema\":\"float64 "
        "x\\n# \\\"quoted\\\"\\n\"}]}";
    expect(&out, advertise, sizeof(advertise) - 1);
    foxglove_write_unadvertise(&out, 4294967295u);
    static const char unadvertise[] = "{\"op\":\"unadvertise\",\"channelIds\":[4294967295]}";
    expect(&out, unadvertise, sizeof(unadvertise) - 1);
    foxglove_write_status(&out, FOXGLOVE_WARNING, "a", "b\xff");
    static const char status[] = "{\"op\":\"status\",\"level\":1,\"message\":\"b\xef\xbf\xbd\","
                                 "\"id\":\"a\"}";
    expect(&out, status, sizeof(status) - 1);
    foxglove_write_time(&out, 0x0102030405060708);
    expect(&out, "\x02\x08\x07\x06\x05\x04\x03\x02\x01", 9);
    foxglove_write_playback(&out, FOXGLOVE_ENDED, 500, 1, true, "i-am");
    expect(&out, "\x05\x03\xf4\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x3f\x01\x04\x00\x00\x00i-am",
           23);
    foxglove_write_data_front(front, 0x01020304, 1);
    assert_memory_equal(front, "\x01\x04\x03\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00", 13);
    foxglove_write_server_info(
        &out, &(struct foxglove_server){"f", "s", true, 1700000000000000001, 1700000000999999999});
    text_end(&out);
    assert_non_null(strstr(out.at, "\"capabilities\":[\"playbackControl\",\"time\"]"));
    assert_non_null(strstr(out.at, "\"dataStartTime\":{\"sec\":1700000000,\"nsec\":1}"));
    assert_non_null(strstr(out.at, "\"dataEndTime\":{\"sec\":1700000000,\"nsec\":999999999}"));
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_playback),
        cmocka_unit_test(test_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
