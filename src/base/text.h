/* SPDX-License-Identifier: MIT
 * Text that grows: what a stream into memory would be, and memory that grows behind any array.
 * Relies on malloc: not for the relay, which allocates nothing. */
#ifndef FLOTILLA_BASE_TEXT_H
#define FLOTILLA_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* All zero to begin with; the owner frees `at`. */
struct text {
    char *at;     /* from malloc, NUL behind; NULL: nothing was added */
    size_t bytes; /* without the NUL */
    size_t room;
    bool failed; /* there was no memory for all of it: what is there ends somewhere */
};

/* Adds at the end. */
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *text, const void *bytes, size_t byte_count);
void text_add_string(struct text *text, const char *string);
void text_add_char(struct text *text, char letter);

/* Room for `bytes` at the end and a NUL. False without memory, as all adds. */
bool text_make_room(struct text *text, size_t bytes);

/* As text_add_bytes, inline, for many short pieces: without the NUL, which text_end sets. */
static inline void text_put(struct text *text, const void *bytes, size_t byte_count)
{
    if (text->room - text->bytes <= byte_count && !text_make_room(text, byte_count))
        return;
    memcpy(text->at + text->bytes, bytes, byte_count);
    text->bytes += byte_count;
}
static inline void text_end(struct text *text)
{
    if (text->at != NULL)
        text->at[text->bytes] = '\0';
}
#define text_put_literal(text, literal) text_put(text, literal, sizeof(literal) - 1)

/* The text, from malloc and the caller's, also where nothing was added; NULL if it is not all
 * there. `text` is empty afterwards. */
char *text_take(struct text *text);
/* Prints it and frees it; what there was no memory for is told. */
void text_print(struct text *text, FILE *out);
void text_free(struct text *text);
/* Empties it and keeps its memory. */
void text_clear(struct text *text);

/* A copy from malloc; NULL without memory. */
char *text_copy(const char *text);

/* Memory (from malloc, or NULL) with room for at least `count` things of `bytes`, which it may have
 * moved to; `*room` counts those it holds and grows at least by half. NULL without memory: all is
 * as it was. */
void *room_grow(void *memory, size_t *room, size_t count, size_t bytes);

#endif
