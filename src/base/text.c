/* SPDX-License-Identifier: MIT
 * Growing text. No known faults. */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 16 };

void *room_grow(void *memory, size_t *room, size_t count, size_t bytes)
{
    if (memory != NULL && count <= *room)
        return memory;
    size_t wider = *room + *room / 2;
    wider = wider > count ? wider : count;
    wider = wider > ROOM_MIN ? wider : ROOM_MIN;
    void *grown = wider > SIZE_MAX / bytes ? NULL : realloc(memory, wider * bytes);
    if (grown != NULL)
        *room = wider;
    return grown;
}

bool text_make_room(struct text *text, size_t more)
{
    char *grown = text->failed ? NULL : room_grow(text->at, &text->room, text->bytes + more + 1, 1);
    if (grown == NULL)
        text->failed = true;
    else
        text->at = grown;
    return grown != NULL;
}

void text_add(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int used = vsnprintf(NULL, 0, format, arguments);
    if (used < 0)
        text->failed = true;
    else if (text_make_room(text, (size_t)used))
        text->bytes += (size_t)vsnprintf(text->at + text->bytes, (size_t)used + 1, format, again);
    va_end(again);
    va_end(arguments);
}

void text_add_bytes(struct text *text, const void *bytes, size_t byte_count)
{
    if (byte_count == 0 || !text_make_room(text, byte_count))
        return;
    memcpy(text->at + text->bytes, bytes, byte_count);
    text->bytes += byte_count;
    text->at[text->bytes] = '\0';
}

void text_add_string(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_add_char(struct text *text, char letter)
{
    text_add_bytes(text, &letter, 1);
}

char *text_take(struct text *text)
{
    char *taken = NULL;
    if (text_make_room(text, 0)) {
        taken = text->at;
        taken[text->bytes] = '\0';
        text->at = NULL;
    }
    text_free(text);
    return taken;
}

void text_print(struct text *text, FILE *out)
{
    if (text->bytes > 0)
        fwrite(text->at, 1, text->bytes, out);
    if (text->failed)
        fputs("out of memory\n", out);
    text_free(text);
}

void text_free(struct text *text)
{
    free(text->at);
    *text = (struct text){0};
}

void text_clear(struct text *text)
{
    text->bytes = 0;
    text->failed = false;
}

char *text_copy(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    return copy == NULL ? NULL : memcpy(copy, text, bytes);
}
