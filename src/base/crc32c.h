/* SPDX-License-Identifier: MIT
 * CRC-32C (Castagnoli; RFC 3720, appendix B.4). crc32c(0, "123456789", 9) is 0xe3069283. */
#ifndef FLOTILLA_BASE_CRC32C_H
#define FLOTILLA_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Carries the checksum `crc` (0 to begin with) on over `count` bytes. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t count);

/* One way to compute it, on the register: without the inversion before and after. */
struct crc32c_way {
    const char *name;
    uint32_t features; /* of base/processor.h that it needs, all of them */
    uint32_t (*carry)(uint32_t crc, const uint8_t *at, size_t count);
};
#define CRC32C_WAYS_MAX 4

/* All ways this program was built with, the best first; crc32c takes the first that the processor
 * has the features for. Returns their number. For tests and measurements. */
size_t crc32c_ways(const struct crc32c_way **ways);

#endif
