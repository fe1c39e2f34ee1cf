/* SPDX-License-Identifier: MIT
 * A channel's memory: as large as `buffer` asks for, whatever is allowed there, on machines whose
 * sizes have 32 bits as well. What is asked for is made, but never touched. */
#include "channel/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "channel/value.h"
#include "os/memory.h"

static const struct value_form *form = &settings_table[SETTING_BUFFER].form;

static void test_holds_all_that_is_allowed(void **state)
{
    (void)state;
    struct channel_settings settings;
    settings_defaults(&settings);
    for (uint64_t bytes = form->low; bytes <= form->high; bytes *= 2) {
        settings.buffer_bytes = bytes;
        assert_true(staging_bytes(&settings) >= bytes);
    }
    assert_true(form->high >= 1u << 30);
    settings.buffer_bytes = form->high;
    assert_true(staging_bytes(&settings) >= form->high);
}

static void test_more_is_refused(void **state)
{
    (void)state;
    char text[VALUE_TEXT_BYTES], error[VALUE_TEXT_BYTES];
    uint64_t bytes;
    value_write(form, &form->high, text);
    assert_int_equal(value_read(form, text, &bytes, error, sizeof(error)), 0);
    assert_true(bytes == form->high);
    uint64_t more = form->high * 2;
    value_write(form, &more, text);
    assert_true(value_read(form, text, &bytes, error, sizeof(error)) < 0);
    assert_non_null(strstr(error, value_write(form, &form->high, text)));
    assert_true(value_read(form, "32GiB", &bytes, error, sizeof(error)) < 0);
}

/* Mapped by who made it and by who comes after, with as many slots. */
static void test_is_mapped_again(void **state)
{
    (void)state;
    struct channel_settings settings;
    static struct staging first, second;
    settings_defaults(&settings);
    settings.buffer_bytes = 256u << 20;
    descriptor_t memory = shared_memory_create("test", staging_bytes(&settings));
    assert_true(memory >= 0);
    assert_int_equal(staging_map(&first, memory), 0);
    assert_int_equal(first.slot_count, settings.buffer_bytes / BLOCK_BYTES_MAX);
    assert_int_equal(staging_map(&second, memory), 0);
    assert_int_equal(second.slot_count, first.slot_count);
    assert_int_equal(staging_validate(&second), 0);
    staging_unmap(&second);
    staging_unmap(&first);
    descriptor_close(memory);
}

static void test_another_size_is_refused(void **state)
{
    (void)state;
    static struct staging staging;
    struct channel_settings settings;
    settings_defaults(&settings);
    const size_t sizes[] = {4096, staging_bytes(&settings) - 4096, staging_bytes(&settings) + 4096};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        descriptor_t memory = shared_memory_create("test", sizes[i]);
        assert_true(memory >= 0);
        assert_int_equal(staging_map(&staging, memory), -EBADMSG);
        descriptor_close(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds_all_that_is_allowed),
        cmocka_unit_test(test_more_is_refused),
        cmocka_unit_test(test_is_mapped_again),
        cmocka_unit_test(test_another_size_is_refused),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
