/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers of events that wait. A read that finds nothing is kept until the broker says that there is something; it costs
 * one request, charged to its user, and no time. Each gets what is there when it is answered, so none waits for another.
 *
 * A reader that is interrupted must get its answer, else it hangs. libfuse tells so while it holds locks of that request (and
 * at once, from within the call that asks to be told, if it was interrupted already), so the request is only marked there.
 */
#include <fcntl.h>
#include <poll.h>

#include "mount_impl.h"

#define EVENTS_MAX_READ	(256u << 10)	/* bytes of one answer */

struct waiter {
	struct waiter *prev, *next;
	struct charge charge;
	fuse_req_t req;
	struct open_node *open;
	size_t size;
	bool interrupted;
	bool *flag;		/* the mount's */
};

static const struct live_page *page_of(const struct mount *m)
{
	return m->common->look.lease->live;
}

static void watch_as_needed(struct mount *m)
{
	if (m->waiters || m->n_polls)
		watch_wait(&m->common->watch, &m->watcher);
	else
		watch_stop(&m->common->watch, &m->watcher);
}

static void waiter_free(struct mount *m, struct waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		m->waiters = w->next;
	if (w->next)
		w->next->prev = w->prev;
	charge_drop(&m->common->charges, &w->charge);
	free(w);
	watch_as_needed(m);
}

/* Answer with what is there. False: nothing is. */
static bool reply_events(struct mount *m, fuse_req_t req, struct stream *s, size_t size)
{
	_cleanup_free_ char *buf = NULL;
	size_t n;

	if (!stream_ready(s, page_of(m)))
		return false;
	if (size > EVENTS_MAX_READ)
		size = EVENTS_MAX_READ;
	buf = malloc(size + 1);
	n = buf ? stream_read(s, page_of(m), buf, size) : 0;
	if (!n && size)
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_buf(req, buf, n);
	return true;
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct waiter *w = data;

	(void)req;
	w->interrupted = *w->flag = true;
}

static int waiter_new(struct mount *m, fuse_req_t req, struct open_node *o, size_t size)
{
	struct waiter *w = calloc(1, sizeof(*w));
	int error = w ? charge_take(&m->common->charges, &w->charge, fuse_req_ctx(req)->uid, sizeof(*w)) : ENOMEM;

	if (error) {
		free(w);
		return error;
	}
	w->req = req;
	w->open = o;
	w->size = size;
	w->flag = &m->interrupted;
	w->next = m->waiters;
	if (w->next)
		w->next->prev = w;
	m->waiters = w;
	watch_as_needed(m);
	fuse_req_interrupt_func(req, on_interrupt, w);
	return 0;
}

void mount_events_interrupted(struct mount *m)
{
	if (!m->interrupted)
		return;
	m->interrupted = false;
	for (struct waiter *w = m->waiters, *next; w; w = next) {
		next = w->next;
		if (!w->interrupted)
			continue;
		fuse_reply_err(w->req, EINTR);
		waiter_free(m, w);
	}
}

/* Without a broker that wakes us a reader has what there is, and then the end. */
void mount_read_events(fuse_req_t req, struct open_node *o, size_t size, bool nonblock)
{
	struct mount *m = mount_of(req);
	int error;

	if (reply_events(m, req, o->stream, size))
		return;
	if (!watch_works(&m->common->watch)) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	error = nonblock ? EAGAIN : waiter_new(m, req, o, size);
	if (error)
		fuse_reply_err(req, error);
}

void mount_forget_poll(struct mount *m, struct open_node *o)
{
	if (!o->poll)
		return;
	fuse_pollhandle_destroy(TAKE_PTR(o->poll));
	m->n_polls--;
	watch_as_needed(m);
}

void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct open_node *o = open_node_of(fi);
	struct mount *m = mount_of(req);

	(void)ino;
	if (o->kind != OPEN_STREAM || stream_ready(o->stream, page_of(m))) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		fuse_reply_poll(req, POLLIN | POLLRDNORM);
		return;
	}
	if (ph) {
		mount_forget_poll(m, o);
		o->poll = ph;
		m->n_polls++;
		watch_as_needed(m);
	}
	fuse_reply_poll(req, 0);
}

static void on_shown(struct watcher *watcher)
{
	struct mount *m = container_of(watcher, struct mount, watcher);

	for (struct waiter *w = m->waiters, *next; w; w = next) {
		next = w->next;
		if (reply_events(m, w->req, w->open->stream, w->size))
			waiter_free(m, w);
	}
	for (struct open_node *o = m->n_polls ? m->open : NULL; o; o = o->next) {
		if (!o->poll || !stream_ready(o->stream, page_of(m)))
			continue;
		fuse_lowlevel_notify_poll(o->poll);	/* takes no lock of the kernel's that a reader could hold */
		mount_forget_poll(m, o);
	}
}

void mount_events_init(struct mount *m)
{
	m->watcher = (struct watcher)WATCHER_INIT(on_shown);
}

void mount_events_deinit(struct mount *m)
{
	while (m->waiters) {
		fuse_reply_err(m->waiters->req, ENOTCONN);
		waiter_free(m, m->waiters);
	}
	watch_stop(&m->common->watch, &m->watcher);
}
