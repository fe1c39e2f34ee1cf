/* SPDX-License-Identifier: MIT
 * The handshake of a WebSocket: the example of RFC 6455, 1.3, and what is refused. And UTF-8 that
 * comes in pieces, against the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/utf8.h"
#include "gateway/upgrade.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static const char *const spoken[] = {"flotilla.live.v1", "other", NULL};

/* Judges a header of up to eight fields, "Name: value" each; what is agreed on in `*chosen`. */
static unsigned judge(const char *const fields[], const char **chosen)
{
    struct upgrade upgrade = {0};
    const char *why;
    for (unsigned i = 0; fields[i] != NULL; i++) {
        char name[100];
        const char *colon = strchr(fields[i], ':');
        snprintf(name, sizeof(name), "%.*s", (int)(colon - fields[i]), fields[i]);
        upgrade_read(&upgrade, name, colon + 2);
    }
    unsigned status = upgrade_judge(&upgrade, spoken, chosen, &why);
    assert_true((status == 101) == (why == NULL));
    return status;
}

#define UP      "Upgrade: websocket"
#define ON      "Connection: Upgrade"
#define VERSION "Sec-WebSocket-Version: 13"
#define KEYED   "Sec-WebSocket-Key: " KEY
#define SPEAKS  "Sec-WebSocket-Protocol: flotilla.live.v1"

static void test_judged(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *fields[8];
    } cases[] = {
        {101, {UP, ON, VERSION, KEYED, SPEAKS}},
        {101,
         {"UPGRADE: h2c, WebSocket", "connection: keep-alive, upgrade", VERSION, KEYED,
          "sec-websocket-protocol: x , flotilla.live.v1"}},
        {101,
         {UP, "Connection: keep-alive", ON, VERSION, KEYED, "Sec-WebSocket-Protocol: x", SPEAKS}},
        {426, {ON, VERSION, KEYED, SPEAKS}},
        {426, {"Upgrade: websockets", ON, VERSION, KEYED, SPEAKS}},
        {426, {"Upgrade: web socket", ON, VERSION, KEYED, SPEAKS}},
        {426, {UP, VERSION, KEYED, SPEAKS}},
        {426, {UP, "Connection: close", VERSION, KEYED, SPEAKS}},
        {426, {UP, ON, KEYED, SPEAKS}},
        {426, {UP, ON, "Sec-WebSocket-Version: 8", KEYED, SPEAKS}},
        {426, {UP, ON, "Sec-WebSocket-Version: 13, 8", KEYED, SPEAKS}},
        {426, {UP, ON, VERSION, VERSION, KEYED, SPEAKS}},
        {400, {UP, ON, VERSION, SPEAKS}},
        {400, {UP, ON, VERSION, KEYED, KEYED, SPEAKS}},
        {400, {UP, ON, VERSION, "Sec-WebSocket-Key: ", SPEAKS}},
        {400, {UP, ON, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=", SPEAKS}},
        {400, {UP, ON, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=", SPEAKS}},
        {400, {UP, ON, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==", SPEAKS}},
        {400, {UP, ON, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== ", SPEAKS}},
        {400, {UP, ON, VERSION, KEYED}},
        {400, {UP, ON, VERSION, KEYED, "Sec-WebSocket-Protocol: flotilla.live.v2"}},
        {400, {UP, ON, VERSION, KEYED, "Sec-WebSocket-Protocol: FLOTILLA.live.v1"}},
        {400, {UP, ON, VERSION, KEYED, SPEAKS, SPEAKS}},
        {400, {UP, ON, VERSION, KEYED, "Sec-WebSocket-Protocol: flotilla.live.v1, a b"}},
        {400, {UP, ON, VERSION, KEYED, "Sec-WebSocket-Protocol: flotilla.live.v1, a/b"}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *chosen;
        if (judge(cases[i].fields, &chosen) != cases[i].status)
            fail_msg("case %zu", i);
        if (cases[i].status == 101)
            assert_string_equal(chosen, "flotilla.live.v1");
    }
    /* What is preferred here, not there. */
    const char *both[] = {
        UP, ON, VERSION, KEYED, "Sec-WebSocket-Protocol: other, flotilla.live.v1", NULL};
    const char *chosen;
    assert_int_equal(judge(both, &chosen), 101);
    assert_string_equal(chosen, "flotilla.live.v1");
}

static void test_accept(void **state)
{
    (void)state;
    char accept[UPGRADE_ACCEPT_BYTES];
    upgrade_accept(accept, KEY);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void test_protocols_have_an_end(void **state)
{
    (void)state;
    struct upgrade upgrade = {0};
    char word[200];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(word, sizeof(word), "%0100u", i);
        upgrade_read(&upgrade, "Sec-WebSocket-Protocol", word);
        assert_true(upgrade.protocols_bytes <= sizeof(upgrade.protocols));
    }
    assert_true(upgrade.broken);
}

static void test_bearer(void **state)
{
    (void)state;
    static const struct {
        const char *offered, *wanted; /* NULL: none */
    } cases[] = {
        {"a, bearer.secret", "bearer secret"},
        {"bearer.s%2Fcr%3d%3D%2b", "bearer s/cr==+"},
        {"bearer.100%", "bearer 100%"},
        {"bearer.%4", "bearer %4"},
        {"bearer.%zz%41", "bearer %zzA"},
        {"bearer.a%00b", "bearer a"},
        {"bearer.", "bearer "},
        {"a, b", NULL},
        {"Bearer.secret", NULL},
        {"bearer.a, bearer.b", NULL},
        {"bearer.123456789012345678901234567890", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct upgrade upgrade = {0};
        char authorization[30];
        upgrade_read(&upgrade, "Sec-WebSocket-Protocol", cases[i].offered);
        bool found = upgrade_authorization(&upgrade, authorization, sizeof(authorization));
        assert_true(found == (cases[i].wanted != NULL));
        if (found)
            assert_string_equal(authorization, cases[i].wanted);
    }
}

/* All sequences of up to four of the bytes at which something changes, cut at each place. */
static void test_utf8_in_pieces(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                    0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                    0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    const size_t count = ARRAY_COUNT(edges);
    unsigned good = 0;
    for (size_t number = 0; number < count * count * count * count; number++) {
        uint8_t bytes[4] = {edges[number % count], edges[number / count % count],
                            edges[number / count / count % count],
                            edges[number / count / count / count]};
        bool whole = utf8_valid(bytes, bytes + 4);
        good += whole;
        for (size_t cut = 0; cut <= 4; cut++) {
            struct utf8_state letters = {0};
            bool carried = utf8_carry(&letters, bytes, cut) &&
                           utf8_carry(&letters, bytes + cut, 4 - cut) && letters.more == 0;
            if (carried != whole)
                fail_msg("%02x %02x %02x %02x cut at %zu", bytes[0], bytes[1], bytes[2], bytes[3],
                         cut);
        }
    }
    assert_true(good > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judged),
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_protocols_have_an_end),
        cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_utf8_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
