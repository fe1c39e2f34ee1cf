/* SPDX-License-Identifier: MIT
 * What the files of config share while fleet.yaml is read. Nobody else includes this; the manual of
 * the room is config/config.h. */
#ifndef FLOTILLA_CONFIG_LOADER_H
#define FLOTILLA_CONFIG_LOADER_H

#include "config/change.h"
#include "config/keys.h"
#include "config/tree.h"

#define CONFIG_MESSAGE_BYTES 1200
#define FILE_OF(place)       ((place).file->name)

/* A channel while it is read: its values, and where each of them was said. */
struct draft {
    struct config_channel values;
    const struct config_node *node; /* of the map; its key is the name */
    const struct config_node *said[ID_COUNT];
};

struct loader {
    struct config *config;
    struct config_faults faults;
    struct config_tree **trees; /* the file itself, then its includes */
    size_t tree_count;
    struct draft defaults;
    struct draft *drafts; /* as many as config->channels */
    size_t draft_count, draft_room;
    const struct config_node *said[ID_COUNT]; /* of the fleet */
    bool limits_told;                         /* that this machine has none */
    enum config_machine machine;
    const struct config_change *change; /* NULL: the files are read as they are */
    bool change_read;
    int unread; /* negative errno: why the last schema cannot be read yet */
    bool no_memory;
};

/* ---- read.c: from trees to values ---- */

static inline struct config_place place_of_file(const struct config_tree *tree)
{
    return (struct config_place){&tree->file, tree->root != NULL ? tree->root->place.line : 1,
                                 tree->root != NULL ? tree->root->place.column : 1};
}

/* Where to point at: the value, or where it should be. */
static inline struct config_place place_of(const struct draft *draft, enum config_key_id id)
{
    return draft->said[id] != NULL ? draft->said[id]->place : draft->node->key->place;
}

/* The key of that name, or NULL. */
const struct config_key *config_key_find(const struct config_key *keys, size_t key_count,
                                         const char *name);
/* Reads a path, from the folder of the file it stands in, into `path` of CHANNEL_PATH_BYTES_MAX.
 * False: it was refused, with an error. */
bool loader_read_path(struct loader *loader, const struct config_node *node,
                      const struct config_key *key, char *path);
/* The tree of a file, which is the loader's. NULL: it cannot be read, with an error. */
struct config_tree *loader_read_tree(struct loader *loader, const char *path);
/* Whether there is anything in it; an error if not, in which `name` stands for the file. */
bool loader_says_something(struct loader *loader, const struct config_tree *tree, const char *name);
/* Reads the file and its includes into drafts. False: nothing more can be said about it. */
bool loader_read_file(struct loader *loader, const char *path);
void loader_free(struct loader *loader);

/* ---- check.c and clash.c: what no single value shows ---- */

/* Fills in what follows from where the file is. */
void check_fleet(struct loader *loader);
/* A channel by itself: its values together, this machine, its schema, which is compiled. */
void check_channel(struct loader *loader, struct draft *draft);
/* Channels beside each other: names, inputs, outputs. */
void check_clashes(struct loader *loader);

#endif
