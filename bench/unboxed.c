/* SPDX-License-Identifier: MIT
 * No sandbox, for the build of the relay that is profiled: callgrind lives in the same process and
 * could not write its counts. All else of that build is the relay's own code. */
#include "os/sandbox.h"

int sandbox_enter(descriptor_t folder)
{
    (void)folder;
    return 0;
}

int sandbox_seal(const struct thread *other)
{
    (void)other;
    return 0;
}

struct sandbox_lack_text sandbox_explain(enum sandbox_lack lack)
{
    (void)lack;
    return (struct sandbox_lack_text){"", "", NULL};
}

int sandbox_lacks(void)
{
    return 0;
}
