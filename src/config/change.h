/* SPDX-License-Identifier: MIT
 * fleet.yaml as it would be with one included file changed, and where a channel stands in it: for
 * whoever writes it. What is read here is not judged, but for config_read_changed. */
#ifndef FLOTILLA_CONFIG_CHANGE_H
#define FLOTILLA_CONFIG_CHANGE_H

#include "config/config.h"
#include "config/faults.h"
#include "config/tree.h"

struct config_change {
    const char *file; /* an included one, as messages call it; it need not be there */
    const char *text; /* what is to stand in it; NULL: it is to go */
};

/* As config_read, with the change. Every fault is told, in no order. 0, -ENOMEM, or -EINVAL after
 * an error. */
int config_read_changed(const char *path, enum config_machine machine,
                        const struct config_change *change, struct config **config,
                        void (*tell)(void *context, const struct config_fault *fault),
                        void *context);

/* Where a channel stands, and where others could. Freed by config_find_free. */
struct config_whereabouts {
    char base[CHANNEL_PATH_BYTES_MAX];    /* real folder of the file itself */
    char include[CHANNEL_PATH_BYTES_MAX]; /* the pattern as it is written; "": there is none */
    char file[CHANNEL_PATH_BYTES_MAX];    /* that has the channel; "": none has */
    uint32_t line;
    bool own; /* the file is included, and has this channel and nothing else */
    const struct config_file *text; /* of `file` */
    const struct config_node *keys; /* what is written under its name */
    struct loader *loader;          /* that read it all */
};

/* Looks for the channel `name` in the files as they are. 0, or -EINVAL with the first fault in
 * `error`: the file cannot be read at all. */
int config_find_channel(struct config_whereabouts *where, const char *path, const char *name,
                        char *error, size_t error_bytes);
void config_find_free(struct config_whereabouts *where);

/* The name, as messages would call it, of an included file `name` (of no folder) beside those that
 * the pattern finds. 0, or -EINVAL where the pattern finds no such name. */
int config_include_path(const char *path, const char *include, const char *name,
                        char file[CHANNEL_PATH_BYTES_MAX]);

#endif
