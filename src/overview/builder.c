/* SPDX-License-Identifier: MIT
 * The order of things: a level works, then what it has ended is brought to the medium and noted,
 * then the next one takes from that. So a level never has what the one below may lose. */
#include "overview/builder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/catalog.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/folder.h"
#include "os/path.h"
#include "overview/lived.h"

#define IDLE_NS         (86400 * NS_PER_S)
#define REBUILT_NS      (600 * NS_PER_S) /* damage so soon again is not of the files */
#define LOOK_NS         (60 * NS_PER_S)  /* how often it is looked for what is too old */
#define KEEP_NS         (600 * NS_PER_S) /* how often the ages are kept */
#define LIVED_NAME      ".%s.ages"
#define LIVED_BYTES_MAX (16u << 20)

struct builder {
    struct builder_options options;
    char folder[OVERVIEW_PATH_BYTES], path[OVERVIEW_PATH_BYTES]; /* the channel's; the levels' */
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    descriptor_t descriptor, lock; /* of the levels' folder */
    struct state state;            /* as noted */
    struct level levels[OVERVIEW_LEVELS_MAX];
    bool opened;        /* the levels are */
    struct lived lived; /* how old their files are */
    char boot[CLOCK_BOOT_BYTES];
    int keep_error;
    uint64_t look_ns, keep_ns;                 /* uptime: when to look, and to keep the ages */
    uint64_t seen_next, seen_number, moved_ns; /* where level 1 was, and since when */
    bool flushed;                              /* since then */
    uint64_t rebuilt_ns; /* monotonic: when a level was last found damaged; 0: never */
};

uint64_t builder_number(const struct builder *builder)
{
    return builder->state.level[0].source.number;
}

static void tell(const struct builder *builder, const char *what)
{
    if (builder->options.tell != NULL)
        builder->options.tell(builder->channel, what);
}

static void close_levels(struct builder *builder)
{
    for (uint32_t i = 0; i < builder->options.levels && builder->opened; i++)
        level_close(&builder->levels[i]);
    builder->opened = false;
}

void builder_close(struct builder *builder)
{
    if (builder == NULL)
        return;
    close_levels(builder);
    lived_free(&builder->lived);
    descriptor_close(builder->lock);
    descriptor_close(builder->descriptor);
    free(builder);
}

/* Goes on from the ages that are kept. What is no text of ours is begun anew: that keeps files for
 * longer. */
static void read_lived(struct builder *builder)
{
    char path[OVERVIEW_PATH_BYTES], name[RECORDING_NAME_BYTES + 8];
    uint8_t *bytes = NULL;
    size_t count;
    snprintf(name, sizeof(name), LIVED_NAME, builder->channel);
    int status = state_path(path, builder->folder, name);
    if (status == 0)
        status = file_read_whole(path, LIVED_BYTES_MAX, &bytes, &count);
    if (status == 0)
        status = lived_read(&builder->lived, (const char *)bytes, builder->boot, clock_uptime_ns());
    if (status == -EBADMSG || status == -EFBIG)
        tell(builder, "what was noted of its files' ages is damaged: they count from now on");
    free(bytes);
}

/* Keeps the ages, if it is time to or `changed`. What is lost at a power cut, or could not be
 * written, keeps files for longer. */
static void keep_lived(struct builder *builder, bool changed)
{
    char name[RECORDING_NAME_BYTES + 8];
    if (!changed && builder->lived.uptime_ns < builder->keep_ns)
        return;
    char *text = lived_write(&builder->lived, builder->boot);
    snprintf(name, sizeof(name), LIVED_NAME, builder->channel);
    int status = -ENOMEM;
    if (text != NULL)
        status = state_write_file(builder->descriptor, name,
                                  (struct span){(const uint8_t *)text, strlen(text)});
    if (status < 0 && status != builder->keep_error)
        tell(builder, "its files' ages cannot be noted: after a restart they are kept for longer");
    builder->keep_error = status;
    builder->keep_ns = builder->lived.uptime_ns + KEEP_NS;
    free(text);
}

int builder_open(struct builder **builder, const char *folder, const char *channel,
                 const struct builder_options *options)
{
    struct builder *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->options = *options;
    made->lock = DESCRIPTOR_NONE;
    made->descriptor = DESCRIPTOR_NONE;
    snprintf(made->folder, sizeof(made->folder), "%s", folder);
    snprintf(made->channel, sizeof(made->channel), "%s", channel);
    int bytes = snprintf(made->path, sizeof(made->path), "%s/" OVERVIEW_FOLDER, folder);
    int status = bytes < (int)sizeof(made->path) ? 0 : -ENAMETOOLONG;
    if (status == 0)
        status = made->descriptor = folder_open(made->path);
    if (status >= 0)
        status = made->lock = folder_lock(made->descriptor, OVERVIEW_LOCK);
    if (status < 0) {
        builder_close(made);
        return status;
    }
    clock_boot(made->boot); /* which a sandbox does not show */
    read_lived(made);
    *builder = made;
    return 0;
}

/* ---- noting ---- */

/* Brings what has ended in every level to the medium, then notes it. */
static int note(void *context)
{
    struct builder *builder = context;
    int status = 0;
    for (uint32_t i = 0; i < builder->options.levels && status == 0; i++)
        status = level_sync(&builder->levels[i]);
    if (status < 0)
        return status;
    struct state state = {.factor = builder->options.factor, .levels = builder->options.levels};
    for (uint32_t i = 0; i < builder->options.levels; i++)
        state.level[i] = builder->levels[i].ended;
    status = state_write(&state, builder->descriptor, builder->channel);
    if (status == 0)
        builder->state = state;
    return status;
}

/* ---- beginning anew ---- */

static bool is_file_of_level(const struct builder *builder, const struct recording_name *name)
{
    size_t bytes = strlen(builder->channel);
    return strncmp(name->channel, builder->channel, bytes) == 0 && name->channel[bytes] == '-' &&
           strspn(name->channel + bytes + 1, "0123456789") == strlen(name->channel + bytes + 1);
}

/* When the oldest recording that is there began: by its first datum, which came in before the file
 * got its name; UINT64_MAX if there is none. */
static uint64_t oldest_recording(const struct builder *builder)
{
    struct catalog catalog = {0};
    uint64_t oldest = UINT64_MAX;
    if (catalog_add(&catalog, builder->folder, CATALOG_DATUMS) > 0) {
        size_t at = catalog_find(&catalog, builder->channel, 0);
        struct catalog_look look;
        if (at < catalog.count)
            oldest = catalog.files[at].name.stamp_ns;
        if (at < catalog.count && catalog_look(&catalog.files[at], &look) == 0 && look.ours &&
            !look.empty && look.first_ns < oldest)
            oldest = look.first_ns;
    }
    catalog_free(&catalog);
    return oldest;
}

/* Removes the files that can be made again, of whatever factor; what is kept and was open gets its
 * final name. `begun` gets for each level the highest number that is left. */
static int clear_levels(struct builder *builder, uint64_t begun[OVERVIEW_LEVELS_MAX])
{
    struct catalog catalog = {0};
    uint64_t oldest = oldest_recording(builder);
    long added = catalog_add(&catalog, builder->path, CATALOG_DATUMS);
    lived_begin(&builder->lived, clock_uptime_ns());
    for (size_t i = 0; i < catalog.count; i++) {
        const struct recording_name *name = &catalog.files[i].name;
        char own[RECORDING_NAME_BYTES], final[RECORDING_NAME_BYTES];
        if (!catalog.files[i].named || !is_file_of_level(builder, name))
            continue;
        struct recording_name done = *name;
        done.stage = RECORDING_DONE;
        recording_name_write(own, name);
        if (name->stamp_ns / 1000 >= oldest / 1000) { /* names have whole microseconds */
            folder_remove(builder->descriptor, own);
            continue;
        }
        recording_name_write(final, &done);
        if (name->stage == RECORDING_PART)
            folder_rename(builder->descriptor, own, final);
        lived_age_ns(&builder->lived, final);
        for (uint32_t k = 0; k < builder->options.levels; k++)
            if (strcmp(name->channel, builder->levels[k].name) == 0 && name->number > begun[k])
                begun[k] = name->number;
    }
    catalog_free(&catalog);
    lived_end(&builder->lived); /* one of the same name that is made again is a new one */
    keep_lived(builder, true);
    return added == -ENOMEM ? -ENOMEM : folder_sync(builder->descriptor);
}

static void name_levels(struct builder *builder)
{
    uint64_t factor = 1;
    for (uint32_t i = 0; i < builder->options.levels; i++) {
        struct level *level = &builder->levels[i];
        factor *= builder->options.factor;
        *level = (struct level){.index = i + 1,
                                .window = builder->options.factor * (i == 0 ? 1u : 2u),
                                .factor = factor,
                                .channel = builder->channel,
                                .folder = builder->descriptor,
                                .path = builder->path,
                                .note = note,
                                .context = builder,
                                .direct = builder->options.direct};
        level->reader.age_ns = i == 0 ? builder->options.sync_age_ns : 0;
        level->reader.source.descriptor = DESCRIPTOR_NONE;
        level->reader.past_cache.file.descriptor = DESCRIPTOR_NONE;
        state_level_name(level->name, builder->channel, builder->options.factor, i + 1);
    }
}

int builder_rebuild(struct builder *builder)
{
    uint64_t begun[OVERVIEW_LEVELS_MAX] = {0};
    close_levels(builder);
    name_levels(builder);
    int status = clear_levels(builder, begun);
    struct state state = {.factor = builder->options.factor, .levels = builder->options.levels};
    for (uint32_t i = 0; i < builder->options.levels; i++) {
        state.level[i].number = begun[i];
        if (i > 0) /* not from what was kept of the level below: that is in this one, too */
            state.level[i].source.number = begun[i - 1] + 1;
    }
    if (status == 0)
        status = state_write(&state, builder->descriptor, builder->channel);
    builder->state = state;
    return status;
}

/* Removes files of levels that were begun behind what was noted. */
static int clear_unnoted(struct builder *builder)
{
    struct catalog catalog = {0};
    long added = catalog_add(&catalog, builder->path, CATALOG_DATUMS);
    for (size_t i = 0; i < catalog.count; i++)
        for (uint32_t k = 0; k < builder->options.levels; k++) {
            const struct recording_name *name = &catalog.files[i].name;
            const struct level_state *noted = &builder->state.level[k];
            bool is_open = name->number == noted->number && noted->end > 0;
            char text[RECORDING_NAME_BYTES];
            if (catalog.files[i].named && strcmp(name->channel, builder->levels[k].name) == 0 &&
                (name->number > noted->number || (name->stage == RECORDING_PART && !is_open)))
                folder_remove(builder->descriptor, recording_name_write(text, name));
        }
    catalog_free(&catalog);
    return added == -ENOMEM ? -ENOMEM : 0;
}

static int open_levels(struct builder *builder)
{
    name_levels(builder);
    int status = state_read(&builder->state, builder->folder, builder->channel);
    bool other = status == 0 && (builder->state.factor != builder->options.factor ||
                                 builder->state.levels != builder->options.levels);
    if (status == -ENOENT || status == -EBADMSG || other) {
        if (status == -EBADMSG)
            tell(builder, "what was noted of the overview is damaged: it is made again");
        else if (other)
            tell(builder,
                 "the overview is of another factor or number of levels: it is made again");
        status = builder_rebuild(builder);
    }
    if (status == 0)
        status = clear_unnoted(builder);
    builder->opened = true;
    for (uint32_t i = 0; i < builder->options.levels && status == 0; i++) {
        struct level *level = &builder->levels[i];
        status =
            level_open(level, &builder->state.level[i], i == 0 ? builder->folder : builder->path,
                       i == 0 ? builder->channel : builder->levels[i - 1].name);
    }
    if (status == 0)
        return 0;
    close_levels(builder);
    if (status == -EBADMSG) {
        tell(builder, "the overview is not as it was noted: it is made again");
        status = builder_rebuild(builder);
    }
    return status == 0 ? -EAGAIN : status;
}

/* ---- what is too old ---- */

/* Removes finished files of levels that have been so for too long. */
static void remove_old(struct builder *builder)
{
    struct catalog catalog = {0};
    struct lived *lived = &builder->lived;
    size_t count = lived->count;
    bool changed = false;
    builder->look_ns = clock_uptime_ns() + LOOK_NS;
    if (builder->options.age_ns == 0 || catalog_add(&catalog, builder->path, CATALOG_DATUMS) < 0) {
        catalog_free(&catalog);
        return;
    }
    lived_begin(lived, clock_uptime_ns());
    for (size_t i = 0; i < catalog.count; i++) {
        const struct catalog_file *file = &catalog.files[i];
        char text[RECORDING_NAME_BYTES];
        if (!file->named || file->name.stage != RECORDING_DONE ||
            !is_file_of_level(builder, &file->name))
            continue;
        recording_name_write(text, &file->name);
        uint64_t age_ns = lived_age_ns(lived, text);
        changed |= age_ns == 0;
        if (age_ns > builder->options.age_ns)
            folder_remove(builder->descriptor, text);
    }
    catalog_free(&catalog);
    lived_end(lived);
    keep_lived(builder, changed || lived->count != count);
}

/* ---- working ---- */

/* Takes from below until there is nothing or it has been enough. 1, 0 or a negative errno. */
static int work_level(struct builder *builder, struct level *level, uint64_t bytes_max)
{
    char what[OVERVIEW_PATH_BYTES + 400];
    const char *fault = NULL;
    uint64_t before = 0;
    int status = 1;
    for (uint64_t taken = 0; taken < bytes_max && status > 0;) {
        before = level->reader.next;
        status = level_step(level, &fault);
        if (status == -ENODATA) {
            snprintf(what, sizeof(what), "left out: %s", fault);
            tell(builder, what);
            status = level->index > 1 ? -EBADMSG : 1; /* a level is made again */
        }
        taken += level->reader.next > before ? level->reader.next - before : BLOCK_PAGE_BYTES;
    }
    return status;
}

static int work(struct builder *builder, uint64_t bytes_max)
{
    bool more = false;
    for (uint32_t i = 0; i < builder->options.levels; i++) {
        struct level *level = &builder->levels[i];
        struct level_state before = builder->state.level[i];
        int status = work_level(builder, level, bytes_max);
        if (status >= 0 &&
            (level->ended.end != before.end || level->ended.number != before.number)) {
            int noted = note(builder);
            status = noted < 0 ? noted : status;
        }
        if (status < 0)
            return status;
        more |= status > 0;
    }
    return more;
}

int builder_flush(struct builder *builder)
{
    int status = builder->opened ? 0 : open_levels(builder);
    if (status == -EAGAIN)
        status = open_levels(builder);
    for (uint32_t i = 0; i < builder->options.levels && status >= 0; i++) {
        status = work_level(builder, &builder->levels[i], UINT64_MAX);
        if (status >= 0)
            status = level_flush(&builder->levels[i]);
        if (status >= 0)
            status = note(builder);
    }
    builder->flushed = true;
    if (status < 0)
        close_levels(builder);
    return status;
}

/* What does not grow any more for so long is brought to its end: the recordings may be removed. */
static int look_whether_idle(struct builder *builder)
{
    const struct reader *reader = &builder->levels[0].reader;
    uint64_t now_ns = clock_monotonic_ns();
    if (reader->next != builder->seen_next || reader->place.number != builder->seen_number) {
        builder->seen_next = reader->next;
        builder->seen_number = reader->place.number;
        builder->moved_ns = now_ns;
        builder->flushed = false;
    }
    return builder->flushed || now_ns - builder->moved_ns < IDLE_NS ? 0 : builder_flush(builder);
}

int builder_step(struct builder *builder, uint64_t bytes_max)
{
    char path[OVERVIEW_PATH_BYTES];
    int status = state_path(path, builder->folder, OVERVIEW_REBUILD);
    if (status == 0 && path_exists(path)) {
        tell(builder, "the overview is made again, as asked");
        status = builder_rebuild(builder);
        if (status == 0)
            status = folder_remove(builder->descriptor, OVERVIEW_REBUILD);
    }
    if (status == 0 && !builder->opened)
        status = open_levels(builder);
    if (status == -EAGAIN)
        return 1;
    if (status < 0)
        return status;
    status = work(builder, bytes_max);
    if (status < 0)
        close_levels(builder);
    bool again = builder->rebuilt_ns > 0 && clock_monotonic_ns() < builder->rebuilt_ns + REBUILT_NS;
    if (status == -EBADMSG && again)
        return -EIO; /* the disk cannot be written to and read back, it seems */
    if (status == -EBADMSG) {
        tell(builder, "a level of the overview is damaged: it is made again");
        builder->rebuilt_ns = clock_monotonic_ns();
        status = builder_rebuild(builder);
        return status < 0 ? status : 1;
    }
    if (status == 0 && clock_uptime_ns() >= builder->look_ns)
        remove_old(builder);
    if (status == 0)
        status = look_whether_idle(builder);
    return status;
}
