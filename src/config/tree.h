/* SPDX-License-Identifier: MIT
 * A YAML file as a tree of maps, lists and texts in which everything knows its place. What
 * fleet.yaml does not need is refused here: anchors, aliases, tags, several documents, deep
 * nesting. Relies on libyaml's events. */
#ifndef FLOTILLA_CONFIG_TREE_H
#define FLOTILLA_CONFIG_TREE_H

#include "config/faults.h"

enum config_node_kind { NODE_TEXT, NODE_MAP, NODE_LIST };

struct config_node {
    enum config_node_kind kind;
    struct config_place place;
    struct config_node *key;          /* in a map: the entry's key, a text */
    bool duplicate;                   /* in a map: an earlier entry has the same key */
    bool refused;                     /* a text that is already among the faults */
    struct config_node *first, *next; /* of a map's or a list's entries, in order */
    struct config_node *older;        /* chain of all nodes, to free them */
    size_t bytes;
    char text[]; /* of a text, without control characters; NUL behind */
};

struct config_tree {
    struct config_file file;
    struct config_node *root;   /* NULL if the file holds nothing, or nothing readable */
    struct config_node *newest; /* chain of all nodes */
    bool whole;                 /* read to its end */
};

/* Reads `path` into `tree`, which is zero but for file.order. What is wrong goes to `faults`; after
 * a syntax error the tree holds what stood before it. 0, or a negative errno if the file could not
 * be read at all (this is among the faults, too). config_tree_free in either case. */
int config_tree_read(struct config_tree *tree, const char *path, struct config_faults *faults);

/* The same of `text`, from malloc and the tree's from here on, that is to stand in `path`. */
int config_tree_take(struct config_tree *tree, const char *path, uint8_t *text, size_t bytes,
                     struct config_faults *faults);

/* "a value", "a map" or "a list", for messages. */
const char *config_node_name(const struct config_node *node);

void config_tree_free(struct config_tree *tree);

#endif
