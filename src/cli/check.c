/* SPDX-License-Identifier: MIT
 * `flotilla check`: is fleet.yaml good, and what does it come to?
 * Relies on config/config for everything that is checked. The outage budget is a figure for one
 * kind of traffic, measured on Linux (os/net.h). */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "avro/layout.h"
#include "base/check.h"
#include "channel/mounted.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "command/options.h"
#include "config/config.h"
#include "control/json_text.h"

const char verb_check_help[] =
    "usage: flotilla check [-c FILE] [--offline] [--print | --json | --keys]\n"
    "       flotilla check [-c FILE] --start\n"
    "\n"
    "Checks fleet.yaml, its includes and schemas, and tells everything that is wrong at once.\n"
    "\n"
    "  flotilla check\n"
    "  flotilla check -c fleet.yaml --print\n"
    "\n"
    "  -c, --config FILE  the configuration; else ./fleet.yaml, else /etc/flotilla/fleet.yaml\n"
    "  --offline          for another machine: what this one has is not looked at\n"
    "  --print            every resolved value, as YAML that reads back to the same\n"
    "  --json             the summary for machines\n"
    "  --keys             all keys that a configuration can have, with their defaults\n"
    "  --start            only what keeps a fleet from starting: what this machine lacks, such as\n"
    "                     an interface or a disk with a schema, its own channel waits for\n"
    "\n"
    "Exit: 0 good, 78 bad configuration, 2 usage.\n";

enum column { COLUMN_NAME, COLUMN_INPUT, COLUMN_FULL, COLUMN_DECIMATED, COLUMN_LEAVES, COLUMNS };

/* How long the receive queue bridges when nobody reads, in milliseconds; of what this machine
 * grants whoever asks now. Of another machine: of all that is asked for, which the kernel doubles.
 */
static unsigned long budget_ms(const struct channel_settings *settings, bool offline)
{
    uint64_t granted =
        offline ? 2 * settings->receive_bytes : net_queue_grant(settings->receive_bytes);
    return (unsigned long)(net_queue_seconds(granted) * 1000 + 0.5);
}

static struct layout layout_of(const struct config_channel *channel)
{
    struct layout layout;
    /* Flotilla compiled it a moment ago. */
    CHECK(layout_load(&layout, (struct span){channel->layout_image, channel->layout_bytes}) == 0);
    return layout;
}

static void write_cell(char *cell, size_t cell_bytes, const struct config_channel *channel,
                       enum column column)
{
    const struct channel_settings *settings = &channel->settings;
    char text[NET_ADDRESS_TEXT_BYTES];
    const char *interface = settings_listen_interface(settings);
    bool on_interface = interface[0] != '\0' && settings->listen.zone[0] == '\0';
    switch (column) {
    case COLUMN_NAME:
        snprintf(cell, cell_bytes, "%s", settings->name);
        break;
    case COLUMN_INPUT:
        snprintf(cell, cell_bytes, "%s%s%s", net_write_address(text, &settings->listen),
                 on_interface ? " on " : "", on_interface ? interface : "");
        break;
    case COLUMN_FULL:
        snprintf(cell, cell_bytes, "%s",
                 settings->full.family != 0 ? net_write_address(text, &settings->full) : "-");
        break;
    case COLUMN_DECIMATED:
        if (settings->decimated.family != 0)
            snprintf(cell, cell_bytes, "%s %s/%lu", net_write_address(text, &settings->decimated),
                     algorithm_name(settings->algorithm), (unsigned long)settings->factor);
        else
            snprintf(cell, cell_bytes, "-");
        break;
    case COLUMN_LEAVES:
        snprintf(cell, cell_bytes, "%lu", (unsigned long)layout_of(channel).leaf_count);
        break;
    case COLUMNS:
        break;
    }
}

static void print_table(const struct config *config, bool offline)
{
    static const char *const titles[COLUMNS] = {"CHANNEL", "INPUT", "FULL", "DECIMATED", "NUMBERS"};
    char cell[160];
    int widths[COLUMNS];
    for (int column = 0; column < COLUMNS; column++) {
        widths[column] = (int)strlen(titles[column]);
        for (uint32_t i = 0; i < config->channel_count; i++) {
            write_cell(cell, sizeof cell, &config->channels[i], (enum column)column);
            if ((int)strlen(cell) > widths[column])
                widths[column] = (int)strlen(cell);
        }
    }
    for (int column = 0; column < COLUMNS; column++)
        printf("%-*s  ", widths[column], titles[column]);
    printf("BUDGET\n");
    for (uint32_t i = 0; i < config->channel_count; i++) {
        for (int column = 0; column < COLUMNS; column++) {
            write_cell(cell, sizeof cell, &config->channels[i], (enum column)column);
            printf("%*s  ", column == COLUMN_LEAVES ? widths[column] : -widths[column], cell);
        }
        printf("%lu ms\n", budget_ms(&config->channels[i].settings, offline));
    }
    char found[CHANNEL_PATH_BYTES_MAX], mounted[CHANNEL_PATH_BYTES_MAX + 40] = "";
    if (!mounted_is(config->mounted, config->directory, found))
        mounted_explain(config->mounted, config->directory, mounted, sizeof mounted);
    else if (config->mounted[0] != '\0')
        snprintf(mounted, sizeof mounted, "%s is mounted", found);
    printf("\n%s: %lu channel%s. Recordings: %s%s%s. State: %s.\n", config->file,
           (unsigned long)config->channel_count, config->channel_count == 1 ? "" : "s",
           config->directory, mounted[0] != '\0' ? "; " : "", mounted, config->runtime);
    printf(
        "BUDGET is how long the receive queue holds 100 Mbit/s in datagrams of 1,400 bytes while a "
        "relay is replaced.\n");
}

static json_t *address_json(const struct address *address)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    return address->family != 0 ? json_string(net_write_address(text, address)) : json_null();
}

static int print_json(const struct config *config, bool offline)
{
    json_t *channels = json_array();
    json_t *all = json_pack("{s:o, s:o, s:o, s:o, s:o}", "file", json_of_text(config->file),
                            "runtime", json_of_text(config->runtime), "directory",
                            json_of_text(config->directory), "mounted",
                            config->mounted[0] != '\0' ? json_of_text(config->mounted)
                                                       : json_null(),
                            "channels", channels);
    for (uint32_t i = 0; i < config->channel_count; i++) {
        const struct config_channel *channel = &config->channels[i];
        const struct channel_settings *settings = &channel->settings;
        struct layout layout = layout_of(channel);
        json_t *decimated = json_null();
        if (settings->decimated.family != 0)
            decimated = json_pack("{s:o, s:I, s:s}", "to", address_json(&settings->decimated),
                                  "factor", (json_int_t)settings->factor, "algorithm",
                                  algorithm_name(settings->algorithm));
        json_array_append_new(
            channels,
            json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:b, s:o, s:I, s:f}", "name",
                      settings->name, "listen", address_json(&settings->listen), "interface",
                      json_of_text(settings->interface), "listen_interface",
                      json_of_text(settings_listen_interface(settings)), "send_interface",
                      json_of_text(settings_send_interface(settings, &settings->full)), "full",
                      address_json(&settings->full), "decimated", decimated, "schema",
                      json_of_text(channel->schema), "leaves", (json_int_t)layout.leaf_count,
                      "record", channel->record, "directory", json_of_text(settings->directory),
                      "receive_queue_bytes", (json_int_t)settings->receive_bytes,
                      "receive_budget_seconds", (double)budget_ms(settings, offline) / 1000));
    }
    bool good = all != NULL && json_array_size(channels) == config->channel_count &&
                json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0;
    json_decref(all);
    printf("\n");
    if (!good && !ferror(stdout))
        fprintf(stderr, "flotilla check: no memory for the answer\n");
    return good ? EXIT_OK : EXIT_FAILED;
}

int verb_check(int argc, char **argv)
{
    const char *given = NULL;
    bool offline = false, print = false, json = false, keys = false, start = false;
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &given},
        {.name = "offline", .kind = OPTION_FLAG, .into = &offline},
        {.name = "print", .kind = OPTION_FLAG, .into = &print},
        {.name = "json", .kind = OPTION_FLAG, .into = &json},
        {.name = "keys", .kind = OPTION_FLAG, .into = &keys},
        {.name = "start", .kind = OPTION_FLAG, .into = &start},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (words > 0)
        return verb_usage(argv[0], "unexpected argument \"%s\"; a file is given with -c", argv[1]);
    if (print + json + keys + start > 1 || (offline && start))
        return verb_usage(argv[0], start ? "--start goes with no other option but -c"
                                         : "--print, --json and --keys exclude each other");
    int result = EXIT_OK;
    if (keys) {
        config_print_keys(stdout);
    } else {
        struct config *config;
        enum config_machine machine = offline ? CONFIG_ANY_MACHINE
                                      : start ? CONFIG_RUNS_HERE
                                              : CONFIG_JUDGES_MACHINE;
        if (subject_read_config(given, machine, &config) < 0)
            return EXIT_CONFIG;
        if (print)
            config_print(config, stdout);
        else if (json)
            result = print_json(config, offline);
        else if (!start) /* its channels may have no schemas yet */
            print_table(config, offline);
        config_free(config);
    }
    return result;
}
