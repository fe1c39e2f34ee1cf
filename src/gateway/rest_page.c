/* SPDX-License-Identifier: MIT
 * The page, and its files by names that change with their content: those may be kept for ever.
 * Sources: RFC 9111 and RFC 8246 (caching), W3C CSP 3. */
#include "gateway/page.h"

#include <stdio.h>
#include <string.h>

#include "gateway/router.h"

/* Nothing from elsewhere, nothing that stands in the page itself; text stays text. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

const struct page_file *page_find(const struct request *request)
{
    const struct target *target = &request->target;
    const char *name;
    if (target->part_count == 0 && list_accepts(request->accept, "text/html"))
        name = "";
    else if (target->part_count == 2 && strcmp(target->parts[0], "assets") == 0)
        name = target->parts[1];
    else
        return NULL;
    for (size_t i = 0; i < page_file_count; i++)
        if (strcmp(page_files[i].name, name) == 0)
            return &page_files[i];
    return NULL;
}

void page_answer(const struct page_file *file, const struct request *request, struct reply *reply)
{
    bool packed = list_accepts(request->accept_encoding, "gzip");
    snprintf(reply->etag, sizeof(reply->etag), "\"%.40s%s\"", file->tag, packed ? "-gzip" : "");
    reply->type = file->type;
    reply->policy = policy;
    if (file->name[0] != '\0')
        reply->cache = "public, max-age=31536000, immutable";
    if (packed)
        reply->encoding = "gzip";
    if (strstr(request->if_none_match, reply->etag) != NULL) {
        reply->status = 304;
        return;
    }
    reply->status = 200;
    if (packed)
        text_add_bytes(&reply->body, file->gzip, file->gzip_count);
    else
        text_add_bytes(&reply->body, file->bytes, file->count);
}

void rest_asset(const struct request *request, struct reply *reply)
{
    const struct page_file *file = page_find(request);
    if (file != NULL)
        page_answer(file, request, reply);
    else
        reply_problem(reply, 404, "the page has no such file; it may be another version's");
}
