/* SPDX-License-Identifier: MIT
 * flotilla status: the fleet as the manager sees it, channels that lost anything or are in trouble
 * on top; as a table or as JSON, once or every second. Relies on the manager's reply being whole.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "channel/counters.h"
#include "cli/ask.h"
#include "cli/verb.h"
#include "os/clock.h"
#include "os/loop.h"
#include "os/terminal.h"

#define STATUS_TIMEOUT_MS 10000u
#define WATCH_PERIOD_NS   NS_PER_S
#define CELL_BYTES        72

const char verb_status_help[] =
    "usage: flotilla status [-c FILE] [--watch] [--json]\n"
    "\n"
    "  flotilla status              a table: what lost anything on top, then what is in trouble\n"
    "  flotilla status --watch      the same every second, until Ctrl-C\n"
    "  flotilla status --json | jq '.channels[] | select(.datagrams_dropped > 0)'\n"
    "\n"
    "States: starting, running, silent (no datagram for 5 s), backoff (waits before the next "
    "try),\n"
    "stopped, failed, schema_mismatch (the last 10 or more datagrams were all rejected),\n"
    "not_recording (writing fails). A channel is in trouble in the last five of these, or when\n"
    "its relay is suspended; why stands below the table. WAITING are datums that are received and\n"
    "not yet synced, RATE/S is datagrams a second over the last seconds. Recordings are in\n"
    "DIRECTORY/CHANNEL/FILE.\n"
    "\n"
    "  -c FILE   the configuration that names the manager's runtime folder\n"
    "  --watch   again every second; with --json, an object a line\n"
    "  --json    everything that is counted, for machines\n"
    "\n"
    "Exit: 0 shown, 1 no manager runs, 2 usage, 78 no runtime folder can be found.\n";

/* The numbers of a row that tell of a loss, by their JSON key, with their column's heading. */
static const struct loss_column {
    const char *key, *heading;
} loss_columns[] = {
    {"datagrams_dropped", "DROPPED"},    {"datagrams_rejected", "REJECTED"},
    {"datums_unrecorded", "UNRECORDED"}, {"sequence_gaps", "GAPS"},
    {"send_errors", "SEND-ERRORS"},
};
enum { LOSS_COLUMNS = sizeof loss_columns / sizeof loss_columns[0] };

/* CHANNEL, STATE, the losses, RECEIVED, RATE, RECORDED, WAITING; FILE stands behind without
 * padding. */
enum { COLUMNS = 2 + LOSS_COLUMNS + 4 };

struct row {
    const json_t *channel;
    size_t order; /* in the configuration */
    json_int_t lost;
    char cells[COLUMNS][CELL_BYTES];
    bool unknown; /* a loss that the system does not count */
};

static json_int_t number(const json_t *channel, const char *key)
{
    return json_integer_value(json_object_get(channel, key));
}

static const char *text(const json_t *channel, const char *key)
{
    const char *value = json_string_value(json_object_get(channel, key));
    return value ? value : "";
}

/* Not up, or up with something to explain: suspended, hung. */
static bool is_in_trouble(const json_t *channel)
{
    const char *state = text(channel, "state");
    bool up = strcmp(state, "running") == 0 || strcmp(state, "silent") == 0 ||
              strcmp(state, "starting") == 0;
    return !up || text(channel, "reason")[0] != '\0';
}

/* Datums that are in no recording are a loss only where there should be one. */
static bool is_loss(const json_t *channel, const struct loss_column *column)
{
    return strcmp(column->key, "datums_unrecorded") != 0 ||
           json_is_true(json_object_get(channel, "recording"));
}

/* Losses first, then trouble, then as configured. */
static int by_urgency(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->lost != y->lost)
        return x->lost > y->lost ? -1 : 1;
    if (is_in_trouble(x->channel) != is_in_trouble(y->channel))
        return is_in_trouble(x->channel) ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void write_rate(char *cell, size_t bytes, double rate)
{
    snprintf(cell, bytes, rate < 10 && rate > 0 ? "%.1f" : "%.0f", rate);
}

static void fill_row(struct row *row, const json_t *channel, size_t order, double rate)
{
    row->channel = channel;
    row->order = order;
    row->lost = 0;
    row->unknown = false;
    int cell = 0;
    const size_t bytes = sizeof row->cells[0];
    snprintf(row->cells[cell++], bytes, "%s", text(channel, "name"));
    snprintf(row->cells[cell++], bytes, "%s", text(channel, "state"));
    for (int i = 0; i < LOSS_COLUMNS; i++) {
        json_int_t lost = number(channel, loss_columns[i].key);
        bool counts = is_loss(channel, &loss_columns[i]);
        row->lost += counts ? lost : 0;
        bool known = !json_is_null(json_object_get(channel, loss_columns[i].key));
        row->unknown = row->unknown || (counts && !known);
        snprintf(row->cells[cell++], bytes,
                 !counts ? "-"
                 : known ? "%" JSON_INTEGER_FORMAT
                         : "?",
                 lost);
    }
    snprintf(row->cells[cell++], bytes, "%" JSON_INTEGER_FORMAT,
             number(channel, "datagrams_received"));
    write_rate(row->cells[cell++], bytes, rate);
    bool recording = json_is_true(json_object_get(channel, "recording"));
    snprintf(row->cells[cell++], bytes, recording ? "%" JSON_INTEGER_FORMAT : "-",
             number(channel, "datums_recorded"));
    snprintf(row->cells[cell++], bytes, recording ? "%" JSON_INTEGER_FORMAT : "-",
             number(channel, "unsynced_datums"));
}

/* What was received by the last time we looked, for the rates of --watch. */
struct before {
    json_t *received; /* by channel name */
    uint64_t at_ns;
};

static double rate_of(const json_t *channel, const struct before *before, uint64_t now_ns)
{
    const json_t *was = json_object_get(before->received, text(channel, "name"));
    double seconds = (double)(now_ns - before->at_ns) / (double)NS_PER_S;
    if (!was || seconds <= 0)
        return json_number_value(json_object_get(channel, "rate"));
    double more = (double)(number(channel, "datagrams_received") - json_integer_value(was));
    return more > 0 ? more / seconds : 0;
}

static void remember(struct before *before, const json_t *channels, uint64_t now_ns)
{
    size_t index;
    json_t *channel;
    json_decref(before->received);
    before->received = json_object();
    before->at_ns = now_ns;
    json_array_foreach(channels, index, channel)
        json_object_set_new(before->received, text(channel, "name"),
                            json_integer(number(channel, "datagrams_received")));
}

/* A line of cells: words to the left, numbers to the right. Returns its width. */
static int print_cells(char (*cells)[CELL_BYTES], const int widths[COLUMNS])
{
    int used = 0;
    for (int i = 0; i < COLUMNS; i++)
        used += printf(i < 2 ? "%-*s  " : "%*s  ", widths[i], cells[i]);
    return used;
}

/* The name alone: its folder is DIRECTORY/CHANNEL. Its end says most, so that is what stays of one
 * that is too long for the window. */
static void print_file(const char *path, int used, uint32_t columns)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    size_t length = strlen(file);
    size_t room = columns > (uint32_t)used ? columns - (uint32_t)used : 0;
    if (columns && length > room)
        printf("%s%s\n", room > 3 ? "..." : "", room > 3 ? file + length - (room - 3) : "");
    else
        printf("%s\n", file);
}

/* A line for each channel that measures it. */
static void print_latencies(const json_t *channels)
{
    bool first = true;
    size_t index;
    json_t *channel;
    json_array_foreach(channels, index, channel)
    {
        const json_t *latency = json_object_get(channel, "latency");
        if (!latency)
            continue;
        printf("%s%s: from arrival to sending: p50 %" JSON_INTEGER_FORMAT
               " us, p95 %" JSON_INTEGER_FORMAT " us, p99 %" JSON_INTEGER_FORMAT
               " us, p99.9 %" JSON_INTEGER_FORMAT " us, longest %" JSON_INTEGER_FORMAT " us\n",
               first ? "\n" : "", text(channel, "name"), number(latency, "p50_us"),
               number(latency, "p95_us"), number(latency, "p99_us"), number(latency, "p999_us"),
               number(latency, "max_us"));
        first = false;
    }
}

/* A line for each channel that could not send: how many datagrams, and why. */
static void print_unsent(const json_t *channels)
{
    bool first = true;
    size_t index;
    json_t *channel;
    json_array_foreach(channels, index, channel)
    {
        const char *between = ": ";
        if (number(channel, "send_errors") == 0)
            continue;
        printf("%s%s: not sent", first ? "\n" : "", text(channel, "name"));
        for (int cause = 0; cause < NET_SEND_CAUSES; cause++) {
            json_int_t count = number(channel, send_cause_counter((enum net_send_cause)cause));
            if (count == 0)
                continue;
            printf("%s%" JSON_INTEGER_FORMAT " datagrams, %s", between, count,
                   send_cause_text((enum net_send_cause)cause));
            between = "; ";
        }
        putchar('\n');
        first = false;
    }
}

/* A line for each service that does not run. */
static void print_services(const json_t *services)
{
    bool first = true;
    size_t index;
    json_t *service;
    json_array_foreach(services, index, service)
    {
        if (strcmp(text(service, "state"), "running") == 0)
            continue;
        printf("%s%s, a service: %s%s%s\n", first ? "\n" : "", text(service, "name"),
               text(service, "state"), text(service, "reason")[0] != '\0' ? ": " : "",
               text(service, "reason"));
        first = false;
    }
}

static void print_table(const json_t *reply, const struct before *before, uint64_t now_ns,
                        uint32_t columns)
{
    const json_t *manager = json_object_get(reply, "manager");
    const json_t *channels = json_object_get(reply, "channels");
    size_t count = json_array_size(channels), losing = 0, troubled = 0, index;
    json_t *channel;
    bool unknown = false;
    struct row heading = {0}, *rows = calloc(count ? count : 1, sizeof *rows);
    if (!rows) {
        fprintf(stderr, "flotilla status: out of memory\n");
        return;
    }
    static const char *const words[] = {"CHANNEL", "STATE"};
    static const char *const numbers[] = {"RECEIVED", "RATE/S", "RECORDED", "WAITING"};
    int widths[COLUMNS] = {0};
    for (int i = 0; i < COLUMNS; i++) {
        const char *word = i < 2                  ? words[i]
                           : i < 2 + LOSS_COLUMNS ? loss_columns[i - 2].heading
                                                  : numbers[i - 2 - LOSS_COLUMNS];
        widths[i] = snprintf(heading.cells[i], sizeof heading.cells[i], "%s", word);
    }
    json_array_foreach(channels, index, channel)
    {
        fill_row(&rows[index], channel, index, rate_of(channel, before, now_ns));
        losing += rows[index].lost > 0;
        unknown = unknown || rows[index].unknown;
        troubled += is_in_trouble(channel);
        for (int i = 0; i < COLUMNS; i++)
            if ((int)strlen(rows[index].cells[i]) > widths[i])
                widths[i] = (int)strlen(rows[index].cells[i]);
    }
    qsort(rows, count, sizeof *rows, by_urgency);

    printf("manager %" JSON_INTEGER_FORMAT ", version %s, since %s: %zu channel%s",
           number(manager, "pid"), text(manager, "version"), text(manager, "started"), count,
           count == 1 ? "" : "s");
    if (troubled)
        printf(", %zu in trouble", troubled);
    if (losing)
        printf(", %zu with losses", losing);
    if (!losing && !troubled)
        printf(", nothing lost%s", unknown ? " that is counted" : "");
    printf("; recordings in %s\n", text(manager, "recordings"));
    if (text(manager, "retention_doubt")[0] != '\0')
        printf("recordings may be kept for longer than retain.age: %s\n",
               text(manager, "retention_doubt"));
    printf("\n");
    print_cells(heading.cells, widths);
    printf("FILE\n");
    for (size_t i = 0; i < count; i++)
        print_file(text(rows[i].channel, "file"), print_cells(rows[i].cells, widths), columns);
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        const char *reason = text(rows[i].channel, "reason");
        if (!reason[0])
            continue;
        printf("%s%s: %s: %s\n", first ? "\n" : "", text(rows[i].channel, "name"),
               text(rows[i].channel, "state"), reason);
        first = false;
    }
    print_services(json_object_get(reply, "services"));
    print_unsent(channels);
    print_latencies(channels);
    free(rows);
}

struct watch {
    const struct ask_options *options;
    struct loop *loop;
    struct loop_timer timer;
    struct before before;
    int code;
};

/* Asks and prints once. An exit code. */
static int show(struct watch *watch)
{
    json_t *reply;
    int code = ask_manager(watch->options, json_pack("{s:s}", "verb", "status"), STATUS_TIMEOUT_MS,
                           false, &reply);
    if (code != EXIT_OK)
        return code;
    uint64_t now_ns = clock_monotonic_ns();
    uint32_t columns = 0;
    if (watch->options->json && watch->options->watch) {
        json_dumpf(reply, stdout,
                   JSON_COMPACT |
                       JSON_REAL_PRECISION(6)); /* a line each, for programs that follow */
        putchar('\n');
    } else if (watch->options->json) {
        code = ask_print_json(reply);
    } else {
        if (terminal_is_output(&columns) && watch->options->watch)
            printf("\033[H\033[2J");
        print_table(reply, &watch->before, now_ns, columns);
        if (!columns && watch->options->watch)
            putchar('\n');
    }
    remember(&watch->before, json_object_get(reply, "channels"), now_ns);
    json_decref(reply);
    return log_end_output() == 0 ? code : EXIT_FAILED;
}

static void show_again(void *context)
{
    struct watch *watch = context;
    watch->code = show(watch);
    if (watch->code != EXIT_OK)
        loop_end(watch->loop);
    else
        loop_arm(watch->loop, &watch->timer, watch->before.at_ns + WATCH_PERIOD_NS);
}

static void interrupted(void *context, enum loop_signal signal)
{
    struct watch *watch = context;
    (void)signal;
    loop_end(watch->loop);
}

static int show_until_interrupted(struct watch *watch)
{
    int error = loop_open(&watch->loop);
    if (error == 0)
        error = loop_signals(watch->loop, interrupted, watch);
    if (error == 0) {
        watch->timer = (struct loop_timer){.due = show_again, .context = watch};
        loop_arm(watch->loop, &watch->timer, clock_monotonic_ns());
        error = loop_run(watch->loop);
    }
    loop_close(watch->loop);
    if (error == 0)
        return watch->code;
    fprintf(stderr, "flotilla status: cannot watch: %s\n", strerror(-error));
    return EXIT_FAILED;
}

int verb_status(int argc, char **argv)
{
    struct ask_options options;
    struct watch watch = {.options = &options};
    int code = ask_read_options(argc, argv, ASK_JSON | ASK_WATCH, &options);
    if (code != EXIT_OK)
        return code;
    code = options.watch ? show_until_interrupted(&watch) : show(&watch);
    json_decref(watch.before.received);
    return code;
}
