/* SPDX-License-Identifier: MIT
 * What the system gives out for something open: a socket, a file, a folder, a pipe, a process's
 * end. Sources: fcntl(2), dup(2).
 *
 * Errors, here and in all of src/os, are errno's names with a minus: they are this house's words,
 * and strerror (ISO C) puts them for people. A system that reports otherwise maps its own to them,
 * and what it cannot do at all is -EOPNOTSUPP. */
#ifndef FLOTILLA_OS_DESCRIPTOR_H
#define FLOTILLA_OS_DESCRIPTOR_H

#include <stdbool.h>

/* A small number, given out and taken back by src/os alone: nobody else reckons with it but as an
 * index, or keeps it beyond descriptor_close. What kind of thing stands behind it, os knows. Where
 * a system has no small numbers for all of them (a socket, a file and a process are three things on
 * Windows), it is an index into a table of os's. A function that opens something returns it, or a
 * negative errno: below 0 there is none. */
typedef int descriptor_t;

#define DESCRIPTOR_NONE (-1)

/* Opens what the process was started without of its standard descriptors, so that nothing it opens
 * gets their numbers, and with them its log or its output. What is read from or written to them
 * fails as it did; the log is thrown away. First of all, in every program. */
void descriptor_fill_standard(void);
/* Whether the open file is what `path` names: false once it was removed or renamed, or another has
 * taken its place; true where that cannot be told. */
bool descriptor_is_at(descriptor_t descriptor, const char *path);
/* Another descriptor of the same, close-on-exec; -1 if there is no room for one. */
descriptor_t descriptor_copy(descriptor_t descriptor);
/* Closes a descriptor, if it is one. */
void descriptor_close(descriptor_t descriptor);

#endif
