/* SPDX-License-Identifier: MIT
 * CRC-32C (Castagnoli; RFC 3720, appendix B.4). crc32c(0, "123456789", 9) is 0xe3069283. */
#ifndef FLOTILLA_BASE_CRC32C_H
#define FLOTILLA_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Carries the checksum `crc` (0 to begin with) on over `count` bytes. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t count);

#endif
