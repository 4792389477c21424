/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for descriptors and for time. Methods run in cranks and nowhere else, so when something is ready while the vat
 * is idle, the kernel is asked for a crank (`wakeMe`), and what is still ready in its `wake` delivery runs there:
 *
 *	idle: poll the channel and all that is watched ──ready──▶ wakeMe ──▶ wait for the channel alone ──▶ wake: methods run
 *
 * One wake is asked for at a time, so what is ready is not looked at again before its method ran. The kernel gives wakes
 * and messages by turns, and each wake runs each descriptor once and a bounded number of timers: neither starves the
 * other. A vat that waits for nothing makes no more system calls than without this file.
 */
#include <limits.h>
#include <poll.h>
#include <time.h>

#include "internal.h"

#define TIMERS_A_WAKE	256u
#define MS_NS		UINT64_C(1000000)

struct watch {
	struct watch *next;
	int fd;
	short events;
	bool ready;		/* in this wake, its turn is yet to come */
	vat_ref *object;	/* held */
	char method[];
};

struct timer {
	uint64_t due_ns, number;
	vat_ref *object;	/* held */
	char method[];
};

static uint64_t now_ns(const vat *v)
{
	return v->host ? v->host->now_ns : now_monotonic_ns();
}

/* --- timers: a heap, the next one first ------------------------------------------------------------ */

static bool is_before(const struct timer *a, const struct timer *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->number < b->number);
}

static void swap(vat *v, size_t a, size_t b)
{
	struct timer *t = v->timers[a];
	v->timers[a] = v->timers[b];
	v->timers[b] = t;
}

static void sift_up(vat *v, size_t i)
{
	for (; i && is_before(v->timers[i], v->timers[(i - 1) / 2]); i = (i - 1) / 2)
		swap(v, i, (i - 1) / 2);
}

static void sift_down(vat *v, size_t i)
{
	for (;;) {
		size_t least = i;
		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < v->n_timers; child++)
			if (is_before(v->timers[child], v->timers[least]))
				least = child;
		if (least == i)
			return;
		swap(v, i, least);
		i = least;
	}
}

static struct timer *timer_take(vat *v, size_t i)
{
	struct timer *t = v->timers[i];
	v->timers[i] = v->timers[--v->n_timers];
	if (i < v->n_timers) {
		sift_up(v, i);
		sift_down(v, i);
	}
	return t;
}

/* The method that is to run; NULL: the running method fails. */
static struct object *waiter(vat *v, void *self, const char *method, const char *what)
{
	struct object *o = object_from_self(v, self, what);
	if (method && object_method(o, method, true))
		return o;
	call_fail(v, "TypeError", "%s: %s has no continuation or method \"%s\"", what, o->kind->name, method ? method : "");
	return NULL;
}

uint64_t vat_after(vat *v, uint64_t ms, void *self, const char *method)
{
	struct object *o = waiter(v, self, method, "vat_after()");
	uint64_t now = now_ns(v);

	if (!o)
		return 0;
	struct timer *t = vat_alloc(v, sizeof(*t) + strlen(method) + 1);
	t->due_ns = ms < (UINT64_MAX - now) / MS_NS ? now + ms * MS_NS : UINT64_MAX;
	t->number = ++v->last_timer;
	t->object = o->ref;
	memcpy(t->method, method, strlen(method));
	ref_hold(t->object);
	v->timers = vat_grow(v, v->timers, &v->timers_size, v->n_timers + 1, sizeof(*v->timers));
	v->timers[v->n_timers++] = t;
	sift_up(v, v->n_timers - 1);
	return t->number;
}

void vat_cancel(vat *v, uint64_t timer)
{
	for (size_t i = 0; i < v->n_timers; i++) {
		if (v->timers[i]->number != timer)
			continue;
		struct timer *t = timer_take(v, i);
		ref_unhold(v, t->object);
		free(t);
		return;
	}
}

/* --- descriptors ------------------------------------------------------------------------------------ */

static short poll_one(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static struct watch **watch_find(vat *v, int fd)
{
	struct watch **w = &v->watches;
	while (*w && (*w)->fd != fd)
		w = &(*w)->next;
	return w;
}

static const char *why_not(vat *v, int fd)
{
	if (fd == v->fd)
		return "is the channel to the kernel";
	if (*watch_find(v, fd))
		return "is watched already";
	return fd < 0 || poll_one(fd, 0) & POLLNVAL ? "is not open" : NULL;
}

int vat_watch(vat *v, int fd, short events, void *self, const char *method)
{
	struct object *o = waiter(v, self, method, "vat_watch()");
	const char *why = o ? why_not(v, fd) : NULL;

	if (!o)
		return -1;
	if (why)
		return call_fail(v, "Error", "vat_watch(): descriptor %d %s", fd, why);
	struct watch *w = vat_alloc(v, sizeof(*w) + strlen(method) + 1), **tail = watch_find(v, -1);
	w->fd = fd;
	w->events = events;
	w->object = o->ref;
	memcpy(w->method, method, strlen(method));
	ref_hold(w->object);
	*tail = w;
	v->n_watches++;
	return 0;
}

void vat_unwatch(vat *v, int fd)
{
	struct watch **at = watch_find(v, fd), *w = *at;
	if (!w)
		return;
	*at = w->next;
	v->n_watches--;
	ref_unhold(v, w->object);
	free(w);
}

/* --- asking for a wake ------------------------------------------------------------------------------ */

size_t watch_fill(vat *v, struct pollfd *p)
{
	size_t n = 0;
	for (struct watch *w = v->watches; w; w = w->next)
		p[n++] = (struct pollfd){ .fd = w->fd, .events = w->events };
	return n;
}

uint64_t watch_next_due(const vat *v)
{
	return v->n_timers ? v->timers[0]->due_ns : UINT64_MAX;
}

/* The time until the next timer, rounded up: none is waited for by turning round. */
static int timeout_ms(const vat *v)
{
	uint64_t now = now_ns(v), due = watch_next_due(v), ms;
	if (due == UINT64_MAX)
		return -1;
	ms = due > now ? (due - now + MS_NS - 1) / MS_NS : 0;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

void watch_ask(vat *v)
{
	if (v->wake_asked)
		return;
	v->wake_asked = true;
	wire_begin(&v->out, WIRE_WAKE_ME, 0, 0);
	wire_end(&v->out);
	channel_flush(v);
}

/* Until the channel has something. */
void watch_wait(vat *v)
{
	while ((v->n_watches || v->n_timers) && !v->wake_asked && v->begun) {
		v->polled = vat_grow(v, v->polled, &v->polled_size, v->n_watches + 1, sizeof(*v->polled));
		size_t n = watch_fill(v, v->polled);
		bool ready = false;
		v->polled[n] = (struct pollfd){ .fd = v->fd, .events = POLLIN };
		int r = poll(v->polled, n + 1, timeout_ms(v));
		if (r < 0 && errno != EINTR)
			vat_die(v, "poll: %s", strerror(errno));
		if (r < 0)
			continue;
		for (size_t i = 0; i < n; i++)
			ready = ready || v->polled[i].revents;
		if (ready || watch_next_due(v) <= now_ns(v))
			watch_ask(v);
		if (v->polled[n].revents)
			return;
	}
}

/* --- the wake ----------------------------------------------------------------------------------------- */

/* In a turn of its own: what it settles runs before the next. */
static void run(vat *v, vat_ref *object, const char *method, int64_t number)
{
	struct object *o = object_of(v, object);
	const vat_method *row = o ? object_method(o, method, true) : NULL;
	char *text = arena_printf(v, "%lld", (long long)number);
	struct vat_value value = { .at = text, .end = text + strlen(text) };

	if (!row) {	/* an object of an older kind would have been put away and loaded again: not by us, we hold it */
		vat_warn(v, "nothing answers the continuation \"%s\" any more", method);
		return;
	}
	struct encoder *answer = encoder_begin(v);
	if (!call_method(v, o, row, row->fn, row->name, value, true, answer))
		vat_warn(v, "continuation %s.%s failed: %s", o->kind->name, row->name, encoder_words(v, answer));
	encoder_end(v, answer);
	promise_run_turns(v);
}

static void run_timers(vat *v)
{
	uint64_t now = now_ns(v), last = v->last_timer;	/* those that are made meanwhile wait for the next wake */

	for (unsigned n = 0; n < TIMERS_A_WAKE && v->n_timers; n++) {
		if (v->timers[0]->due_ns > now || v->timers[0]->number > last)
			return;
		struct timer *t = v->fired = timer_take(v, 0);
		run(v, t->object, t->method, (int64_t)t->number);
		v->fired = NULL;
		ref_unhold(v, t->object);
		free(t);
	}
}

static struct watch *next_ready(vat *v)
{
	for (struct watch *w = v->watches; w; w = w->next)
		if (w->ready)
			return w;
	return NULL;
}

/* Each is asked once more when its turn comes: a method before it may have read it empty, or stopped the watching. */
static void run_watches(vat *v)
{
	for (struct watch *w = v->watches; w; w = w->next)
		w->ready = true;
	for (struct watch *w; (w = next_ready(v));) {
		int fd = w->fd;
		short revents = poll_one(fd, w->events);
		w->ready = false;
		if (!revents)
			continue;
		vat_ref *object = w->object;
		const char *method = arena_printf(v, "%s", w->method);
		object->crank = v->crank;	/* unwatched in its own method, it lasts to the end of the crank */
		if (revents & POLLNVAL) {	/* it would be ready for ever */
			vat_warn(v, "descriptor %d was closed while it was watched; it is watched no more", fd);
			vat_unwatch(v, fd);
		}
		run(v, object, method, revents);
	}
}

void watch_wake(vat *v)
{
	v->wake_asked = false;
	run_timers(v);
	run_watches(v);
}

void watch_close(vat *v)
{
	for (struct watch *w; (w = v->watches);) {
		v->watches = w->next;
		free(w);
	}
	for (size_t i = 0; i < v->n_timers; i++)
		free(v->timers[i]);
	free(v->fired);
	free(v->timers);
	free(v->polled);
}
