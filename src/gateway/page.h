/* SPDX-License-Identifier: MIT
 * The web page: files that the build made of web/, compiled in; none where the build had no npm
 * (page_none.c then). They are the same for everybody and hold nothing of the fleet, so no token is
 * asked for; what they ask for themselves they ask with one. */
#ifndef FLOTILLA_GATEWAY_PAGE_H
#define FLOTILLA_GATEWAY_PAGE_H

#include "gateway/exchange.h"

struct page_file {
    const char *name; /* below /assets/; "": the page itself, at / */
    const char *type;
    const char *tag;  /* another one for other bytes */
    const unsigned char *bytes, *gzip;
    size_t count, gzip_count;
};

extern const struct page_file page_files[];
extern const size_t page_file_count;

/* What is asked for; NULL: nothing of the page, or of `/` something else than HTML. */
const struct page_file *page_find(const struct request *request);
/* Answers with it: packed if the request takes that, nothing if the browser has it already. */
void page_answer(const struct page_file *file, const struct request *request,
                 struct reply *reply);

#endif
