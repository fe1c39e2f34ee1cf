/* SPDX-License-Identifier: MIT
 * A channel's keys between JSON and the file of YAML that it stands in. Relies on config/tree and
 * jansson. */
#ifndef FLOTILLA_CLI_CHANNEL_TEXT_H
#define FLOTILLA_CLI_CHANNEL_TEXT_H

#include <jansson.h>

#include "base/text.h"
#include "config/change.h"

/* A file being written, and which part of the JSON each of its lines is from. All zero to begin
 * with; freed by channel_text_free. */
struct channel_text {
    struct text yaml;
    char **pointers; /* RFC 6901, of lines from 1 on; NULL: of no part */
    size_t pointer_count, pointer_room;
};

/* Writes a file with one channel. `head` is what is to stand in front (comments), `schema` the
 * value of that key (NULL: there is none), whatever `configuration` has. What YAML has no word for
 * goes to `errors` as objects of pointer and detail. False without memory. */
bool channel_text_write(struct channel_text *text, struct span head, const char *name,
                        const json_t *configuration, const char *schema, json_t *errors);
/* The part that a line is from, below "/configuration"; "" where it is none. */
const char *channel_text_pointer(const struct channel_text *text, uint32_t line);
void channel_text_free(struct channel_text *text);

/* The comments and empty lines that a file begins with. */
struct span channel_text_head(const struct config_file *file);

/* What is written under a channel's name, as JSON; a new object. */
json_t *channel_text_read(const struct config_node *keys);

/* Adds {"pointer", "detail", "warning"} to a list. */
void channel_text_fault(json_t *list, const char *pointer, bool warning, const char *detail);

#endif
