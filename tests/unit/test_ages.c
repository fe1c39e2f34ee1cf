/* SPDX-License-Identifier: MIT
 * How old recordings are, told by a machine whose wall clock lies: days that are made up at random,
 * with a clock that tells the truth beside it. Seeds are fixed, and printed where one fails;
 * FLOTILLA_TEST_LONG plays more of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "channel/recording_name.h"
#include "manager/retention.h"
#include "manager/retention_ages.h"

#define MINUTE_NS  (60ull * NS_PER_S)
#define HOUR_NS    (60 * MINUTE_NS)
#define DAY_NS     (24 * HOUR_NS)
#define YEAR_NS    (365 * DAY_NS)
#define AGE_NS     (2 * HOUR_NS)
#define AGE_MS     (AGE_NS / NS_PER_MS)
#define NOW_NS     (AGES_TIME_MIN_NS + 7 * YEAR_NS)
#define LOOK_NS    (4 * MINUTE_NS) /* at most from one look to the next */
#define FILES_MAX  512
#define LOOKS      400
#define PLAY_SEEDS 25

/* A machine, its recordings and the manager that looks at them. */
struct play {
    struct retention_ages ages;
    char *kept;                     /* what the manager has written, or NULL */
    uint64_t truth_ns, uptime_ns;
    int64_t offset_ns;              /* of the wall clock */
    bool synchronised;
    unsigned boot;
    enum ages_doubt doubt;
    uint64_t random, numbers[2];
    struct retention_file files[FILES_MAX];
    uint64_t ended_ns[FILES_MAX]; /* in truth */
    size_t count;
    size_t removed, too_young, step_count;
    uint64_t overstay_ns; /* the longest beyond the age, of this boot */
};

static uint64_t draw(struct play *play, uint64_t below)
{
    play->random ^= play->random << 13;
    play->random ^= play->random >> 7;
    play->random ^= play->random << 17;
    return play->random % below;
}

static struct play begin(uint64_t seed)
{
    return (struct play){.truth_ns = NOW_NS,
                         .uptime_ns = HOUR_NS,
                         .synchronised = true,
                         .random = seed * 0x9e3779b97f4a7c15ull + 1};
}

static void end(struct play *play)
{
    retention_ages_free(&play->ages);
    for (size_t i = 0; i < play->count; i++)
        free(play->files[i].name);
    free(play->kept);
}

static void pass(struct play *play, uint64_t ns)
{
    play->truth_ns += ns;
    play->uptime_ns += ns;
}

static uint64_t wall_ns(const struct play *play)
{
    return (uint64_t)((int64_t)play->truth_ns + play->offset_ns);
}

/* A file of the last minute that has just ended, of the channel's one lane or the other. */
static void record(struct play *play, bool rejects)
{
    char name[RECORDING_NAME_BYTES];
    assert_true(play->count < FILES_MAX);
    struct recording_name parts = {.channel = "engine",
                                   .stamp_ns = (wall_ns(play) - MINUTE_NS) / 1000 * 1000,
                                   .number = ++play->numbers[rejects],
                                   .lane = rejects ? RECORDING_REJECTS : RECORDING_DATUMS,
                                   .stage = RECORDING_DONE};
    struct retention_file *file = &play->files[play->count];
    *file = (struct retention_file){.number = parts.number,
                                    .begun_ns = parts.stamp_ns,
                                    .modified_ns = wall_ns(play),
                                    .rejects = rejects,
                                    .name = text_copy(recording_name_write(name, &parts))};
    play->ended_ns[play->count++] = play->truth_ns;
}

static void take_out(struct play *play, const struct retention_file *file)
{
    for (size_t i = 0; i < play->count; i++) {
        if (play->files[i].name != file->name)
            continue;
        uint64_t age_ns = play->truth_ns - play->ended_ns[i];
        play->removed++;
        play->too_young += age_ns <= AGE_NS;
        uint64_t over_ns = age_ns > AGE_NS ? age_ns - AGE_NS : 0;
        if (over_ns > play->uptime_ns)
            over_ns = play->uptime_ns; /* before, nobody could */
        if (over_ns > play->overstay_ns)
            play->overstay_ns = over_ns;
        free(play->files[i].name);
        play->count--;
        memmove(&play->files[i], &play->files[i + 1], (play->count - i) * sizeof *file);
        memmove(&play->ended_ns[i], &play->ended_ns[i + 1],
                (play->count - i) * sizeof play->ended_ns[0]);
        return;
    }
    fail();
}

/* What retention does each time; `keeps`: the disk lets it write. */
static void look(struct play *play, bool keeps)
{
    struct retention_file files[FILES_MAX];
    struct ages_moment now = {.uptime_ns = play->uptime_ns,
                              .realtime_ns = wall_ns(play),
                              .synchronised = play->synchronised};
    snprintf(now.boot, sizeof now.boot, "boot-%u", play->boot);
    if (!play->ages.begun && play->kept)
        assert_int_equal(retention_ages_read(&play->ages, play->kept, &now), 0);
    retention_ages_pass(&play->ages, &now);
    size_t count = play->count;
    memcpy(files, play->files, count * sizeof files[0]);
    retention_sort(files, count);
    assert_int_equal(retention_ages_tell(&play->ages, files, count, AGE_MS, now.realtime_ns,
                                         &play->doubt),
                     0);
    assert_int_equal(retention_choose(files, count, 1,
                                      &(struct retention_limits){.age_ms = AGE_MS}, 1, 1),
                     0);
    for (size_t i = 0; i < count; i++)
        if (files[i].removed_for == RETENTION_AGE)
            take_out(play, &files[i]);
    if (!keeps)
        return;
    free(play->kept);
    play->kept = retention_ages_write(&play->ages, &now);
    assert_non_null(play->kept);
}

/* Another manager; and another boot. */
static void restart(struct play *play)
{
    retention_ages_free(&play->ages);
}

static void reboot(struct play *play, uint64_t off_ns)
{
    restart(play);
    play->truth_ns += off_ns;
    play->uptime_ns = MINUTE_NS;
    play->boot++;
}

static void set_clock(struct play *play, int64_t offset_ns)
{
    play->offset_ns = offset_ns;
    play->step_count++;
}

/* Forward or back, by seconds to decades, or to the truth; never out of what a time can be. */
static void step_at_random(struct play *play)
{
    static const uint64_t steps[] = {NS_PER_S, MINUTE_NS, 10 * MINUTE_NS, HOUR_NS,
                                     AGE_NS,   3 * AGE_NS, DAY_NS, 20 * YEAR_NS};
    int64_t step_ns = (int64_t)(steps[draw(play, 8)] / 100 * (50 + draw(play, 100)));
    int64_t offset_ns = play->offset_ns + (draw(play, 2) ? step_ns : -step_ns);
    if (draw(play, 2) || offset_ns > (int64_t)(60 * YEAR_NS) ||
        offset_ns < -(int64_t)(40 * YEAR_NS))
        offset_ns = 0;
    set_clock(play, offset_ns);
}

/* ---- at random ---- */

struct rules {
    const char *name;
    unsigned step_percent, reboot_percent;
    bool lies;          /* the clock always counts as synchronised, whatever it tells */
    uint64_t lie_ns;    /* then: it is off by multiples of this */
    unsigned keeps_percent;
};

static void play_on(struct play *play, const struct rules *rules)
{
    for (int i = 0; i < LOOKS; i++) {
        pass(play, NS_PER_S + draw(play, LOOK_NS));
        record(play, draw(play, 4) == 0);
        if (draw(play, 100) < rules->step_percent) {
            if (rules->lie_ns)
                set_clock(play, (int64_t)draw(play, 5) * (int64_t)rules->lie_ns);
            else
                step_at_random(play);
        }
        if (draw(play, 100) < rules->reboot_percent)
            reboot(play, draw(play, AGE_NS));
        else if (draw(play, 100) < 5)
            restart(play);
        play->synchronised = rules->lies || play->offset_ns == 0;
        look(play, draw(play, 100) < rules->keeps_percent);
    }
}

static void test_nothing_is_removed_too_young(void **state)
{
    (void)state;
    static const struct rules all[] = {
        {"a clock that is set at random", 20, 0, false, 0, 100},
        {"and counts as synchronised all the time", 20, 0, true, 0, 100},
        {"and the disk is full now and then", 20, 0, true, 0, 70},
        {"seldom, so that it is trusted in between", 2, 0, true, 0, 70},
        {"and the machine is switched off", 5, 5, false, 0, 70},
        {"synchronised to another century", 5, 5, true, 2 * YEAR_NS, 90},
    };
    size_t seeds = getenv("FLOTILLA_TEST_LONG") ? 10 * PLAY_SEEDS : PLAY_SEEDS, steps = 0;
    for (size_t r = 0; r < sizeof all / sizeof all[0]; r++)
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            struct play play = begin(seed);
            look(&play, true);
            play_on(&play, &all[r]);
            if (play.too_young || play.removed < 30)
                fail_msg("seed %d, %s: %zu of %zu removed too young", (int)seed, all[r].name,
                         play.too_young, play.removed);
            steps += play.step_count;
            end(&play);
        }
    print_message("%zu steps of a clock\n", steps);
    assert_true(steps > 5000);
}

static void test_a_sound_clock_removes_in_time(void **state)
{
    (void)state;
    static const struct rules restarts = {"restarts", 0, 0, false, 0, 100};
    static const struct rules steps = {"steps", 20, 0, true, 0, 100};
    for (uint64_t seed = 1; seed <= PLAY_SEEDS; seed++) {
        struct play play = begin(seed);
        look(&play, true);
        play_on(&play, &restarts);
        assert_true(play.removed > LOOKS / 2);
        /* A clock that is set has nobody wait, as long as the machine is up. */
        play_on(&play, &steps);
        assert_true(play.overstay_ns <= LOOK_NS + NS_PER_S);
        end(&play);
        /* A trial after each boot it is known how long the machine was off, but for a minute. */
        play = begin(seed);
        look(&play, true);
        for (int i = 0; i < LOOKS; i++) {
            pass(&play, NS_PER_S + draw(&play, LOOK_NS));
            record(&play, draw(&play, 4) == 0);
            look(&play, true);
            if (play.ages.clock == AGES_SURE && draw(&play, 20) == 0)
                reboot(&play, draw(&play, AGE_NS - HOUR_NS / 2));
        }
        assert_true(play.boot > 3 && play.removed > LOOKS / 2);
        if (play.overstay_ns > AGES_TRIAL_NS + 8 * AGES_MARGIN_NS + 3 * LOOK_NS)
            fail_msg("seed %d: %d min beyond the age", (int)seed,
                     (int)(play.overstay_ns / MINUTE_NS));
        end(&play);
    }
}

/* ---- one by one ---- */

/* Looks for so long, a minute from one to the next. */
static void look_for(struct play *play, uint64_t ns)
{
    for (uint64_t passed = 0; passed < ns; passed += MINUTE_NS) {
        pass(play, MINUTE_NS);
        look(play, true);
    }
}

static void test_what_nobody_saw_pass_does_not_count(void **state)
{
    (void)state;
    struct play play = begin(1);
    play.synchronised = false;
    look(&play, true);
    record(&play, false);
    look(&play, true);
    look_for(&play, AGE_NS / 2);
    reboot(&play, DAY_NS);
    look(&play, true);
    assert_int_equal(play.doubt, AGES_UNSYNCHRONISED);
    look_for(&play, AGE_NS / 2 - MINUTE_NS);
    assert_int_equal(play.removed, 0);
    look_for(&play, 2 * MINUTE_NS);
    assert_int_equal(play.removed, 1);
    look(&play, true);
    assert_int_equal(play.doubt, AGES_SURE); /* nothing is there any more that it concerns */
    end(&play);
    /* With a clock that nobody doubts it does count, up to the age itself. */
    for (uint64_t off_ns = AGE_NS / 2; off_ns <= 2 * AGE_NS; off_ns += AGE_NS) {
        play = begin(1);
        look_for(&play, AGES_TRIAL_NS + MINUTE_NS);
        record(&play, false);
        look(&play, true);
        look_for(&play, AGE_NS / 2);
        reboot(&play, off_ns);
        record(&play, false); /* which this does not concern */
        look(&play, true);
        assert_int_equal(play.doubt, AGES_ON_TRIAL);
        look_for(&play, AGES_TRIAL_NS + MINUTE_NS);
        assert_int_equal(play.removed, off_ns < AGE_NS);
        assert_int_equal(play.doubt, off_ns < AGE_NS ? AGES_SURE : AGES_ALL_TOO_OLD);
        look_for(&play, AGE_NS / 2);
        assert_int_equal(play.removed, 1);
        end(&play);
    }
}

static void test_what_was_there_before(void **state)
{
    (void)state;
    struct play play = begin(1);
    for (int i = 0; i < 5; i++) {
        record(&play, false);
        pass(&play, HOUR_NS);
    }
    /* A clock that was behind for a while: what was recorded then is as old as that before it. */
    set_clock(&play, -(int64_t)(20 * YEAR_NS));
    record(&play, false);
    set_clock(&play, 0);
    pass(&play, MINUTE_NS);
    record(&play, false);
    look(&play, true);
    assert_int_equal(play.doubt, AGES_ON_TRIAL);
    look_for(&play, AGES_TRIAL_NS - MINUTE_NS);
    assert_int_equal(play.removed, 0);
    look_for(&play, MINUTE_NS);
    assert_int_equal(play.doubt, AGES_SURE);
    assert_int_equal(play.removed, 4); /* of 5 to 2 hours ago */
    look_for(&play, AGE_NS);
    assert_int_equal(play.too_young, 0);
    assert_int_equal(play.count, 0);
    end(&play);
    /* The clock of another century, whoever says that it is right: all of them would go. */
    play = begin(1);
    record(&play, false);
    pass(&play, HOUR_NS);
    set_clock(&play, (int64_t)(20 * YEAR_NS));
    look_for(&play, AGE_NS);
    assert_int_equal(play.doubt, AGES_ALL_TOO_OLD);
    assert_int_equal(play.removed, 0);
    set_clock(&play, 0);
    look_for(&play, AGES_TRIAL_NS + MINUTE_NS);
    assert_int_equal(play.removed, 1);
    end(&play);
}

static void test_what_is_kept_is_read_or_refused(void **state)
{
    (void)state;
    struct play play = begin(1);
    struct ages_moment now = {.uptime_ns = HOUR_NS, .realtime_ns = NOW_NS, .boot = "boot-0"};
    look(&play, true);
    record(&play, false);
    record(&play, true);
    look_for(&play, HOUR_NS);
    struct retention_ages ages = {.begun = false};
    now.uptime_ns = play.uptime_ns;
    assert_int_equal(retention_ages_read(&ages, play.kept, &now), 0);
    assert_int_equal(ages.count, 2);
    assert_false(ages.missed);
    char *again = retention_ages_write(&ages, &now);
    assert_string_equal(again, play.kept);
    free(again);
    /* Another boot, or a clock that cannot be of this one. */
    now.uptime_ns--;
    assert_int_equal(retention_ages_read(&ages, play.kept, &now), 0);
    assert_true(ages.missed);
    now.uptime_ns++;
    now.boot[0] = '\0'; /* not known: any could be another */
    assert_int_equal(retention_ages_read(&ages, play.kept, &now), 0);
    assert_true(ages.missed);
    /* Cut off anywhere it is refused, or is short of whole lines; nothing is lost by it. */
    for (size_t length = strlen(play.kept); length-- > 0;) {
        char *cut = text_copy(play.kept);
        cut[length] = '\0';
        int status = retention_ages_read(&ages, cut, &now);
        assert_true(status == -74 || (status == 0 && length > 0 && cut[length - 1] == '\n'));
        free(cut);
    }
    assert_int_equal(retention_ages_read(&ages, "something else\n", &now), -74);
    retention_ages_free(&ages);
    end(&play);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(retention_ages_explain(AGES_SURE), "");
    for (int doubt = AGES_UNSET; doubt <= AGES_ALL_TOO_OLD; doubt++)
        assert_true(strlen(retention_ages_explain((enum ages_doubt)doubt)) > 10);
    struct play play = begin(1);
    play.synchronised = false;
    record(&play, false);
    set_clock(&play, -(int64_t)(40 * YEAR_NS));
    look(&play, true);
    assert_int_equal(play.doubt, AGES_UNSET);
    /* How far the clock was set is told once. */
    struct ages_moment now = {.uptime_ns = play.uptime_ns, .realtime_ns = wall_ns(&play) + DAY_NS};
    assert_int_equal(retention_ages_pass(&play.ages, &now), (int64_t)DAY_NS);
    assert_int_equal(retention_ages_pass(&play.ages, &now), 0);
    now.realtime_ns -= HOUR_NS;
    assert_int_equal(retention_ages_pass(&play.ages, &now), -(int64_t)HOUR_NS);
    end(&play);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_removed_too_young),
        cmocka_unit_test(test_a_sound_clock_removes_in_time),
        cmocka_unit_test(test_what_nobody_saw_pass_does_not_count),
        cmocka_unit_test(test_what_was_there_before),
        cmocka_unit_test(test_what_is_kept_is_read_or_refused),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
