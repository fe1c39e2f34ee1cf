/* SPDX-License-Identifier: MIT
 * The ages of recordings, each with the name of its file: that is never given twice, as it has the
 * microsecond of its begin. What is counted since the wall clock was last trusted tells a file that
 * was there then: it has aged by as much, at least.
 * Known: a wall clock that is wrong, and synchronised, over the end of one boot and the begin of
 * another is believed if it is less wrong than the limit of age. */
#include "manager/retention_ages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "channel/recording_name.h"

#define FORM      "flotilla ages 1"
#define STEADY_NS (2 * NS_PER_S) /* a leap second sets the clock, too */

struct known_file {
    char *name; /* from malloc */
    uint64_t age_ns;
    bool undated;                /* it was there before anybody kept its age */
    struct retention_file *file; /* in retention_ages_tell */
};

static int by_name(const void *a, const void *b)
{
    const struct known_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void free_known(struct known_file *known, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(known[i].name);
    free(known);
}

void retention_ages_free(struct retention_ages *ages)
{
    free_known(ages->known, ages->count);
    *ages = (struct retention_ages){.known = NULL};
}

void retention_ages_forget(struct retention_ages *ages)
{
    free_known(ages->known, ages->count);
    ages->known = NULL;
    ages->count = 0;
}

/* ---- what is kept ---- */

char *retention_ages_write(const struct retention_ages *ages, const struct ages_moment *now)
{
    struct text text = {.at = NULL};
    text_add(&text, FORM " boot %s uptime %" PRIu64 " trusted %" PRIu64 " counted %" PRIu64
                    " missed %d\n",
             now->boot[0] ? now->boot : "-", ages->uptime_ns, ages->trusted_ns, ages->counted_ns,
             ages->missed);
    for (size_t i = 0; i < ages->count; i++)
        text_add(&text, "%" PRIu64 " %s%s\n", ages->known[i].age_ns, ages->known[i].name,
                 ages->known[i].undated ? " undated" : "");
    return text_take(&text);
}

/* Reads a line "AGE NAME[ undated]". */
static bool read_known(struct known_file *known, const char *line, size_t bytes)
{
    char copy[RECORDING_NAME_BYTES + 40], name[RECORDING_NAME_BYTES], word[10] = "";
    struct recording_name parts;
    if (bytes >= sizeof copy)
        return false;
    memcpy(copy, line, bytes);
    copy[bytes] = '\0';
    int fields = sscanf(copy, "%" SCNu64 " %159s %9s", &known->age_ns, name, word);
    known->undated = fields == 3;
    if (fields < 2 || (known->undated && strcmp(word, "undated") != 0) ||
        !recording_name_read(&parts, name))
        return false;
    known->name = text_copy(name);
    return known->name != NULL;
}

/* Reads the lines below the first into `ages`. */
static int read_lines(struct retention_ages *ages, const char *line)
{
    size_t room = 0;
    for (const char *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        struct known_file *known =
            room_grow(ages->known, &room, ages->count + 1, sizeof *ages->known);
        if (!known)
            return -ENOMEM;
        ages->known = known;
        if (!end || !read_known(&known[ages->count], line, (size_t)(end - line)))
            return -EBADMSG;
        ages->count++;
    }
    if (ages->count)
        qsort(ages->known, ages->count, sizeof *ages->known, by_name);
    return 0;
}

int retention_ages_read(struct retention_ages *ages, const char *text,
                        const struct ages_moment *now)
{
    struct retention_ages read = {.begun = true,
                                  .ahead_ns = ages->ahead_ns,
                                  .trial_ns = ages->trial_ns,
                                  .clock = ages->clock};
    char boot[CLOCK_BOOT_BYTES];
    int missed = 0, taken = 0;
    if (sscanf(text,
               FORM " boot %39s uptime %" SCNu64 " trusted %" SCNu64 " counted %" SCNu64
                    " missed %d%n",
               boot, &read.uptime_ns, &read.trusted_ns, &read.counted_ns, &missed, &taken) != 5 ||
        text[taken] != '\n')
        return -EBADMSG;
    int error = read_lines(&read, text + taken + 1);
    if (error < 0) {
        retention_ages_free(&read);
        return error;
    }
    bool same_boot = strcmp(boot, now->boot) == 0 && read.uptime_ns <= now->uptime_ns;
    read.missed = missed || !same_boot;
    if (!same_boot)
        read.uptime_ns = now->uptime_ns;
    /* They differ from what is first seen from now on, also if nothing was counted since then. */
    for (size_t i = 0; i < read.count && !same_boot && !missed; i++)
        read.known[i].age_ns++;
    retention_ages_free(ages);
    *ages = read;
    return 0;
}

/* ---- what passes ---- */

int64_t retention_ages_pass(struct retention_ages *ages, const struct ages_moment *now)
{
    uint64_t ahead_ns = now->realtime_ns - now->uptime_ns;
    int64_t set_ns = ages->trial_ns ? (int64_t)(ahead_ns - ages->ahead_ns) : 0;
    uint64_t by_ns = (uint64_t)(set_ns < 0 ? -set_ns : set_ns);
    uint64_t passed_ns = 0;
    if (ages->uptime_ns && now->uptime_ns > ages->uptime_ns)
        passed_ns = now->uptime_ns - ages->uptime_ns;
    for (size_t i = 0; i < ages->count; i++)
        ages->known[i].age_ns += passed_ns;
    if (ages->trusted_ns || ages->missed)
        ages->counted_ns += passed_ns;
    ages->uptime_ns = now->uptime_ns;
    if (!now->synchronised || !ages->trial_ns || by_ns > STEADY_NS) {
        ages->trial_ns = now->uptime_ns;
        ages->ahead_ns = ahead_ns;
    }
    if (now->realtime_ns < AGES_TIME_MIN_NS)
        ages->clock = AGES_UNSET;
    else if (!now->synchronised)
        ages->clock = AGES_UNSYNCHRONISED;
    else if (now->uptime_ns - ages->trial_ns < AGES_TRIAL_NS)
        ages->clock = AGES_ON_TRIAL;
    else
        ages->clock = AGES_SURE;
    return by_ns > AGES_MARGIN_NS ? set_ns : 0;
}

/* Adds what has passed while nobody counted, by the wall clock, to those that were there. Whether
 * their ages are known then. */
static bool add_missed(struct retention_ages *ages, uint64_t age_ms, uint64_t realtime_ns)
{
    uint64_t counted_ns = ages->counted_ns + AGES_MARGIN_NS, missed_ns = 0;
    bool concerns = false;
    for (size_t i = 0; i < ages->count && ages->missed; i++)
        concerns = concerns || ages->known[i].age_ns > ages->counted_ns;
    if (concerns && ages->clock != AGES_SURE)
        return false;
    if (concerns && ages->trusted_ns && realtime_ns > ages->trusted_ns + counted_ns)
        missed_ns = realtime_ns - ages->trusted_ns - counted_ns;
    if (missed_ns / NS_PER_MS > age_ms)
        return false;
    for (size_t i = 0; i < ages->count && missed_ns; i++)
        if (ages->known[i].age_ns > ages->counted_ns)
            ages->known[i].age_ns += missed_ns;
    if (ages->clock == AGES_SURE) {
        ages->trusted_ns = realtime_ns;
        ages->counted_ns = 0;
    } else if (ages->missed) {
        ages->trusted_ns = 0;
    }
    ages->missed = false;
    return true;
}

/* When a file ended, if its time is not before that of an earlier one: then the clock was wrong at
 * one of them. 0: not known. */
static uint64_t date_of(const struct retention_file *file, uint64_t *newest_ns)
{
    uint64_t date_ns =
        file->modified_ns > file->begun_ns ? file->modified_ns : file->begun_ns;
    if (date_ns < *newest_ns)
        return 0;
    *newest_ns = date_ns;
    return date_ns;
}

/* Gives those their ages that were there before, or, with `newest_ns`, only finds the newest of
 * their dates. */
static void date_files(struct retention_ages *ages, uint64_t realtime_ns, uint64_t *newest_ns)
{
    uint64_t up_to_ns[2] = {0};
    for (size_t i = 0; i < ages->count; i++) {
        struct known_file *known = &ages->known[i];
        if (i > 0 && known->file->channel != known[-1].file->channel)
            up_to_ns[0] = up_to_ns[1] = 0;
        uint64_t date_ns = date_of(known->file, &up_to_ns[known->file->rejects]);
        if (!known->undated || date_ns < AGES_TIME_MIN_NS || date_ns > realtime_ns)
            continue;
        uint64_t age_ns = realtime_ns - date_ns;
        age_ns -= age_ns < AGES_MARGIN_NS ? age_ns : AGES_MARGIN_NS;
        if (newest_ns)
            *newest_ns = date_ns > *newest_ns ? date_ns : *newest_ns;
        else if (age_ns > known->age_ns)
            known->age_ns = age_ns;
    }
}

/* Whether the ages of all that were there before are known then. */
static bool date_undated(struct retention_ages *ages, uint64_t age_ms, uint64_t realtime_ns)
{
    uint64_t newest_ns = 0;
    bool any = false;
    for (size_t i = 0; i < ages->count; i++)
        any = any || ages->known[i].undated;
    if (!any)
        return true;
    if (ages->clock != AGES_SURE)
        return false;
    date_files(ages, realtime_ns, &newest_ns);
    if (newest_ns && (realtime_ns - newest_ns) / NS_PER_MS > age_ms)
        return false;
    date_files(ages, realtime_ns, NULL);
    for (size_t i = 0; i < ages->count; i++)
        ages->known[i].undated = false;
    return true;
}

/* Makes those that are known what is known of the files, in their order. 0 or -ENOMEM. */
static int recall(struct retention_ages *ages, struct retention_file *files, size_t file_count)
{
    struct known_file *known = calloc(file_count ? file_count : 1, sizeof *known);
    size_t count = 0;
    for (size_t i = 0; i < file_count && known; i++) {
        if (files[i].open)
            continue;
        struct known_file *one = &known[count++], *before = NULL;
        one->file = &files[i];
        one->name = text_copy(files[i].name);
        char *suffix = one->name && files[i].part ? strrchr(one->name, '.') : NULL;
        if (suffix)
            *suffix = '\0'; /* the same recording once it is ended */
        if (!one->name) {
            free_known(known, count);
            return -ENOMEM;
        }
        if (ages->count)
            before = bsearch(one, ages->known, ages->count, sizeof *one, by_name);
        one->age_ns = before ? before->age_ns : 0;
        one->undated = before ? before->undated : !ages->begun;
    }
    if (!known)
        return -ENOMEM;
    free_known(ages->known, ages->count);
    ages->known = known;
    ages->count = count;
    ages->begun = true;
    return 0;
}

int retention_ages_tell(struct retention_ages *ages, struct retention_file *files,
                        size_t file_count, uint64_t age_ms, uint64_t realtime_ns,
                        enum ages_doubt *doubt)
{
    int error = recall(ages, files, file_count);
    if (error < 0)
        return error;
    bool sure = add_missed(ages, age_ms, realtime_ns);
    sure = date_undated(ages, age_ms, realtime_ns) && sure;
    *doubt = sure ? AGES_SURE : ages->clock == AGES_SURE ? AGES_ALL_TOO_OLD : ages->clock;
    for (size_t i = 0; i < ages->count; i++)
        ages->known[i].file->age_ns = ages->known[i].age_ns;
    if (ages->count)
        qsort(ages->known, ages->count, sizeof *ages->known, by_name);
    return 0;
}

const char *retention_ages_explain(enum ages_doubt doubt)
{
    static const char *const words[] = {
        [AGES_SURE] = "",
        [AGES_UNSET] = "the clock is not set",
        [AGES_UNSYNCHRONISED] = "the clock is not synchronised",
        [AGES_ON_TRIAL] = "the clock was set, or not synchronised, less than 10 min ago",
        [AGES_ALL_TOO_OLD] = "by the clock all of them would be older than that",
    };
    return words[doubt];
}
