/* SPDX-License-Identifier: MIT
 * No sandbox, for the build of the relay that is profiled: callgrind lives in the same process and
 * could not write its counts. All else of that build is the relay's own code. */
#include "os/sandbox.h"

int sandbox_enter(int folder)
{
    (void)folder;
    return 0;
}

int sandbox_seal(const long *threads, uint32_t thread_count)
{
    (void)threads;
    (void)thread_count;
    return 0;
}

int sandbox_lacks(void)
{
    return 0;
}
