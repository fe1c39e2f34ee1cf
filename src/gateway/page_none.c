/* SPDX-License-Identifier: MIT
 * No page: what stands for the files that web/build makes where it cannot make them. */
#include "gateway/page.h"

const struct page_file page_files[1] = {{"", "", "", NULL, NULL, 0, 0}};
const size_t page_file_count = 0;
