/* SPDX-License-Identifier: MIT
 * SHA-1 as RFC 3174, 6.1 has it. */
#include "base/sha1.h"

#include <string.h>

#define BLOCK_BYTES 64u

static uint32_t turned(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static void take_block(uint32_t state[5], const uint8_t *at)
{
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (unsigned t = 0; t < 16; t++, at += 4)
        words[t] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    for (unsigned t = 16; t < 80; t++)
        words[t] = turned(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1);
    for (unsigned t = 0; t < 80; t++) {
        uint32_t mixed = t < 20   ? ((b & c) | (~b & d)) + 0x5a827999u
                         : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1u
                         : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu
                                  : (b ^ c ^ d) + 0xca62c1d6u;
        uint32_t next = turned(a, 5) + mixed + e + words[t];
        e = d;
        d = c;
        c = turned(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1(uint8_t digest[SHA1_BYTES], const void *bytes, size_t count)
{
    uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};
    uint8_t last[2 * BLOCK_BYTES] = {0};
    const uint8_t *at = bytes;
    size_t left = count;
    for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, at += BLOCK_BYTES)
        take_block(state, at);
    if (left > 0)
        memcpy(last, at, left);
    last[left] = 0x80;
    size_t end = left + 9 <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    for (unsigned i = 0; i < 8; i++)
        last[end - 1 - i] = (uint8_t)((uint64_t)count * 8 >> 8 * i);
    take_block(state, last);
    if (end > BLOCK_BYTES)
        take_block(state, last + BLOCK_BYTES);
    for (unsigned i = 0; i < SHA1_BYTES; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
