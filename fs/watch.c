/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for events: see watch.h. */
#include "watch.h"

#define RETRY_MS	10	/* the broker's socket is full, which lasts as long as its round */

static int on_shown(struct loop_source *source, uint32_t events)
{
	struct watch *w = container_of(source, struct watch, source);
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
		return error_origin(errno);
	for (struct watcher *who = w->first, *next; who; who = next) {
		next = who->next;
		who->shown(who);
	}
	return 0;
}

int watch_init(struct watch *w, struct loop *loop, struct lease *lease, int fd)
{
	*w = (struct watch){ .source = LOOP_SOURCE_INIT(on_shown), .loop = loop, .lease = lease };
	return fd < 0 ? 0 : loop_add(loop, &w->source, fd, EPOLLIN);
}

void watch_deinit(struct watch *w)
{
	assert(!w->first);
	if (w->loop)
		loop_remove(w->loop, &w->source);
	*w = (struct watch)WATCH_INIT;
}

bool watch_works(const struct watch *w)
{
	return w->source.fd >= 0;
}

void watch_wait(struct watch *w, struct watcher *who)
{
	if (who->waiting)
		return;
	who->waiting = true;
	who->prev = NULL;
	who->next = w->first;
	if (who->next)
		who->next->prev = who;
	w->first = who;
}

void watch_stop(struct watch *w, struct watcher *who)
{
	if (!who->waiting)
		return;
	who->waiting = false;
	if (who->prev)
		who->prev->next = who->next;
	else
		w->first = who->next;
	if (who->next)
		who->next->prev = who->prev;
	w->idle_ns = now_monotonic_ns();
}

/*
 * How long the broker may be left with what it was told; 0: not at all, -1: for ever. Who comes and goes as fast as it can must
 * not fill the broker's socket, where leases are asked for too: so that nobody waits is said after a while only.
 */
static int due_ms(const struct watch *w)
{
	uint64_t passed_ms = (now_monotonic_ns() - w->idle_ns) / 1000000;

	if (!watch_works(w) || w->told == (w->first != NULL))
		return -1;
	return w->first || passed_ms >= WATCH_LINGER_MS ? 0 : (int)(WATCH_LINGER_MS - passed_ms);
}

bool watch_tick(struct watch *w)
{
	int r;

	if (due_ms(w))
		return true;
	r = lease_watch(w->lease, w->first != NULL);
	if (!r)
		w->told = w->first != NULL;
	return r != LEASE_E_GONE;
}

int watch_timeout_ms(const struct watch *w)
{
	int due = due_ms(w);

	return due ? due : RETRY_MS;
}
