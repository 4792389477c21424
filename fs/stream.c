/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of events: see stream.h. */
#include "stream.h"

static uint64_t n_shown(const struct live_page *page)
{
	return __atomic_load_n(&page->n_shown, __ATOMIC_ACQUIRE);
}

void stream_begin(struct stream *s, const struct live_page *page)
{
	*s = (struct stream){ .next = n_shown(page) + 1 };
}

bool stream_ready(const struct stream *s, const struct live_page *page)
{
	return s->rest_at < s->rest_len || s->next <= n_shown(page);
}

static size_t give_rest(struct stream *s, char *buf, size_t size)
{
	size_t n = s->rest_len - s->rest_at;

	if (n > size)
		n = size;
	memcpy(buf, s->rest + s->rest_at, n);
	s->rest_at += n;
	return n;
}

/*
 * Over those that are gone. Not to the very first that is left: that would be gone too, before this reader comes back to it; an
 * eighth of the ring is its head start.
 */
static void skip_lost(struct stream *s, const struct live_page *page, uint64_t shown, struct text *line)
{
	uint64_t to = render_event_first(page) + LIVE_EVENTS / 8;

	if (to > shown + 1)
		to = shown + 1;
	if (to <= s->next)		/* overwritten in this very moment */
		to = s->next + 1;
	text_printf(line, "[lost %llu events]\n", (unsigned long long)(to - s->next));
	s->next = to;
}

/* The line of the next event, or of its loss, becomes the rest. False: out of memory, or there is none. */
static bool next_line(struct stream *s, const struct live_page *page, struct text *line)
{
	uint64_t shown = n_shown(page);
	struct live_event e;

	if (s->next > shown)
		return false;
	text_reset(line);
	if (live_event_read(page, s->next, &e)) {
		skip_lost(s, page, shown, line);
	} else {
		render_event(line, &e);
		s->next++;
	}
	assert(line->len <= sizeof(s->rest));
	if (line->failed)
		return false;
	memcpy(s->rest, line->data, line->len);
	s->rest_at = 0;
	s->rest_len = line->len;
	return true;
}

size_t stream_read(struct stream *s, const struct live_page *page, char *buf, size_t size)
{
	struct text line = TEXT_INIT(RENDER_EVENT_MAX);
	size_t n = give_rest(s, buf, size);

	while (n < size && next_line(s, page, &line))
		n += give_rest(s, buf + n, size - n);
	text_deinit(&line);
	return n;
}
