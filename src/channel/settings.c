/* SPDX-License-Identifier: MIT
 * One table reads a relay's command line, prints its help, and writes the command line the manager
 * starts it with; the keys of fleet.yaml go by it, too. Part of the static relay: no allocation, no
 * files but stdout for help. Relies on channel/value for every single value. */
#include "channel/settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/nearest.h"
#include "channel/value.h"

static const char *const algorithm_names[] = {
    [ALGORITHM_DOWNSAMPLE] = "downsample",
    [ALGORITHM_AVERAGE] = "average",
    [ALGORITHM_MIN_MAX] = "min-max",
    [ALGORITHM_RMS] = "rms",
    [ALGORITHM_RMS + 1] = NULL,
};

static const char *const encoding_names[] = {
    [ENCODING_DATUM] = "datum",         [ENCODING_SINGLE_OBJECT] = "single-object",
    [ENCODING_CONFLUENT] = "confluent", [ENCODING_OPAQUE] = "opaque",
    [ENCODING_OPAQUE + 1] = NULL,
};

static const char *const on_invalid_names[] = {
    [ON_INVALID_QUARANTINE] = "quarantine",
    [ON_INVALID_DROP] = "drop",
    [ON_INVALID_DROP + 1] = NULL,
};

static const char *const direct_mode_names[] = {
    [DIRECT_AUTO] = "auto",
    [DIRECT_REQUIRED] = "required",
    [DIRECT_OFF] = "off",
    [DIRECT_OFF + 1] = NULL,
};

static const char *const offload_names[] = {
    [OFFLOAD_AUTO] = "auto",
    [OFFLOAD_OFF] = "off",
    [OFFLOAD_OFF + 1] = NULL,
};

static const char *const latency_names[] = {
    [LATENCY_OFF] = "off",
    [LATENCY_ON] = "on",
    [LATENCY_ON + 1] = NULL,
};

/* VALUE_CHOICE and VALUE_COUNT write through pointers of these sizes. */
_Static_assert(sizeof(enum algorithm) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum direct_mode) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum encoding) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum on_invalid) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum offload) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum latency_mode) == sizeof(int), "an enum is an int");

#define PATH                                                                                       \
    {                                                                                              \
        .kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1                           \
    }
#define FLAG(member) offsetof(struct channel_settings, member)

const struct setting settings_table[SETTING_COUNT] = {
    [SETTING_NAME] = {"name", FLAG(name), {.kind = VALUE_NAME}, "the channel's name"},
    [SETTING_LAYOUT] = {"layout", FLAG(layout), PATH,
                        "the compiled schema, made by `flotilla schema -o`"},
    [SETTING_DIRECTORY] = {"directory", FLAG(directory), PATH,
                           "folder of the recordings; without it nothing is recorded"},
    [SETTING_MOUNTED] = {"mounted", FLAG(mounted), PATH,
                         "record only while this is mounted; true: the directory, or one above"},
    [SETTING_LISTEN] = {"listen",
                        FLAG(listen),
                        {.kind = VALUE_ADDRESS},
                        "where datagrams arrive; a group is joined"},
    [SETTING_INTERFACE] = {"interface",
                           FLAG(interface),
                           {.kind = VALUE_INTERFACE},
                           "for joining and sending; else the routing table chooses"},
    [SETTING_LISTEN_INTERFACE] = {"listen-interface",
                                  FLAG(listen_interface),
                                  {.kind = VALUE_INTERFACE},
                                  "where datagrams come in, instead of interface"},
    [SETTING_SEND_INTERFACE] = {"send-interface",
                                FLAG(send_interface),
                                {.kind = VALUE_INTERFACE},
                                "for sending on, instead of interface"},
    [SETTING_SOURCES] =
        {"source",
         FLAG(sources),
         {.kind = VALUE_PREFIX},
         "who may send, else anybody; a single address on a group joins source-specifically"},
    [SETTING_FULL] = {"full",
                      FLAG(full),
                      {.kind = VALUE_ADDRESS},
                      "where every datagram is sent on to"},
    [SETTING_DECIMATED] = {"decimated",
                           FLAG(decimated),
                           {.kind = VALUE_ADDRESS},
                           "where the decimated stream is sent to"},
    [SETTING_FACTOR] = {"factor",
                        FLAG(factor),
                        {.kind = VALUE_COUNT, .low = 1, .high = 1000000000},
                        "datums in a window of decimation"},
    [SETTING_ALGORITHM] = {"algorithm",
                           FLAG(algorithm),
                           {.kind = VALUE_CHOICE, .choices = algorithm_names},
                           "what becomes of a window of decimation"},
    [SETTING_ENCODING] = {"encoding",
                          FLAG(encoding),
                          {.kind = VALUE_CHOICE, .choices = encoding_names},
                          "what stands before each datum in a datagram; opaque takes any bytes"},
    [SETTING_SCHEMA_ID] = {"schema-id",
                           FLAG(schema_id),
                           {.kind = VALUE_COUNT, .low = 1, .high = UINT32_MAX},
                           "the schema's id in encoding: confluent"},
    [SETTING_ON_INVALID] =
        {"on-invalid",
         FLAG(on_invalid),
         {.kind = VALUE_CHOICE, .choices = on_invalid_names},
         "whether datagrams that do not fit the schema are kept in a file of rejects"},
    [SETTING_TTL] = {"ttl",
                     FLAG(ttl),
                     {.kind = VALUE_COUNT, .low = 0, .high = 255},
                     "hops that what is sent may make"},
    [SETTING_BUFFER] = {"buffer",
                        FLAG(buffer_bytes),
                        {.kind = VALUE_BYTES, .low = 1u << 20, .high = SETTINGS_BUFFER_BYTES_MAX},
                        "limit of the memory that bridges a disk stall"},
    [SETTING_RECEIVE_QUEUE] =
        {"receive-queue",
         FLAG(receive_bytes),
         {.kind = VALUE_BYTES, .low = 4096, .high = 1u << 30},
         "queue to ask the kernel for: what arrives while a relay is replaced waits there"},
    [SETTING_OFFLOAD] = {"offload",
                         FLAG(offload),
                         {.kind = VALUE_CHOICE, .choices = offload_names},
                         "whether datagrams are taken and sent coalesced where the system can"},
    [SETTING_LATENCY] = {"latency",
                         FLAG(latency),
                         {.kind = VALUE_CHOICE, .choices = latency_names},
                         "whether the time from arrival to sending is measured, for status"},
    [SETTING_DIRECT_IO] = {"direct-io",
                           FLAG(direct_io),
                           {.kind = VALUE_CHOICE, .choices = direct_mode_names},
                           "whether recordings are written past the page cache"},
    [SETTING_SYNC] = {"sync",
                      FLAG(sync_ms),
                      {.kind = VALUE_DURATION, .low = 1, .high = 3600000},
                      "at most this much is lost at a power cut"},
    [SETTING_ROTATE_SIZE] =
        {"rotate-size",
         FLAG(rotate_bytes),
         {.kind = VALUE_BYTES, .low = 4096, .high = 1ull << 50, .zero = "never by size"},
         "a recording that has grown to this is followed by a new one"},
    [SETTING_ROTATE_AGE] =
        {"rotate-age",
         FLAG(rotate_age_ms),
         {.kind = VALUE_DURATION, .low = 100, .high = 3660ull * 86400000, .zero = "never by age"},
         "a recording that is as old as this is followed by a new one"},
};

static bool flag_is_list(const struct setting *flag)
{
    return flag->form.kind == VALUE_PREFIX;
}

__attribute__((format(printf, 3, 4))) static int fault(char *error, size_t error_bytes,
                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (error_bytes > 0)
        vsnprintf(error, error_bytes, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

void settings_defaults(struct channel_settings *settings)
{
    *settings = (struct channel_settings){0};
    settings->factor = 1;
    settings->algorithm = ALGORITHM_DOWNSAMPLE;
    settings->ttl = 1;
    settings->buffer_bytes = 64ull << 20;
    settings->receive_bytes = 8ull << 20;
    settings->offload = OFFLOAD_AUTO;
    settings->direct_io = DIRECT_AUTO;
    settings->sync_ms = 1000;
    settings->rotate_bytes = 1ull << 30;
    settings->rotate_age_ms = 3600000;
}

/* The flag that `word` ("--name" or "--name=value") begins with, and its value or NULL. */
static const struct setting *flag_find(const char *word, const char **value)
{
    const char *equals = strchr(word, '=');
    size_t bytes = equals != NULL ? (size_t)(equals - word) : strlen(word);
    *value = equals != NULL ? equals + 1 : NULL;
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (bytes == strlen(settings_table[i].flag) + 2 &&
            memcmp(word + 2, settings_table[i].flag, bytes - 2) == 0)
            return &settings_table[i];
    return NULL;
}

static int unknown_flag(const char *word, char *error, size_t error_bytes)
{
    const char *best = NULL;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        nearest_offer(name, settings_table[i].flag, &best);
    if (best == NULL)
        return fault(error, error_bytes, "unknown flag \"--%s\"", name);
    return fault(error, error_bytes, "unknown flag \"--%s\"; did you mean \"--%s\"?", name, best);
}

int settings_read_flags(struct channel_settings *settings, int argc, char *const *argv, char *error,
                        size_t error_bytes)
{
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *value;
        if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
            return fault(error, error_bytes, "unexpected argument \"%.80s\"", word);
        const struct setting *flag = flag_find(word, &value);
        if (flag == NULL)
            return unknown_flag(word, error, error_bytes);
        char text[VALUE_TEXT_BYTES];
        if (value == NULL && i + 1 == argc)
            return fault(error, error_bytes, "--%s needs a value: %s", flag->flag,
                         value_describe(&flag->form, text));
        if (value == NULL)
            value = argv[++i];
        void *into = (char *)settings + flag->offset;
        if (flag_is_list(flag)) {
            if (settings->source_count == CHANNEL_SOURCES_MAX)
                return fault(error, error_bytes, "--%s: at most %d", flag->flag,
                             CHANNEL_SOURCES_MAX);
            into = &settings->sources[settings->source_count];
        }
        if (value_read(&flag->form, value, into, text, sizeof text) < 0)
            return fault(error, error_bytes, "--%s: %s", flag->flag, text);
        settings->source_count += flag_is_list(flag);
    }
    return 0;
}

bool settings_feeds(const struct address *output, const char *output_interface,
                    const struct address *input, const char *input_interface)
{
    if (output->family == 0 || output->family != input->family || output->port != input->port)
        return false;
    if (address_equal(output, input))
        return (!address_is_multicast(output) && !address_is_link_local(output)) ||
               output_interface[0] == '\0' || input_interface[0] == '\0' ||
               strcmp(output_interface, input_interface) == 0;
    return address_is_wildcard(input) &&
           (address_is_loopback(output) || address_is_limited_broadcast(output));
}

int settings_validate(const struct channel_settings *settings, char *error, size_t error_bytes)
{
    if (settings->name[0] == '\0')
        return fault(error, error_bytes, "--name is needed");
    if (settings->layout[0] == '\0')
        return fault(error, error_bytes, "--layout is needed");
    if (settings->listen.family == 0)
        return fault(error, error_bytes, "--listen is needed");
    const struct {
        const char *name;
        const struct address *address;
    } outputs[] = {{"--full", &settings->full}, {"--decimated", &settings->decimated}};
    for (size_t i = 0; i < ARRAY_COUNT(outputs); i++) {
        if (outputs[i].address->family == 0)
            continue;
        if (address_is_wildcard(outputs[i].address))
            return fault(error, error_bytes, "%s: nothing can be sent to the wildcard address",
                         outputs[i].name);
        const char *interface = settings_send_interface(settings, outputs[i].address);
        if (address_is_link_local(outputs[i].address) && interface[0] == '\0')
            return fault(error, error_bytes, "%s: a link-local address needs its interface",
                         outputs[i].name);
        if (settings_feeds(outputs[i].address, interface, &settings->listen,
                           settings_listen_interface(settings)))
            return fault(error, error_bytes, "%s is the channel's own input", outputs[i].name);
    }
    if (address_is_link_local(&settings->listen) && settings_listen_interface(settings)[0] == '\0')
        return fault(error, error_bytes, "--listen: a link-local address needs its interface");
    if (settings->full.family != 0 && address_equal(&settings->full, &settings->decimated) &&
        strcmp(settings_send_interface(settings, &settings->full),
               settings_send_interface(settings, &settings->decimated)) == 0)
        return fault(error, error_bytes, "--full and --decimated are the same address");
    if (settings->decimated.family == 0 &&
        (settings->factor != 1 || settings->algorithm != ALGORITHM_DOWNSAMPLE))
        return fault(error, error_bytes, "--factor and --algorithm need --decimated");
    if (settings->encoding == ENCODING_OPAQUE && settings->algorithm != ALGORITHM_DOWNSAMPLE)
        return fault(error, error_bytes,
                     "--algorithm=%s needs numbers, and --encoding=opaque has none; use downsample",
                     algorithm_name(settings->algorithm));
    if (settings->encoding != ENCODING_CONFLUENT && settings->schema_id != 0)
        return fault(error, error_bytes, "--schema-id needs --encoding=confluent");
    for (uint32_t i = 0; i < settings->source_count; i++)
        if (settings->sources[i].address.family != settings->listen.family)
            return fault(error, error_bytes, "--source: IPv4 and IPv6 differ from --listen");
    return 0;
}

/* Appends "--NAME=VALUE" as one word. 0 or -ENOSPC. */
static int write_word(const struct setting *flag, const char *value, char **text,
                      size_t *text_bytes, char **words, size_t words_max, int *word_count)
{
    int bytes = snprintf(*text, *text_bytes, "--%s=%s", flag->flag, value);
    if (bytes < 0 || (size_t)bytes >= *text_bytes || (size_t)*word_count >= words_max)
        return -ENOSPC;
    words[(*word_count)++] = *text;
    *text += bytes + 1;
    *text_bytes -= (size_t)bytes + 1;
    return 0;
}

int settings_write_flags(const struct channel_settings *settings, char *text, size_t text_bytes,
                         char **words, size_t words_max)
{
    struct channel_settings defaults;
    settings_defaults(&defaults);
    int word_count = 0;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *flag = &settings_table[i];
        char value[VALUE_TEXT_BYTES], usual[VALUE_TEXT_BYTES];
        if (flag_is_list(flag)) {
            for (uint32_t k = 0; k < settings->source_count; k++)
                if (write_word(flag, value_write(&flag->form, &settings->sources[k], value), &text,
                               &text_bytes, words, words_max, &word_count) < 0)
                    return -ENOSPC;
            continue;
        }
        value_write(&flag->form, (const char *)settings + flag->offset, value);
        value_write(&flag->form, (const char *)&defaults + flag->offset, usual);
        if (strcmp(value, usual) != 0 &&
            write_word(flag, value, &text, &text_bytes, words, words_max, &word_count) < 0)
            return -ENOSPC;
    }
    return word_count;
}

void settings_print_help(void)
{
    struct channel_settings defaults;
    settings_defaults(&defaults);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *flag = &settings_table[i];
        char what[VALUE_TEXT_BYTES], usual[VALUE_TEXT_BYTES] = "";
        value_describe(&flag->form, what);
        if (!flag_is_list(flag))
            value_write(&flag->form, (const char *)&defaults + flag->offset, usual);
        int used = printf("  --%s %s", flag->flag, what);
        if (used > 30)
            used = printf("\n") - 1;
        printf("%*s%s", 32 - used, "", flag->help);
        if (usual[0] != '\0')
            printf(" (default %s)", usual);
        if (flag->form.zero != NULL)
            printf("; 0: %s", flag->form.zero);
        printf("\n");
    }
}

const char *algorithm_name(enum algorithm algorithm)
{
    CHECK(algorithm <= ALGORITHM_RMS);
    return algorithm_names[algorithm];
}
