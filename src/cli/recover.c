/* SPDX-License-Identifier: MIT
 * flotilla recover: salvages every intact block of a damaged file into a new one, or several where
 * files of several kinds were joined. They have other names until they were read again and found to
 * be what was meant; the old one is only read.
 * Relies on archive/recover, and on recordings beside the file where its header is lost. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/recover.h"
#include "archive/source.h"
#include "base/check.h"
#include "channel/recording_name.h"
#include "cli/recording.h"
#include "cli/verb.h"
#include "command/options.h"
#include "os/file.h"
#include "os/host.h"
#include "os/interrupt.h"
#include "os/path.h"

const char verb_recover_help[] =
    "usage: flotilla recover FILE [-o OUT] [--schema SCHEMA] [--json]\n"
    "\n"
    "Copies every intact block of a damaged Avro container file to a new file, also from behind "
    "the\n"
    "damage, and tells what is lost. FILE is never changed, an existing OUT never replaced.\n"
    "\n"
    "  flotilla recover engine-20260101T000000.000000Z-000001.avro\n"
    "  flotilla recover damaged.avro -o salvaged.avro\n"
    "  flotilla recover headless.avro --schema schemas/engine.avsc\n"
    "\n"
    "  -o, --output OUT   default: FILE with .avro, .avro.part or .avro.damaged replaced by\n"
    "                     .recovered.avro\n"
    "  --schema SCHEMA    the datums' schema, where the file's header is damaged; else that of "
    "the\n"
    "                     nearest recording of the same channel in the same folder is taken\n"
    "  --json             one JSON object on stdout\n"
    "\n"
    "Each range of bytes that is lost is told on stderr as FILE: offset N: what; datums lost are\n"
    "estimated from the blocks around. Intact blocks are kept as they stand, in the order of the\n"
    "file; so are blocks over a limit of this program, or in a codec that it does not know. Of a\n"
    "broken block of another program, not packed, the datums in front of the fault are kept. "
    "Files\n"
    "joined end to end become one, or one for each schema, codec and channel: OUT, then OUT-2 ...\n"
    "OUT is read again and checked as by flotilla verify before it gets its name.\n"
    "\n"
    "Exit: 0 nothing was lost, 1 failed (then there is no OUT), 2 usage, 3 done with loss, 4 its\n"
    "header is over a limit of this program.\n";

enum { SIBLINGS_MAX = 64, NAME_BYTES_MAX = 256, PATH_BYTES_MAX = 4096 };
#define OUTPUT_BYTES (1u << 20)

struct task {
    const char *path, *output, *schema_path;
    bool json;
    json_t *faults;
    struct recording_unread unread;
    struct source source;
    struct scan *scan;

    /* Where the header is not trusted: what to write instead, and where the schema came from. */
    bool new_header;
    struct block_header_text header;
    char channel[NAME_BYTES_MAX], host[NAME_BYTES_MAX], started[64];
    char time[LAYOUT_PATH_BYTES_MAX + 1], sequence[LAYOUT_PATH_BYTES_MAX + 1];
    uint8_t *schema;
    char schema_from[PATH_BYTES_MAX];

    int folder;
    char folder_path[PATH_BYTES_MAX];
    struct target {
        char path[PATH_BYTES_MAX], name[NAME_BYTES_MAX], temporary[NAME_BYTES_MAX + 16];
        struct direct_file file;
        uint8_t *pending;
        size_t pending_bytes;
        uint64_t written;
    } * targets[RECOVER_OUTPUTS_MAX]; /* one for each output, the first is task->output */
    struct recover_result result;
};

static int complain(const struct task *task, const char *what, const char *why)
{
    if (interrupt_seen())
        what = "a signal has ended it", why = "";
    fprintf(stderr, "%s: %s%s%s\n", task->path, what, why[0] != '\0' ? ": " : "", why);
    return EXIT_FAILED;
}

/* ---- a lost header ---- */

struct siblings {
    const char *self;
    struct recording_name name;
    struct sibling {
        char file[NAME_BYTES_MAX];
        uint64_t distance;
    } found[SIBLINGS_MAX]; /* the nearest, nearest first */
    size_t count;
};

static int note_sibling(void *context, const char *file)
{
    struct siblings *siblings = context;
    struct recording_name name;
    if (strcmp(file, siblings->self) == 0 || !recording_name_read(&name, file) ||
        name.lane != siblings->name.lane || strcmp(name.channel, siblings->name.channel) != 0)
        return 0;
    uint64_t distance = name.number > siblings->name.number ? name.number - siblings->name.number
                                                            : siblings->name.number - name.number;
    size_t at = siblings->count < SIBLINGS_MAX ? siblings->count++ : SIBLINGS_MAX - 1;
    if (at == SIBLINGS_MAX - 1 && siblings->found[at].file[0] != '\0' &&
        siblings->found[at].distance <= distance)
        return 0;
    for (; at > 0 && siblings->found[at - 1].distance > distance; at--)
        siblings->found[at] = siblings->found[at - 1];
    siblings->found[at].distance = distance;
    snprintf(siblings->found[at].file, sizeof(siblings->found[at].file), "%s", file);
    return 0;
}

static int keep_schema(struct task *task, struct span text)
{
    uint8_t *copy = malloc(text.bytes + 1);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, text.at, text.bytes);
    free(task->schema);
    task->schema = copy;
    task->header.schema = (struct span){copy, text.bytes};
    return 0;
}

/* What all recordings of a channel with one schema have in common, for the most part. */
static void keep_texts(struct task *task, const struct scan_header *header)
{
    recording_text(task->channel, sizeof(task->channel), header->channel);
    recording_text(task->host, sizeof(task->host), header->host);
    recording_text(task->time, sizeof(task->time), header->time);
    recording_text(task->sequence, sizeof(task->sequence), header->sequence);
}

/* Whether the schema at hand is that of the file's datums; then the scan goes by it. */
static bool fits(struct task *task)
{
    char error[512];
    if (task->scan != NULL) {
        /* The header was read, but its checksum is wrong: a flipped letter does not change the
         * schema's length, another schema mostly does. */
        struct span own = scan_header(task->scan)->schema;
        return own.bytes == task->header.schema.bytes &&
               scan_use_schema(task->scan, task->header.schema, error, sizeof(error)) == 0;
    }
    return scan_search(&task->scan, &task->source.of_scan, task->header.schema, error,
                       sizeof(error)) == 0;
}

/* Takes the schema of the nearest recording of the same channel whose schema fits. */
static bool ask_siblings(struct task *task, const char *folder_path, const char *self)
{
    struct siblings *siblings = calloc(1, sizeof(*siblings));
    bool found = false;
    int folder = -1;
    if (siblings == NULL)
        return false;
    siblings->self = self;
    if (!recording_name_read(&siblings->name, self) || (folder = folder_open(folder_path)) < 0 ||
        folder_list(folder, note_sibling, siblings) < 0)
        goto out;
    for (size_t i = 0; i < siblings->count && !found; i++) {
        char path[PATH_BYTES_MAX], error[512];
        struct source source;
        struct scan *scan;
        if (path_join(folder_path, siblings->found[i].file, path, sizeof(path)) < 0)
            continue;
        if (source_scan(&source, &scan, path, SOURCE_FILES, error, sizeof(error)) == 0 &&
            scan_header(scan)->ours && scan_header(scan)->sound) {
            struct span text = scan_header(scan)->schema;
            bool tried = task->schema != NULL && text.bytes == task->header.schema.bytes &&
                         memcmp(text.at, task->schema, text.bytes) == 0;
            if (!tried && keep_schema(task, text) == 0 && fits(task)) {
                keep_texts(task, scan_header(scan));
                snprintf(task->schema_from, sizeof(task->schema_from), "%s", path);
                found = true;
            }
        }
        scan_close(scan);
        source_close(&source);
    }
out:
    descriptor_close(folder);
    free(siblings);
    return found;
}

static int use_given_schema(struct task *task)
{
    char error[512];
    uint8_t *text;
    size_t bytes;
    int status = file_read_whole(task->schema_path, LAYOUT_SCHEMA_BYTES_MAX, &text, &bytes);
    if (status == 0) {
        status = keep_schema(task, (struct span){text, bytes});
        free(text);
    }
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", task->schema_path, file_error_text(status));
        return EXIT_FAILED;
    }
    snprintf(task->schema_from, sizeof(task->schema_from), "%s", task->schema_path);
    status = task->scan != NULL
                 ? scan_use_schema(task->scan, task->header.schema, error, sizeof(error))
                 : scan_search(&task->scan, &task->source.of_scan, task->header.schema, error,
                               sizeof(error));
    if (status == 0)
        return EXIT_OK;
    if (interrupt_seen())
        return complain(task, "", "");
    fprintf(stderr, "%s: %s\n", status == -EINVAL ? task->schema_path : task->path, error);
    return EXIT_FAILED;
}

/* Sees to a scan that can be gone by: by the file's own header, a given schema, or a sibling's. */
static int open_scan(struct task *task, const char *folder, const char *self)
{
    char error[512];
    int status = scan_open(&task->scan, &task->source.of_scan, error, sizeof(error));
    bool other_kind = status == -ENOMSG;
    if (status < 0 && status != -EBADMSG && !other_kind)
        return complain(task, error, ""), status == -EFBIG ? EXIT_BEYOND : EXIT_FAILED;
    if (status == 0 && scan_header(task->scan)->sound && task->schema_path == NULL)
        return EXIT_OK;
    if (status < 0)
        fprintf(stderr, "%s: %s\n", task->path, error);
    if (interrupt_seen())
        return complain(task, "", "");

    task->new_header = true;
    struct recording_name name;
    snprintf(task->channel, sizeof(task->channel), "%s",
             recording_name_read(&name, self) ? name.channel : "unknown");
    snprintf(task->host, sizeof(task->host), "unknown");
    snprintf(task->started, sizeof(task->started), "unknown");
    if (task->scan != NULL) {
        const struct scan_header *header = scan_header(task->scan);
        keep_texts(task, header);
        recording_text(task->started, sizeof(task->started), header->started);
    }
    task->header.channel = task->channel;
    task->header.host = task->host;
    task->header.started = task->started;
    task->header.version = FLOTILLA_VERSION;
    if (task->schema_path != NULL) {
        if (use_given_schema(task) != EXIT_OK)
            return EXIT_FAILED;
    } else if (!ask_siblings(task, folder, self)) {
        if (task->scan == NULL && other_kind)
            return EXIT_FAILED; /* what it is has been told */
        if (task->scan == NULL)
            return complain(task,
                            "no recording of the same channel lies beside it whose schema fits;"
                            " give it with --schema SCHEMA",
                            "");
        if (keep_schema(task, scan_header(task->scan)->schema) < 0)
            return complain(task, strerror(ENOMEM), "");
        fprintf(stderr,
                "%s: offset 0: note: no recording of the same schema lies beside it; the header's"
                " own is taken as it stands\n",
                task->path);
    }
    task->header.time = (struct span){(const uint8_t *)task->time, strlen(task->time)};
    task->header.sequence = (struct span){(const uint8_t *)task->sequence, strlen(task->sequence)};
    if (task->schema_from[0] != '\0')
        fprintf(stderr, "%s: offset 0: note: the schema is taken from %s\n", task->path,
                task->schema_from);
    return EXIT_OK;
}

/* ---- the new files ---- */

/* "DIR/NAME" as the folder it is in and the name. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool ends_in(char *text, const char *suffix)
{
    size_t bytes = strlen(text), suffix_bytes = strlen(suffix);
    if (bytes <= suffix_bytes || strcmp(text + bytes - suffix_bytes, suffix) != 0)
        return false;
    text[bytes - suffix_bytes] = '\0';
    return true;
}

static int choose_output(struct task *task, char *chosen, size_t chosen_bytes)
{
    if (task->output == NULL) {
        char stem[PATH_BYTES_MAX];
        if ((size_t)snprintf(stem, sizeof(stem), "%s", task->path) >= sizeof(stem))
            return complain(task, strerror(ENAMETOOLONG), "");
        if (!ends_in(stem, ".part"))
            ends_in(stem, ".damaged");
        ends_in(stem, ".avro");
        if ((size_t)snprintf(chosen, chosen_bytes, "%s.recovered.avro", stem) >= chosen_bytes)
            return complain(task, strerror(ENAMETOOLONG), "");
        task->output = chosen;
    }
    if (base_name(task->output)[0] == '\0' || strlen(base_name(task->output)) >= NAME_BYTES_MAX) {
        fprintf(stderr, "%s: is no name for a file\n", task->output);
        return EXIT_FAILED;
    }
    if (!path_exists(task->output))
        return EXIT_OK;
    fprintf(stderr, "%s: is there already; name another file with -o\n", task->output);
    return EXIT_FAILED;
}

/* Names the target: the first as it was chosen, the others "STEM-2.avro", "STEM-3.avro" ... */
static int name_target(const struct task *task, struct target *target, unsigned output)
{
    uint32_t random;
    char stem[PATH_BYTES_MAX];
    if ((size_t)snprintf(stem, sizeof(stem), "%s", task->output) >= sizeof(stem))
        return -ENAMETOOLONG;
    const char *suffix = output > 0 && ends_in(stem, ".avro") ? ".avro" : "";
    int bytes = output == 0 ? snprintf(target->path, sizeof(target->path), "%s", stem)
                            : snprintf(target->path, sizeof(target->path), "%s-%u%s", stem,
                                       output + 1, suffix);
    const char *name = base_name(target->path);
    if ((size_t)bytes >= sizeof(target->path) || strlen(name) >= sizeof(target->name))
        return -ENAMETOOLONG;
    if (path_exists(target->path))
        return -EEXIST;
    int status = host_random(&random, sizeof(random));
    snprintf(target->name, sizeof(target->name), "%s", name);
    snprintf(target->temporary, sizeof(target->temporary), ".%.200s.%08" PRIx32 "~", name, random);
    return status;
}

static int begin_target(void *context, unsigned output)
{
    struct task *task = context;
    struct target *target = calloc(1, sizeof(*target));
    if (target == NULL)
        return -ENOMEM;
    task->targets[output] = target;
    target->file.descriptor = -1;
    int status = name_target(task, target, output);
    target->pending = malloc(OUTPUT_BYTES);
    if (status == 0 && target->pending == NULL)
        status = -ENOMEM;
    if (status == 0)
        status =
            direct_file_open(&target->file, task->folder, target->temporary, FILE_CREATE, false);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", target->path, strerror(-status));
    return status;
}

static int flush(struct target *target)
{
    struct span part = {target->pending, target->pending_bytes};
    int status = part.bytes == 0 ? 0 : direct_file_write(&target->file, &part, 1, target->written);
    target->written += part.bytes;
    target->pending_bytes = 0;
    return status;
}

static int write_out(void *context, unsigned output, struct span bytes, uint64_t offset)
{
    struct target *target = ((struct task *)context)->targets[output];
    int status = 0;
    CHECK(offset == target->written + target->pending_bytes);
    if (target->pending_bytes + bytes.bytes > OUTPUT_BYTES)
        status = flush(target);
    if (status == 0 && bytes.bytes > OUTPUT_BYTES) {
        status = direct_file_write(&target->file, &bytes, 1, offset);
        target->written += bytes.bytes;
    } else if (status == 0 && bytes.bytes > 0) {
        memcpy(target->pending + target->pending_bytes, bytes.at, bytes.bytes);
        target->pending_bytes += bytes.bytes;
    }
    return status;
}

static void tell(void *context, const struct scan_event *event)
{
    struct task *task = context;
    if (recording_is_unread(&task->unread, task->scan, event))
        recording_tell_fault(task->path, event);
    if (!recording_is_fault(event))
        return;
    recording_tell_fault(task->path, event);
    json_array_append_new(task->faults, recording_fault_json(event));
}

static void tell_nothing(void *context, const struct scan_event *event)
{
    (void)context, (void)event;
}

/* Reads a new file as verify does. */
static int check_output(struct task *task, unsigned output)
{
    const struct recover_output *meant = &task->result.outputs[output];
    char path[PATH_BYTES_MAX], error[512] = "";
    struct source source = {.descriptor = -1};
    struct scan *scan = NULL;
    struct scan_totals totals = {0};
    int status = path_join(task->folder_path, task->targets[output]->temporary, path, sizeof(path));
    if (status == 0)
        status = source_scan(&source, &scan, path, SOURCE_FILES, error, sizeof(error));
    if (status == 0)
        status = recording_scan(scan, tell_nothing, NULL, &totals);
    if (status == 0 && (totals.faults > 0 || totals.unread_blocks != meant->unread_blocks ||
                        totals.blocks + totals.unread_blocks != meant->blocks ||
                        totals.datums + totals.unread_datums != meant->datums ||
                        totals.data_bytes != meant->data_bytes))
        status = -EIO;
    scan_close(scan);
    source_close(&source);
    if (status < 0)
        return complain(task, "the new file is not what was written",
                        error[0] != '\0' ? error : strerror(-status));
    return EXIT_OK;
}

static int name_outputs(struct task *task)
{
    for (unsigned i = 0; i < task->result.count; i++) {
        struct target *target = task->targets[i];
        int status = folder_rename(task->folder, target->temporary, target->name);
        if (status < 0) {
            fprintf(stderr, "%s: %s\n", target->path, strerror(-status));
            return EXIT_FAILED;
        }
        target->temporary[0] = '\0';
    }
    int status = folder_sync(task->folder);
    return status < 0 ? complain(task, "the new file may not last", strerror(-status)) : EXIT_OK;
}

static int write_outputs(struct task *task)
{
    const struct recover recover = {
        .begin = begin_target, .write = write_out, .tell = tell, .context = task};
    const struct scan_totals *totals = &task->result.totals;
    task->folder = folder_open(task->folder_path);
    if (task->folder < 0) {
        fprintf(stderr, "%s: %s\n", task->output, strerror(-task->folder));
        return EXIT_FAILED;
    }
    int status =
        recover_run(task->scan, task->new_header ? &task->header : NULL, &recover, &task->result);
    for (unsigned i = 0; i < task->result.count && status == 0; i++) {
        status = flush(task->targets[i]);
        if (status == 0)
            status = direct_file_sync(&task->targets[i]->file);
    }
    if (status < 0)
        return complain(task, "cannot be copied", strerror(-status));
    if (task->result.outputs[0].blocks == 0 && totals->faults > 0)
        return complain(task, "there is no intact block in it", "");
    for (unsigned i = 0; i < task->result.count; i++)
        if (check_output(task, i) != EXIT_OK)
            return EXIT_FAILED;
    if (interrupt_seen())
        return complain(task, "", "");
    return name_outputs(task);
}

static void free_targets(struct task *task)
{
    for (unsigned i = 0; i < RECOVER_OUTPUTS_MAX && task->targets[i] != NULL; i++) {
        struct target *target = task->targets[i];
        if (target->file.descriptor >= 0 && target->temporary[0] != '\0')
            folder_remove(task->folder, target->temporary);
        direct_file_close(&target->file);
        free(target->pending);
        free(target);
    }
}

/* ---- what came of it ---- */

static void report_json(const struct task *task, uint64_t blocks, uint64_t datums)
{
    const struct scan_totals *totals = &task->result.totals;
    json_t *outputs = json_array();
    for (unsigned i = 0; i < task->result.count; i++)
        json_array_append_new(outputs,
                              json_pack("{s:o,s:I,s:I}", "output",
                                        recording_string_json(task->targets[i]->path),
                                        "blocks", (json_int_t)task->result.outputs[i].blocks,
                                        "datums", (json_int_t)task->result.outputs[i].datums));
    recording_print_json(json_pack(
        "{s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:I,s:I,s:o,s:O}", "file",
        recording_string_json(task->path), "output",
        recording_string_json(task->output), "outputs", outputs, "blocks",
        (json_int_t)blocks, "datums", (json_int_t)datums, "partial_datums",
        (json_int_t)totals->partial_datums, "unread_blocks", (json_int_t)totals->unread_blocks,
        "lost_bytes", (json_int_t)totals->lost_bytes, "missing_bytes",
        (json_int_t)totals->missing_bytes, "lost_datums_estimated", totals->lost_datums, "joined",
        (json_int_t)totals->joined, "arrival_goes_back", (json_int_t)totals->times_back,
        "schema_from", recording_string_json(task->schema_from), "faults", task->faults));
}

static void report(const struct task *task)
{
    const struct scan_totals *totals = &task->result.totals;
    uint64_t blocks = 0, datums = 0, faults = totals->faults - totals->joined;
    for (unsigned i = 0; i < task->result.count; i++) {
        blocks += task->result.outputs[i].blocks;
        datums += task->result.outputs[i].datums;
    }
    recording_tell_order(task->path, totals);
    if (task->json) {
        report_json(task, blocks, datums);
        return;
    }
    for (unsigned i = 0; i < task->result.count && task->result.count > 1; i++)
        printf("%s: %" PRIu64 " datums in %" PRIu64 " blocks\n", task->targets[i]->path,
               task->result.outputs[i].datums, task->result.outputs[i].blocks);
    if (task->result.count > 1)
        printf("%s: %u files", task->path, task->result.count);
    else
        printf("%s", task->output);
    printf(": %" PRIu64 " datums in %" PRIu64 " blocks", datums, blocks);
    if (totals->unread_blocks > 0)
        printf(" (%" PRIu64 " of them as they stood, not read)", totals->unread_blocks);
    if (totals->partial_datums > 0)
        printf(" (%" PRIu64 " of the datums out of broken blocks)", totals->partial_datums);
    if (faults == 0)
        printf(", nothing was lost\n");
    else
        printf("; %" PRIu64 " faults, %" PRIu64 " bytes lost, about %.0f datums\n", faults,
               totals->lost_bytes, totals->lost_datums);
}

static int recover_file(struct task *task)
{
    char chosen[PATH_BYTES_MAX], beside[PATH_BYTES_MAX];
    int code = choose_output(task, chosen, sizeof(chosen));
    if (code != EXIT_OK)
        return code;
    int status = source_open(&task->source, task->path, SOURCE_FILES);
    if (status == 0)
        status = path_folder(task->path, beside, sizeof(beside));
    if (status < 0)
        return complain(task, source_error_text(status), "");
    status = path_folder(task->output, task->folder_path, sizeof(task->folder_path));
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", task->output, strerror(-status));
        return EXIT_FAILED;
    }
    code = open_scan(task, beside, base_name(task->path));
    if (code == EXIT_OK)
        code = write_outputs(task);
    if (code != EXIT_OK)
        return code;
    report(task);
    return task->result.totals.faults > task->result.totals.joined ? EXIT_LOSS : EXIT_OK;
}

int verb_recover(int argc, char **argv)
{
    static struct task task; /* large */
    const struct option_rule rules[] = {
        {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .into = &task.output},
        {.name = "schema", .kind = OPTION_TEXT, .into = &task.schema_path},
        {.name = "json", .kind = OPTION_FLAG, .into = &task.json},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files != 1)
        return verb_usage(argv[0], files == 0 ? "which FILE?" : "one FILE at a time");
    task.path = argv[1];
    task.folder = task.source.descriptor = -1;
    interrupt_install();
    task.faults = json_array();
    int code = recover_file(&task);
    free_targets(&task);
    descriptor_close(task.folder);
    scan_close(task.scan);
    source_close(&task.source);
    free(task.schema);
    json_decref(task.faults);
    return code;
}
