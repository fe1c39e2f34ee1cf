/* SPDX-License-Identifier: MIT
 * flotilla-export: recordings as columns, in the formats that others open. A program of its own, so
 * that what it links nobody else does; `flotilla export` runs it. Relies on export/run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "base/units.h"
#include "command/fields.h"
#include "command/inputs.h"
#include "command/options.h"
#include "command/usage.h"
#include "export/formats.h"
#include "export/run.h"
#include "os/descriptor.h"
#include "os/file.h"
#include "os/idle.h"
#include "os/made.h"

static const char help_head[] =
    "usage: flotilla export CHANNEL|FILE|FOLDER... -o FILE [--format NAME] [--fields PATH,...]\n"
    "                       [--from T] [--to T] [--span-by time] [--every N] [--time FIELD]\n"
    "                       [--time-unit UNIT] [--time-as text|s|ns] [--gzip[=N]] [--idle]\n"
    "\n"
    "Writes recordings as columns, one table a channel, for the programs that people analyse data\n"
    "with. Reads what 'flotilla cat' reads: finished, open, damaged, of other programs.\n"
    "\n"
    "  flotilla export recordings/engine -o engine.h5\n"
    "  flotilla export recordings -o all.h5 --from -1h\n"
    "  flotilla export recordings/engine -o engine.h5 --fields time,speed,position.lat --gzip\n"
    "  flotilla export engine gps -o both.csv --every 10ms --from -1h\n"
    "  flotilla export recordings -o all.mf4 --from -10min\n"
    "  flotilla export recordings/engine -o - --format csv --time-as s | head\n"
    "\n"
    "  -c, --config FILE   the configuration whose CHANNELs are meant\n"
    "  -o, --output FILE   what to write; its extension says the format. It is there whole, or as\n"
    "                      it was: also after a crash, also where it stood before\n"
    "  --format NAME       the format, whatever FILE is called\n"
    "  --fields PATH,...   only these fields ('flotilla schema' lists them)\n"
    "  --from T            leave out what came in before T ...\n"
    "  --to T              ... and what came in at T or later\n"
    "                      (T: " TIMESTAMP_FORMS ")\n"
    "  --span-by time      --from and --to are of the channels' own time, where they have one\n"
    "  --every N           of each channel only every Nth datum; or\n"
    "  --every 10ms        all channels as one table, a row each 10 ms with what each had last\n"
    "  --decimate min-max:N  of each N datums two: the least of every number, and the greatest\n"
    "  --time FIELD        the field that says the time, or 'arrival': when the datum came in.\n"
    "                      Else the recording's own, else the first field that is a timestamp\n"
    "  --time-unit UNIT    in which that field counts, where the schema does not say: s, ms, us, "
    "ns\n"
    "  --time-as text|s|ns times in text (CSV) as RFC 3339 (the default), or since 1970\n"
    "  --gzip[=N]          compressed, where the format knows that: from 1, fast and the default, "
    "to\n"
    "                      12\n"
    "  --idle              gives way to everything else, on the processor and the disk\n"
    "\n"
    "Formats:\n";

static const char help_tail[] =
    "\n"
    "Exit: 0 ok, 1 failed (FILE is as it was), 2 usage, 3 written, but damage was met: what is\n"
    "readable is there, what is not is told on stderr and in the file; 4 written, but something "
    "is\n"
    "over a limit of this program or in a codec that it does not know.\n";

static void print_help(void)
{
    const struct export_format *format;
    fputs(help_head, stdout);
    for (size_t i = 0; (format = formats_at(i)) != NULL; i++)
        printf("  %-8s (%s) %s%s%s%s\n", format->name, format->extensions, format->summary,
               format->left_out ? " (" : "", format->left_out ? format->left_out : "",
               format->left_out ? ")" : "");
    fputs(help_tail, stdout);
}

/* What the options are read into. */
struct words {
    struct fields fields;
    const char *config, *output, *format, *time, *time_unit, *time_as;
    const char *every, *decimate, *span_by;
    uint64_t gzip;
    bool idle;
};

static int choose_format(struct export_task *task, const struct words *words)
{
    task->format =
        words->format != NULL ? formats_named(words->format) : formats_of_file(words->output);
    if (task->format != NULL && task->format->left_out != NULL) {
        fprintf(stderr, "flotilla export: %s: this flotilla-export %s\n", task->format->name,
                task->format->left_out);
        return EXIT_FAILED;
    }
    if (task->format != NULL)
        return EXIT_OK;
    struct text names = {0};
    const struct export_format *format;
    for (size_t i = 0; (format = formats_at(i)) != NULL; i++)
        text_add(&names, "%s%s (%s)", i > 0 ? ", " : "", format->name, format->extensions);
    int code = words->format != NULL
                   ? verb_usage("export", "there is no format \"%s\": %s", words->format, names.at)
                   : verb_usage("export", "which format is \"%s\" to be? --format NAME: %s",
                                words->output, names.at);
    text_free(&names);
    return code;
}

/* A number of datums, or a time. */
static int take_every(struct export_task *task, const char *every)
{
    uint64_t ms;
    if (every == NULL || units_read_count(every, 1, UINT64_MAX, &task->every) == 0)
        return EXIT_OK;
    if (units_read_duration(every, &ms) < 0 || ms == 0 || ms > UINT32_MAX)
        return verb_usage("export",
                          "--every is a number of datums from 1, or a time (10ms, 1s), "
                          "not \"%s\"",
                          every);
    task->every_ns = ms * 1000000;
    if (task->format->rows == EXPORT_DATUMS)
        return verb_usage("export", "%s holds datums as they were recorded: --every takes a number",
                          task->format->name);
    return EXIT_OK;
}

static int take_decimate(struct export_task *task, const struct words *words)
{
    static const char algorithm[] = "min-max:";
    size_t bytes = sizeof(algorithm) - 1;
    if (words->decimate == NULL)
        return EXIT_OK;
    if (strncmp(words->decimate, algorithm, bytes) != 0 ||
        units_read_count(words->decimate + bytes, 2, UINT64_MAX, &task->decimate) < 0)
        return verb_usage("export", "--decimate is min-max:N, with N from 2, not \"%s\"",
                          words->decimate);
    if (words->every != NULL)
        return verb_usage("export", "--decimate or --every, one of them");
    return EXIT_OK;
}

static int check_words(struct export_task *task, const struct words *words)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};
    static const char *const clocks[] = {
        [EXPORT_CLOCK_TEXT] = "text", [EXPORT_CLOCK_SECONDS] = "s", [EXPORT_CLOCK_NS] = "ns"};
    for (size_t i = 0; words->time_unit != NULL && i < ARRAY_COUNT(units); i++)
        if (strcmp(units[i].name, words->time_unit) == 0)
            task->choice.time_unit_ns = units[i].ns;
    if (words->time_unit != NULL && task->choice.time_unit_ns == 0)
        return verb_usage("export", "--time-unit is s, ms, us or ns, not \"%s\"", words->time_unit);
    if (words->time_as != NULL && !task->format->clock)
        return verb_usage("export", "%s knows no --time-as", task->format->name);
    size_t clock = 0;
    while (words->time_as != NULL && strcmp(clocks[clock], words->time_as) != 0)
        if (++clock == ARRAY_COUNT(clocks))
            return verb_usage("export", "--time-as is text, s or ns, not \"%s\"", words->time_as);
    task->options.clock = (enum export_clock)clock;
    if (words->span_by != NULL && strcmp(words->span_by, "time") != 0 &&
        strcmp(words->span_by, "arrival") != 0)
        return verb_usage("export", "--span-by is time or arrival, not \"%s\"", words->span_by);
    task->by_own = words->span_by != NULL && strcmp(words->span_by, "time") == 0;
    if (strcmp(words->output, "-") == 0 && !task->format->pipe && !made_is_there())
        return verb_usage("export", "%s is not written from front to back: -o needs a file",
                          task->format->name);
    if (words->gzip > 0 && !task->format->gzip)
        return verb_usage("export", "%s knows no --gzip", task->format->name);
    return EXIT_OK;
}

/* What the file says of its origin: the command as it was given. */
static char *join(int argc, char **argv)
{
    struct text text = {0};
    text_add_string(&text, "flotilla export");
    for (int i = 1; i < argc; i++)
        text_add(&text, " %s", argv[i]);
    return text_take(&text);
}

static int export(struct export_task *task, struct words *words, int files, char **paths)
{
    if (!fields_parse(&words->fields, "export"))
        return EXIT_USAGE;
    task->choice.fields = words->fields.paths;
    task->choice.field_count = words->fields.count;
    task->choice.wanted = calloc(words->fields.count + 1, sizeof(*task->choice.wanted));
    task->choice.time = words->time;
    task->choice.rows = task->format->rows;
    task->options.gzip = (unsigned)words->gzip;
    task->options.fields = words->fields.paths;
    task->options.field_count = words->fields.count;
    task->target = words->output;
    if (task->choice.wanted == NULL) {
        fprintf(stderr, "flotilla export: %s\n", strerror(ENOMEM));
        return EXIT_FAILED;
    }
    int code = inputs_list_channels(&task->catalog, words->config, files, paths);
    if (code == EXIT_OK)
        code = export_run(task);
    free(task->choice.wanted);
    return code;
}

static int run(int argc, char **argv)
{
    struct export_task task = {.span = TIME_SPAN_ALL};
    struct words words = {0};
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &words.config},
        {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .into = &words.output},
        {.name = "format", .kind = OPTION_TEXT, .into = &words.format},
        {.name = "fields", .kind = OPTION_TEXT, .into = &words.fields.given},
        {.name = "from", .kind = OPTION_TIME, .into = &task.span.from_ns},
        {.name = "to", .kind = OPTION_TIME, .into = &task.span.to_ns},
        {.name = "decimate", .kind = OPTION_TEXT, .into = &words.decimate},
        {.name = "span-by", .kind = OPTION_TEXT, .into = &words.span_by},
        {.name = "idle", .kind = OPTION_FLAG, .into = &words.idle},
        {.name = "every", .kind = OPTION_TEXT, .into = &words.every},
        {.name = "time", .kind = OPTION_TEXT, .into = &words.time},
        {.name = "time-unit", .kind = OPTION_TEXT, .into = &words.time_unit},
        {.name = "time-as", .kind = OPTION_TEXT, .into = &words.time_as},
        {.name = "gzip", .kind = OPTION_LEVEL, .into = &words.gzip, .high = 12},
    };
    char *command = join(argc, argv);
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    int code = files < 0              ? EXIT_USAGE
               : files == 0           ? verb_usage("export", "which FILE or FOLDER?")
               : words.output == NULL ? verb_usage("export", "where to? -o FILE")
                                      : choose_format(&task, &words);
    if (code == EXIT_OK)
        code = check_words(&task, &words);
    if (code == EXIT_OK)
        code = take_every(&task, words.every);
    if (code == EXIT_OK)
        code = take_decimate(&task, &words);
    if (code == EXIT_OK)
        code = inputs_check_span("export", &task.span);
    task.options.command = command != NULL ? command : "";
    if (words.idle)
        idle_work(); /* as far as the system lets us */
    if (code == EXIT_OK)
        code = export(&task, &words, files, argv + 1);
    fields_free(&words.fields);
    catalog_free(&task.catalog);
    free(command);
    return code;
}

int main(int argc, char **argv)
{
    descriptor_fill_standard();
    file_limit_is_error();
    log_start("flotilla export", NULL);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            return log_end_output() == 0 ? EXIT_OK : EXIT_FAILED;
        }
        if (strcmp(argv[i], "--version") == 0) {
            puts("flotilla-export " FLOTILLA_VERSION);
            return log_end_output() == 0 ? EXIT_OK : EXIT_FAILED;
        }
    }
    static char name[] = "export";
    argv[0] = name; /* what messages are led by */
    return run(argc, argv);
}
