/* SPDX-License-Identifier: MIT
 * Fuzzes a client's messages in Foxglove's protocol: the first byte says whether the rest is text.
 * What is judged: all that is read is within its bounds, a word is refused or complete, what is
 * said of it is JSON again, and memory is given back. Relies on libFuzzer, and on jansson. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/check.h"
#include "base/utf8.h"
#include "gateway/foxglove_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge_refusal(const struct foxglove_request *request)
{
    struct text out = {0};
    json_error_t error;
    CHECK(request->why[0] != '\0' && request->pair_count == 0);
    foxglove_write_status(&out, FOXGLOVE_ERROR, NULL, request->why);
    json_t *status = json_loadb(out.at, out.bytes, JSON_REJECT_DUPLICATES, &error);
    CHECK(status != NULL && json_is_string(json_object_get(status, "message")));
    json_decref(status);
    text_free(&out);
}

static void judge_playback(const struct foxglove_request *request)
{
    const uint8_t *id = (const uint8_t *)request->playback.id;
    size_t bytes = strlen(request->playback.id);
    struct text out = {0};
    CHECK(bytes <= FOXGLOVE_REQUEST_ID_MAX && utf8_valid(id, id + bytes));
    foxglove_write_playback(&out, FOXGLOVE_PLAYING, 1, request->playback.speed, false,
                            request->playback.id);
    CHECK(!out.failed && out.bytes == 19 + bytes && memcmp(out.at + 19, id, bytes) == 0);
    text_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct foxglove_request request;
    if (size == 0)
        return 0;
    CHECK(foxglove_read(&request, data[0] & 1, (struct span){data + 1, size - 1}) == 0);
    CHECK(request.pair_count <= FOXGLOVE_PAIRS_MAX);
    CHECK(request.pair_count == 0 || request.pairs != NULL);
    if (request.word == FOXGLOVE_WRONG || request.word == FOXGLOVE_UNKNOWN)
        judge_refusal(&request);
    else if (request.word == FOXGLOVE_PLAYBACK)
        judge_playback(&request);
    free(request.pairs);
    return 0;
}
