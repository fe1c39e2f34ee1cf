/* SPDX-License-Identifier: MIT
 * What send and listen work on: a channel of the fleet file, or a schema file alone, with its
 * schema parsed and compiled. Relies on config/config and schema/schema. */
#ifndef FLOTILLA_CLI_SUBJECT_H
#define FLOTILLA_CLI_SUBJECT_H

#include "avro/envelope.h"
#include "avro/framing.h"
#include "config/config.h"
#include "schema/schema.h"

struct subject {
    struct config *config;                /* NULL for a schema file alone */
    const struct config_channel *channel; /* NULL for a schema file alone */
    struct schema_file *schema;
    uint8_t *image;
    struct layout layout;   /* points into image */
    struct framing framing; /* of the channel; none for a schema file alone */
};

/* Reads the fleet file (`given` from -c, or NULL to look for it); what is to be said of it goes to
 * stderr. As config_read. */
int subject_read_config(const char *given, enum config_machine machine, struct config **config);

/* Reads the fleet file and takes its channel `name`. Messages go to stderr, led by `verb`. Returns
 * an exit code (verb.h). subject_close in any case.
 */
int subject_open_channel(struct subject *subject, const char *verb, const char *given,
                         const char *name);

/* The same of a fleet file that was read: `subject->config`. */
int subject_choose_channel(struct subject *subject, const char *verb, const char *name);

/* Takes the schema in `path`, with its time and sequence fields (NULL: none). As above. */
int subject_open_schema(struct subject *subject, const char *verb, const char *path,
                        const char *time, const char *sequence);

/* Frees what was opened; harmless on an empty subject. */
void subject_close(struct subject *subject);

#endif
