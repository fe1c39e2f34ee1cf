/* SPDX-License-Identifier: MIT
 * Gathers faults, sorts them, and shows each in its line.
 * Relies on the texts being UTF-8 where a caret stands behind other letters.
 * Known faults: a caret behind letters of double width (CJK) stands too far to the left. */
#include "config/faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_PRINTED_MAX 100
#define MESSAGE_BYTES_MAX  1600
#define SHOWN_BEFORE_MAX   120 /* characters of a line before the caret and behind it */
#define SHOWN_BEHIND_MAX   80

static void keep(struct config_faults *faults, struct config_place place, bool warning,
                 const char *format, va_list arguments)
{
    char message[MESSAGE_BYTES_MAX];
    vsnprintf(message, sizeof message, format, arguments);
    faults->errors += !warning;
    struct config_fault *list =
        room_grow(faults->list, &faults->room, faults->count + 1, sizeof *list);
    faults->list = list != NULL ? list : faults->list;
    char *copy = list != NULL ? text_copy(message) : NULL;
    if (copy == NULL) {
        faults->incomplete = true;
        return;
    }
    faults->list[faults->count++] = (struct config_fault){place, warning, copy};
}

void config_error(struct config_faults *faults, struct config_place place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    keep(faults, place, false, format, arguments);
    va_end(arguments);
}

void config_warning(struct config_faults *faults, struct config_place place, const char *format,
                    ...)
{
    va_list arguments;
    va_start(arguments, format);
    keep(faults, place, true, format, arguments);
    va_end(arguments);
}

void config_faults_soften(struct config_faults *faults, size_t before)
{
    for (size_t i = before; i < faults->count; i++) {
        faults->errors -= !faults->list[i].warning;
        faults->list[i].warning = true;
    }
}

static int compare(const void *left, const void *right)
{
    const struct config_fault *a = left, *b = right;
    if (a->place.file->order != b->place.file->order)
        return a->place.file->order < b->place.file->order ? -1 : 1;
    if (a->place.line != b->place.line)
        return a->place.line < b->place.line ? -1 : 1;
    if (a->place.column != b->place.column)
        return a->place.column < b->place.column ? -1 : 1;
    return strcmp(a->message, b->message);
}

/* Bytes of the UTF-8 letter at `at`, of which `bytes` are left; 1 for what is none. */
static size_t letter_bytes(const uint8_t *at, size_t bytes)
{
    size_t length = *at < 0xc2 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 1;
    if (length > bytes)
        return 1;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 1;
    return length;
}

size_t config_line_end(const uint8_t *at, size_t bytes)
{
    if (bytes >= 2 && at[0] == '\r' && at[1] == '\n')
        return 2;
    if (bytes >= 1 && (at[0] == '\n' || at[0] == '\r'))
        return 1;
    if (bytes >= 2 && at[0] == 0xc2 && at[1] == 0x85)
        return 2;
    if (bytes >= 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
        return 3;
    return 0;
}

/* The line's bytes, without its end. */
static const uint8_t *find_line(const struct config_file *file, uint32_t line, size_t *bytes)
{
    const uint8_t *at = file->text, *end = file->text + file->bytes;
    while (line > 1 && at < end) {
        size_t line_end = config_line_end(at, (size_t)(end - at));
        at += line_end > 0 ? line_end : 1;
        line -= line_end > 0;
    }
    *bytes = 0;
    while (at + *bytes < end && config_line_end(at + *bytes, (size_t)(end - at) - *bytes) == 0)
        (*bytes)++;
    return at;
}

static void print_line(struct config_place place, struct text *out)
{
    size_t bytes;
    const uint8_t *line = find_line(place.file, place.line, &bytes);
    char caret[SHOWN_BEFORE_MAX + 8];
    size_t caret_bytes = 0;
    uint32_t column = 1, first = 1;
    if (place.column > SHOWN_BEFORE_MAX)
        first = place.column - SHOWN_BEFORE_MAX + 20;
    if (first > 1) {
        text_add(out, "...");
        memset(caret, ' ', 3);
        caret_bytes = 3;
    }
    for (size_t at = 0; at < bytes; column++) {
        size_t letter = letter_bytes(line + at, bytes - at);
        if (column >= place.column + SHOWN_BEHIND_MAX) {
            text_add(out, "...");
            break;
        }
        if (column >= first) {
            /* What would steer a terminal, or is no letter at all, shows as a question mark. */
            bool plain = letter > 1 ? !(line[at] == 0xc2 && line[at + 1] < 0xa0)
                                    : (line[at] >= ' ' && line[at] < 0x7f) || line[at] == '\t';
            if (plain)
                text_add_bytes(out, line + at, letter);
            else
                text_add_char(out, '?');
            if (column < place.column)
                caret[caret_bytes++] = line[at] == '\t' ? '\t' : ' ';
        }
        at += letter;
    }
    text_add(out, "\n%.*s^\n", (int)caret_bytes, caret);
}

static void write_fault(const struct config_fault *fault, char *text, size_t text_bytes)
{
    const char *kind = fault->warning ? "warning: " : "";
    if (fault->place.line == 0)
        snprintf(text, text_bytes, "%s: %s%s", fault->place.file->name, kind, fault->message);
    else
        snprintf(text, text_bytes, "%s:%lu:%lu: %s%s", fault->place.file->name,
                 (unsigned long)fault->place.line, (unsigned long)fault->place.column, kind,
                 fault->message);
}

void config_faults_write(struct config_faults *faults, struct text *out)
{
    char text[CHANNEL_PATH_BYTES_MAX + MESSAGE_BYTES_MAX + 64];
    size_t printed = 0, left_out = 0;
    if (faults->count > 0)
        qsort(faults->list, faults->count, sizeof *faults->list, compare);
    for (size_t i = 0; i < faults->count; i++) {
        if (i > 0 && compare(&faults->list[i - 1], &faults->list[i]) == 0)
            continue;
        if (printed == FAULTS_PRINTED_MAX) {
            left_out++;
            continue;
        }
        printed++;
        write_fault(&faults->list[i], text, sizeof text);
        text_add(out, "%s\n", text);
        if (faults->list[i].place.line > 0)
            print_line(faults->list[i].place, out);
    }
    if (left_out > 0)
        text_add(out, "... and %zu more\n", left_out);
    if (faults->incomplete)
        text_add(out, "... and more than there was memory for\n");
}

void config_faults_first(struct config_faults *faults, char *text, size_t text_bytes)
{
    if (faults->count == 0) {
        snprintf(text, text_bytes, "out of memory");
        return;
    }
    qsort(faults->list, faults->count, sizeof *faults->list, compare);
    write_fault(&faults->list[0], text, text_bytes);
}

void config_faults_free(struct config_faults *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        free(faults->list[i].message);
    free(faults->list);
    *faults = (struct config_faults){0};
}
