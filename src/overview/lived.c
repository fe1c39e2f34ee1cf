/* SPDX-License-Identifier: MIT
 * One count for all of a channel's files, and what it was when each was first seen: only that is
 * kept of a file, and it never changes. */
#include "overview/lived.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define FORM "flotilla lived 1"

static int by_name(const void *a, const void *b)
{
    const struct lived_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void sort(struct lived *lived)
{
    if (lived->count > 0)
        qsort(lived->files, lived->count, sizeof(*lived->files), by_name);
    lived->sorted = lived->count;
}

void lived_free(struct lived *lived)
{
    free(lived->files);
    *lived = (struct lived){.files = NULL};
}

/* Another file at the end. NULL without memory. */
static struct lived_file *add(struct lived *lived)
{
    struct lived_file *files =
        room_grow(lived->files, &lived->room, lived->count + 1, sizeof(*lived->files));
    if (files == NULL)
        return NULL;
    lived->files = files;
    files[lived->count] = (struct lived_file){.there = true};
    return &files[lived->count++];
}

/* ---- what is kept ---- */

char *lived_write(const struct lived *lived, const char *boot)
{
    struct text text = {0};
    text_add(&text, FORM " boot %s uptime %" PRIu64 " counted %" PRIu64 "\n",
             boot[0] != '\0' ? boot : "-", lived->uptime_ns, lived->counted_ns);
    for (size_t i = 0; i < lived->count; i++)
        text_add(&text, "%" PRIu64 " %s\n", lived->files[i].seen_ns, lived->files[i].name);
    return text_take(&text);
}

/* Reads lines "SEEN NAME", each with its end. */
static int read_lines(struct lived *read, const char *line)
{
    for (; *line != '\0'; line = strchr(line, '\n') + 1) {
        struct recording_name parts;
        struct lived_file *file = add(read);
        int taken = 0;
        if (file == NULL)
            return -ENOMEM;
        if (sscanf(line, "%" SCNu64 " %159s%n", &file->seen_ns, file->name, &taken) != 2 ||
            line[taken] != '\n' || file->seen_ns > read->counted_ns ||
            !recording_name_read(&parts, file->name))
            return -EBADMSG;
    }
    return 0;
}

int lived_read(struct lived *lived, const char *text, const char *boot, uint64_t uptime_ns)
{
    struct lived read = {.files = NULL};
    char of_boot[CLOCK_BOOT_BYTES];
    int taken = 0;
    if (sscanf(text, FORM " boot %39s uptime %" SCNu64 " counted %" SCNu64 "%n", of_boot,
               &read.uptime_ns, &read.counted_ns, &taken) != 3 ||
        text[taken] != '\n')
        return -EBADMSG;
    int status = read_lines(&read, text + taken + 1);
    if (status < 0) {
        lived_free(&read);
        return status;
    }
    /* Without a boot's name ("-") nothing says that it is the same one. */
    if (strcmp(of_boot, boot) != 0 || read.uptime_ns > uptime_ns)
        read.uptime_ns = uptime_ns;
    sort(&read);
    lived_free(lived);
    *lived = read;
    return 0;
}

/* ---- a look ---- */

void lived_begin(struct lived *lived, uint64_t uptime_ns)
{
    if (lived->uptime_ns > 0 && uptime_ns > lived->uptime_ns)
        lived->counted_ns += uptime_ns - lived->uptime_ns;
    lived->uptime_ns = uptime_ns;
    for (size_t i = 0; i < lived->count; i++)
        lived->files[i].there = false;
}

uint64_t lived_age_ns(struct lived *lived, const char *name)
{
    struct lived_file wanted;
    snprintf(wanted.name, sizeof(wanted.name), "%s", name);
    struct lived_file *file = NULL;
    if (lived->sorted > 0)
        file = bsearch(&wanted, lived->files, lived->sorted, sizeof(*file), by_name);
    if (file == NULL && (file = add(lived)) != NULL) {
        memcpy(file->name, wanted.name, sizeof(file->name));
        file->seen_ns = lived->counted_ns;
    }
    if (file == NULL)
        return 0;
    file->there = true;
    return lived->counted_ns - file->seen_ns;
}

void lived_end(struct lived *lived)
{
    size_t kept = 0;
    for (size_t i = 0; i < lived->count; i++)
        if (lived->files[i].there)
            lived->files[kept++] = lived->files[i];
    lived->count = kept;
    sort(lived);
}
