/* SPDX-License-Identifier: MIT
 * Findings with their places. A place is looked for only when there is something to say about it,
 * and the number of findings is capped, so a hostile schema cannot buy more than a hundred walks.
 * Relies on jansson to read keys with escapes. Never reads beyond the text, whatever it holds. */
#include "schema/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/check.h"

#define PATH_BYTES 256u
#define TEXT_BYTES 640u

int report_begin(struct report *report, struct span text, struct schema_findings *findings)
{
    *report = (struct report){.text = text, .findings = findings};
    report->steps = malloc(REPORT_DEPTH_MAX * sizeof(struct report_step));
    return report->steps == NULL ? -ENOMEM : 0;
}

void report_end(struct report *report)
{
    free(report->steps);
    report->steps = NULL;
}

static void step_in(struct report *report, const char *key, size_t index)
{
    if (report->depth < REPORT_DEPTH_MAX)
        report->steps[report->depth] = (struct report_step){key, index, NULL};
    report->depth++;
}

void report_into_key(struct report *report, const char *key)
{
    step_in(report, key, 0);
}

void report_into_index(struct report *report, size_t index)
{
    step_in(report, NULL, index);
}

void report_out(struct report *report)
{
    report->depth--;
}

static size_t depth_of(const struct report *report)
{
    return report->depth < REPORT_DEPTH_MAX ? report->depth : REPORT_DEPTH_MAX;
}

const struct report_place *report_keep(struct report *report, void *(*take)(void *, size_t),
                                       void *context)
{
    static const struct report_place top = {NULL, "", 0};
    const struct report_place *up = &top;
    for (size_t i = 0; i < depth_of(report); i++) {
        struct report_step *step = &report->steps[i];
        if (step->kept == NULL) {
            struct report_place *place = take(context, sizeof(*place));
            if (place == NULL)
                return NULL;
            *place = (struct report_place){up, step->key, step->index};
            step->kept = place;
        }
        up = step->kept;
    }
    return up;
}

void report_go(struct report *report, const struct report_place *place)
{
    size_t depth = 0;
    for (const struct report_place *at = place; at->up != NULL; at = at->up)
        depth++;
    report->depth = depth;
    for (; place->up != NULL; place = place->up)
        report->steps[--depth] = (struct report_step){place->key, place->index, place};
}

/* ---- the text once more ---- */

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* Behind the string that begins at `at`. */
static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : end;
}

static bool is_bracket(uint8_t byte)
{
    return byte == '{' || byte == '}' || byte == '[' || byte == ']' || byte == ',' || byte == ':';
}

static const uint8_t *skip_word(const uint8_t *at, const uint8_t *end)
{
    while (at < end && !is_bracket(*at) && *at != '"' && skip_space(at, end) == at)
        at++;
    return at;
}

static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end)
{
    size_t depth = 0;
    do {
        at = skip_space(at, end);
        if (at >= end)
            return end;
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (is_bracket(*at)) {
            if (*at == '{' || *at == '[')
                depth++;
            else if ((*at == '}' || *at == ']') && depth > 0)
                depth--;
            at++;
        } else
            at = skip_word(at, end);
    } while (depth > 0);
    return at;
}

/* Whether the string at `at`, with its quotes, says `key`. */
static bool string_says(const uint8_t *at, const uint8_t *behind, const char *key)
{
    size_t bytes = (size_t)(behind - at);
    if (memchr(at, '\\', bytes) == NULL)
        return bytes == strlen(key) + 2 && memcmp(at + 1, key, bytes - 2) == 0;
    json_t *json = json_loadb((const char *)at, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool says = json_is_string(json) && strcmp(json_string_value(json), key) == 0;
    json_decref(json);
    return says;
}

/* The value that `step` leads to from the one at `at`; `at` itself where there is none. */
static const uint8_t *follow(const uint8_t *at, const uint8_t *end, const struct report_step *step)
{
    const uint8_t *start = at, *found;
    if (at >= end || *at != (step->key != NULL ? '{' : '['))
        return NULL;
    at++;
    for (size_t i = 0;; i++) {
        at = skip_space(at, end);
        if (at >= end || *at == '}' || *at == ']')
            return NULL;
        start = at;
        if (step->key != NULL) {
            at = skip_space(skip_value(at, end), end);
            found = skip_space(at < end ? at + 1 : end, end); /* behind the colon */
            if (*start == '"' && string_says(start, skip_string(start, end), step->key))
                return found;
            at = found;
        } else if (i == step->index)
            return start;
        at = skip_space(skip_value(at, end), end);
        if (at < end && *at == ',')
            at++;
    }
}

static void place_of_byte(struct span text, size_t offset, uint32_t *line, uint32_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset && i < text.bytes; i++) {
        if (text.at[i] == '\n') {
            ++*line;
            *column = 1;
        } else if ((text.at[i] & 0xc0) != 0x80) /* a letter is one column */
            ++*column;
    }
}

/* Of the value where the reading is. */
static void locate(const struct report *report, uint32_t *line, uint32_t *column)
{
    const uint8_t *end = report->text.at + report->text.bytes;
    const uint8_t *at = skip_space(report->text.at, end), *next = at;
    for (size_t i = 0; i < depth_of(report) && next != NULL; i++) {
        next = follow(at, end, &report->steps[i]);
        at = next != NULL ? next : at;
    }
    place_of_byte(report->text, (size_t)(at - report->text.at), line, column);
}

/* The value at a place, or the innermost one on the way that there is. */
static const uint8_t *find_place(const struct report *report, const struct report_place *place)
{
    const uint8_t *end = report->text.at + report->text.bytes;
    if (place->up == NULL)
        return skip_space(report->text.at, end);
    const uint8_t *outer = find_place(report, place->up);
    struct report_step step = {place->key, place->index, NULL};
    const uint8_t *at = follow(outer, end, &step);
    return at != NULL ? at : outer;
}

void report_locate_place(const struct report *report, const struct report_place *place,
                         uint32_t *line, uint32_t *column)
{
    place_of_byte(report->text, (size_t)(find_place(report, place) - report->text.at), line,
                  column);
}

size_t report_token_start(struct span text, size_t offset)
{
    const uint8_t *at = text.at, *end = text.at + text.bytes, *start = at;
    const uint8_t *wanted = text.at + (offset < text.bytes ? offset : text.bytes);
    while (at < wanted) {
        start = at = skip_space(at, end);
        if (at < end)
            at = *at == '"' ? skip_string(at, end) : is_bracket(*at) ? at + 1 : skip_word(at, end);
        if (at == start)
            break;
    }
    return (size_t)(start - text.at);
}

/* ---- what is said ---- */

static bool is_plain_key(const char *key)
{
    for (const char *at = key; *at != '\0'; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_' ||
              (*at >= '0' && *at <= '9')))
            return false;
    return key[0] != '\0';
}

void report_path(const struct report *report, char *out, size_t out_bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < depth_of(report); i++) {
        const struct report_step *step = &report->steps[i];
        size_t room = out_bytes - used;
        int added;
        if (step->key == NULL)
            added = snprintf(out + used, room, "[%zu]", step->index);
        else if (is_plain_key(step->key) || strcmp(step->key, "[]") == 0)
            added = snprintf(out + used, room, "%s%s", used > 0 && step->key[0] != '[' ? "." : "",
                             step->key);
        else
            added = snprintf(out + used, room, "[\"%.60s\"]", step->key);
        if (added < 0 || (size_t)added >= room) {
            if (out_bytes > used + 4)
                memcpy(out + used, "...", 4);
            else if (out_bytes > 4)
                memcpy(out + out_bytes - 4, "...", 4);
            break;
        }
        used += (size_t)added;
    }
    report_clean(out);
}

/* Bytes of the UTF-8 letter at `at`, 0 for what is none. */
static size_t letter_bytes(const uint8_t *at)
{
    size_t bytes = at[0] < 0x80                    ? 1
                   : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                   : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                   : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                   : 0;
    for (size_t i = 1; i < bytes; i++)
        if ((at[i] & 0xc0) != 0x80) /* also the NUL behind a text that was cut */
            return 0;
    return bytes;
}

void report_clean(char *text)
{
    uint8_t *to = (uint8_t *)text;
    for (const uint8_t *at = to; *at != '\0';) {
        size_t bytes = letter_bytes(at);
        bool bad = bytes == 0 || *at < 0x20 || *at == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0) ||
                   (at[0] == 0xe2 && at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae);
        if (bad)
            *to++ = '?';
        else {
            memmove(to, at, bytes);
            to += bytes;
        }
        at += bytes > 0 ? bytes : 1;
    }
    *to = '\0';
}

__attribute__((format(printf, 6, 0))) static void keep(struct report *report, bool warning,
                                                       uint32_t line, uint32_t column,
                                                       const char *path, const char *format,
                                                       va_list arguments)
{
    struct schema_findings *findings = report->findings;
    char text[TEXT_BYTES];
    CHECK(format != NULL);
    vsnprintf(text, sizeof(text), format, arguments);
    report_clean(text);
    size_t path_bytes = strlen(path) + 1, text_bytes = strlen(text) + 1;
    char *kept = malloc(path_bytes + text_bytes);
    if (findings->list == NULL)
        findings->list = calloc(SCHEMA_FINDINGS_MAX, sizeof(struct schema_finding));
    if (kept == NULL || findings->list == NULL) {
        free(kept);
        return; /* it is counted, and whoever prints says so */
    }
    memcpy(kept, path, path_bytes);
    memcpy(kept + path_bytes, text, text_bytes);
    findings->list[findings->count++] =
        (struct schema_finding){warning, line, column, kept, kept + path_bytes};
}

static bool is_room(struct report *report, bool warning)
{
    if (warning && report->errors_only)
        return false;
    report->findings->errors += !warning;
    /* Warnings never take the room of the first error. */
    if (report->findings->count < (warning ? SCHEMA_FINDINGS_MAX / 2 : SCHEMA_FINDINGS_MAX))
        return true;
    report->findings->more++;
    return false;
}

__attribute__((format(printf, 3, 0))) static void keep_here(struct report *report, bool warning,
                                                            const char *format, va_list arguments)
{
    char path[PATH_BYTES];
    uint32_t line, column;
    if (!is_room(report, warning))
        return;
    locate(report, &line, &column);
    report_path(report, path, sizeof(path));
    keep(report, warning, line, column, path, format, arguments);
}

void *report_error(struct report *report, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    keep_here(report, false, format, arguments);
    va_end(arguments);
    return NULL;
}

void report_warning(struct report *report, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    keep_here(report, true, format, arguments);
    va_end(arguments);
}

void report_error_at(struct report *report, size_t offset, const char *format, ...)
{
    va_list arguments;
    uint32_t line, column;
    if (!is_room(report, false))
        return;
    place_of_byte(report->text, offset, &line, &column);
    va_start(arguments, format);
    keep(report, false, line, column, "", format, arguments);
    va_end(arguments);
}

void report_sort(struct schema_findings *findings)
{
    /* By insertion, which keeps the order of those at one place; there are at most a hundred. */
    for (size_t i = 1; i < findings->count; i++) {
        struct schema_finding one = findings->list[i];
        size_t at = i;
        for (; at > 0; at--) {
            const struct schema_finding *before = &findings->list[at - 1];
            if (before->line < one.line ||
                (before->line == one.line && before->column <= one.column))
                break;
            findings->list[at] = *before;
        }
        findings->list[at] = one;
    }
}

void schema_findings_free(struct schema_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        free((char *)(uintptr_t)findings->list[i].path); /* the message is behind it */
    free(findings->list);
    *findings = (struct schema_findings){0};
}
