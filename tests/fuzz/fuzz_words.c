/* SPDX-License-Identifier: MIT
 * Fuzzes what the gateway reads of a request itself: target, range, host, lists; the first byte
 * says which. What is judged: what is taken is what routes rely on; whether a list accepts a word,
 * a second way. Relies on libFuzzer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "gateway/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge_target(const char *text)
{
    static struct target target;
    memset(&target, 0, sizeof(target));
    if (target_read(&target, text) < 0)
        return;
    CHECK(text[0] == '/' && target.part_count <= TARGET_PARTS_MAX);
    for (size_t i = 0; i < target.part_count; i++) {
        const char *part = target.parts[i];
        CHECK(part[0] != '\0' && strcmp(part, ".") != 0 && strcmp(part, "..") != 0);
        CHECK(strpbrk(part, "/\\\n\r\x7f") == NULL);
    }
    for (size_t i = 0; i < target.query_count; i++)
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(target.queries[i].name, target.queries[k].name) != 0);
}

static void judge_range(const char *text, uint64_t bytes)
{
    uint64_t first, count;
    enum range_kind kind = range_read(text, bytes, &first, &count);
    CHECK(kind == RANGE_BEYOND || (first <= bytes && count <= bytes - first));
    CHECK(kind != RANGE_PART || count > 0);
}

static void judge_host(const char *text)
{
    struct host host;
    if (!host_read(&host, text))
        return;
    CHECK(strlen(host.name) > 0 && strlen(host.name) < sizeof(host.name));
    CHECK(strspn(host.name, "abcdefghijklmnopqrstuvwxyz0123456789.-_:") == strlen(host.name));
    CHECK(host.port == HOST_PORT_NONE || (host.port > 0 && host.port < 65536));
}

/* As RFC 9110 has a list: items between commas, of each a word and, behind it, a weight; the first
 * of its word counts. False: the weight is no number, so that nothing is said. */
static bool judge_item(char *list, const char *word, bool *accepted)
{
    *accepted = false;
    for (char *item = list, *next; item != NULL; item = next) {
        next = strchr(item, ',');
        if (next != NULL)
            *next++ = '\0';
        item += strspn(item, " \t");
        if (strcspn(item, "; \t") != strlen(word) || memcmp(item, word, strlen(word)) != 0)
            continue;
        const char *weight = strstr(item, "q=");
        char *end = NULL;
        *accepted = weight == NULL || strtod(weight + 2, &end) > 0;
        return weight == NULL || (strspn(weight + 2, "0123456789.") == (size_t)(end - weight - 2) &&
                                  end != weight + 2);
    }
    return true;
}

static void judge_list(const char *text)
{
    static const char *const words[] = {"gzip", "text/html"};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        char *copy = text_copy(text);
        bool accepted, got = list_accepts(text, words[i]);
        CHECK(copy != NULL);
        if (judge_item(copy, words[i], &accepted))
            CHECK(got == accepted);
        free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    char *text = malloc(size);
    CHECK(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] & 3) {
    case 0:
        judge_target(text);
        break;
    case 1:
        judge_range(text, (uint64_t)data[0] << 4);
        break;
    case 2:
        judge_host(text);
        break;
    default:
        judge_list(text);
    }
    free(text);
    return 0;
}
