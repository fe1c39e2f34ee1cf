/* SPDX-License-Identifier: MIT
 * flotilla export: runs flotilla-export, a program of its own with libraries of its own, in this
 * one's place. Relies on os/process to find it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "os/process.h"

int verb_export(int argc, char **argv)
{
    char path[4096];
    (void)argc;
    int status = process_find_program("flotilla-export", path, sizeof(path));
    if (status == 0)
        status = process_replace(path, argv); /* and does not come back */
    if (status == -ENOENT)
        fprintf(stderr,
                "flotilla export: there is no program flotilla-export, neither at %s nor in PATH; "
                "it is a package of its own, or is built by make\n",
                path);
    else
        fprintf(stderr, "flotilla export: %s: %s\n", path, strerror(-status));
    return EXIT_FAILED;
}
