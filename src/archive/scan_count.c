/* SPDX-License-Identifier: MIT
 * What a scan came upon, summed up, and what is lost estimated from the blocks around. */
#include "archive/scan.h"

static void count_block(struct scan_totals *totals, const struct scan_event *event)
{
    double count = (double)event->count, bytes = (double)event->bytes;
    totals->lost_datums +=
        totals->open_bytes * (totals->last_count + count) / (totals->last_bytes + bytes);
    totals->open_bytes = 0;
    totals->last_count = count;
    totals->last_bytes = bytes;
    if (event->kind == SCAN_UNREAD) {
        totals->unread_blocks++;
        totals->unread_datums += event->count;
        totals->unread_bytes += event->bytes;
        return;
    }
    if (event->ours) {
        if (totals->blocks > 0 && event->arrival_ns < totals->last_ns) {
            if (totals->times_back++ == 0)
                totals->back_offset = event->offset;
            if (totals->last_ns - event->arrival_ns > totals->back_ns_max)
                totals->back_ns_max = totals->last_ns - event->arrival_ns;
        }
        if (totals->blocks == 0)
            totals->first_ns = event->arrival_ns;
        totals->last_ns = event->arrival_ns;
    }
    totals->blocks++;
    totals->datums += event->count;
    totals->block_bytes += event->bytes;
    totals->data_bytes += event->data.bytes;
}

static void count_fault(struct scan_totals *totals, const struct scan_event *event)
{
    totals->faults++;
    totals->lost_bytes += event->bytes - event->kept_bytes;
    totals->missing_bytes += event->missing_bytes;
    if (event->bytes == 0)
        totals->missing_header_bytes += event->header_bytes;
    totals->partial_blocks += event->shown > 0;
    totals->partial_datums += event->shown;
    if (event->count > 0)
        totals->lost_datums += (double)event->lost;
    else if (event->bytes > 0)
        totals->open_bytes += (double)(event->bytes - event->header_bytes);
}

void scan_count(struct scan_totals *totals, const struct scan_event *event)
{
    if ((event->kind == SCAN_BLOCK || event->kind == SCAN_UNREAD) && event->bytes > 0) {
        count_block(totals, event);
    } else if (event->kind == SCAN_HEADER) {
        totals->faults++; /* few readers go on behind it */
        totals->joined++;
    } else if (event->kind == SCAN_FAULT) {
        count_fault(totals, event);
    } else if (event->kind == SCAN_END) {
        if (totals->last_bytes > 0)
            totals->lost_datums += totals->open_bytes * totals->last_count / totals->last_bytes;
        int64_t missing = totals->missing_bytes - (int64_t)totals->missing_header_bytes;
        if (missing > 0 && totals->block_bytes > 0)
            totals->lost_datums +=
                (double)missing * (double)totals->datums / (double)totals->block_bytes;
        totals->open_bytes = 0;
    }
}
