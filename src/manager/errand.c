/* SPDX-License-Identifier: MIT
 * A child each. What it prints goes to memory that has no name and is read when it has ended. */
#include "manager/errand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "channel/pin.h"
#include "channel/recording_name.h"
#include "control/json_text.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/folder.h"
#include "os/process.h"
#include "os/scratch.h"
#include "os/storage.h"

#define WORDS_MAX         1100u
#define CHANNELS_MAX      1000u
#define TEXT_BYTES_MAX    2000u /* of a word that a client gives */
#define OUTPUT_BYTES_MAX  (16u << 20)
#define SAID_BYTES_MAX    8192u
#define PATIENCE_NS       (120 * NS_PER_S)
#define EXPORT_NS         (6 * 3600 * NS_PER_S)
#define LOOK_NS           (200 * NS_PER_MS)
#define ROOM_KEPT         (256ull << 20) /* beside what retention is to keep free */
#define EXPORT_MEMORY_MAX (4ull << 30)

enum errand_kind { ERRAND_DOCTOR, ERRAND_CHANNEL, ERRAND_PIN, ERRAND_UNPIN, ERRAND_EXPORT };
static const char *const kind_names[] = {"doctor", "channel", "pin", "unpin", "export"};

static const struct {
    const char *name;
    bool stream; /* written from front to back */
} formats[] = {{"csv", true}, {"mcap", true}, {"avro", true}, {"hdf5", false}, {"mdf4", false}};

struct errand {
    struct errands *all;
    struct errand *next, **link_from;
    enum errand_kind kind;
    bool stream;
    uint64_t ticket, end_ns;
    struct process process;
    struct loop_watch end;
    struct loop_timer timer;
    descriptor_t folder;               /* of the recordings, where room is looked at */
    uint64_t kept_bytes;               /* that must stay free in it */
    descriptor_t output, said, handed; /* `handed` is the client's end of what is exported */
    const char *reason;                /* why it was ended; NULL: it ends by itself */
};

/* Words under way: one behind the other, a NUL behind each. */
struct words {
    struct text text;
    size_t count;
};

bool errand_is(const char *verb)
{
    for (size_t i = 0; i < ARRAY_COUNT(kind_names); i++)
        if (strcmp(kind_names[i], verb) == 0)
            return true;
    return false;
}

/* ---- words ---- */

static void add_word(struct words *words, const char *flag, const char *value)
{
    text_add(&words->text, "%s%s", flag, value);
    text_add_char(&words->text, '\0');
    words->count++;
}

/* A text of the request, as "FLAG=TEXT"; false: it is none that is taken. */
static bool add_text(struct words *words, const json_t *request, const char *key, const char *flag)
{
    const json_t *value = json_object_get(request, key);
    const char *text = json_string_value(value);
    if (value == NULL || json_is_null(value))
        return true;
    if (text == NULL || text[0] == '\0' || strlen(text) > TEXT_BYTES_MAX ||
        strlen(text) != json_string_length(value))
        return false;
    add_word(words, flag, text);
    return true;
}

/* The channels' names, each behind `before`. */
static bool add_channels(struct words *words, const json_t *request, const char *before)
{
    size_t index;
    const json_t *one, *list = json_object_get(request, "channels");
    if (json_array_size(list) > CHANNELS_MAX)
        return false;
    add_word(words, "--", "");
    json_array_foreach(list, index, one)
    {
        const char *name = json_string_value(one);
        if (name == NULL || !channel_name_is_valid(name))
            return false;
        add_word(words, before, name);
    }
    return true;
}

static bool channel_words(struct words *words, const json_t *request)
{
    static const char *const actions[] = {"show", "add", "change", "remove"};
    const char *action = json_string_value(json_object_get(request, "action"));
    const json_t *channel = json_object_get(request, "channel");
    const char *name = json_string_value(channel);
    size_t i = 0;
    while (i < ARRAY_COUNT(actions) && (action == NULL || strcmp(actions[i], action) != 0))
        i++;
    if (i == ARRAY_COUNT(actions) || (i > 0 && name == NULL) ||
        (name != NULL && !channel_name_is_valid(name)))
        return false;
    if (i == 1 || i == 2)
        add_word(words, i == 1 ? "--add=" : "--change=", "-");
    else if (i == 3)
        add_word(words, "--remove", "");
    if (i >= 2 && !add_text(words, request, "if", "--if="))
        return false;
    if (name != NULL)
        add_word(words, name, "");
    return true;
}

static bool pin_words(struct words *words, const json_t *request, bool pin)
{
    const char *name = json_string_value(json_object_get(request, "name"));
    if (name == NULL || !pin_name_is_valid(name))
        return false;
    add_word(words, "--json", "");
    if (pin && (!add_text(words, request, "from", "--from=") ||
                !add_text(words, request, "to", "--to=")))
        return false;
    if (pin)
        add_word(words, "--name=", name);
    const json_t *list = json_object_get(request, "channels");
    if (!pin) {
        add_word(words, "--", "");
        add_word(words, name, "");
    }
    size_t index;
    const json_t *one;
    json_array_foreach(list, index, one)
    {
        const char *channel = json_string_value(one);
        if (channel == NULL || !channel_name_is_valid(channel))
            return false;
        add_word(words, channel, "");
    }
    return json_array_size(list) <= CHANNELS_MAX;
}

static bool export_words(struct words *words, const json_t *request, const char *directory)
{
    char before[CHANNEL_PATH_BYTES_MAX + 2];
    const char *format = json_string_value(json_object_get(request, "format"));
    size_t i = 0;
    while (i < ARRAY_COUNT(formats) && (format == NULL || strcmp(formats[i].name, format) != 0))
        i++;
    if (i == ARRAY_COUNT(formats) || json_array_size(json_object_get(request, "channels")) == 0)
        return false;
    add_word(words, "--idle", "");
    add_word(words, "--format=", format);
    add_word(words, "--output=", "-");
    snprintf(before, sizeof before, "%s/", directory);
    return add_text(words, request, "fields", "--fields=") &&
           add_text(words, request, "from", "--from=") &&
           add_text(words, request, "to", "--to=") &&
           add_text(words, request, "span_by", "--span-by=") &&
           add_text(words, request, "every", "--every=") &&
           add_text(words, request, "decimate", "--decimate=") &&
           add_text(words, request, "gzip", "--gzip=") && add_channels(words, request, before);
}

/* False: the request is none that is taken. */
static bool make_words(struct words *words, const struct errands *errands, enum errand_kind kind,
                       const struct config *config, const json_t *request)
{
    add_word(words, kind == ERRAND_EXPORT ? "flotilla-export" : "flotilla", "");
    if (kind == ERRAND_EXPORT)
        return export_words(words, request, config->directory);
    add_word(words, kind_names[kind], "");
    add_word(words, "--config=", errands->path);
    switch (kind) {
    case ERRAND_CHANNEL:
        return channel_words(words, request);
    case ERRAND_PIN:
    case ERRAND_UNPIN:
        return pin_words(words, request, kind == ERRAND_PIN);
    default:
        add_word(words, "--json", "");
        return true;
    }
}

static bool split(struct words *words, char *list[WORDS_MAX + 1])
{
    char *at = words->text.at;
    if (words->text.failed || words->count > WORDS_MAX)
        return false;
    for (size_t i = 0; i < words->count; i++) {
        list[i] = at;
        at += strlen(at) + 1;
    }
    list[words->count] = NULL;
    return true;
}

/* ---- its end ---- */

static void forget(struct errand *errand)
{
    struct errands *all = errand->all;
    loop_disarm(&errand->timer);
    if (errand->process.id != 0)
        loop_unwatch(all->loop, &errand->end);
    process_close(&errand->process);
    descriptor_close(errand->output);
    descriptor_close(errand->said);
    descriptor_close(errand->handed);
    descriptor_close(errand->folder);
    *errand->link_from = errand->next;
    if (errand->next != NULL)
        errand->next->link_from = errand->link_from;
    all->count--;
    all->exports -= errand->kind == ERRAND_EXPORT;
    free(errand);
}

/* What was written to it, from `bytes_max` before its end on. */
static json_t *read_back(descriptor_t descriptor, uint64_t bytes_max)
{
    int64_t bytes = descriptor >= 0 ? file_bytes(descriptor) : 0;
    uint64_t from = bytes > 0 && (uint64_t)bytes > bytes_max ? (uint64_t)bytes - bytes_max : 0;
    size_t wanted = bytes > 0 ? (size_t)((uint64_t)bytes - from) : 0;
    char *text = malloc(wanted + 1);
    long got = text != NULL ? file_read_at(descriptor, (uint8_t *)text, wanted, from) : -ENOMEM;
    json_t *value = got >= 0 ? json_of_bytes(text, (size_t)got) : NULL;
    free(text);
    return value;
}

static void tell(struct errand *errand, const struct process_end *end)
{
    json_t *line;
    descriptor_t handed = DESCRIPTOR_NONE;
    if (errand->reason != NULL || end->killed)
        line = control_refusal(1, "%s: %s", kind_names[errand->kind],
                               errand->reason != NULL ? errand->reason
                                                      : process_signal_text(end->code));
    else
        line = json_pack("{s:i, s:o, s:o}", "exit", end->code, "output",
                         read_back(errand->output, OUTPUT_BYTES_MAX), "said",
                         read_back(errand->said, SAID_BYTES_MAX));
    if (!errand->stream && errand->reason == NULL && !end->killed && end->code != 1 &&
        end->code != 2 && end->code != 78)
        handed = errand->handed;
    if (line == NULL)
        line = control_refusal(1, "out of memory");
    control_tell(errand->all->control, errand->ticket, line, handed, true);
    json_decref(line);
}

static void ended(void *context, unsigned events)
{
    struct errand *errand = context;
    struct process_end end = {.killed = true};
    (void)events;
    loop_unwatch(errand->all->loop, &errand->end);
    if (process_reap(&errand->process, &end) < 0)
        process_close(&errand->process);
    tell(errand, &end);
    forget(errand);
}

/* ---- while it runs ---- */

static void end_for(struct errand *errand, const char *reason)
{
    errand->reason = reason;
    process_kill(&errand->process);
}

static bool has_room(const struct errand *errand)
{
    uint64_t free_bytes, total_bytes;
    return errand->folder < 0 || storage_room(errand->folder, &free_bytes, &total_bytes) < 0 ||
           free_bytes > errand->kept_bytes;
}

static void look(void *context)
{
    struct errand *errand = context;
    uint64_t now_ns = clock_monotonic_ns();
    if (errand->stream && errand->handed >= 0) {
        json_t *line = json_pack("{s:b}", "stream", 1);
        descriptor_t handed = errand->handed;
        errand->handed = DESCRIPTOR_NONE;
        uint64_t ticket = errand->ticket;
        struct errands *all = errand->all;
        loop_arm(all->loop, &errand->timer, now_ns + LOOK_NS);
        if (line != NULL) /* the errand may be over with it */
            control_tell(all->control, ticket, line, handed, false);
        json_decref(line);
        descriptor_close(handed);
        return;
    }
    if (now_ns >= errand->end_ns)
        end_for(errand, "it took too long");
    else if (!has_room(errand))
        end_for(errand, "the disk of the recordings has too little room for it");
    else
        loop_arm(errand->all->loop, &errand->timer, now_ns + LOOK_NS);
}

/* ---- its begin ---- */

/* Where what is exported goes. 0 or a negative errno. */
static int open_target(struct errand *errand, const struct config *config, const json_t *request)
{
    const char *format = json_string_value(json_object_get(request, "format"));
    uint64_t free_bytes, total_bytes;
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++)
        errand->stream |= strcmp(formats[i].name, format) == 0 && formats[i].stream;
    if (errand->stream)
        return scratch_pipe(&errand->handed, &errand->output);
    errand->folder = folder_open_there(config->directory);
    if (errand->folder < 0)
        return errand->folder;
    int status = storage_room(errand->folder, &free_bytes, &total_bytes);
    if (status < 0)
        return status;
    errand->kept_bytes =
        ROOM_KEPT + (uint64_t)((double)total_bytes * config->retain_free_percent / 100);
    if (free_bytes <= errand->kept_bytes)
        return -ENOSPC;
    errand->handed = scratch_in_folder(errand->folder);
    if (errand->handed < 0)
        return errand->handed;
    errand->output = descriptor_copy(errand->handed);
    return errand->output < 0 ? -EMFILE : 0;
}

/* What it reads on standard input; DESCRIPTOR_NONE: nothing. Or a negative errno below that. */
static int open_input(const json_t *request, descriptor_t *input)
{
    const json_t *body = json_object_get(request, "body");
    *input = DESCRIPTOR_NONE;
    if (body == NULL)
        return 0;
    char *text = json_dumps(body, JSON_COMPACT);
    descriptor_t made = text != NULL ? scratch_in_memory() : -ENOMEM;
    int status = made < 0 ? made
                          : file_write_at(made, (struct span){(const uint8_t *)text, strlen(text)});
    free(text);
    if (status < 0) {
        descriptor_close(made);
        return status;
    }
    *input = made;
    return 0;
}

static int start(struct errand *errand, char *const *words, const json_t *request)
{
    char path[CHANNEL_PATH_BYTES_MAX];
    descriptor_t input;
    int status = 0;
    snprintf(path, sizeof path, "%s", errand->all->program);
    if (errand->kind == ERRAND_EXPORT)
        status = process_find_program("flotilla-export", path, sizeof path);
    if (status == 0 && errand->output < 0)
        status = errand->output = scratch_in_memory();
    if (status >= 0)
        status = errand->said = scratch_in_memory();
    if (status >= 0)
        status = open_input(request, &input);
    if (status < 0)
        return status;
    struct process_streams streams = {input, errand->output, errand->said};
    status = process_spawn_with(&errand->process, path, words, &streams);
    descriptor_close(input);
    if (status < 0)
        return status;
    if (errand->kind == ERRAND_EXPORT) { /* its end of what is exported is its alone */
        process_limit_memory(&errand->process, EXPORT_MEMORY_MAX);
        descriptor_close(errand->output);
        errand->output = DESCRIPTOR_NONE;
    }
    errand->end = (struct loop_watch){
        .descriptor = errand->process.descriptor, .ready = ended, .context = errand};
    status = loop_watch(errand->all->loop, &errand->end, LOOP_READ);
    if (status < 0) { /* one whose end is not learnt of must not run */
        process_kill(&errand->process);
        process_close(&errand->process);
    }
    return status;
}

static struct errand *make(struct errands *errands, enum errand_kind kind)
{
    struct errand *errand = calloc(1, sizeof *errand);
    if (errand == NULL)
        return NULL;
    *errand = (struct errand){.all = errands,
                              .kind = kind,
                              .process = PROCESS_NONE,
                              .folder = DESCRIPTOR_NONE,
                              .output = DESCRIPTOR_NONE,
                              .said = DESCRIPTOR_NONE,
                              .handed = DESCRIPTOR_NONE,
                              .next = errands->first,
                              .link_from = &errands->first};
    errand->timer = (struct loop_timer){.due = look, .context = errand};
    if (errand->next != NULL)
        errand->next->link_from = &errand->next;
    errands->first = errand;
    errands->count++;
    errands->exports += kind == ERRAND_EXPORT;
    return errand;
}

static json_t *refuse(const char *word, const char *kind, const char *what)
{
    json_t *refusal = control_refusal(1, "%s: %s", kind, what);
    json_object_set_new(refusal, "refused", json_string(word));
    return refusal;
}

static json_t *begin(struct errands *errands, enum errand_kind kind, const struct config *config,
                     char *const *words, const json_t *request)
{
    const char *name = kind_names[kind];
    struct errand *errand = make(errands, kind);
    int status = errand == NULL ? -ENOMEM : 0;
    if (status == 0 && kind == ERRAND_EXPORT)
        status = open_target(errand, config, request);
    if (status == 0)
        status = start(errand, words, request);
    if (status < 0) {
        if (errand != NULL)
            forget(errand);
        return refuse(status == -ENOSPC ? "full" : "failed", name,
                      status == -ENOSPC
                          ? "the disk of the recordings has too little room for a temporary file"
                      : status == -ENOENT && kind == ERRAND_EXPORT
                          ? "flotilla-export is not there; it is a package of its own"
                          : strerror(-status));
    }
    uint64_t now_ns = clock_monotonic_ns();
    errand->ticket = control_keep(errands->control);
    errand->end_ns = now_ns + (kind == ERRAND_EXPORT ? EXPORT_NS : PATIENCE_NS);
    loop_arm(errands->loop, &errand->timer, now_ns);
    return NULL;
}

json_t *errand_begin(struct errands *errands, const struct config *config, const json_t *request)
{
    const char *verb = json_string_value(json_object_get(request, "verb"));
    enum errand_kind kind = ERRAND_DOCTOR;
    char *list[WORDS_MAX + 1];
    struct words words = {0};
    json_t *refusal;
    while (strcmp(kind_names[kind], verb) != 0)
        kind++;
    if (errands->count >= ERRANDS_MAX ||
        (kind == ERRAND_EXPORT && errands->exports >= ERRAND_EXPORTS_MAX))
        return refuse("busy", verb,
                      kind == ERRAND_EXPORT ? "two exports run already; try again when one is done"
                                            : "too much is asked for at once; try again");
    if (!make_words(&words, errands, kind, config, request))
        refusal = refuse("invalid", verb, "the request is not one that is taken");
    else if (!split(&words, list))
        refusal = refuse("failed", verb, "too many words, or out of memory");
    else
        refusal = begin(errands, kind, config, list, request);
    text_free(&words.text);
    return refusal;
}

void errand_client_gone(struct errands *errands, uint64_t ticket)
{
    for (struct errand *errand = errands->first; errand != NULL; errand = errand->next)
        if (errand->ticket == ticket && errand->kind == ERRAND_EXPORT)
            end_for(errand, "nobody waits for it any more");
}

void errands_close(struct errands *errands)
{
    for (struct errand *errand = errands->first, *next; errand != NULL; errand = next) {
        next = errand->next;
        if (errand->kind != ERRAND_CHANNEL)
            process_kill(&errand->process);
        forget(errand);
    }
}
