/* SPDX-License-Identifier: MIT
 * flotilla overview: how far overviews are behind the recordings they are made from, and having
 * them made again: here, or by the service that is at it. Relies on overview/builder. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "archive/catalog.h"
#include "base/calendar.h"
#include "base/check.h"
#include "channel/overview.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "command/options.h"
#include "control/json_text.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/interrupt.h"
#include "os/path.h"
#include "os/storage.h"
#include "overview/builder.h"

#define STEP_BYTES     (64u << 20)
#define PATH_BYTES_MAX 4096

const char verb_overview_help[] =
    "usage: flotilla overview [CHANNEL|FOLDER...] [--json]\n"
    "       flotilla overview [CHANNEL|FOLDER...] --rebuild\n"
    "\n"
    "How far the overviews of recordings are, of all channels or of those named; a FOLDER is a\n"
    "channel's. An overview is min-max levels beside the recordings, from which\n"
    "'flotilla cat --points' and charts answer at once; the service 'overview' of a fleet keeps\n"
    "it up where the configuration has 'overview:'.\n"
    "\n"
    "  flotilla overview\n"
    "  flotilla overview engine --rebuild\n"
    "  flotilla overview recordings/engine --rebuild     without a fleet\n"
    "\n"
    "  --rebuild          make it again from the recordings that are there; what is older stays.\n"
    "                     Where a service is at work it is asked to, else it is done here\n"
    "  -c, --config FILE  the configuration; else ./fleet.yaml, else /etc/flotilla/fleet.yaml\n"
    "  --json             for machines\n"
    "\n"
    "Exit: 0 ok, 1 failed (also where a channel has no overview), 2 usage, 78 bad configuration.\n";

/* A channel to look at. */
struct target {
    char folder[OVERVIEW_PATH_BYTES];
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    struct builder_options options;
};

struct targets {
    struct target *list;
    size_t count;
};

/* ---- which channels ---- */

static void tell_builder(const char *channel, const char *what)
{
    fprintf(stderr, "%s: %s\n", channel, what);
}

static struct target *add_target(struct targets *targets, const struct config *config)
{
    struct target *grown = realloc(targets->list, (targets->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return NULL;
    targets->list = grown;
    struct target *target = &grown[targets->count++];
    bool kept = config != NULL && config->overview_factor > 0;
    uint64_t sync_ms = config != NULL ? config->sync_ms : 1000;
    *target =
        (struct target){.options = {.factor = kept ? config->overview_factor : OVERVIEW_FACTOR,
                                    .levels = kept ? config->overview_levels : OVERVIEW_LEVELS,
                                    .sync_age_ns = 3 * sync_ms * NS_PER_MS + NS_PER_S,
                                    .direct = config == NULL || config->direct_io != DIRECT_OFF,
                                    .tell = tell_builder}};
    return target;
}

/* A folder is a channel's, and called as that. What its overview was made with holds. */
static int add_folder(struct targets *targets, const char *folder)
{
    char inside[PATH_BYTES_MAX + 2], real[PATH_BYTES_MAX];
    struct state state;
    snprintf(inside, sizeof(inside), "%.*s/.", PATH_BYTES_MAX - 2, folder);
    int status = path_folder(inside, real, sizeof(real));
    const char *name = status == 0 ? strrchr(real, '/') + 1 : "";
    struct target *target = add_target(targets, NULL);
    if (target == NULL || strlen(real) >= sizeof(target->folder) || !channel_name_is_valid(name)) {
        fprintf(stderr, "%s: is no channel's folder\n", folder);
        return EXIT_FAILED;
    }
    snprintf(target->channel, sizeof(target->channel), "%s", name);
    snprintf(target->folder, sizeof(target->folder), "%.*s", (int)sizeof(target->folder) - 1, real);
    if (state_read(&state, target->folder, target->channel) == 0) {
        target->options.factor = state.factor;
        target->options.levels = state.levels;
    }
    return EXIT_OK;
}

static int add_channel(struct targets *targets, const struct config *config,
                       const struct config_channel *channel)
{
    struct target *target = add_target(targets, config);
    if (target == NULL || strlen(channel->settings.directory) >= sizeof(target->folder)) {
        fprintf(stderr, "flotilla overview: %s\n", strerror(ENOMEM));
        return EXIT_FAILED;
    }
    snprintf(target->channel, sizeof(target->channel), "%s", channel->settings.name);
    snprintf(target->folder, sizeof(target->folder), "%s", channel->settings.directory);
    return EXIT_OK;
}

static int add_word(struct targets *targets, const struct config *config, const char *word)
{
    char near[CHANNEL_NAME_BYTES_MAX + 40];
    const struct config_channel *channel = config_channel(config, word);
    if (channel == NULL) {
        fprintf(stderr,
                "flotilla overview: no channel is called \"%.100s\", nor is it a folder; %s\n",
                word, config_nearest(config, word, near, sizeof(near)));
        return EXIT_FAILED;
    }
    if (!channel->record) {
        fprintf(stderr, "%s: is not recorded\n", word);
        return EXIT_FAILED;
    }
    return add_channel(targets, config, channel);
}

static int find_targets(struct targets *targets, const char *given, int count, char **words)
{
    struct config *config = NULL;
    struct storage_entry entry;
    int code = EXIT_OK;
    for (int i = 0; i < count && code == EXIT_OK; i++) {
        if (storage_look_at(words[i], &entry) == 0 && entry.folder) {
            code = add_folder(targets, words[i]);
            continue;
        }
        if (config == NULL && subject_read_config(given, CONFIG_RUNS_HERE, &config) < 0)
            return EXIT_CONFIG;
        code = add_word(targets, config, words[i]);
    }
    if (count == 0 && subject_read_config(given, CONFIG_RUNS_HERE, &config) < 0)
        return EXIT_CONFIG;
    for (uint32_t i = 0; count == 0 && i < config->channel_count && code == EXIT_OK; i++)
        if (config->channels[i].record)
            code = add_channel(targets, config, &config->channels[i]);
    config_free(config);
    return code;
}

/* ---- how far ---- */

struct progress {
    bool known; /* there is an overview */
    struct state state;
    uint64_t behind_bytes, newest_ns; /* recorded and not in level 1; the newest block's arrival */
    uint64_t bytes[OVERVIEW_LEVELS_MAX], files[OVERVIEW_LEVELS_MAX], recorded_bytes;
};

static void look_at_recordings(const struct target *target, struct progress *progress)
{
    struct catalog catalog = {0};
    const struct place *place = &progress->state.level[0].source;
    catalog_add(&catalog, target->folder, CATALOG_DATUMS);
    for (size_t i = 0; i < catalog.count; i++) {
        const struct catalog_file *file = &catalog.files[i];
        progress->recorded_bytes += file->bytes;
        if (file->name.number > place->number)
            progress->behind_bytes += file->bytes;
        else if (file->name.number == place->number && file->bytes > place->block)
            progress->behind_bytes += file->bytes - place->block;
    }
    struct catalog_look look;
    if (catalog.count > 0 && catalog_look(&catalog.files[catalog.count - 1], &look) == 0)
        progress->newest_ns = look.last_ns;
    catalog_free(&catalog);
}

static void look_at_levels(const struct target *target, struct progress *progress)
{
    char path[OVERVIEW_PATH_BYTES], name[RECORDING_NAME_BYTES];
    struct catalog catalog = {0};
    if (snprintf(path, sizeof(path), "%s/" OVERVIEW_FOLDER, target->folder) < (int)sizeof(path))
        catalog_add(&catalog, path, CATALOG_DATUMS);
    for (size_t i = 0; i < catalog.count; i++)
        for (uint32_t k = 0; k < progress->state.levels; k++) {
            state_level_name(name, target->channel, progress->state.factor, k + 1);
            if (!catalog.files[i].named || strcmp(catalog.files[i].name.channel, name) != 0)
                continue;
            progress->bytes[k] += catalog.files[i].bytes;
            progress->files[k]++;
        }
    catalog_free(&catalog);
}

static struct progress look(const struct target *target)
{
    struct progress progress = {0};
    progress.known = state_read(&progress.state, target->folder, target->channel) == 0;
    if (progress.known) {
        look_at_recordings(target, &progress);
        look_at_levels(target, &progress);
    }
    return progress;
}

static double seconds_behind(const struct progress *progress, uint32_t level)
{
    uint64_t at_ns = progress->state.level[level].source_ns;
    return progress->newest_ns > at_ns && at_ns > 0 ? (double)(progress->newest_ns - at_ns) * 1e-9
                                                    : 0;
}

static void print_progress(const struct target *target, const struct progress *progress)
{
    if (!progress->known) {
        printf("%s: no overview\n", target->channel);
        return;
    }
    uint64_t all = 0;
    for (uint32_t i = 0; i < progress->state.levels; i++)
        all += progress->bytes[i];
    printf("%s: %u levels of %u, %.2f MB (%.2f %% of the recordings); %.2f MB and %.1f s behind\n",
           target->channel, progress->state.levels, progress->state.factor, (double)all * 1e-6,
           progress->recorded_bytes > 0 ? 100.0 * (double)all / (double)progress->recorded_bytes
                                        : 0.0,
           (double)progress->behind_bytes * 1e-6, seconds_behind(progress, 0));
}

static json_t *progress_json(const struct target *target, const struct progress *progress)
{
    char text[CALENDAR_TEXT_BYTES];
    json_t *levels = json_array();
    uint64_t factor = 1;
    for (uint32_t i = 0; progress->known && i < progress->state.levels; i++) {
        const struct level_state *level = &progress->state.level[i];
        factor *= progress->state.factor;
        json_array_append_new(levels,
                              json_pack("{s:I, s:I, s:I, s:o, s:f}", "factor", (json_int_t)factor,
                                        "files", (json_int_t)progress->files[i], "bytes",
                                        (json_int_t)progress->bytes[i], "until",
                                        level->source_ns > 0
                                            ? json_string(calendar_write(text, level->source_ns, 9))
                                            : json_null(),
                                        "seconds_behind", seconds_behind(progress, i)));
    }
    return json_pack("{s:s, s:o, s:b, s:o, s:I, s:f}", "channel", target->channel, "folder",
                     json_of_text(target->folder), "overview", progress->known, "levels", levels,
                     "bytes_behind", (json_int_t)progress->behind_bytes, "seconds_behind",
                     progress->known ? seconds_behind(progress, 0) : 0.0);
}

static int show(const struct targets *targets, bool json)
{
    json_t *all = json_array();
    int code = EXIT_OK;
    for (size_t i = 0; i < targets->count; i++) {
        struct progress progress = look(&targets->list[i]);
        if (json)
            json_array_append_new(all, progress_json(&targets->list[i], &progress));
        else
            print_progress(&targets->list[i], &progress);
        if (!progress.known && code == EXIT_OK) {
            fprintf(stderr, "%s: there is no overview in %s\n", targets->list[i].channel,
                    targets->list[i].folder);
            code = EXIT_FAILED;
        }
    }
    if (json && json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0)
        putchar('\n');
    json_decref(all);
    return code;
}

/* ---- making it again ---- */

static int ask_service(const struct target *target)
{
    char path[OVERVIEW_PATH_BYTES];
    int status = state_path(path, target->folder, OVERVIEW_REBUILD);
    if (status == 0)
        status = file_write_whole(path, (struct span){(const uint8_t *)"", 0});
    if (status < 0)
        fprintf(stderr, "%s: cannot ask for it: %s\n", target->channel, strerror(-status));
    else
        printf("%s: the service that is at work is asked to make it again\n", target->channel);
    return status < 0 ? EXIT_FAILED : EXIT_OK;
}

static int rebuild(const struct target *target)
{
    struct builder *builder;
    struct storage_entry entry;
    int status = storage_look_at(target->folder, &entry);
    if (status == 0)
        status = builder_open(&builder, target->folder, target->channel, &target->options);
    if (status == -EWOULDBLOCK)
        return ask_service(target);
    if (status < 0) {
        fprintf(stderr, "%s: %s: %s\n", target->channel, target->folder, strerror(-status));
        return EXIT_FAILED;
    }
    status = builder_rebuild(builder);
    while (status == 0 && !interrupt_seen()) {
        status = builder_step(builder, STEP_BYTES);
        if (status <= 0)
            break;
        status = 0;
    }
    if (status == 0 && !interrupt_seen())
        status = builder_flush(builder);
    builder_close(builder);
    if (status == -EINTR || interrupt_seen())
        fprintf(stderr, "%s: stopped; it can be gone on with\n", target->channel);
    else if (status < 0)
        fprintf(stderr, "%s: %s\n", target->channel, strerror(-status));
    return status < 0 || interrupt_seen() ? EXIT_FAILED : EXIT_OK;
}

static int rebuild_all(const struct targets *targets)
{
    int code = EXIT_OK;
    interrupt_install();
    for (size_t i = 0; i < targets->count && !interrupt_seen(); i++) {
        int one = rebuild(&targets->list[i]);
        code = one == EXIT_OK ? code : one;
    }
    return code;
}

/* ---- the verb ---- */

int verb_overview(int argc, char **argv)
{
    const char *given = NULL;
    bool again = false, json = false;
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &given},
        {.name = "rebuild", .kind = OPTION_FLAG, .into = &again},
        {.name = "json", .kind = OPTION_FLAG, .into = &json},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (again && json)
        return verb_usage(argv[0], "--rebuild prints no JSON");
    struct targets targets = {0};
    int code = find_targets(&targets, given, words, argv + 1);
    if (code == EXIT_OK)
        code = again ? rebuild_all(&targets) : show(&targets, json);
    free(targets.list);
    return code;
}
