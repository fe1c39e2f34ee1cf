/* SPDX-License-Identifier: MIT
 * Pins' file names, read and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "channel/pin.h"

static void reads_back_what_it_wrote(void **state)
{
    char text[PIN_FILE_NAME_BYTES];
    struct pin pin = {"take-off.1", 1769860800000001999u, 1769860801000000001u}, read;
    (void)state;
    pin_write(text, &pin);
    assert_string_equal(text,
                        "take-off.1@20260131T120000.000001Z@20260131T120001.000001Z.pin");
    assert_true(pin_read(&read, text));
    assert_string_equal(read.name, pin.name);
    assert_int_equal(read.from_ns, 1769860800000001000u); /* never less than was asked for */
    assert_int_equal(read.to_ns, 1769860801000001000u);
    memset(pin.name, 'n', PIN_NAME_BYTES_MAX);
    pin.name[PIN_NAME_BYTES_MAX] = '\0';
    assert_true(pin_read(&read, pin_write(text, &pin)));
    assert_string_equal(read.name, pin.name);
}

static void others_are_none(void **state)
{
    static const char *const names[] = {
        "",
        ".pin",
        "@.pin",
        "x.pin",
        "x@20260131T120000.000000Z.pin",
        "@20260131T120000.000000Z@20260131T120001.000000Z.pin",
        "-x@20260131T120000.000000Z@20260131T120001.000000Z.pin",
        "x y@20260131T120000.000000Z@20260131T120001.000000Z.pin",
        "x@20260131T120000.000000Z@20260131T120000.000000Z.pin",
        "x@20260131T120001.000000Z@20260131T120000.000000Z.pin",
        "x@20260230T120000.000000Z@20260331T120001.000000Z.pin",
        "x@20260131T120000.000000Z@20260131T120001.000000Z.pin2",
        "x@20260131t120000.000000Z@20260131T120001.000000Z.pin",
        "x@2026O131T120000.000000Z@20260131T120001.000000Z.pin",
        "engine-20260101T000000.000000Z-000001.avro.pin",
    };
    struct pin pin;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (pin_read(&pin, names[i]))
            fail_msg("\"%s\" was read as a pin", names[i]);
}

static void covers_what_touches_it(void **state)
{
    const struct pin pin = {"x", 100, 200};
    (void)state;
    assert_true(pin_covers(&pin, 0, 100));
    assert_true(pin_covers(&pin, 199, 300));
    assert_true(pin_covers(&pin, 0, UINT64_MAX));
    assert_false(pin_covers(&pin, 0, 99));
    assert_false(pin_covers(&pin, 200, 300));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back_what_it_wrote),
        cmocka_unit_test(others_are_none),
        cmocka_unit_test(covers_what_touches_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
