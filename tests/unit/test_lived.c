/* SPDX-License-Identifier: MIT
 * How old files are: never older than they are, whatever was kept of that, exactly so within a
 * boot. The seed is printed; FLOTILLA_SEED repeats a run. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "overview/lived.h"

#define FILES 12

static char *name_of(char name[RECORDING_NAME_BYTES], unsigned number)
{
    const struct recording_name parts = {.channel = "c-50",
                                         .stamp_ns = 1700000000000000000ull,
                                         .number = number + 1,
                                         .stage = RECORDING_DONE};
    return recording_name_write(name, &parts);
}

/* Files that come and go, processes that begin from what was kept at one time or another, boots.
 * What is told against what has passed since each was first looked at. */
static void test_never_older_than_it_is(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct lived lived = {.files = NULL};
        uint64_t true_ns = 5, uptime_ns = 5, seen_ns[FILES] = {0};
        bool there[FILES] = {false}, exact = true, fresh = false;
        char *kept = NULL, boot[] = "boot-a";
        for (int step = 0; step < 60; step++) {
            uint64_t passed_ns = (uint64_t)rand() % 1000 + 1;
            true_ns += passed_ns;
            uptime_ns += passed_ns;
            bool boots = rand() % 15 == 0;
            if (boots) {
                boot[5]++;
                uptime_ns = (uint64_t)rand() % 2000 + 1;
            }
            if (boots || rand() % 8 == 0) { /* another process */
                exact = exact && fresh && !boots;
                lived_free(&lived);
                assert_int_equal(kept ? lived_read(&lived, kept, boot, uptime_ns) : 0, 0);
            }
            lived_begin(&lived, uptime_ns);
            for (unsigned i = 0; i < FILES; i++) {
                char name[RECORDING_NAME_BYTES];
                there[i] = there[i] ? rand() % 20 != 0 : seen_ns[i] == 0 && rand() % 4 == 0;
                if (!there[i])
                    continue;
                uint64_t age_ns = lived_age_ns(&lived, name_of(name, i));
                seen_ns[i] = seen_ns[i] ? seen_ns[i] : true_ns;
                assert_true(age_ns <= true_ns - seen_ns[i]);
                assert_true(!exact || age_ns == true_ns - seen_ns[i]);
            }
            lived_end(&lived);
            fresh = rand() % 3 == 0;
            if (fresh) {
                free(kept);
                kept = lived_write(&lived, boot);
                assert_non_null(kept);
            }
        }
        lived_free(&lived);
        free(kept);
    }
}

static void test_goes_on_in_the_next_process(void **state)
{
    (void)state;
    char name[RECORDING_NAME_BYTES];
    struct lived lived = {.files = NULL}, next = {.files = NULL};
    lived_begin(&lived, 100);
    assert_int_equal(lived_age_ns(&lived, name_of(name, 1)), 0);
    lived_end(&lived);
    lived_begin(&lived, 150);
    assert_int_equal(lived_age_ns(&lived, name), 50);
    lived_end(&lived);
    char *kept = lived_write(&lived, "one");
    assert_int_equal(lived_read(&next, kept, "one", 1000), 0); /* nobody looked meanwhile */
    lived_begin(&next, 1000);
    assert_int_equal(lived_age_ns(&next, name), 900);
    assert_int_equal(lived_read(&next, kept, "another", 30), 0);
    lived_begin(&next, 40);
    assert_int_equal(lived_age_ns(&next, name), 60);
    assert_int_equal(lived_read(&next, kept, "", 1000), 0); /* which boot is not known */
    lived_begin(&next, 1000);
    assert_int_equal(lived_age_ns(&next, name), 50);
    lived_end(&next);
    lived_begin(&next, 2000); /* it is gone, and made again */
    lived_end(&next);
    lived_begin(&next, 3000);
    assert_int_equal(lived_age_ns(&next, name), 0);
    lived_free(&next);
    lived_free(&lived);
    free(kept);
}

static void test_text_that_is_damaged(void **state)
{
    (void)state;
    char name[RECORDING_NAME_BYTES];
    struct lived lived = {.files = NULL}, read = {.files = NULL};
    lived_begin(&lived, 100);
    lived_age_ns(&lived, name_of(name, 1));
    lived_age_ns(&lived, name_of(name, 2));
    char *kept = lived_write(&lived, "one");
    size_t bytes = strlen(kept), first = strcspn(kept, "\n") + 1;
    size_t second = first + strcspn(kept + first, "\n") + 1;
    for (size_t i = 0; i < bytes; i++) {
        char *cut = strdup(kept);
        assert_non_null(cut);
        cut[i] = '\0';
        int wanted = i == first || i == second ? 0 : -74; /* whole lines: files are forgotten */
        assert_int_equal(lived_read(&read, cut, "one", 200), wanted);
        free(cut);
    }
    assert_int_equal(
        lived_read(&read, "flotilla lived 1 boot one uptime 9 counted 9\n10 x\n", "one", 10), -74);
    free(kept);
    lived_free(&lived);
    lived_free(&read);
}

static int begin(void **state)
{
    (void)state;
    const char *given = getenv("FLOTILLA_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20260101u;
    print_message("seed %u\n", seed);
    srand(seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_older_than_it_is),
        cmocka_unit_test(test_goes_on_in_the_next_process),
        cmocka_unit_test(test_text_that_is_damaged),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
