/* SPDX-License-Identifier: MIT
 * Edit distance with transpositions (optimal string alignment) over three rows.
 * Relies on nothing but short words. */
#include "base/nearest.h"

#include <string.h>

#define WORD_BYTES_MAX 63
#define FAR_AWAY       1000

static char lower(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned nearest_distance(const char *a, const char *b)
{
    size_t a_bytes = strlen(a), b_bytes = strlen(b);
    if (a_bytes > WORD_BYTES_MAX || b_bytes > WORD_BYTES_MAX)
        return FAR_AWAY;
    unsigned rows[3][WORD_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_bytes; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *swap = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            unsigned wrong = lower(a[i - 1]) != lower(b[j - 1]);
            row[j] = least(above[j - 1] + wrong, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], swap[j - 2] + 1);
        }
    }
    return rows[a_bytes % 3][b_bytes];
}

void nearest_offer(const char *word, const char *candidate, const char **best)
{
    size_t length = strlen(candidate);
    unsigned distance = nearest_distance(word, candidate);
    if (distance > (length + 2) / 3 || distance >= length)
        return;
    if (*best == NULL || distance < nearest_distance(word, *best))
        *best = candidate;
}
