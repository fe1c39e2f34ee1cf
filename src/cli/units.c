/* SPDX-License-Identifier: MIT
 * flotilla units: what systemd needs to run a fleet's relays with no manager: for each channel a
 * drop-in for flotilla-relay@NAME.socket and one for flotilla-relay@NAME.service, and beside the
 * latter the compiled schema. Nothing is overwritten or removed that does not bear our mark.
 * Channel names need no escaping: all that they can be made of may stand in a unit's name as it is,
 * the instance ends at the last dot (a channel "a.service" is flotilla-relay@a.service.service),
 * and folders of drop-ins for a prefix ("a-.service.d") are looked for by what stands before the
 * "@". Sources: systemd.unit(5), systemd.syntax(7), systemd.service(5) on quoting,
 * systemd.socket(5). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "command/options.h"
#include "config/config.h"
#include "os/file.h"
#include "os/path.h"
#include "os/process.h"

const char verb_units_help[] =
    "usage: flotilla units [-c FILE] [-o DIRECTORY]\n"
    "\n"
    "Makes of fleet.yaml what systemd needs to run its relays with no manager: drop-ins for\n"
    "flotilla-relay@CHANNEL.socket and flotilla-relay@CHANNEL.service, and each channel's "
    "compiled\n"
    "schema. systemd then holds the sockets and the relays' memory, and follows a relay that dies\n"
    "with another that goes on where it was.\n"
    "\n"
    "  flotilla units                               shows what would be written\n"
    "  sudo flotilla units -o /etc/systemd/system   writes it, and tells how to go on\n"
    "\n"
    "  -c, --config FILE       the configuration; else ./fleet.yaml, else\n"
    "                          /etc/flotilla/fleet.yaml\n"
    "  -o, --output DIRECTORY  write there: a folder that systemd reads units from\n"
    "\n"
    "Run it again when fleet.yaml has changed: what has not changed stays as it is, and what it "
    "had\n"
    "made for channels that are gone is removed. Files of others are neither changed nor removed.\n"
    "Exit: 0 done, 1 failed, 2 usage, 78 bad configuration.\n";

#define UNITS_DIRECTORY  "/etc/systemd/system"
#define UNITS_STATE      "/var/lib/flotilla" /* StateDirectory= of the template unit */
#define UNITS_PREFIX     "flotilla-relay@"
#define UNITS_FILE       "flotilla.conf"
#define UNITS_LAYOUT     "flotilla.layout"
#define UNITS_WORDS_MAX  64
#define UNITS_TEXT_BYTES 8192
#define UNITS_FILE_MAX   (16u << 20)

enum change { CHANGE_NONE, CHANGE_NEW, CHANGE_OTHER };

/* What is to be done with a channel's units. */
struct unit_changes {
    enum change socket, service;
};

struct gone {
    char name[CHANNEL_NAME_BYTES_MAX + 1];
};

struct units {
    const struct config *config;
    char source[CHANNEL_PATH_BYTES_MAX]; /* of the configuration, absolute */
    char directory[CHANNEL_PATH_BYTES_MAX];
    char relay[CHANNEL_PATH_BYTES_MAX];
    bool write;
    struct unit_changes *changes; /* one a channel */
    struct gone *gone;            /* channels that units were made for and that are no more */
    size_t gone_count;
};

/* ---- text ---- */

/* A value in quotes. systemd takes '%' for a specifier everywhere and '$' for a variable in command
 * lines; both stand for themselves when doubled. */
static void write_quoted(struct text *out, const char *text, bool command)
{
    text_add_char(out, '"');
    for (; *text; text++) {
        if (*text == '%' || (command && *text == '$'))
            text_add_char(out, *text);
        if (*text == '"' || *text == '\\')
            text_add_char(out, '\\');
        if ((unsigned char)*text < ' ' || *text == 127)
            text_add(out, "\\x%02x", (unsigned)(unsigned char)*text);
        else
            text_add_char(out, *text);
    }
    text_add_char(out, '"');
}

static void write_mark(const struct units *units, struct text *out)
{
    text_add(out, "# Made by 'flotilla units' from ");
    for (const char *at = units->source; *at; at++)
        text_add_char(out, (unsigned char)*at < ' ' ? '?' : *at);
    text_add(out, "\n");
}

static void write_socket(const struct units *units, const struct channel_settings *settings,
                         struct text *out)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    const char *interface = settings_listen_interface(settings);
    struct address bare = settings->listen;
    bare.zone[0] = '\0';
    net_write_address(text, &bare);
    write_mark(units, out);
    text_add(out, "[Socket]\nListenDatagram=%s", text);
    /* An address of a link means something only together with the link: "[x]:port%link". */
    if (address_is_link_local(&settings->listen) && interface[0] != '\0')
        text_add(out, "%%%%%s", interface);
    text_add(out, "\n");
    text_add(out, "ReceiveBuffer=%" PRIu64 "\n", settings->receive_bytes);
    /* The relay joins the group; named here, so that a change of it is one of the socket. */
    if (address_is_multicast(&settings->listen))
        text_add(out, "# joined on %s\n", interface[0] ? interface : "the route's interface");
}

static bool is_below(const char *path, const char *folder)
{
    size_t bytes = strlen(folder);
    return strncmp(path, folder, bytes) == 0 && (path[bytes] == '/' || path[bytes] == '\0');
}

/* 0, or -ENOSPC. */
static int write_service(const struct units *units, const struct config_channel *channel,
                         const char *layout, struct text *out)
{
    struct channel_settings settings = channel->settings;
    char text[UNITS_TEXT_BYTES], *words[UNITS_WORDS_MAX];
    snprintf(settings.layout, sizeof settings.layout, "%s", layout);
    int count = settings_write_flags(&settings, text, sizeof text, words, UNITS_WORDS_MAX);
    if (count < 0)
        return count;
    write_mark(units, out);
    text_add(out, "[Service]\nExecStart=\nExecStart=");
    write_quoted(out, units->relay, true);
    for (int i = 0; i < count; i++) {
        text_add(out, " \\\n    ");
        write_quoted(out, words[i], true);
    }
    text_add_char(out, '\n');
    if (settings.directory[0] && !is_below(units->config->directory, UNITS_STATE)) {
        text_add(out, "ReadWritePaths=");
        write_quoted(out, units->config->directory, false);
        text_add_char(out, '\n');
    }
    if (channel->limit_memory_bytes)
        text_add(out, "MemoryMax=%" PRIu64 "\n", channel->limit_memory_bytes);
    if (channel->limit_cpu_percent > 0)
        text_add(out, "CPUQuota=%.10g%%\n", channel->limit_cpu_percent);
    return 0;
}

/* ---- files ---- */

static int tell(const char *path, int status)
{
    fprintf(stderr, "flotilla units: %s: %s\n", path, file_error_text(status));
    return status;
}

static bool is_ours(struct span bytes)
{
    static const char mark[] = "# Made by 'flotilla units'";
    return bytes.bytes >= sizeof mark - 1 && memcmp(bytes.at, mark, sizeof mark - 1) == 0;
}

/* Writes or shows a file. 0, or a negative errno after telling. */
static int put(const struct units *units, const char *path, struct span bytes, bool layout,
               enum change *change)
{
    if (!units->write) {
        printf("# %s\n", path);
        if (layout)
            printf("# the compiled schema, %zu bytes\n\n", bytes.bytes);
        else
            printf("%.*s\n", (int)bytes.bytes, (const char *)bytes.at);
        return 0;
    }
    uint8_t *present = NULL;
    size_t present_bytes = 0;
    int status = file_read_whole(path, UNITS_FILE_MAX, &present, &present_bytes);
    bool same =
        status == 0 && present_bytes == bytes.bytes && memcmp(present, bytes.at, bytes.bytes) == 0;
    bool foreign = status == 0 && !layout && !is_ours((struct span){present, present_bytes});
    bool missing = status == -ENOENT;
    free(present);
    if (status < 0 && !missing)
        return tell(path, status);
    if (foreign) {
        fprintf(stderr, "flotilla units: %s was not made by this command; it stays as it is\n",
                path);
        return -EEXIST;
    }
    if (same)
        return 0;
    status = file_write_public(path, bytes);
    if (status < 0)
        return tell(path, status);
    if (*change != CHANGE_NEW)
        *change = missing ? CHANGE_NEW : CHANGE_OTHER;
    printf("%s %s\n", missing ? "made   " : "changed", path);
    return 0;
}

static int unit_path(const struct units *units, const char *name, const char *kind,
                     const char *file, char path[CHANNEL_PATH_BYTES_MAX])
{
    int used = snprintf(path, CHANNEL_PATH_BYTES_MAX, "%s/" UNITS_PREFIX "%s.%s.d%s%s",
                        units->directory, name, kind, file[0] ? "/" : "", file);
    return used < 0 || used >= CHANNEL_PATH_BYTES_MAX ? tell(units->directory, -ENAMETOOLONG) : 0;
}

static int put_text(const struct units *units, const struct config_channel *channel,
                    const char *kind, enum change *change)
{
    char path[CHANNEL_PATH_BYTES_MAX], layout[CHANNEL_PATH_BYTES_MAX];
    struct text out = {0};
    const char *name = channel->settings.name;
    bool service = strcmp(kind, "service") == 0;
    int status = unit_path(units, name, kind, UNITS_FILE, path);
    if (status == 0)
        status = unit_path(units, name, "service", UNITS_LAYOUT, layout);
    if (status < 0)
        return status;
    if (service)
        status = write_service(units, channel, layout, &out);
    else
        write_socket(units, &channel->settings, &out);
    if (out.failed && status == 0)
        status = -ENOMEM;
    struct span made = {(const uint8_t *)out.at, out.bytes};
    status = status < 0 ? tell(path, status) : put(units, path, made, false, change);
    text_free(&out);
    if (status == 0 && service)
        status = put(units, layout, (struct span){channel->layout_image, channel->layout_bytes},
                     true, change);
    return status;
}

/* ---- what is no more ---- */

/* Whether the folder's drop-in was made by us from this configuration. */
static bool was_made(const struct units *units, const char *path)
{
    uint8_t *bytes;
    size_t count;
    struct text mark = {0};
    if (file_read_whole(path, UNITS_FILE_MAX, &bytes, &count) < 0)
        return false;
    write_mark(units, &mark);
    bool made = !mark.failed && count >= mark.bytes && memcmp(bytes, mark.at, mark.bytes) == 0;
    text_free(&mark);
    free(bytes);
    return made;
}

static int note_gone(void *context, const char *entry)
{
    static const char ending[] = ".service.d";
    struct units *units = context;
    size_t bytes = strlen(entry), around = strlen(UNITS_PREFIX) + strlen(ending);
    char name[CHANNEL_NAME_BYTES_MAX + 1], path[CHANNEL_PATH_BYTES_MAX];
    if (bytes <= around || bytes - around > CHANNEL_NAME_BYTES_MAX ||
        strncmp(entry, UNITS_PREFIX, strlen(UNITS_PREFIX)) != 0 ||
        strcmp(entry + bytes - strlen(ending), ending) != 0)
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)(bytes - around), entry + strlen(UNITS_PREFIX));
    if (config_channel(units->config, name) ||
        unit_path(units, name, "service", UNITS_FILE, path) < 0 || !was_made(units, path))
        return 0;
    struct gone *more = realloc(units->gone, (units->gone_count + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    units->gone = more;
    memcpy(units->gone[units->gone_count++].name, name, sizeof name);
    return 0;
}

static int remove_path(const char *path)
{
    if (remove(path) < 0)
        return errno == ENOENT ? 0 : tell(path, -errno);
    printf("removed %s\n", path);
    return 0;
}

static int remove_gone(const struct units *units, const char *name)
{
    static const char *const files[][2] = {{"socket", UNITS_FILE},
                                           {"service", UNITS_LAYOUT},
                                           {"service", UNITS_FILE}}; /* the mark goes last */
    char path[CHANNEL_PATH_BYTES_MAX];
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        if (unit_path(units, name, files[i][0], files[i][1], path) < 0)
            return -ENAMETOOLONG;
        if (strcmp(files[i][0], "socket") == 0 && !was_made(units, path))
            continue;
        int status = remove_path(path);
        if (status < 0)
            return status;
    }
    for (size_t i = 0; i < 2; i++)
        if (unit_path(units, name, files[i][0], "", path) == 0)
            remove(path); /* stays where somebody else has something in it */
    return 0;
}

/* 0, or a negative errno after telling. */
static int sweep(struct units *units)
{
    int folder = folder_open(units->directory);
    if (folder < 0)
        return tell(units->directory, folder);
    int status = folder_list(folder, note_gone, units);
    descriptor_close(folder);
    if (status < 0)
        return tell(units->directory, status);
    for (size_t i = 0; i < units->gone_count && status == 0; i++)
        status = remove_gone(units, units->gone[i].name);
    return status;
}

/* ---- how to go on ---- */

static void print_command(const char *command, const char *name, bool *begun)
{
    if (!*begun)
        printf("  systemctl %s", command);
    *begun = true;
    printf(" \\\n    " UNITS_PREFIX "%s.socket " UNITS_PREFIX "%s.service", name, name);
}

static void end_command(bool begun)
{
    if (begun)
        printf("\n");
}

static const char *name_at(const struct units *units, uint32_t index)
{
    return units->config->channels[index].settings.name;
}

static void print_commands(const struct units *units)
{
    const struct config *config = units->config;
    bool stop = false, enable = false, restart = false, records = false;
    printf("\n%s\n", units->write ? "To apply it:" : "Then, to apply it:");
    for (uint32_t i = 0; i < config->channel_count; i++)
        records = records || config->channels[i].settings.directory[0];
    if (records && !is_below(config->directory, UNITS_STATE)) {
        struct text directory = {0};
        write_quoted(&directory, config->directory, false);
        text_add_char(&directory, '\n');
        printf("  install -d -o flotilla -g flotilla -m 750 ");
        text_print(&directory, stdout);
    }
    printf("  systemctl daemon-reload\n");
    bool gone = false;
    for (size_t i = 0; i < units->gone_count; i++)
        print_command("disable --now", units->gone[i].name, &gone);
    end_command(gone);
    /* A socket cannot be opened anew while its relay holds the old one. */
    for (uint32_t i = 0; i < config->channel_count; i++)
        if (units->changes[i].socket == CHANGE_OTHER)
            print_command("stop", name_at(units, i), &stop);
    end_command(stop);
    for (uint32_t i = 0; i < config->channel_count; i++)
        if (!units->write || units->changes[i].socket != CHANGE_NONE ||
            units->changes[i].service == CHANGE_NEW)
            print_command("enable --now", name_at(units, i), &enable);
    end_command(enable);
    for (uint32_t i = 0; i < config->channel_count; i++)
        if (units->changes[i].socket == CHANGE_NONE && units->changes[i].service == CHANGE_OTHER) {
            printf(restart ? " \\\n    " UNITS_PREFIX "%s.service"
                           : "  systemctl restart \\\n    " UNITS_PREFIX "%s.service",
                   name_at(units, i));
            restart = true;
        }
    end_command(restart);
}

static bool is_changed(const struct units *units)
{
    bool changed = units->gone_count > 0;
    for (uint32_t i = 0; i < units->config->channel_count; i++)
        changed = changed || units->changes[i].socket || units->changes[i].service;
    return changed;
}

/* ---- the verb ---- */

static int make_all(struct units *units)
{
    int status = 0;
    for (uint32_t i = 0; i < units->config->channel_count && status == 0; i++) {
        const struct config_channel *channel = &units->config->channels[i];
        status = put_text(units, channel, "socket", &units->changes[i].socket);
        if (status == 0)
            status = put_text(units, channel, "service", &units->changes[i].service);
    }
    if (status == 0 && units->write)
        status = sweep(units);
    if (status == 0 && units->write && !is_changed(units))
        printf("nothing has changed\n");
    else if (status == 0)
        print_commands(units);
    return status;
}

/* Where everything is, as systemd has to be told: by absolute paths. 0 or a negative errno after
 * telling. */
static int find_places(struct units *units, const char *output)
{
    char folder[CHANNEL_PATH_BYTES_MAX], inside[CHANNEL_PATH_BYTES_MAX + 2];
    const char *file = units->config->file, *slash = strrchr(file, '/');
    int status = path_folder(file, folder, sizeof folder);
    if (status == 0)
        status = path_join(folder, slash ? slash + 1 : file, units->source, sizeof units->source);
    if (status < 0)
        return tell(file, status);
    if (process_find_program("flotilla-relay", units->relay, sizeof units->relay) < 0) {
        fputs("flotilla units: flotilla-relay is neither beside this program nor in PATH\n",
              stderr);
        return -ENOENT;
    }
    snprintf(units->directory, sizeof units->directory, UNITS_DIRECTORY);
    if (!output)
        return 0;
    snprintf(inside, sizeof inside, "%s/.", output);
    status = path_folder(inside, units->directory, sizeof units->directory);
    return status < 0 ? tell(output, status) : 0;
}

/* Whether all could be read: their layouts are written. */
static bool has_schemas(const struct config *config)
{
    bool all = true;
    char why[512];
    for (uint32_t i = 0; i < config->channel_count; i++) {
        struct config_channel *channel = &config->channels[i];
        if (channel->layout_image == NULL && config_read_schema(channel, why, sizeof why) < 0) {
            fprintf(stderr, "flotilla units: %s: %s\n", channel->settings.name, why);
            all = false;
        }
    }
    return all;
}

int verb_units(int argc, char **argv)
{
    const char *given = NULL, *output = NULL;
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &given},
        {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .into = &output},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (words > 0)
        return verb_usage(argv[0], "unexpected argument \"%s\"; a folder is given with -o",
                          argv[1]);
    struct config *config;
    if (subject_read_config(given, CONFIG_RUNS_HERE, &config) < 0)
        return EXIT_CONFIG;
    if (!has_schemas(config)) {
        config_free(config);
        return EXIT_CONFIG;
    }
    struct units units = {.config = config, .write = output != NULL};
    units.changes = calloc(config->channel_count + 1, sizeof *units.changes);
    int status = units.changes ? find_places(&units, output) : tell(config->file, -ENOMEM);
    if (status == 0)
        status = make_all(&units);
    free(units.changes);
    free(units.gone);
    config_free(config);
    return status < 0 ? EXIT_FAILED : EXIT_OK;
}
