/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reader of the events: a place in the broker's ring (lib/live.h), and the rest of a line of which it has had only the beginning.
 * A reader that is slow costs nothing; what was written over meanwhile it loses, and is told how many: `[lost 123 events]`.
 */
#ifndef CAPSTAN_FS_STREAM_H
#define CAPSTAN_FS_STREAM_H

#include "render.h"

struct stream {
	uint64_t next;			/* number of the event to come */
	size_t rest_at, rest_len;
	char rest[RENDER_EVENT_MAX];
};
/* From now on: what is shown already is over. */
void stream_begin(struct stream *s, const struct live_page *page);
/* There is something to read. */
bool stream_ready(const struct stream *s, const struct live_page *page);
/* At most `size` bytes more into `buf`, whose number is returned; 0: nothing is there. */
size_t stream_read(struct stream *s, const struct live_page *page, char *buf, size_t size);

#endif
