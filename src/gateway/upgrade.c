/* SPDX-License-Identifier: MIT
 * The handshake's fields. A field that may be there twice is read as its values in a row. */
#include "gateway/upgrade.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/sha1.h"
#include "gateway/words.h"

#define KEY_END "==" /* of 16 bytes */

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            "!#$%&'*+-.^_`|~";

/* The next word of a list, `*bytes` long; NULL: there is no further one. */
static const char *next_word(const char **list, size_t *bytes)
{
    const char *word = *list + strspn(*list, ", \t");
    *bytes = strcspn(word, ",");
    *list = word + *bytes;
    while (*bytes > 0 && (word[*bytes - 1] == ' ' || word[*bytes - 1] == '\t'))
        --*bytes;
    return *bytes > 0 ? word : NULL;
}

static bool has_word(const char *list, const char *wanted)
{
    size_t bytes;
    for (const char *word; (word = next_word(&list, &bytes)) != NULL;)
        if (bytes == strlen(wanted) && word_is(word, bytes, wanted))
            return true;
    return false;
}

static void read_key(struct upgrade *upgrade, const char *value)
{
    upgrade->keys++;
    if (strlen(value) != UPGRADE_KEY_BYTES)
        return;
    memcpy(upgrade->key, value, UPGRADE_KEY_BYTES + 1);
    upgrade->key_good = strspn(value, letters) == UPGRADE_KEY_BYTES - 2 &&
                        strcmp(value + UPGRADE_KEY_BYTES - 2, KEY_END) == 0;
}

static bool is_offered(const struct upgrade *upgrade, const char *wanted)
{
    for (size_t at = 0; at < upgrade->protocols_bytes; at += strlen(upgrade->protocols + at) + 1)
        if (strcmp(upgrade->protocols + at, wanted) == 0)
            return true;
    return false;
}

static void read_protocols(struct upgrade *upgrade, const char *value)
{
    size_t bytes;
    for (const char *word; (word = next_word(&value, &bytes)) != NULL;) {
        char *to = upgrade->protocols + upgrade->protocols_bytes;
        if (strspn(word, token) < bytes ||
            bytes >= sizeof(upgrade->protocols) - upgrade->protocols_bytes) {
            upgrade->broken = true;
            return;
        }
        memcpy(to, word, bytes);
        to[bytes] = '\0';
        upgrade->broken |= is_offered(upgrade, to);
        upgrade->protocols_bytes += bytes + 1;
    }
}

void upgrade_read(struct upgrade *upgrade, const char *name, const char *value)
{
    size_t bytes = strlen(name);
    if (word_is(name, bytes, "upgrade")) {
        upgrade->asked |= has_word(value, "websocket");
    } else if (word_is(name, bytes, "connection")) {
        upgrade->connected |= has_word(value, "upgrade");
    } else if (word_is(name, bytes, "sec-websocket-version")) {
        upgrade->versions++;
        upgrade->version = strcmp(value, "13") == 0;
    } else if (word_is(name, bytes, "sec-websocket-key")) {
        read_key(upgrade, value);
    } else if (word_is(name, bytes, "sec-websocket-protocol")) {
        read_protocols(upgrade, value);
    }
}

unsigned upgrade_judge(const struct upgrade *upgrade, const char *const *subprotocols,
                       const char **chosen, const char **why)
{
    *chosen = NULL;
    *why = NULL;
    for (; *subprotocols != NULL && *chosen == NULL; subprotocols++)
        if (is_offered(upgrade, *subprotocols))
            *chosen = *subprotocols;
    if (!upgrade->asked || !upgrade->connected)
        *why = "here is a WebSocket: Connection: Upgrade and Upgrade: websocket are needed";
    else if (upgrade->versions != 1 || !upgrade->version)
        *why = "of WebSocket, version 13 is spoken here";
    if (*why != NULL)
        return 426;
    if (upgrade->keys != 1 || !upgrade->key_good)
        *why = "Sec-WebSocket-Key is 16 bytes in base64, once";
    else if (upgrade->broken)
        *why = "Sec-WebSocket-Protocol is not well-formed, or names one twice";
    else if (*chosen == NULL)
        *why = "none of the subprotocols that are offered is spoken here";
    return *why != NULL ? 400 : 101;
}

bool upgrade_authorization(const struct upgrade *upgrade, char *authorization, size_t bytes)
{
    static const char front[] = "bearer.";
    const char *found = NULL;
    for (size_t at = 0; at < upgrade->protocols_bytes; at += strlen(upgrade->protocols + at) + 1)
        if (strncmp(upgrade->protocols + at, front, sizeof(front) - 1) == 0) {
            if (found != NULL)
                return false;
            found = upgrade->protocols + at + sizeof(front) - 1;
        }
    if (found == NULL || strlen(found) + sizeof("bearer ") > bytes)
        return false;
    char *to = authorization + snprintf(authorization, bytes, "bearer ");
    while (*found != '\0') {
        int high = found[0] == '%' ? words_hexadecimal(found[1]) : -1;
        int low = high >= 0 ? words_hexadecimal(found[2]) : -1;
        *to++ = low >= 0 ? (char)(high << 4 | low) : found[0];
        found += low >= 0 ? 3 : 1;
    }
    *to = '\0';
    return true;
}

void upgrade_accept(char accept[UPGRADE_ACCEPT_BYTES], const char key[UPGRADE_KEY_BYTES + 1])
{
    char text[UPGRADE_KEY_BYTES + 40];
    uint8_t digest[SHA1_BYTES + 1]; /* and a 0 that fills the last group of three */
    int bytes = snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(digest, text, (size_t)bytes);
    digest[SHA1_BYTES] = 0;
    for (unsigned i = 0; i < sizeof(digest); i += 3) {
        uint32_t group = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        for (unsigned k = 0; k < 4; k++)
            *accept++ = letters[group >> (18 - 6 * k) & 63];
    }
    accept[-1] = '=';
    *accept = '\0';
}
