/* SPDX-License-Identifier: MIT
 * Samples as columns: the binary messages in which the live socket answers `history`
 * (docs/internals/live.md), one behind the other; each tells its own length. */
#include "gateway/rest_columns.h"

#include "gateway/live_words.h"
#include "gateway/past.h"

#define COLUMNS_BYTES_MAX (32u << 20)

/* Takes the slices until the last. False with a problem in the reply. */
static bool take_slices(struct past *past, struct reply *reply)
{
    struct past_told *told = past_told(past);
    do {
        past_go_on(past);
        text_add_bytes(&reply->body, told->bytes.at != NULL ? told->bytes.at : "",
                       told->bytes.bytes);
    } while (told->state == PAST_MORE && reply->body.bytes <= COLUMNS_BYTES_MAX);
    if (told->state == PAST_REFUSED)
        reply_problem(reply, 400, "%s", told->error);
    else if (reply->body.bytes > COLUMNS_BYTES_MAX)
        reply_problem(reply, 413,
                      "the answer has more than %u bytes: ask for fewer fields, or points",
                      COLUMNS_BYTES_MAX);
    else if (reply->body.failed)
        reply_problem(reply, 500, "there is no memory for the answer");
    else if (!told->recorded)
        reply_problem(reply, 404, "there are no recordings of it");
    else
        return true;
    return false;
}

void rest_columns(const struct request *request, struct reply *reply, const struct time_span *span,
                  const char *const *fields, size_t field_count, uint32_t points)
{
    const struct past_request wanted = {.directory = request->gateway->directory,
                                        .channel = request->name,
                                        .names = fields,
                                        .name_count = (uint32_t)field_count,
                                        .id = 1,
                                        .from_ns = (int64_t)span->from_ns,
                                        .to_ns = (int64_t)span->to_ns,
                                        .points = points,
                                        .only_fine = true};
    if (field_count == 0 || span->from_ns >= span->to_ns ||
        span->to_ns > (uint64_t)LIVE_TIME_NS_MAX) {
        reply_problem(reply, 400, "columns need fields, from and to");
        return;
    }
    if ((uint64_t)points * field_count > LIVE_CELLS_MAX) {
        reply_problem(reply, 413, "points times fields are at most %u", LIVE_CELLS_MAX);
        return;
    }
    struct past *past = past_open(&wanted);
    if (past == NULL) {
        reply_problem(reply, 500, "there is no memory for the answer");
    } else if (take_slices(past, reply)) {
        reply->status = 200;
        reply->type = "application/vnd.flotilla.columns";
    }
    past_close(past);
}
