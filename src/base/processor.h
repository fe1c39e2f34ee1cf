/* SPDX-License-Identifier: MIT
 * What this processor can do beyond what every one of its kind can. Only the system knows that for
 * sure, so the folder of the system (src/os) implements it. */
#ifndef FLOTILLA_BASE_PROCESSOR_H
#define FLOTILLA_BASE_PROCESSOR_H

#include <stdint.h>

enum processor_feature {
    PROCESSOR_CRC32C = 1,   /* an instruction for it */
    PROCESSOR_FOLD_256 = 2, /* x86-64: carry-less multiplication of 256 bits at once, and crc32 */
    PROCESSOR_FOLD_512 = 4, /* x86-64: of 512 bits */
};

/* The enum processor_feature bits of this machine. Slow under a hypervisor: ask once. */
uint32_t processor_features(void);

#endif
