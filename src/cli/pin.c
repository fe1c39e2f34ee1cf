/* SPDX-License-Identifier: MIT
 * flotilla pin, flotilla unpin: spans that retention leaves alone. A pin is a file in each
 * channel's folder (channel/pin.h), so no manager is asked: it sees the pin the next time it looks.
 * Relies on config, archive/search. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/search.h"
#include "base/calendar.h"
#include "base/check.h"
#include "base/timestamp.h"
#include "base/units.h"
#include "channel/pin.h"
#include "command/options.h"
#include "cli/recording.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/folder.h"
#include "os/storage.h"

const char verb_pin_help[] =
    "usage: flotilla pin [CHANNEL|FOLDER...] --from T [--to T] --name NAME [-c FILE] [--json]\n"
    "\n"
    "  flotilla pin engine --from -10min --name overspeed\n"
    "  flotilla pin --from 2026-01-31T12:00:00Z --to 2026-01-31T12:05:00Z --name take-off\n"
    "  flotilla info recordings/engine        lists what is pinned, too\n"
    "\n"
    "Keeps a span from retention: no recording that holds any of it is removed, neither by age\n"
    "nor by size nor for free space, until flotilla unpin NAME. What is recorded later and falls\n"
    "into the span is kept as well.\n"
    "\n"
    "  CHANNEL     of the fleet; without any, all of its channels. With a / in it, a channel's\n"
    "              folder, which needs no fleet\n"
    "  --from T, --to T   the span, by arrival; without --to until now\n"
    "              (T: " TIMESTAMP_FORMS ")\n"
    "  --name NAME  1 to 64 of A-Z a-z 0-9 _ . -\n"
    "  -c FILE     the configuration\n"
    "  --json      one JSON object a channel and line\n"
    "\n"
    "Exit: 0; 1 if it cannot be pinned in each of them: then it is in none; 2 usage; 78 bad\n"
    "configuration.\n";

const char verb_unpin_help[] =
    "usage: flotilla unpin NAME [CHANNEL|FOLDER...] [-c FILE] [--json]\n"
    "\n"
    "  flotilla unpin overspeed               of every channel\n"
    "  flotilla unpin overspeed engine\n"
    "\n"
    "Lets retention have again what flotilla pin --name NAME kept from it.\n"
    "\n"
    "  CHANNEL     of the fleet; without any, all of its channels. With a / in it, a channel's\n"
    "              folder, which needs no fleet\n"
    "  -c FILE     the configuration\n"
    "  --json      one JSON object a channel and line\n"
    "\n"
    "Exit: 0; 1 if there is no such pin, or it cannot be removed; 2 usage; 78 bad configuration.\n";

/* The folders to work on: of the channels that were named, or of all. */
struct places {
    struct config *config; /* NULL: only folders were named */
    char (*paths)[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 2];
    const char **names; /* for people: the channel's, or the path */
    size_t count;
};

static void free_places(struct places *places)
{
    config_free(places->config);
    free(places->paths);
    free(places->names);
}

static bool is_folder(const char *path)
{
    struct storage_entry entry;
    return storage_look_at(path, &entry) == 0 && entry.folder;
}

/* Adds the folder of a channel, which may have recorded before its configuration was changed. */
static void add_channel(struct places *places, const char *name)
{
    snprintf(places->paths[places->count], sizeof(places->paths[0]), "%s/%s",
             places->config->directory, name);
    places->names[places->count++] = name;
}

/* All of the fleet that have a folder: the others have nothing to keep. */
static void add_all(struct places *places, bool tell)
{
    for (uint32_t i = 0; i < places->config->channel_count; i++) {
        const struct channel_settings *settings = &places->config->channels[i].settings;
        add_channel(places, settings->name);
        const char *folder = places->paths[places->count - 1];
        if (is_folder(folder))
            continue;
        places->count--;
        if (tell && settings->directory[0] != '\0')
            fprintf(stderr, "%s: note: there is no %s yet: it is left out\n", settings->name,
                    folder);
    }
}

static int find_places(struct places *places, const char *verb, const char *given, int count,
                       char *const *words)
{
    bool all_folders = count > 0;
    for (int i = 0; i < count; i++)
        all_folders = all_folders && strchr(words[i], '/') != NULL;
    if (!all_folders && subject_read_config(given, CONFIG_ANY_MACHINE, &places->config) < 0)
        return EXIT_CONFIG;
    size_t total = count > 0 ? (size_t)count : places->config->channel_count;
    places->paths = calloc(total + 1, sizeof(*places->paths));
    places->names = calloc(total + 1, sizeof(*places->names));
    if (places->paths == NULL || places->names == NULL) {
        fprintf(stderr, "flotilla %s: out of memory\n", verb);
        return EXIT_FAILED;
    }
    if (count == 0)
        add_all(places, strcmp(verb, "pin") == 0);
    for (int i = 0; i < count; i++) {
        if (strchr(words[i], '/') != NULL) {
            snprintf(places->paths[places->count], sizeof(places->paths[0]), "%s", words[i]);
            places->names[places->count++] = words[i];
        } else if (config_channel(places->config, words[i]) != NULL) {
            add_channel(places, words[i]);
        } else {
            fprintf(stderr, "flotilla %s: there is no channel \"%s\"\n", verb, words[i]);
            return EXIT_FAILED;
        }
    }
    return EXIT_OK;
}

/* What is there of the span by now. */
static int measure(const char *folder, const struct pin *pin, size_t *files, uint64_t *bytes)
{
    const struct time_span span = {pin->from_ns, pin->to_ns};
    struct catalog catalog = {0};
    struct scan_cost cost = {0};
    struct search_hit *hits = NULL;
    size_t hit_count = 0;
    long added = catalog_add(&catalog, folder, CATALOG_DATUMS);
    int status = added < 0 ? (int)added : search_catalog(&catalog, &span, &hits, &hit_count, &cost);
    *files = hit_count;
    *bytes = 0;
    for (size_t i = 0; i < hit_count; i++)
        *bytes += catalog.files[hits[i].file].bytes;
    free(hits);
    catalog_free(&catalog);
    return status;
}

/* Makes a pin in every folder, or, where one cannot be made, in none: takes back those that it has
 * made. Tells which. */
static int make_pins(const struct places *places, const struct pin *pin)
{
    char file[PIN_FILE_NAME_BYTES], path[CHANNEL_PATH_BYTES_MAX + 2 * PIN_FILE_NAME_BYTES];
    bool *made = calloc(places->count + 1, sizeof(*made));
    int status = made == NULL ? -ENOMEM : 0;
    size_t i = 0;
    pin_write(file, pin);
    for (; status == 0 && i < places->count; i++) {
        struct storage_entry before;
        snprintf(path, sizeof(path), "%s/%s", places->paths[i], file);
        made[i] = storage_look_at(path, &before) < 0; /* else it is so already */
        status = is_folder(places->paths[i]) ? file_write_whole(path, (struct span){NULL, 0})
                                             : -ENOENT;
    }
    if (status < 0)
        fprintf(stderr, "flotilla pin: %s: cannot make a pin in %s: %s%s\n",
                places->names[i > 0 ? i - 1 : 0], places->paths[i > 0 ? i - 1 : 0],
                strerror(-status), places->count > 1 ? "; nothing is pinned" : "");
    while (status < 0 && i-- > 0) {
        snprintf(path, sizeof(path), "%s/%s", places->paths[i], file);
        if (made[i])
            remove(path);
    }
    free(made);
    return status < 0 ? EXIT_FAILED : EXIT_OK;
}

/* Says what the pin keeps by now. */
static void tell_pin(const char *folder, const char *name, const struct pin *pin, bool json)
{
    char from[CALENDAR_TEXT_BYTES], to[CALENDAR_TEXT_BYTES], size[UNITS_TEXT_BYTES];
    size_t files;
    uint64_t bytes;
    if (measure(folder, pin, &files, &bytes) < 0)
        files = 0, bytes = 0;
    calendar_write(from, pin->from_ns, 6);
    calendar_write(to, pin->to_ns, 6);
    if (json)
        recording_print_json(json_pack("{s:s,s:s,s:s,s:s,s:I,s:I}", "channel", name, "pin",
                                       pin->name, "from", from, "to", to, "files",
                                       (json_int_t)files, "bytes", (json_int_t)bytes));
    else
        printf("%s: %s keeps %s to %s: %zu recordings, %s\n", name, pin->name, from, to, files,
               units_write_bytes(size, bytes));
}

int verb_pin(int argc, char **argv)
{
    const char *config = NULL, *name = NULL;
    bool json = false;
    struct pin pin = {.from_ns = UINT64_MAX, .to_ns = clock_realtime_ns()};
    struct places places = {0};
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &config},
        {.name = "from", .kind = OPTION_TIME, .into = &pin.from_ns},
        {.name = "to", .kind = OPTION_TIME, .into = &pin.to_ns},
        {.name = "name", .kind = OPTION_TEXT, .into = &name},
        {.name = "json", .kind = OPTION_FLAG, .into = &json},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (pin.from_ns == UINT64_MAX)
        return verb_usage(argv[0], "since when? --from T");
    if (name == NULL || !pin_name_is_valid(name))
        return verb_usage(argv[0], "which name? --name with 1 to 64 of A-Z a-z 0-9 _ . -");
    if (pin.from_ns >= pin.to_ns)
        return verb_usage(argv[0], "the span ends before it begins");
    snprintf(pin.name, sizeof(pin.name), "%s", name);
    int code = find_places(&places, argv[0], config, words, argv + 1);
    if (code == EXIT_OK && places.count == 0) {
        fprintf(stderr, "flotilla pin: no channel has recorded anything\n");
        code = EXIT_FAILED;
    }
    if (code == EXIT_OK)
        code = make_pins(&places, &pin);
    for (size_t i = 0; code == EXIT_OK && i < places.count; i++)
        tell_pin(places.paths[i], places.names[i], &pin, json);
    free_places(&places);
    return code;
}

struct removal {
    descriptor_t folder;
    const char *name;
    unsigned count;
};

static int unpin_file(void *context, const char *name)
{
    struct removal *removal = context;
    struct pin pin;
    if (!pin_read(&pin, name) || strcmp(pin.name, removal->name) != 0)
        return 0;
    int status = folder_remove(removal->folder, name);
    removal->count += status == 0;
    return status;
}

int verb_unpin(int argc, char **argv)
{
    const char *config = NULL;
    bool json = false;
    struct places places = {0};
    unsigned removed = 0;
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &config},
        {.name = "json", .kind = OPTION_FLAG, .into = &json},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (words == 0 || !pin_name_is_valid(argv[1]))
        return verb_usage(argv[0], "which NAME?");
    int code = find_places(&places, argv[0], config, words - 1, argv + 2);
    for (size_t i = 0; code == EXIT_OK && i < places.count; i++) {
        struct removal removal = {.name = argv[1], .folder = -1};
        int status = 0;
        if (is_folder(places.paths[i]) &&
            (status = removal.folder = folder_open(places.paths[i])) >= 0) {
            status = folder_list(removal.folder, unpin_file, &removal);
            descriptor_close(removal.folder);
        }
        if (status < 0) {
            fprintf(stderr, "flotilla unpin: %s: %s\n", places.names[i], strerror(-status));
            code = EXIT_FAILED;
        } else if (json && removal.count > 0) {
            recording_print_json(json_pack("{s:s,s:s,s:i}", "channel", places.names[i], "unpinned",
                                           argv[1], "pins", (int)removal.count));
        } else if (removal.count > 0) {
            printf("%s: %s is pinned no more\n", places.names[i], argv[1]);
        }
        removed += removal.count;
    }
    if (code == EXIT_OK && removed == 0) {
        fprintf(stderr, "flotilla unpin: there is no pin \"%s\" in %s\n", argv[1],
                places.count == 1 ? places.names[0] : "any of the channels");
        code = EXIT_FAILED;
    }
    free_places(&places);
    return code;
}
