/* SPDX-License-Identifier: Apache-2.0 */
/* The session: see session.h. */
#include "session.h"

#include "mount.h"
#include "serve.h"

struct session {
	struct common common;
	struct loop_source lease;	/* its socket: late answers, and the broker's end */
	struct mount *mount;		/* NULL: none */
	struct serve *serve;		/* NULL: none */
	bool end;			/* unmounted */
};

static void session_freep(struct session **sp) { session_free(*sp); }

static int on_lease(struct loop_source *source, uint32_t events)
{
	struct session *s = container_of(source, struct session, lease);

	(void)events;
	if (lease_drain(s->common.look.lease) == LEASE_E_GONE)
		s->common.look.broker_gone = true;
	return 0;
}

int session_new(struct session **sessionp, const struct session_options *options)
{
	_cleanup_(session_freep) struct session *s = NULL;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return error_origin(ENOMEM);
	s->common = (struct common){ .loop.epoll_fd = -1, .look = LOOK_INIT, .access = options->access, .watch = WATCH_INIT };
	s->lease = (struct loop_source)LOOP_SOURCE_INIT(on_lease);
	look_init(&s->common.look, options->reader, options->lease, options->data_fd);
	r = loop_init(&s->common.loop);
	if (!r)
		r = loop_add(&s->common.loop, &s->lease, options->lease->fd, EPOLLIN);
	if (!r)
		r = watch_init(&s->common.watch, &s->common.loop, options->lease, options->watch_fd);
	if (!r && options->fuse_fd >= 0)
		r = mount_new(&s->mount, &s->common, options->fuse_fd, &s->end);
	if (!r && options->serve_fd >= 0)
		r = serve_new(&s->serve, &s->common, options->serve_fd);
	if (r)
		return error_trace(r);
	*sessionp = TAKE_PTR(s);
	return 0;
}

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	serve_free(s->serve);
	mount_free(s->mount);
	watch_deinit(&s->common.watch);
	look_deinit(&s->common.look);
	charges_deinit(&s->common.charges);
	loop_deinit(&s->common.loop);
	free(s);
	return NULL;
}

/* Until the first of those who want to be looked after; -1: nobody does. */
static int timeout_ms(const struct session *s)
{
	const int each[] = {
		look_timeout_ms(&s->common.look), watch_timeout_ms(&s->common.watch), s->serve ? serve_timeout_ms(s->serve) : -1,
	};
	int least = -1;

	for (size_t i = 0; i < ARRAY_LEN(each); i++)
		if (each[i] >= 0 && (least < 0 || each[i] < least))
			least = each[i];
	return least;
}

int session_run(struct session *s)
{
	struct look *look = &s->common.look;
	int r = 0;

	while (!r && !s->end && !look->broker_gone) {
		r = loop_round(&s->common.loop, timeout_ms(s));
		look_tick(look);
		if (s->serve)
			serve_tick(s->serve);
		if (!watch_tick(&s->common.watch))
			look->broker_gone = true;
	}
	return r;
}
