/* SPDX-License-Identifier: MIT
 * Of every fuzzer: the hash tables of jansson begin alike, so that the same inputs make the same of
 * the code under test, and a run that begins with the same seed is the same (tests/fuzz/run). */
#include <jansson.h>

__attribute__((constructor)) static void begin_alike(void)
{
    json_object_seed(1);
}
