/* SPDX-License-Identifier: MIT
 * Doubts about the wall clock. Relies on looks being far closer together than any age.
 * Known: a clock that is set forward while neither manager nor relay is there shows only by what it
 * makes of the recordings. What was recorded before a clock was first set after a boot has the
 * times of then. */
#include "manager/retention_clock.h"

#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "os/clock.h"

/* Whether most recordings were of the future by the clock before a step: what was written since the
 * step does not count. */
static bool was_behind(const uint64_t *times, size_t count, uint64_t before_ns, uint64_t written_ns)
{
    size_t later = 0, all = 0;
    for (size_t i = 0; i < count; i++)
        if (times[i] >= RETENTION_TIME_MIN_NS && times[i] < written_ns) {
            all++;
            later += times[i] > before_ns + CLOCK_STEP_NS;
        }
    return later * 2 > all;
}

static void note_step(struct retention_clock *clock, const struct clock_look *look,
                      const uint64_t *times, size_t count)
{
    uint64_t passed_ns = look->uptime_ns - clock->last.uptime_ns;
    uint64_t expected_ns = clock->last.realtime_ns + passed_ns;
    if (look->realtime_ns > expected_ns + CLOCK_STEP_NS) {
        uint64_t written_ns = look->realtime_ns - passed_ns;
        clock->step_ns += look->realtime_ns - expected_ns;
        clock->step_uptime_ns = look->uptime_ns;
        if (was_behind(times, count, expected_ns, written_ns))
            clock->step_ns = 0;
    } else if (look->realtime_ns + CLOCK_STEP_NS < expected_ns) {
        uint64_t back_ns = expected_ns - look->realtime_ns;
        clock->step_ns = clock->step_ns > back_ns + CLOCK_STEP_NS ? clock->step_ns - back_ns : 0;
    }
}

/* Whether a doubt of so long ago has gone by what has passed since. */
static bool has_passed(const struct clock_look *look, uint64_t since_ns, uint64_t age_ms)
{
    uint64_t passed_ns = look->uptime_ns - since_ns;
    return (look->synchronised && passed_ns >= RETENTION_CLOCK_TRIAL_NS) ||
           passed_ns / NS_PER_MS > age_ms;
}

/* Whether all would go. */
static bool is_ahead(const struct retention_clock *clock, const struct clock_look *look,
                     const uint64_t *times, size_t count, uint64_t age_ms)
{
    bool started = clock->first.uptime_ns < RETENTION_CLOCK_TRIAL_NS;
    uint64_t newest_ns = 0;
    for (size_t i = 0; i < count; i++)
        if (times[i] > newest_ns && times[i] <= look->realtime_ns + CLOCK_STEP_NS &&
            (!started || times[i] < clock->first.realtime_ns))
            newest_ns = times[i];
    return newest_ns >= RETENTION_TIME_MIN_NS && newest_ns < look->realtime_ns &&
           (look->realtime_ns - newest_ns) / NS_PER_MS > age_ms;
}

void retention_clock_follow(struct retention_clock *clock, uint64_t ahead_ns,
                            const struct clock_look *look)
{
    clock->last = *look;
    clock->last.realtime_ns = look->uptime_ns + ahead_ns;
}

enum clock_doubt retention_clock_judge(struct retention_clock *clock, const struct clock_look *look,
                                       const uint64_t *times, size_t count, uint64_t age_ms)
{
    if (!clock->begun)
        clock->first = *look;
    if (clock->last.uptime_ns != 0)
        note_step(clock, look, times, count);
    clock->begun = true;
    clock->last = *look;
    if (look->realtime_ns < RETENTION_TIME_MIN_NS)
        return CLOCK_UNSET;
    if (clock->step_ns > 0) {
        bool small = clock->step_ns / NS_PER_MS <= age_ms / 100 &&
                     look->uptime_ns - clock->step_uptime_ns >= RETENTION_CLOCK_TRIAL_NS;
        if (!small && !has_passed(look, clock->step_uptime_ns, age_ms))
            return CLOCK_STEPPED;
        clock->step_ns = 0;
    }
    if (!is_ahead(clock, look, times, count, age_ms)) {
        clock->ahead_uptime_ns = 0;
        return CLOCK_BELIEVED;
    }
    if (clock->ahead_uptime_ns == 0)
        clock->ahead_uptime_ns = look->uptime_ns;
    return has_passed(look, clock->ahead_uptime_ns, age_ms) ? CLOCK_BELIEVED : CLOCK_AHEAD;
}

char *retention_clock_explain(enum clock_doubt doubt, uint64_t step_ns,
                              char text[RETENTION_DOUBT_BYTES])
{
    char step[UNITS_TEXT_BYTES];
    text[0] = '\0';
    if (doubt == CLOCK_UNSET)
        snprintf(text, RETENTION_DOUBT_BYTES, "the clock is not set");
    else if (doubt == CLOCK_STEPPED)
        snprintf(text, RETENTION_DOUBT_BYTES, "the clock was set forward by %s",
                 units_write_duration(step, step_ns / NS_PER_S * 1000));
    else if (doubt == CLOCK_AHEAD)
        snprintf(text, RETENTION_DOUBT_BYTES,
                 "by the clock even the newest recording is older than retain.age");
    return text;
}
