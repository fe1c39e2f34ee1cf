/* SPDX-License-Identifier: MIT
 * flotilla-gateway: REST and metrics of a fleet, by HTTP. It reads recordings and asks the manager;
 * it writes nothing, and nothing waits for it. Ends with 0 when asked to, 2 for wrong flags, 78 for
 * a wrong configuration, 79 to be started again at once (the folder of the recordings is another
 * one, or the token has changed), 1 otherwise. `flotilla run` starts it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "command/usage.h"
#include "config/config.h"
#include "gateway/http.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/folder.h"
#include "os/interrupt.h"
#include "os/output.h"
#include "os/sandbox.h"
#include "os/sandbox_reader.h"
#include "os/storage.h"
#include "os/stream.h"

enum { EXIT_RENEW = 79 };

#define LOOK_NS     (1 * NS_PER_S)
#define LISTEN_NS   (5 * NS_PER_S) /* for an earlier gateway to let go of the address */
#define LISTEN_WAIT (100 * NS_PER_MS)
#define TOKEN_MAX   4096u

static const char usage[] =
    "flotilla-gateway: REST and metrics of a fleet, by HTTP\n"
    "\n"
    "  flotilla-gateway -c fleet.yaml\n"
    "  flotilla-gateway --fleet=run --directory=recordings --listen=127.0.0.1:8080\n"
    "  curl http://127.0.0.1:8080/api/v1/channels\n"
    "\n"
    "`flotilla run` starts it where the configuration has `gateway:`.\n"
    "\n"
    "  -c FILE: all of it as the `gateway:` of this configuration has it\n";

/* What it is told, and how that was when it began. */
struct serving {
    struct gateway gateway;
    char token_file[CHANNEL_PATH_BYTES_MAX];
    struct config *config; /* of -c; the names of hosts and origins are its */
    struct loop *loop;
    struct loop_timer look;
    bool has_folder;
    struct folder_place folder;
    uint64_t token_ns;
    int code;
};

static const struct setting flags[] = {
    {"fleet",
     offsetof(struct serving, gateway.runtime),
     {.kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1},
     "runtime folder of the fleet, where its manager is asked"},
    {"directory",
     offsetof(struct serving, gateway.directory),
     {.kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1},
     "folder of the recordings, with a folder of each channel in it"},
    {"listen",
     offsetof(struct serving, gateway.access.listen),
     {.kind = VALUE_ADDRESS},
     "where to serve"},
    {"token-file",
     offsetof(struct serving, token_file),
     {.kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1},
     "file with the token that every request must carry"},
    {"read-only",
     offsetof(struct serving, gateway.read_only),
     {.kind = VALUE_BOOLEAN},
     "whether nothing can be changed through it"},
};

/* ---- being told ---- */

static int fault(const char *word, const char *what)
{
    log_line("%s: %s", word, what);
    log_line("try --help");
    return EXIT_USAGE;
}

/* Adds a name to a list; false: there are too many. */
static bool add_name(const char **names, size_t *count, const char *name)
{
    if (*count == ACCESS_NAMES_MAX)
        return false;
    names[(*count)++] = name;
    return true;
}

static int read_flag(struct serving *serving, const char *word)
{
    struct access *access = &serving->gateway.access;
    char error[VALUE_TEXT_BYTES];
    const char *equals = strchr(word, '=');
    size_t bytes = equals == NULL ? 0 : (size_t)(equals - word);
    if (bytes == 6 && strncmp(word, "--host", 6) == 0)
        return add_name(access->hosts, &access->host_count, equals + 1)
                   ? 0
                   : fault(word, "there are too many");
    if (bytes == 8 && strncmp(word, "--origin", 8) == 0)
        return add_name(access->origins, &access->origin_count, equals + 1)
                   ? 0
                   : fault(word, "there are too many");
    for (size_t k = 0; k < ARRAY_COUNT(flags) && bytes > 2; k++) {
        if (strlen(flags[k].flag) != bytes - 2 || strncmp(word, "--", 2) != 0 ||
            strncmp(flags[k].flag, word + 2, bytes - 2) != 0)
            continue;
        if (value_read(&flags[k].form, equals + 1, (char *)serving + flags[k].offset, error,
                       sizeof(error)) < 0)
            return fault(word, error);
        return 0;
    }
    return fault(word, "there is no such flag; each is --NAME=VALUE, or -c FILE");
}

static bool split(const char **names, size_t *count, char *words)
{
    while (words != NULL && *words != '\0') {
        char *comma = strchr(words, ',');
        if (comma != NULL)
            *comma++ = '\0';
        if (!add_name(names, count, words))
            return false;
        words = comma;
    }
    return true;
}

static int read_configuration(struct serving *serving, const char *given)
{
    struct access *access = &serving->gateway.access;
    struct text messages = {0};
    const char *path = config_find(given);
    int status = config_read(path, CONFIG_RUNS_HERE, &serving->config, &messages);
    if (messages.at != NULL)
        log_text(messages.at);
    text_free(&messages);
    if (status < 0)
        return EXIT_CONFIG;
    struct config *config = serving->config;
    if (config->gateway.family == 0) {
        log_line("%s: it has no gateway: to say where to serve", path);
        return EXIT_CONFIG;
    }
    memcpy(serving->gateway.runtime, config->runtime, sizeof(config->runtime));
    memcpy(serving->gateway.directory, config->directory, sizeof(config->directory));
    memcpy(serving->token_file, config->gateway_token_file, sizeof(config->gateway_token_file));
    access->listen = config->gateway;
    serving->gateway.read_only = config->gateway_read_only;
    if (!split(access->hosts, &access->host_count, config->gateway_hosts) ||
        !split(access->origins, &access->origin_count, config->gateway_origins)) {
        log_line("%s: at most %u allowed_hosts, and origins", path, ACCESS_NAMES_MAX);
        return EXIT_CONFIG;
    }
    return 0;
}

static int read_words(struct serving *serving, int argc, char **argv)
{
    struct gateway *gateway = &serving->gateway;
    if (argc == 3 && strcmp(argv[1], "-c") == 0)
        return read_configuration(serving, argv[2]);
    for (int i = 1; i < argc; i++) {
        int status = read_flag(serving, argv[i]);
        if (status != 0)
            return status;
    }
    if (argc == 1)
        return read_configuration(serving, NULL);
    if (gateway->runtime[0] == '\0' || gateway->directory[0] == '\0' ||
        gateway->access.listen.family == 0)
        return fault(argv[0], "--fleet, --directory and --listen are needed, or -c alone");
    if (!address_is_loopback(&gateway->access.listen) && serving->token_file[0] == '\0')
        return fault(argv[0], "other computers reach this address: --token-file is needed");
    return 0;
}

static int print_help(void)
{
    char text[VALUE_TEXT_BYTES];
    fputs(usage, stdout);
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        printf("  --%s=%s: %s\n", flags[i].flag, value_describe(&flags[i].form, text),
               flags[i].help);
    puts("  --host=NAME: another name by which it may be called; may be given again\n"
         "  --origin=URL: pages of this origin may ask; may be given again");
    return log_end_output();
}

/* ---- serving ---- */

static int read_token(struct serving *serving)
{
    uint8_t *text = NULL;
    size_t bytes = 0;
    struct storage_entry entry;
    if (serving->token_file[0] == '\0')
        return 0;
    int status = file_read_whole(serving->token_file, TOKEN_MAX, &text, &bytes);
    if (status == 0)
        status = storage_look_at(serving->token_file, &entry);
    if (status < 0) {
        log_line("%s: %s", serving->token_file, file_error_text(status));
        free(text);
        return EXIT_FAILURE;
    }
    serving->token_ns = entry.modified_ns;
    bool good = access_set_token(&serving->gateway.access, (const char *)text, bytes);
    free(text);
    if (!good)
        log_line("%s: a token is one line of %u to %u letters without blanks; to make one: head -c "
                 "24 /dev/urandom | base64",
                 serving->token_file, ACCESS_TOKEN_BYTES_MIN, ACCESS_TOKEN_BYTES_MAX);
    return good ? 0 : EXIT_FAILURE;
}

static bool has_changed(const struct serving *serving)
{
    struct folder_place place;
    struct storage_entry entry;
    bool there = folder_place_at(serving->gateway.directory, &place) == 0;
    if (there && (!serving->has_folder || place.device != serving->folder.device ||
                  place.inode != serving->folder.inode))
        return true;
    return serving->token_file[0] != '\0' && storage_look_at(serving->token_file, &entry) == 0 &&
           entry.modified_ns != serving->token_ns;
}

/* What was opened for the sandbox is all that can be read: of another folder, another process. */
static void look(void *context)
{
    struct serving *serving = context;
    if (has_changed(serving)) {
        log_line("the recordings' folder or the token has changed: to be started again");
        serving->code = EXIT_RENEW;
        loop_end(serving->loop);
        return;
    }
    loop_arm(serving->loop, &serving->look, clock_monotonic_ns() + LOOK_NS);
}

static void caught(void *context, enum loop_signal signal)
{
    struct serving *serving = context;
    (void)signal; /* there is nothing to read anew: `flotilla run` starts another instead */
    loop_end(serving->loop);
}

static void enter_sandbox(struct serving *serving)
{
    struct gateway *gateway = &serving->gateway;
    descriptor_t folders[2];
    uint32_t count = 0;
    descriptor_t recordings = folder_open_there(gateway->directory);
    descriptor_t runtime = folder_open_there(gateway->runtime);
    serving->has_folder = recordings >= 0 && folder_place(recordings, &serving->folder) == 0;
    if (recordings >= 0)
        folders[count++] = recordings;
    if (runtime >= 0)
        folders[count++] = runtime;
    int lacks = sandbox_only_read(folders, count);
    if (lacks < 0)
        log_line("the sandbox is not whole: %s", strerror(-lacks));
    else if (lacks & SANDBOX_FILES)
        log_line("the sandbox is not whole: %s", sandbox_explain(SANDBOX_FILES).what);
    descriptor_close(recordings);
    descriptor_close(runtime);
}

/* An earlier gateway of the fleet may be on its way out. */
static descriptor_t listen_there(const struct address *address)
{
    uint64_t end_ns = clock_monotonic_ns() + LISTEN_NS;
    descriptor_t listener;
    while ((listener = stream_listen(address)) == -EADDRINUSE && clock_monotonic_ns() < end_ns)
        clock_sleep_until(clock_monotonic_ns() + LISTEN_WAIT);
    return listener;
}

static int serve(struct serving *serving)
{
    struct http *http;
    struct hub *hub;
    char text[NET_ADDRESS_TEXT_BYTES];
    const struct address *listen = &serving->gateway.access.listen;
    int code = read_token(serving);
    if (code != 0)
        return code;
    int status = loop_open(&serving->loop);
    if (status == 0)
        status = loop_signals(serving->loop, caught, serving);
    descriptor_t listener = status == 0 ? listen_there(listen) : status;
    if (listener < 0) {
        log_line("cannot listen at %s: %s", net_write_address(text, listen), strerror(-listener));
        return EXIT_FAILURE;
    }
    enter_sandbox(serving);
    status = hub_start(&hub, &serving->gateway);
    if (status == 0)
        status = http_start(&http, serving->loop, listener, &serving->gateway, hub);
    if (status < 0) {
        log_line("cannot serve: %s", strerror(-status));
        return EXIT_FAILURE;
    }
    serving->look = (struct loop_timer){.due = look, .context = serving};
    look(serving);
    log_line("serves at http://%s/", net_write_address(text, listen));
    status = loop_run(serving->loop);
    if (status < 0) {
        log_line("%s", strerror(-status));
        return EXIT_FAILURE;
    }
    return serving->code;
}

int main(int argc, char **argv)
{
    static struct serving serving;
    descriptor_fill_standard();
    output_start();
    log_use(output_line);
    log_start("flotilla-gateway", NULL);
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return print_help();
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("flotilla-gateway " FLOTILLA_VERSION);
        return log_end_output();
    }
    int code = read_words(&serving, argc, argv);
    if (code == 0)
        code = serve(&serving);
    /* The other threads have nothing that would be lost with them. */
    fflush(stdout);
    _Exit(code);
}
