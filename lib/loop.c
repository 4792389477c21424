/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop. Level-triggered epoll: what a handler leaves unread is ready again in the next round, and the
 * kernel moves a ready descriptor to the tail of its list each time it is reported, so a source that never
 * runs dry costs the others one call a round and no more.
 *
 * A round works on a copy of what was ready. loop_remove() strikes the source out of that copy, so its owner may
 * free it at once, from any handler; a source added (or added again) during a round is first called in the next.
 */
#include "loop.h"

#define ROUND_MAX 256	/* sources a round; more of them wait for the next, and come first there */

int loop_init(struct loop *l)
{
	*l = (struct loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .woke_ns = now_monotonic_ns() };
	return l->epoll_fd < 0 ? error_origin(errno) : 0;
}

void loop_deinit(struct loop *l)
{
	closep(&l->epoll_fd);
	*l = (struct loop){ .epoll_fd = -1 };
}

static int control(struct loop *l, int op, struct loop_source *s)
{
	struct epoll_event event = { .events = s->events, .data.ptr = s };

	return epoll_ctl(l->epoll_fd, op, s->fd, &event) < 0 ? error_origin(errno) : 0;
}

int loop_add(struct loop *l, struct loop_source *s, int fd, uint32_t events)
{
	int r;

	assert(s->fd < 0 && fd >= 0 && s->handle);
	s->fd = fd;
	s->events = events;
	r = control(l, EPOLL_CTL_ADD, s);
	if (r < 0)
		s->fd = -1;
	return r;
}

int loop_modify(struct loop *l, struct loop_source *s, uint32_t events)
{
	assert(s->fd >= 0);
	if (events == s->events)
		return 0;
	s->events = events;
	return control(l, EPOLL_CTL_MOD, s);
}

/*
 * Must come before the descriptor is closed: a duplicate (one that was passed on to another process, say) would keep
 * the registration alive, with a pointer to a source that is gone. Hence the assertion.
 */
void loop_remove(struct loop *l, struct loop_source *s)
{
	int r;

	if (s->fd < 0)
		return;
	r = epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	assert(r == 0);
	s->fd = -1;
	s->events = 0;
	for (size_t i = l->i_ready; i < l->n_ready; i++)
		if (l->ready[i] == s)
			l->ready[i] = NULL;
}

int loop_round(struct loop *l, int timeout_ms)
{
	struct epoll_event events[ROUND_MAX];
	struct loop_source *ready[ROUND_MAX];
	int n, r = 0;

	assert(!l->ready);	/* a handler does not run the loop */
	n = epoll_wait(l->epoll_fd, events, ROUND_MAX, timeout_ms);
	r = n < 0 ? errno : 0;
	l->woke_ns = now_monotonic_ns();
	if (n < 0)
		return r == EINTR ? 0 : error_origin(r);
	for (int i = 0; i < n; i++)
		ready[i] = events[i].data.ptr;
	l->ready = ready;
	l->n_ready = (size_t)n;
	for (l->i_ready = 0; r == 0 && l->i_ready < l->n_ready; l->i_ready++) {
		struct loop_source *s = ready[l->i_ready];

		if (s)
			r = s->handle(s, events[l->i_ready].events);
		assert(r <= 0);
	}
	l->ready = NULL;
	l->n_ready = l->i_ready = 0;
	return r;
}
