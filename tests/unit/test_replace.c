/* SPDX-License-Identifier: MIT
 * A file that takes the place of another one: where that is there, and only there. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "archive/writer.h"
#include "avro/block.h"
#include "os/file.h"
#include "os/folder.h"
#include "os/path.h"
#include "os/storage.h"

#define NAME   "c-20260101T000000.000000Z-000001.avro"
#define BESIDE ".c-1.compacting"
#define TIME   1700000000123456789ull

static char path[64];

static struct writer *begin(descriptor_t folder)
{
    static const char schema[] = "\"long\"";
    const struct writer_entry entry = {"avro.schema", {(const uint8_t *)schema, sizeof schema - 1}};
    struct writer *writer;
    assert_int_equal(writer_begin_beside(&writer, folder, NAME, BESIDE, &entry, 1, CODEC_DEFLATE,
                                         (const uint8_t[BLOCK_SYNC_BYTES]){1}, false),
                     0);
    writer_add(writer, (struct span){(const uint8_t *)"\x02", 1}, TIME);
    assert_int_equal(writer_end_block(writer), 0);
    return writer;
}

static descriptor_t make_old(void)
{
    char file[sizeof path + sizeof NAME + 1];
    snprintf(path, sizeof path, "/tmp/flotilla-replace-XXXXXX");
    assert_non_null(mkdtemp(path));
    snprintf(file, sizeof file, "%s/" NAME, path);
    assert_int_equal(file_write_whole(file, (struct span){(const uint8_t *)"old", 3}), 0);
    return folder_open(path);
}

static int count_name(void *context, const char *name)
{
    *(int *)context += name[0] == '.' ? 100 : 1;
    return 0;
}

static void end(descriptor_t folder, int files)
{
    int found = 0;
    assert_int_equal(folder_list(folder, count_name, &found), 0);
    assert_int_equal(found, files);
    folder_remove(folder, NAME);
    folder_remove(folder, BESIDE);
    descriptor_close(folder);
    assert_int_equal(remove(path), 0);
}

static void test_takes_the_place(void **state)
{
    (void)state;
    struct storage_entry entry;
    descriptor_t folder = make_old();
    struct writer *writer = begin(folder);
    uint64_t bytes = writer_bytes(writer);
    assert_int_equal(writer_replace(writer, TIME), 0);
    assert_int_equal(storage_look(folder, NAME, &entry), 0);
    assert_true(entry.bytes == bytes && entry.modified_ns == TIME);
    end(folder, 1);
}

static void test_what_was_removed_does_not_come_back(void **state)
{
    (void)state;
    descriptor_t folder = make_old();
    struct writer *writer = begin(folder);
    assert_int_equal(folder_remove(folder, NAME), 0); /* retention, say */
    assert_int_equal(writer_replace(writer, TIME), -ENOENT);
    end(folder, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_the_place),
        cmocka_unit_test(test_what_was_removed_does_not_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
