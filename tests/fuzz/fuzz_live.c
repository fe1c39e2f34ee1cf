/* SPDX-License-Identifier: MIT
 * Fuzzes a client's messages of the live socket. What is judged: what is taken is within the bounds
 * that the rest relies on, what is refused has a reason, that fits where it goes, and all memory is
 * given back. Relies on libFuzzer. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "gateway/live_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct live_request *request)
{
    CHECK(request->has_id && request->id > 0);
    if (request->op == LIVE_UNSUBSCRIBE || request->op == LIVE_CANCEL) {
        CHECK(request->field_count == 0 && request->channel[0] == '\0');
        return;
    }
    CHECK(strlen(request->channel) > 0 && strchr(request->channel, '/') == NULL);
    CHECK(request->field_count > 0 && request->field_count <= LIVE_FIELDS_MAX);
    for (uint32_t i = 0; i < request->field_count; i++)
        CHECK(strlen(request->fields[i]) <= 512);
    if (request->op == LIVE_SUBSCRIBE) {
        CHECK(request->bin_ns == 0 || request->back_ns / request->bin_ns <= LIVE_BINS_MAX);
        CHECK(request->bin_ns > 0 || request->back_ns == 0);
        CHECK(request->bin_ns == 0 || request->bin_ns >= 1000000);
        return;
    }
    CHECK(request->from_ns < request->to_ns);
    uint64_t span = (uint64_t)request->to_ns - (uint64_t)request->from_ns;
    uint64_t width = live_width(span, request->points);
    CHECK(width > 0 && (width == 1 || span / width >= request->points));
    CHECK(request->points > 0 && request->points <= LIVE_POINTS_MAX);
    CHECK((uint64_t)request->points * request->field_count <= LIVE_CELLS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct live_request request;
    char error[600] = "";
    if (live_read(&request, (struct span){data, size}, error, sizeof(error)))
        judge(&request);
    else
        CHECK(error[0] != '\0' && strlen(error) < sizeof(error) - 1);
    json_decref(request.message);
    return 0;
}
