/* SPDX-License-Identifier: MIT
 * flotilla-overview: keeps the overviews of a fleet's channels up, in turn, when the machine has
 * nothing else to do. Ends with 0 when asked to, 2 for wrong flags, 79 to be followed at once by a
 * fresh one, 1 otherwise. `flotilla run` starts it; what it has not noted its successor does again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "channel/mounted.h"
#include "channel/settings.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/folder.h"
#include "os/idle.h"
#include "os/interrupt.h"
#include "os/output.h"
#include "os/path.h"
#include "os/sandbox.h"
#include "overview/builder.h"
#include "overview/compact.h"

enum { EXIT_FLAGS = 2, EXIT_RENEW = 79 };

#define STEP_BYTES       (16u << 20) /* of a channel's recordings, before the next one's turn */
#define PAUSE_NS         (1 * NS_PER_S)
#define TROUBLE_PAUSE_NS (10 * NS_PER_S)
#define LOCKED_NS        (30 * NS_PER_S) /* until what somebody else builds is tried again */
#define CHANNEL_FILES    12              /* descriptors of a channel at work */

static const char usage[] =
    "flotilla-overview: min-max levels of recordings, kept up to date in the background\n"
    "\n"
    "  flotilla-overview --directory=recordings --channel=engine --channel=position\n"
    "\n"
    "`flotilla run` starts it where the configuration has `overview:`.\n"
    "\n";

struct overview_settings {
    char fleet[CHANNEL_PATH_BYTES_MAX];
    char directory[CHANNEL_PATH_BYTES_MAX], mounted[CHANNEL_PATH_BYTES_MAX];
    uint32_t factor, levels;
    uint64_t age_ms, sync_ms, compact_ms;
    bool overview;
    enum compact_codec compact_codec;
    enum direct_mode direct_io;
    const char **channels; /* words of the command line */
    uint32_t channel_count;
};

static const char *const direct_names[] = {"auto", "required", "off", NULL};
static const char *const codec_words[] = COMPACT_CODEC_NAMES;
static const struct value_form name_form = {.kind = VALUE_NAME};
static const struct setting flags[] = {
    {"fleet",
     offsetof(struct overview_settings, fleet),
     {.kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1},
     "runtime folder of the fleet it is of, by which the fleet's next manager knows it"},
    {"directory",
     offsetof(struct overview_settings, directory),
     {.kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1},
     "folder of the recordings, with a folder of each channel in it"},
    {"mounted",
     offsetof(struct overview_settings, mounted),
     {.kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1},
     "what has to be mounted before anything is written"},
    {"factor",
     offsetof(struct overview_settings, factor),
     {.kind = VALUE_COUNT, .low = OVERVIEW_FACTOR_MIN, .high = OVERVIEW_FACTOR_MAX},
     "datums a window, and windows of one level in one of the next"},
    {"levels",
     offsetof(struct overview_settings, levels),
     {.kind = VALUE_COUNT, .low = 1, .high = OVERVIEW_LEVELS_MAX},
     "how many levels"},
    {"age",
     offsetof(struct overview_settings, age_ms),
     {.kind = VALUE_DURATION, .low = 1000, .high = 100ull * 366 * 86400000, .zero = "for ever"},
     "how long levels are kept"},
    {"sync",
     offsetof(struct overview_settings, sync_ms),
     {.kind = VALUE_DURATION, .low = 1, .high = 86400000},
     "what is younger in an open recording is not taken yet"},
    {"overview",
     offsetof(struct overview_settings, overview),
     {.kind = VALUE_BOOLEAN},
     "whether levels are written at all"},
    {"compact",
     offsetof(struct overview_settings, compact_ms),
     {.kind = VALUE_DURATION, .low = 1000, .high = 100ull * 366 * 86400000, .zero = "never"},
     "finished recordings older than this are rewritten with real compression"},
    {"compact-codec",
     offsetof(struct overview_settings, compact_codec),
     {.kind = VALUE_CHOICE, .choices = codec_words},
     "by what"},
    {"direct-io",
     offsetof(struct overview_settings, direct_io),
     {.kind = VALUE_CHOICE, .choices = direct_names},
     "whether levels are written past the cache"},
};

/* ---- flags ---- */

static int fault(const char *word, const char *what)
{
    log_line("%s: %s", word, what);
    log_line("try --help");
    return EXIT_FLAGS;
}

static int read_channel(struct overview_settings *settings, const char *word, const char *value)
{
    char name[CHANNEL_NAME_BYTES_MAX + 1], error[VALUE_TEXT_BYTES];
    if (value_read(&name_form, value, name, error, sizeof(error)) < 0)
        return fault(word, error);
    settings->channels[settings->channel_count++] = value;
    return 0;
}

/* Each flag is one word, "--name=value". */
static int read_flags(struct overview_settings *settings, int argc, char **argv)
{
    char error[VALUE_TEXT_BYTES];
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        size_t bytes = equals == NULL ? 0 : (size_t)(equals - word);
        if (bytes == 9 && strncmp(word, "--channel", 9) == 0) {
            int status = read_channel(settings, word, equals + 1);
            if (status != 0)
                return status;
            continue;
        }
        const struct setting *flag = NULL;
        for (size_t k = 0; k < ARRAY_COUNT(flags) && bytes > 2; k++)
            if (strlen(flags[k].flag) == bytes - 2 &&
                strncmp(flags[k].flag, word + 2, bytes - 2) == 0 && strncmp(word, "--", 2) == 0)
                flag = &flags[k];
        if (flag == NULL)
            return fault(word, "there is no such flag; each is --NAME=VALUE");
        if (value_read(&flag->form, equals + 1, (char *)settings + flag->offset, error,
                       sizeof(error)) < 0)
            return fault(word, error);
    }
    if (settings->directory[0] == '\0' || settings->channel_count == 0)
        return fault(argv[0], "--directory and --channel are needed");
    return 0;
}

static int print_help(void)
{
    char text[VALUE_TEXT_BYTES];
    fputs(usage, stdout);
    printf("  --channel=NAME: may be given again\n");
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        printf("  --%s=%s: %s\n", flags[i].flag, value_describe(&flags[i].form, text),
               flags[i].help);
    return log_end_output();
}

/* ---- working ---- */

struct work {
    const struct overview_settings *settings;
    struct builder **builders;    /* one a channel; NULL: somebody else builds it, or nobody */
    struct compactor *compactors; /* the same; a descriptor below 0: none */
    int *told;                    /* the trouble of each that was told, a negative errno */
    bool locked;                  /* one is NULL */
};

static void tell(const char *channel, const char *what)
{
    log_line("%s: %s", channel, what);
}

static void tell_trouble(struct work *work, uint32_t index, int status)
{
    if (work->told[index] != status && status != 0)
        log_line("%s: %s", work->settings->channels[index], strerror(-status));
    work->told[index] = status;
}

/* Opens what cannot be opened any more inside the sandbox. */
static int open_builders(struct work *work)
{
    const struct overview_settings *settings = work->settings;
    struct builder_options options = {.factor = settings->factor,
                                      .levels = settings->levels,
                                      .sync_age_ns = 3 * settings->sync_ms * NS_PER_MS + NS_PER_S,
                                      .age_ns = settings->age_ms * NS_PER_MS,
                                      .direct = settings->direct_io != DIRECT_OFF,
                                      .tell = tell};
    for (uint32_t i = 0; i < settings->channel_count; i++) {
        struct compactor *compactor = &work->compactors[i];
        char folder[OVERVIEW_PATH_BYTES];
        int status = path_join(settings->directory, settings->channels[i], folder, sizeof(folder));
        if (status == 0 && settings->overview)
            status = builder_open(&work->builders[i], folder, settings->channels[i], &options);
        *compactor = (struct compactor){.folder = text_copy(folder),
                                        .channel = settings->channels[i],
                                        .descriptor = DESCRIPTOR_NONE,
                                        .age_ns = settings->compact_ms * NS_PER_MS,
                                        .codec = settings->compact_codec == COMPACT_ZSTANDARD
                                                     ? CODEC_ZSTANDARD
                                                     : CODEC_DEFLATE,
                                        .direct = options.direct,
                                        .tell = tell};
        if (status == 0 && settings->compact_ms > 0 && compactor->folder != NULL)
            status = compact_open(compactor);
        if (status == -ENOMEM || compactor->folder == NULL)
            return -ENOMEM;
        if (status < 0 && status != -EWOULDBLOCK)
            tell_trouble(work, i, status);
        work->locked |= status < 0;
    }
    return 0;
}

/* So that there are descriptors for all channels at once: the sandbox leaves a few more than there
 * are. */
static void enter_sandbox(const struct work *work, descriptor_t folder)
{
    static const enum sandbox_lack known[] = {SANDBOX_FILES, SANDBOX_CALLS, SANDBOX_OVERRIDE};
    size_t count = (size_t)work->settings->channel_count * CHANNEL_FILES;
    descriptor_t *spare = calloc(count, sizeof(*spare));
    int lacks = sandbox_enter(folder);
    for (size_t i = 0; i < count && spare != NULL; i++)
        spare[i] = descriptor_copy(folder);
    int sealed = sandbox_seal(NULL);
    for (size_t i = 0; i < count && spare != NULL; i++)
        descriptor_close(spare[i]);
    free(spare);
    if (lacks < 0 || sealed < 0)
        log_line("the sandbox is not whole: %s", strerror(lacks < 0 ? -lacks : -sealed));
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (lacks >= 0 && sealed >= 0 && (lacks | sealed) & (int)known[i])
            log_line("the sandbox is not whole: %s", sandbox_explain(known[i]).what);
}

/* A piece of a channel's work. 1: there is more; 0; or a negative errno. */
static int work_channel(struct work *work, uint32_t index)
{
    struct builder *builder = work->builders[index];
    struct compactor *compactor = &work->compactors[index];
    int status = builder != NULL ? builder_step(builder, STEP_BYTES) : 0;
    if (status != 0 || compactor->descriptor < 0)
        return status;
    return compact_step(compactor, builder != NULL ? builder_number(builder) : UINT64_MAX);
}

/* Each channel in turn, until it is asked to end. */
static int build(struct work *work)
{
    uint64_t retry_ns = clock_monotonic_ns() + LOCKED_NS;
    while (!interrupt_seen()) {
        bool more = false, trouble = false;
        for (uint32_t i = 0; i < work->settings->channel_count && !interrupt_seen(); i++) {
            int status = work_channel(work, i);
            if (status == -EINTR)
                break;
            tell_trouble(work, i, status < 0 ? status : 0);
            trouble |= status < 0;
            more |= status > 0;
            if (status == -ENOENT || status == -ESTALE) /* the folder has gone: made by the next */
                return EXIT_FAILURE;
        }
        if (work->locked && clock_monotonic_ns() >= retry_ns)
            return EXIT_RENEW;
        if (!more)
            interrupt_wait(trouble ? TROUBLE_PAUSE_NS : PAUSE_NS);
    }
    return interrupt_hands_over() ? EXIT_RENEW : 0;
}

/* Waits until what has to be mounted is. False if it is to end first. */
static bool await_mount(const struct overview_settings *settings)
{
    char text[CHANNEL_PATH_BYTES_MAX + 40];
    bool told = false;
    while (!mounted_is(settings->mounted, settings->directory, NULL) && !interrupt_seen()) {
        if (!told)
            log_line("waiting: %s",
                     mounted_explain(settings->mounted, settings->directory, text, sizeof(text)));
        told = true;
        interrupt_wait(PAUSE_NS);
    }
    return !interrupt_seen();
}

static int run(const struct overview_settings *settings)
{
    if (!await_mount(settings))
        return 0;
    descriptor_t folder = folder_open(settings->directory);
    if (folder < 0) {
        log_line("%s: %s", settings->directory, strerror(-folder));
        return EXIT_FAILURE;
    }
    int status = idle_work();
    if (status < 0)
        log_line("goes on at the usual priority: %s", strerror(-status));
    struct work work = {.settings = settings,
                        .builders = calloc(settings->channel_count, sizeof(struct builder *)),
                        .compactors = calloc(settings->channel_count, sizeof(struct compactor)),
                        .told = calloc(settings->channel_count, sizeof(int))};
    bool all = work.builders != NULL && work.compactors != NULL && work.told != NULL;
    status = all ? open_builders(&work) : -ENOMEM;
    int code = EXIT_FAILURE;
    if (status == 0) {
        enter_sandbox(&work, folder);
        code = build(&work);
    } else {
        log_line("%s", strerror(-status));
    }
    for (uint32_t i = 0; i < settings->channel_count && all; i++) {
        builder_close(work.builders[i]);
        if (work.compactors[i].folder != NULL)
            descriptor_close(work.compactors[i].descriptor);
        free((void *)(uintptr_t)work.compactors[i].folder);
    }
    free(work.builders);
    free(work.compactors);
    free(work.told);
    descriptor_close(folder);
    return code;
}

int main(int argc, char **argv)
{
    struct overview_settings settings = {
        .factor = OVERVIEW_FACTOR, .levels = OVERVIEW_LEVELS, .sync_ms = 1000, .overview = true};
    descriptor_fill_standard();
    output_start();
    file_limit_is_error();
    log_use(output_line);
    log_start("flotilla-overview", NULL);
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return print_help();
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("flotilla-overview " FLOTILLA_VERSION);
        return log_end_output();
    }
    settings.channels = calloc((size_t)argc, sizeof(*settings.channels));
    if (settings.channels == NULL)
        return EXIT_FAILURE;
    interrupt_install();
    int code = read_flags(&settings, argc, argv);
    if (code == 0)
        code = run(&settings);
    free(settings.channels);
    return code;
}
