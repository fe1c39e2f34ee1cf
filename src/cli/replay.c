/* SPDX-License-Identifier: MIT
 * flotilla replay: sends recordings again as they came in, to their channels' inputs or elsewhere.
 * What is played when is cli/replay_player's, from what cli/replay_reader reads ahead. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/source.h"
#include "base/check.h"
#include "base/timestamp.h"
#include "cli/ask.h"
#include "cli/replay_player.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "command/inputs.h"
#include "command/options.h"
#include "control/json_text.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/interrupt.h"

#define STATUS_MS 2000

const char verb_replay_help[] =
    "usage: flotilla replay CHANNEL|FILE|FOLDER... [--from T] [--to T] [--speed X] [-c FILE]\n"
    "       flotilla replay FILE|FOLDER... --to ADDRESS:PORT [--interface IF] [--ttl N] ...\n"
    "\n"
    "Sends recordings again, spaced as they came in, many channels together in one order of time:\n"
    "each to the input of the channel of its name in the fleet file, or all to one address.\n"
    "\n"
    "  flotilla replay engine --from -10min\n"
    "  flotilla replay recordings --speed 10 --loop\n"
    "  flotilla replay engine gps --from 2026-01-31T12:00:00Z --to 2026-01-31T12:01:00Z\n"
    "  flotilla replay old.avro --to 127.0.0.1:26000 --interface lo\n"
    "  flotilla replay recordings/engine --max\n"
    "\n"
    "  --from T, --to T    only what came in at T or later, and before T (see cat):\n"
    "                      " TIMESTAMP_FORMS "\n"
    "  --to ADDRESS:PORT   send all there, leaving by --interface IF, with --ttl N (default 1)\n"
    "  --speed X           X times as fast (default 1)\n"
    "  --max               as fast as receivers on this host take it; to others, as the link does\n"
    "  --step              a datum at each key, or line of standard input\n"
    "  --loop              begin again at the end, until Ctrl-C\n"
    "  --skip-gaps D       pass over pauses longer than D (10s, 5min): no time is spent in them\n"
    "  --exact             spend the last 80 us before each datum awake, not asleep\n"
    "  --count N           end after N datums\n"
    "  --mix               also into a channel that is receiving from elsewhere now\n"
    "  --json              the closing line as JSON on stdout\n"
    "  -c, --config FILE   the fleet file\n"
    "\n"
    "On a terminal: space stops and goes on, left and right go 10 s back and on, up and down (or "
    "+\n"
    "and -) double and halve the speed, a dot sends one datum, q ends.\n"
    "A datum is a datagram of its own, in its channel's encoding (--to an address: bare; of an\n"
    "opaque channel the payload), as recordings do not keep which datums came together. When a\n"
    "datum came in is told by its block's arrival and its time field; without one the datums of a\n"
    "block are spread over it. Where a clock was set back, what follows comes at once.\n"
    "Exit: 1 if a datagram could not be sent, 3 if files are damaged or were left out.\n";

#define LANES_MAX 4096u /* channels played together */

/* One channel that is played. */
struct lane {
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    struct catalog catalog; /* its files; the paths are those of `replay.catalog` */
    struct subject subject; /* of --to: empty; else its config is `replay.config` */
    struct replay_target target;
    bool any_admitted;
};

struct replay {
    struct replay_options play;
    const char *config_given, *interface, *verb;
    char *to;
    uint64_t ttl, skip_gaps_ms;
    double speed;
    bool json, mix;
    struct address address;
    struct config *config;
    struct catalog catalog;
    struct schema_file *opaque;
    struct lane *lanes[LANES_MAX];
    uint32_t lane_count;
    struct latency spacing, late;
};

/* ---- what is played ---- */

/* Reads the fleet file, once. EXIT_OK or EXIT_CONFIG. */
static int need_config(struct replay *replay)
{
    if (replay->config == NULL &&
        subject_read_config(replay->config_given, CONFIG_RUNS_HERE, &replay->config) < 0)
        return EXIT_CONFIG;
    return EXIT_OK;
}

/* What is no path here and could be a channel's name is a channel, whose folder is meant. */
static int add_word(struct replay *replay, char *word)
{
    descriptor_t file = file_open_read(word);
    descriptor_close(file);
    if (file != -ENOENT || !channel_name_is_valid(word))
        return inputs_list(&replay->catalog, 1, &word, CATALOG_DATUMS);
    struct subject subject = {0};
    int code = need_config(replay);
    if (code != EXIT_OK) {
        fprintf(stderr, "flotilla replay: %s is no file or folder here, nor a known channel\n",
                word);
        return code;
    }
    subject.config = replay->config;
    subject.channel = config_channel(replay->config, word);
    if (subject.channel == NULL)
        return subject_choose_channel(&subject, replay->verb, word); /* which says so */
    char folder[CHANNEL_PATH_BYTES_MAX];
    snprintf(folder, sizeof(folder), "%s", subject.channel->settings.directory);
    if (folder[0] == '\0') {
        fprintf(stderr, "flotilla replay: channel %s is not recorded\n", word);
        return EXIT_FAILED;
    }
    char *path = folder;
    return inputs_list(&replay->catalog, 1, &path, CATALOG_DATUMS);
}

/* The channel that a file is of: by its name, or by its header. */
static void channel_of(const struct catalog_file *file, char *channel)
{
    struct source source;
    struct scan *scan;
    char error[512];
    channel[0] = '\0';
    if (file->named) {
        snprintf(channel, CHANNEL_NAME_BYTES_MAX + 1, "%s", file->name.channel);
        return;
    }
    if (source_scan(&source, &scan, file->path, SOURCE_FILES, error, sizeof(error)) == 0) {
        struct span name = scan_header(scan)->channel;
        if (name.bytes > 0 && name.bytes <= CHANNEL_NAME_BYTES_MAX) {
            memcpy(channel, name.at, name.bytes);
            channel[name.bytes] = '\0';
        }
        if (!channel_name_is_valid(channel))
            channel[0] = '\0';
    }
    scan_close(scan);
    source_close(&source);
}

/* The lane of a channel, made if it is new. NULL after telling why there is none. */
static struct lane *lane_of(struct replay *replay, const char *channel)
{
    for (uint32_t i = 0; i < replay->lane_count; i++)
        if (strcmp(replay->lanes[i]->channel, channel) == 0)
            return replay->lanes[i];
    struct lane *lane = replay->lane_count < LANES_MAX ? calloc(1, sizeof(*lane)) : NULL;
    if (lane == NULL) {
        fprintf(stderr, "flotilla replay: %s\n",
                replay->lane_count < LANES_MAX ? strerror(ENOMEM) : "too many channels at once");
        return NULL;
    }
    snprintf(lane->channel, sizeof(lane->channel), "%s", channel);
    lane->target.outbox.descriptor = DESCRIPTOR_NONE;
    replay->lanes[replay->lane_count++] = lane;
    return lane;
}

/* Deals the files out to lanes. */
static int make_lanes(struct replay *replay)
{
    for (size_t i = 0; i < replay->catalog.count; i++) {
        const struct catalog_file *file = &replay->catalog.files[i];
        char channel[CHANNEL_NAME_BYTES_MAX + 1];
        channel_of(file, channel);
        if (channel[0] == '\0' && replay->to == NULL) {
            fprintf(stderr, "%s: does not say which channel it is of: --to ADDRESS:PORT does\n",
                    file->path);
            return EXIT_FAILED;
        }
        struct lane *lane = lane_of(replay, channel);
        if (lane == NULL)
            return EXIT_FAILED;
        struct catalog_file *files = room_grow(lane->catalog.files, &lane->catalog.room,
                                               lane->catalog.count + 1, sizeof(*files));
        if (files == NULL) {
            fprintf(stderr, "flotilla replay: %s\n", strerror(ENOMEM));
            return EXIT_FAILED;
        }
        lane->catalog.files = files;
        files[lane->catalog.count++] = *file;
    }
    return EXIT_OK;
}

/* ---- where it goes ---- */

/* Whether a manager says that something comes to the channel now. */
static bool is_receiving(const struct replay *replay, const char *channel)
{
    const struct ask_options options = {.config = replay->config_given};
    json_t *reply = ask_quietly(&options, json_pack("{s:s}", "verb", "status"), STATUS_MS), *one;
    bool receiving = false;
    size_t i;
    json_array_foreach(json_object_get(reply, "channels"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name != NULL && strcmp(name, channel) == 0)
            receiving = json_number_value(json_object_get(one, "rate")) > 0;
    }
    json_decref(reply);
    return receiving;
}

/* Opens the way to a channel's input. */
static int open_channel(struct replay *replay, struct lane *lane)
{
    int code = need_config(replay);
    if (code != EXIT_OK)
        return code;
    lane->subject.config = replay->config;
    code = subject_choose_channel(&lane->subject, replay->verb, lane->channel);
    if (code != EXIT_OK)
        return code;
    if (!replay->mix && is_receiving(replay, lane->channel)) {
        fprintf(stderr,
                "flotilla replay: channel %s is receiving now, and would record both; --mix sends "
                "all the same\n",
                lane->channel);
        return EXIT_FAILED;
    }
    const struct channel_settings *settings = &lane->subject.channel->settings;
    struct replay_target *target = &lane->target;
    target->framing = lane->subject.framing;
    target->outbox.to = settings->listen;
    snprintf(target->interface, sizeof(target->interface), "%s",
             settings_listen_interface(settings));
    return replay_target_open(target, settings->ttl);
}

static int open_lanes(struct replay *replay)
{
    int code = EXIT_OK;
    for (uint32_t i = 0; i < replay->lane_count && code == EXIT_OK; i++) {
        struct lane *lane = replay->lanes[i];
        lane->target.name = replay->to != NULL ? replay->to : lane->channel;
        lane->target.spacing = &replay->spacing;
        lane->target.late = &replay->late;
        if (replay->to == NULL) {
            code = open_channel(replay, lane);
            continue;
        }
        lane->target.outbox.to = replay->address;
        snprintf(lane->target.interface, sizeof(lane->target.interface), "%s",
                 replay->interface != NULL ? replay->interface : replay->address.zone);
        code = replay_target_open(&lane->target, (uint32_t)replay->ttl);
    }
    return code;
}

/* Whether a file's datums may go where its channel's do (replay_admit). */
static bool admit(void *context, uint32_t source, const struct schema_file *schema,
                  const char *path)
{
    struct replay *replay = context;
    struct lane *lane = replay->lanes[source];
    char difference[512];
    if (replay->to == NULL) {
        if (schema_compare(schema, lane->subject.schema, difference, sizeof(difference)) == 0)
            return true;
        fprintf(stderr, "%s: does not fit the schema of channel %s and is left out: %s\n", path,
                lane->channel, difference);
        return false;
    }
    bool opaque = schema_compare(schema, replay->opaque, difference, sizeof(difference)) == 0;
    enum encoding encoding = opaque ? ENCODING_OPAQUE : ENCODING_DATUM;
    if (lane->any_admitted && lane->target.framing.encoding != encoding) {
        fprintf(stderr, "%s: its channel had another encoding then: it is left out\n", path);
        return false;
    }
    if (!lane->any_admitted) /* before any of it is played */
        lane->target.framing.encoding = encoding;
    lane->any_admitted = true;
    return true;
}

/* ---- the end ---- */

static json_t *figures_json(const struct latency *latency)
{
    struct latency_figures figures;
    latency_figures(latency, &figures);
    return json_pack("{s:I,s:I,s:I}", "p50_us", (json_int_t)figures.p50_us, "p99_us",
                     (json_int_t)figures.p99_us, "most_us", (json_int_t)figures.max_us);
}

struct sum {
    uint64_t bytes, sent, errors;
    int last_errno;
};

static struct sum sum_up(const struct replay *replay)
{
    struct sum sum = {0};
    for (uint32_t i = 0; i < replay->lane_count; i++) {
        const struct replay_target *target = &replay->lanes[i]->target;
        sum.bytes += target->bytes;
        sum.sent += target->outbox.sent;
        sum.errors += target->outbox.errors;
        if (target->outbox.errors > 0)
            sum.last_errno = target->outbox.last_errno;
    }
    return sum;
}

static void report(const struct replay *replay, const struct replay_result *result,
                   const struct replay_reader *reader, double seconds)
{
    struct sum sum = sum_up(replay);
    struct latency_figures spacing, late;
    latency_figures(&replay->spacing, &spacing);
    latency_figures(&replay->late, &late);
    fprintf(stderr,
            "flotilla replay: %" PRIu64 " datums of %u channel%s in %.3f s (recorded in %.3f s), "
            "%" PRIu64 " errors",
            result->datums, replay->lane_count, replay->lane_count == 1 ? "" : "s", seconds,
            (double)result->played_ns / 1e9, sum.errors);
    if (sum.errors > 0 && sum.last_errno != 0)
        fprintf(stderr, " (%s)", strerror(sum.last_errno));
    if (spacing.count > 0)
        fprintf(stderr,
                "; spacing off by p50 %" PRIu64 " us, p99 %" PRIu64 " us, most %" PRIu64 " us",
                spacing.p50_us, spacing.p99_us, spacing.max_us);
    if (result->gaps > 0)
        fprintf(stderr, "; %" PRIu64 " gaps of %.1f s passed over", result->gaps,
                (double)result->gaps_ns / 1e9);
    fprintf(stderr, "\n");
    if (!replay->json)
        return;
    json_t *object = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:o,s:o,s:I,s:I,s:I,s:I}", "datums",
        (json_int_t)result->datums, "datagrams_sent", (json_int_t)sum.sent, "bytes",
        (json_int_t)sum.bytes, "errors", (json_int_t)sum.errors, "channels",
        (json_int_t)replay->lane_count, "seconds", seconds, "recorded_seconds",
        (double)result->played_ns / 1e9, "spacing_error", figures_json(&replay->spacing), "late",
        figures_json(&replay->late), "loops", (json_int_t)result->loops, "gaps_skipped",
        (json_int_t)result->gaps, "faults", (json_int_t)replay_reader_faults(reader),
        "files_left_out", (json_int_t)replay_reader_left_out(reader));
    if (object != NULL)
        json_dumpf(object, stdout, JSON_REAL_PRECISION(12));
    printf("\n");
    json_decref(object);
}

static int play(struct replay *replay)
{
    struct replay_target **targets = calloc(replay->lane_count + 1u, sizeof(*targets));
    struct replay_reader *reader = replay_reader_open(&replay->play.span, admit, replay);
    struct replay_result result = {0};
    bool made = targets != NULL && reader != NULL;
    for (uint32_t i = 0; made && i < replay->lane_count; i++) {
        targets[i] = &replay->lanes[i]->target;
        made = replay_reader_add(reader, &replay->lanes[i]->catalog);
    }
    interrupt_install();
    uint64_t begun = clock_monotonic_ns();
    int status = -ENOMEM, code = EXIT_OK;
    if (made)
        status = replay_play(reader, targets, replay->lane_count, &replay->play, &result);
    if (status < 0) {
        fprintf(stderr, "flotilla replay: %s\n", strerror(-status));
        code = EXIT_FAILED;
    } else {
        report(replay, &result, reader, (double)(clock_monotonic_ns() - begun) / 1e9);
        if (replay_reader_faults(reader) + replay_reader_left_out(reader) > 0)
            code = EXIT_LOSS;
        if (sum_up(replay).errors > 0)
            code = EXIT_FAILED;
    }
    replay_reader_close(reader);
    free(targets);
    return code;
}

/* ---- the verb ---- */

static int read_options(struct replay *replay, int argc, char **argv)
{
    struct option_place_or_time to = {.ns = UINT64_MAX};
    const struct option_rule rules[] = {
        {.name = "from", .kind = OPTION_TIME, .into = &replay->play.span.from_ns},
        {.name = "to", .kind = OPTION_PLACE_OR_TIME, .into = &to},
        {.name = "interface", .kind = OPTION_TEXT, .into = &replay->interface},
        {.name = "ttl", .kind = OPTION_COUNT, .into = &replay->ttl},
        {.name = "speed", .kind = OPTION_FACTOR, .into = &replay->speed},
        {.name = "max", .kind = OPTION_FLAG, .into = &replay->play.max},
        {.name = "step", .kind = OPTION_FLAG, .into = &replay->play.step},
        {.name = "loop", .kind = OPTION_FLAG, .into = &replay->play.loop},
        {.name = "exact", .kind = OPTION_FLAG, .into = &replay->play.exact},
        {.name = "mix", .kind = OPTION_FLAG, .into = &replay->mix},
        {.name = "skip-gaps", .kind = OPTION_DURATION, .into = &replay->skip_gaps_ms},
        {.name = "count", .kind = OPTION_COUNT, .into = &replay->play.count, .low = 1},
        {.name = "json", .kind = OPTION_FLAG, .into = &replay->json},
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &replay->config_given},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    replay->to = to.place;
    replay->play.span.to_ns = to.ns;
    return words;
}

static int check_options(struct replay *replay, int words)
{
    const char *verb = replay->verb;
    if (words == 0)
        return verb_usage(verb, "which CHANNEL, FILE or FOLDER?");
    if (replay->to != NULL && net_read_address(replay->to, &replay->address) < 0)
        return verb_usage(verb,
                          "--to needs ADDRESS:PORT or [v6]:PORT, or a time (" TIMESTAMP_FORMS
                          "), not \"%s\"",
                          replay->to);
    if (replay->to == NULL && (replay->interface != NULL || replay->ttl != 1))
        return verb_usage(verb, "a channel says by which interface and how far: --interface and "
                                "--ttl are for --to ADDRESS:PORT");
    if (replay->ttl > 255)
        return verb_usage(verb, "--ttl is at most 255");
    if (replay->speed >= 0 && (replay->speed < 1e-6 || replay->speed > 1e6))
        return verb_usage(verb, "--speed is from 0.000001 to 1000000");
    if (replay->skip_gaps_ms == 0)
        return verb_usage(verb, "--skip-gaps is from 1ms on");
    if ((replay->speed >= 0) + replay->play.max + replay->play.step > 1)
        return verb_usage(verb, "one of --speed, --max and --step");
    return inputs_check_span(verb, &replay->play.span);
}

static void release(struct replay *replay)
{
    for (uint32_t i = 0; i < replay->lane_count; i++) {
        struct lane *lane = replay->lanes[i];
        replay_target_close(&lane->target);
        lane->subject.config = NULL; /* it is all lanes' */
        subject_close(&lane->subject);
        free(lane->catalog.files);
        free(lane);
    }
    schema_free(replay->opaque);
    catalog_free(&replay->catalog);
    if (replay->config != NULL)
        config_free(replay->config);
    free(replay);
}

int verb_replay(int argc, char **argv)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    char error[256];
    if (replay == NULL) {
        fprintf(stderr, "flotilla replay: %s\n", strerror(ENOMEM));
        return EXIT_FAILED;
    }
    replay->verb = argv[0];
    replay->ttl = 1;
    replay->speed = -1; /* not given */
    replay->skip_gaps_ms = UINT64_MAX;
    replay->play = (struct replay_options){.count = UINT64_MAX};
    int words = read_options(replay, argc, argv), code = EXIT_USAGE;
    if (words >= 0)
        code = check_options(replay, words);
    replay->play.speed = replay->speed < 0 ? 1 : replay->speed;
    replay->play.skip_gaps_ns = replay->skip_gaps_ms > UINT64_MAX / NS_PER_MS
                                    ? UINT64_MAX
                                    : replay->skip_gaps_ms * NS_PER_MS;
    for (int i = 1; i <= words && code == EXIT_OK; i++)
        code = add_word(replay, argv[i]);
    if (code == EXIT_OK)
        code = make_lanes(replay);
    if (code == EXIT_OK &&
        (replay->opaque =
             schema_parse((struct span){(const uint8_t *)opaque_schema, strlen(opaque_schema)},
                          error, sizeof(error))) == NULL) {
        fprintf(stderr, "flotilla replay: %s\n", error);
        code = EXIT_FAILED;
    }
    if (code == EXIT_OK)
        code = open_lanes(replay);
    if (code == EXIT_OK)
        code = play(replay);
    release(replay);
    return code;
}
