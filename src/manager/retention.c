/* SPDX-License-Identifier: MIT
 * Which recordings go, and removing them. The choice is pure; the thread around it looks through
 * STORAGE/CHANNEL for every channel, also those that are configured no more.
 * Known limit: a symbolic link to a folder is followed, but free space is that of STORAGE itself.
 */
#include "manager/retention.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "channel/mounted.h"
#include "channel/pin.h"
#include "channel/recording_name.h"
#include "manager/retention_ages.h"
#include "os/clock.h"
#include "os/descriptor.h"
#include "os/file.h"
#include "os/storage.h"
#include "os/thread.h"

#define THREAD_STACK_BYTES (256u << 10)
#define CLOCKS_APART_NS    1000000000ull /* a file server's and ours: 1 s */

/* What is kept of the ages. It is written anew after a thousandth of the age has passed, so that no
 * more is lost with this process, and every 10 min at least. */
#define AGES_FILE      ".flotilla-ages"
#define AGES_BYTES_MAX (256u << 20)
#define AGES_WAIT_NS   (600 * NS_PER_S)
#define KEPT_BYTES     240

/* ---- the choice ---- */

struct holding {
    uint64_t bytes;            /* of all its files that are not removed */
    size_t first, count, next; /* its files in the array; the oldest one not looked at yet */
};

static int by_channel_and_number(const void *a, const void *b)
{
    const struct retention_file *x = a, *y = b;
    if (x->channel != y->channel)
        return x->channel < y->channel ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    if (x->begun_ns != y->begun_ns)
        return x->begun_ns < y->begun_ns ? -1 : 1;
    return 0;
}

/* The oldest file of the channel that may go, or NULL. */
static struct retention_file *oldest(struct retention_file *files, struct holding *holding)
{
    for (; holding->next < holding->count; holding->next++) {
        struct retention_file *file = &files[holding->first + holding->next];
        if (!file->fixed && file->removed_for == RETENTION_KEPT)
            return file;
    }
    return NULL;
}

/* The channel that holds most, of those above `share` (or at it, with `at_share`) that have
 * something to give; or NULL. Shares are equal, so holding most is being furthest above. */
static struct holding *largest(struct retention_file *files, struct holding *holdings,
                               uint32_t channel_count, uint64_t share, bool at_share)
{
    struct holding *found = NULL;
    for (uint32_t i = 0; i < channel_count; i++) {
        struct holding *holding = &holdings[i];
        bool above = holding->bytes > share || (at_share && holding->bytes == share);
        if (above && (!found || holding->bytes > found->bytes) && oldest(files, holding))
            found = holding;
    }
    return found;
}

void retention_sort(struct retention_file *files, size_t file_count)
{
    if (file_count)
        qsort(files, file_count, sizeof *files, by_channel_and_number);
    bool later[2] = {false}; /* a part of the lane that stands behind */
    for (size_t i = file_count; i > 0; i--) {
        struct retention_file *file = &files[i - 1];
        if (i < file_count && files[i].channel != file->channel)
            later[0] = later[1] = false;
        file->open = file->part && !later[file->rejects];
        file->fixed = file->fixed || file->open;
        later[file->rejects] = later[file->rejects] || file->part;
    }
}

int retention_choose(struct retention_file *files, size_t file_count, uint32_t channel_count,
                     const struct retention_limits *limits, uint64_t free_bytes,
                     uint64_t total_bytes)
{
    struct holding *holdings = calloc(channel_count ? channel_count : 1, sizeof *holdings);
    if (!holdings)
        return -ENOMEM;
    uint64_t held = 0, freed = 0;
    for (size_t i = 0; i < file_count; i++) {
        struct retention_file *file = &files[i];
        struct holding *holding = &holdings[file->channel];
        if (holding->count++ == 0)
            holding->first = i;
        file->removed_for = RETENTION_KEPT;
        if (limits->age_ms && !file->fixed && file->age_ns / NS_PER_MS > limits->age_ms) {
            file->removed_for = RETENTION_AGE;
            freed += file->bytes;
            continue;
        }
        holding->bytes += file->bytes;
        held += file->bytes;
    }
    while (limits->bytes && held > limits->bytes) {
        struct holding *holding =
            largest(files, holdings, channel_count, limits->bytes / channel_count, false);
        if (!holding)
            break;
        struct retention_file *file = oldest(files, holding);
        file->removed_for = RETENTION_SIZE;
        holding->bytes -= file->bytes;
        held -= file->bytes;
        freed += file->bytes;
    }
    double wanted_bytes = (double)total_bytes * limits->free_percent / 100.0;
    while (limits->free_percent > 0 && (double)(free_bytes + freed) < wanted_bytes) {
        struct holding *holding = largest(files, holdings, channel_count,
                                          held / (channel_count ? channel_count : 1), true);
        if (!holding)
            break;
        struct retention_file *file = oldest(files, holding);
        file->removed_for = RETENTION_FREE;
        holding->bytes -= file->bytes;
        held -= file->bytes;
        freed += file->bytes;
    }
    free(holdings);
    return 0;
}

/* ---- looking and removing ---- */

struct policy {
    struct retention_limits limits;
    char directory[CHANNEL_PATH_BYTES_MAX], mounted[CHANNEL_PATH_BYTES_MAX];
    uint32_t channel_count;
    char (*channels)[CHANNEL_NAME_BYTES_MAX + 1]; /* as configured */
};

struct retention {
    struct thread thread;
    struct wake wake;
    _Atomic(struct policy *) coming;
    _Atomic bool stop;
    struct policy *policy; /* the thread's own, as the next */
    _Atomic enum ages_doubt doubt;
    struct retention_ages ages;
    char kept[KEPT_BYTES]; /* the first line of what is kept of them, as read or written last */
    uint64_t kept_ns;      /* when it was written, by the uptime; 0: not by this process */
    int kept_error;
};

/* What was found in one look. */
struct survey {
    struct retention *retention;
    char (*channels)[CHANNEL_NAME_BYTES_MAX + 1]; /* configured ones, then others with files */
    uint32_t channel_count;
    size_t channel_room;
    struct retention_file *files; /* `name` from malloc */
    size_t file_count, file_room;
    /* Of the channel that is looked through, the last of `channels`. */
    int folder;
    uint32_t channel;
    struct pin *pins;
    size_t pin_count, pin_room;
};

static void free_policy(struct policy *policy)
{
    if (policy)
        free(policy->channels);
    free(policy);
}

static int survey_pin(void *context, const char *name)
{
    struct survey *survey = context;
    struct pin pin;
    if (!pin_read(&pin, name))
        return 0;
    struct pin *pins =
        room_grow(survey->pins, &survey->pin_room, survey->pin_count + 1, sizeof *pins);
    if (!pins)
        return -ENOMEM;
    survey->pins = pins;
    pins[survey->pin_count++] = pin;
    return 0;
}

/* Whether somebody wants to keep a recording for good: it, or a span that it has something of. It
 * was written until its file time, by a server's clock at times; one from before its begin was
 * written by a clock that was set back since, and tells nothing. */
static bool is_pinned(const struct survey *survey, struct recording_name name,
                      uint64_t modified_ns)
{
    uint64_t begun_ns = name.stamp_ns;
    uint64_t last_ns = modified_ns < begun_ns ? UINT64_MAX : modified_ns + CLOCKS_APART_NS;
    struct storage_entry pin;
    char done[RECORDING_NAME_BYTES], pin_name[sizeof done + sizeof PIN_SUFFIX];
    for (size_t i = 0; i < survey->pin_count; i++)
        if (pin_covers(&survey->pins[i], begun_ns, last_ns))
            return true;
    name.stage = RECORDING_DONE;
    snprintf(pin_name, sizeof pin_name, "%s" PIN_SUFFIX, recording_name_write(done, &name));
    return storage_look(survey->folder, pin_name, &pin) == 0;
}

static int survey_file(void *context, const char *name)
{
    struct survey *survey = context;
    struct recording_name read;
    struct storage_entry entry;
    if (atomic_load(&survey->retention->stop))
        return 1;
    if (!recording_name_read(&read, name) ||
        strcmp(read.channel, survey->channels[survey->channel]) != 0 ||
        (read.stage != RECORDING_DONE && read.stage != RECORDING_PART) ||
        storage_look(survey->folder, name, &entry) < 0 || !entry.regular)
        return 0;
    struct retention_file *files =
        room_grow(survey->files, &survey->file_room, survey->file_count + 1, sizeof *files);
    survey->files = files ? files : survey->files;
    char *copy = files ? text_copy(name) : NULL;
    if (!copy)
        return -ENOMEM;
    survey->files[survey->file_count++] =
        (struct retention_file){.channel = survey->channel,
                                .number = read.number,
                                .begun_ns = read.stamp_ns,
                                .rejects = read.lane == RECORDING_REJECTS,
                                .bytes = entry.bytes,
                                .modified_ns = entry.modified_ns,
                                .part = read.stage == RECORDING_PART,
                                .fixed = is_pinned(survey, read, entry.modified_ns),
                                .name = copy};
    return 0;
}

static int open_channel_folder(const struct survey *survey, const char *channel)
{
    char path[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 2];
    snprintf(path, sizeof path, "%s/%s", survey->retention->policy->directory, channel);
    return folder_open(path);
}

/* An entry of STORAGE: if it is a folder that could be a channel's, what is in it. */
static int survey_folder(void *context, const char *name)
{
    struct survey *survey = context;
    struct storage_entry entry;
    /* What a manager left that was killed as it wrote. */
    if (strncmp(name, AGES_FILE ".", sizeof AGES_FILE) == 0)
        folder_remove(survey->folder, name);
    if (strlen(name) > CHANNEL_NAME_BYTES_MAX || name[0] == '.' ||
        storage_look(survey->folder, name, &entry) < 0 || !entry.folder)
        return 0;
    uint32_t channel = 0;
    while (channel < survey->channel_count && strcmp(survey->channels[channel], name) != 0)
        channel++;
    bool known = channel < survey->channel_count;
    if (!known) {
        void *channels = room_grow(survey->channels, &survey->channel_room,
                                   survey->channel_count + 1, sizeof *survey->channels);
        if (!channels)
            return -ENOMEM;
        survey->channels = channels;
        snprintf(survey->channels[channel], sizeof survey->channels[channel], "%s", name);
    }
    int storage = survey->folder;
    size_t before = survey->file_count;
    survey->folder = open_channel_folder(survey, name);
    survey->channel = channel;
    int error = 0;
    if (survey->folder >= 0) {
        survey->pin_count = 0;
        error = folder_list(survey->folder, survey_pin, survey);
        if (error == 0) /* what is pinned is not known else: all of it stays */
            error = folder_list(survey->folder, survey_file, survey);
        descriptor_close(survey->folder);
    }
    survey->folder = storage;
    /* A folder without recordings is nobody's: it takes no share. */
    if (!known && survey->file_count > before)
        survey->channel_count++;
    return error < 0 ? 0 : error; /* one channel's trouble is not the others' */
}

static const char *why_removed(const struct retention_file *file,
                               const struct retention_limits *limits, char text[100])
{
    char value[UNITS_TEXT_BYTES];
    if (file->removed_for == RETENTION_AGE)
        snprintf(text, 100, "older than %s", units_write_duration(value, limits->age_ms));
    else if (file->removed_for == RETENTION_SIZE)
        snprintf(text, 100, "all recordings are to take at most %s",
                 units_write_bytes(value, limits->bytes));
    else
        snprintf(text, 100, "%g%% of the file system is to be free", limits->free_percent);
    return text;
}

static void remove_chosen(struct survey *survey)
{
    const struct retention_limits *limits = &survey->retention->policy->limits;
    int folder = -1;
    uint32_t open_channel = UINT32_MAX;
    for (size_t i = 0; i < survey->file_count; i++) {
        const struct retention_file *file = &survey->files[i];
        if (file->removed_for == RETENTION_KEPT || atomic_load(&survey->retention->stop))
            continue;
        const char *channel = survey->channels[file->channel];
        if (file->channel != open_channel) {
            if (folder >= 0)
                descriptor_close(folder);
            folder = open_channel_folder(survey, channel);
            open_channel = file->channel;
        }
        char why[100];
        int error = folder < 0 ? folder : folder_remove(folder, file->name);
        if (error < 0)
            log_line("%s: cannot remove %s: %s", channel, file->name,
                     strerror(-error));
        else
            log_line("%s: removed %s: %s", channel, file->name,
                     why_removed(file, limits, why));
    }
    if (folder >= 0)
        descriptor_close(folder);
}

/* ---- ages ---- */

static struct ages_moment read_clocks(void)
{
    struct ages_moment now = {.uptime_ns = clock_uptime_ns(),
                              .realtime_ns = clock_realtime_ns(),
                              .synchronised = clock_is_synchronised()};
    clock_boot(now.boot);
    return now;
}

static void ages_path(const struct policy *policy, char path[CHANNEL_PATH_BYTES_MAX + 20])
{
    snprintf(path, CHANNEL_PATH_BYTES_MAX + 20, "%s/" AGES_FILE, policy->directory);
}

static void note_kept(struct retention *retention, const char *text, uint64_t now_ns)
{
    snprintf(retention->kept, sizeof retention->kept, "%.*s", (int)strcspn(text, "\n"), text);
    retention->kept_ns = now_ns;
}

/* The ages are of another disk than is there now: its own are read at the next look. */
static void forget_ages(struct retention *retention)
{
    retention_ages_forget(&retention->ages);
    retention->kept[0] = '\0';
    retention->kept_ns = 0;
}

/* Reads the ages that are kept, if it was another manager or for another disk that they were
 * written. */
static void read_ages(struct retention *retention, const struct ages_moment *now)
{
    char path[CHANNEL_PATH_BYTES_MAX + 20];
    uint8_t *bytes = NULL;
    size_t count, kept = strlen(retention->kept);
    ages_path(retention->policy, path);
    int error = file_read_whole(path, AGES_BYTES_MAX, &bytes, &count);
    if (error == -ENOENT && kept > 0)
        forget_ages(retention);
    if (error < 0)
        return;
    const char *text = (const char *)bytes;
    bool same = kept > 0 && strncmp(text, retention->kept, kept) == 0 && text[kept] == '\n';
    if (!same && retention_ages_read(&retention->ages, text, now) == 0)
        note_kept(retention, text, 0);
    free(bytes);
}

/* Keeps the ages, unless it was done lately. */
static void keep_ages(struct survey *survey, const struct ages_moment *now)
{
    struct retention *retention = survey->retention;
    const struct policy *policy = retention->policy;
    uint64_t wait_ns = policy->limits.age_ms * (NS_PER_MS / 1000);
    char path[CHANNEL_PATH_BYTES_MAX + 20];
    if (wait_ns > AGES_WAIT_NS)
        wait_ns = AGES_WAIT_NS;
    if ((retention->kept_ns && now->uptime_ns < retention->kept_ns + wait_ns) ||
        (retention->ages.count == 0 && !retention->kept[0]))
        return;
    ages_path(policy, path);
    char *text = retention_ages_write(&retention->ages, now);
    int error = text ? file_write_whole(path, (struct span){(const uint8_t *)text, strlen(text)})
                     : -ENOMEM;
    if (error == 0)
        note_kept(retention, text, now->uptime_ns);
    else if (error != retention->kept_error)
        log_line("cannot write %s: %s: after a restart, recordings that have ended meanwhile are "
                 "kept for longer",
                 path, strerror(-error));
    retention->kept_error = error;
    free(text);
}

static void tell_doubt(struct retention *retention, enum ages_doubt doubt)
{
    if (atomic_exchange(&retention->doubt, doubt) == doubt)
        return;
    if (doubt == AGES_SURE)
        log_line("the ages of all recordings are known again");
    else
        log_line("recordings may be kept for longer than retain.age for now: %s",
                 retention_ages_explain(doubt));
}

/* How old the files found are; says so where that is not known for sure. 0 or -ENOMEM. */
static int tell_ages(struct survey *survey)
{
    struct retention *retention = survey->retention;
    const struct ages_moment now = read_clocks();
    char by[UNITS_TEXT_BYTES];
    if (!descriptor_is_at(survey->folder, retention->policy->directory)) {
        forget_ages(retention); /* what was found is no longer there, or was not all there */
        return 0;
    }
    read_ages(retention, &now);
    int64_t set_ns = retention_ages_pass(&retention->ages, &now);
    if (set_ns != 0)
        log_line("the clock was set %s by %s: that makes no recording older or younger",
                 set_ns > 0 ? "forward" : "back",
                 units_write_duration(by, (uint64_t)llabs(set_ns) / NS_PER_S * 1000));
    enum ages_doubt doubt;
    int error = retention_ages_tell(&retention->ages, survey->files, survey->file_count,
                                    retention->policy->limits.age_ms, now.realtime_ns, &doubt);
    if (error < 0)
        return error;
    tell_doubt(retention, doubt);
    keep_ages(survey, &now);
    return 0;
}

/* ---- a look ---- */

/* Which of the files found go. 0 or a negative errno. */
static int choose(struct survey *survey)
{
    const struct retention_limits *limits = &survey->retention->policy->limits;
    uint64_t free_bytes = 0, total_bytes = 0;
    int error = storage_room(survey->folder, &free_bytes, &total_bytes);
    if (error < 0)
        return error;
    retention_sort(survey->files, survey->file_count);
    if (limits->age_ms)
        error = tell_ages(survey);
    if (error < 0)
        return error;
    return retention_choose(survey->files, survey->file_count, survey->channel_count, limits,
                            free_bytes, total_bytes);
}

static int prepare_survey(struct survey *survey)
{
    const struct policy *policy = survey->retention->policy;
    survey->channel_room = policy->channel_count + 64;
    survey->channels = calloc(survey->channel_room, sizeof *survey->channels);
    if (!survey->channels)
        return -ENOMEM;
    if (policy->channel_count)
        memcpy(survey->channels, policy->channels,
               policy->channel_count * sizeof *survey->channels);
    survey->channel_count = policy->channel_count;
    return 0;
}

static void look_through(struct retention *retention)
{
    const struct policy *policy = retention->policy;
    struct storage_entry there;
    struct survey survey = {.retention = retention, .folder = -1};
    /* Opening would make it; where nothing is recorded nothing should appear. */
    int found = storage_look_at(policy->directory, &there);
    if (found == 0 && there.folder)
        survey.folder = folder_open(policy->directory);
    else if (found == -ENOENT)
        retention->ages.begun = true; /* whatever comes is new */
    /* Whatever is there, it is not what is to be made room in. */
    if (survey.folder >= 0 && !mounted_is(policy->mounted, policy->directory, NULL)) {
        descriptor_close(survey.folder);
        survey.folder = -1;
    }
    if (survey.folder < 0)
        return;
    int error = prepare_survey(&survey);
    if (error == 0)
        error = folder_list(survey.folder, survey_folder, &survey);
    if (error == 0)
        error = choose(&survey);
    if (error == 0)
        remove_chosen(&survey);
    else if (error < 0)
        log_line("cannot look through %s for what to remove: %s", policy->directory,
                 strerror(-error));
    descriptor_close(survey.folder);
    for (size_t i = 0; i < survey.file_count; i++)
        free(survey.files[i].name);
    free(survey.files);
    free(survey.pins);
    free(survey.channels);
}

/* From now on other limits hold. Ages of other folders, or that nobody asks for, are forgotten. */
static void adopt(struct retention *retention, struct policy *coming)
{
    struct policy *before = retention->policy;
    if (!coming->limits.age_ms || (before && strcmp(before->directory, coming->directory) != 0)) {
        retention_ages_free(&retention->ages);
        forget_ages(retention);
        atomic_store(&retention->doubt, AGES_SURE);
    }
    free_policy(before);
    retention->policy = coming;
}

static void retention_work(void *context)
{
    struct retention *retention = context;
    for (;;) {
        /* Before looking at what a signal may announce, so that none is slept through. */
        uint32_t seen = wake_seen(&retention->wake);
        if (atomic_load(&retention->stop))
            return;
        struct policy *coming = atomic_exchange(&retention->coming, NULL);
        if (coming)
            adopt(retention, coming);
        const struct policy *policy = retention->policy;
        if (policy &&
            (policy->limits.age_ms || policy->limits.bytes || policy->limits.free_percent > 0)) {
            look_through(retention);
            wake_wait(&retention->wake, seen, (int64_t)(RETENTION_PERIOD_MS * NS_PER_MS));
        } else {
            wake_wait(&retention->wake, seen, -1);
        }
    }
}

int retention_start(struct retention **retention)
{
    struct retention *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    int error = thread_start(&made->thread, retention_work, made, THREAD_STACK_BYTES);
    if (error < 0) {
        free(made);
        return error;
    }
    *retention = made;
    return 0;
}

int retention_set(struct retention *retention, const struct config *config)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (!policy)
        return -ENOMEM;
    policy->limits = (struct retention_limits){.age_ms = config->retain_age_ms,
                                               .bytes = config->retain_bytes,
                                               .free_percent = config->retain_free_percent};
    snprintf(policy->directory, sizeof policy->directory, "%s", config->directory);
    snprintf(policy->mounted, sizeof policy->mounted, "%s", config->mounted);
    policy->channel_count = config->channel_count;
    policy->channels =
        calloc(config->channel_count ? config->channel_count : 1, sizeof *policy->channels);
    if (!policy->channels) {
        free(policy);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < config->channel_count; i++)
        memcpy(policy->channels[i], config->channels[i].settings.name, sizeof policy->channels[i]);
    free_policy(atomic_exchange(&retention->coming, policy));
    wake_signal(&retention->wake);
    return 0;
}

const char *retention_doubt(const struct retention *retention)
{
    return retention_ages_explain(atomic_load(&retention->doubt));
}

void retention_look(struct retention *retention)
{
    wake_signal(&retention->wake);
}

void retention_stop(struct retention *retention)
{
    if (!retention)
        return;
    atomic_store(&retention->stop, true);
    wake_signal(&retention->wake);
    thread_join(&retention->thread);
    free_policy(atomic_exchange(&retention->coming, NULL));
    free_policy(retention->policy);
    retention_ages_free(&retention->ages);
    free(retention);
}
