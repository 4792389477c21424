/* SPDX-License-Identifier: Apache-2.0 */
#include "timer.h"

#include <inttypes.h>
#include <sys/timerfd.h>

#include "../lib/omap.h"
#include "arguments.h"
#include "router.h"
#include "underway.h"

#define MS_MAX	9007199254740992.0	/* what goes beyond is as good as never */
#define NEVER	UINT64_MAX

enum clock { CLOCK_WALL, CLOCK_STEADY, CLOCK_N };

/* Wakes the loop, nothing else: what is due is found by looking. */
struct alarm {
	struct loop_source source;
	uint64_t set_us;	/* 0: not set */
};

/* What the index knows of a call. */
struct waiting {
	uint64_t due_us;
	uint64_t sender, token;	/* token: kref, 0 none */
	uint64_t handler;	/* kref; 0: answered with the time */
	uint32_t clock;
	uint32_t zero;
};

struct timers {
	struct omap *calls;		/* seq ─▶ struct waiting */
	struct omap *due[CLOCK_N];	/* due_us, seq */
	struct omap *tokens;		/* sender, token, seq */
	struct alarm alarms[CLOCK_N];
};

static uint64_t now_us(enum clock clock)
{
	return clock == CLOCK_WALL ? now_realtime_us() : now_boottime_us();
}

/* --- the index --------------------------------------------------------------------------------------------------- */

/* Read away; also when the wall clock was set, which ends the waiting (TFD_TIMER_CANCEL_ON_SET). Set anew in timer_pump(). */
static int on_alarm(struct loop_source *s, uint32_t events)
{
	struct alarm *a = container_of(s, struct alarm, source);
	uint64_t n;

	(void)events;
	(void)!read(s->fd, &n, sizeof(n));
	a->set_us = 0;
	return 0;
}

static int open_alarm(struct kernel *k, struct alarm *a, enum clock clock)
{
	int r, fd = timerfd_create(clock == CLOCK_WALL ? CLOCK_REALTIME : CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return error_origin(errno);
	a->source = (struct loop_source)LOOP_SOURCE_INIT(on_alarm);
	r = loop_add(&k->loop, &a->source, fd, EPOLLIN);
	if (r < 0)
		close(fd);
	return r;
}

static int set_alarm(struct alarm *a, enum clock clock, uint64_t due_us)
{
	struct itimerspec when = { .it_value = { (time_t)(due_us / 1000000), (long)(due_us % 1000000) * 1000 } };

	if (a->set_us == due_us)
		return 0;
	a->set_us = due_us;
	if (due_us == NEVER)
		when.it_value = (struct timespec){ 0 };
	/* ECANCELED: it is set all the same; the clock was set since we read from it last. */
	if (timerfd_settime(a->source.fd, TFD_TIMER_ABSTIME | (clock == CLOCK_WALL ? TFD_TIMER_CANCEL_ON_SET : 0), &when, NULL) < 0 &&
	    errno != ECANCELED)
		return error_origin(errno);
	return 0;
}

static int timers_new(struct kernel *k)
{
	struct timers *t = calloc(1, sizeof(*t));
	int r;

	k->timers = t;
	if (!t)
		return error_origin(ENOMEM);
	t->alarms[CLOCK_WALL].source.fd = t->alarms[CLOCK_STEADY].source.fd = -1;
	t->calls = omap_new();
	t->tokens = omap_new();
	t->due[CLOCK_WALL] = omap_new();
	t->due[CLOCK_STEADY] = omap_new();
	if (!t->calls || !t->tokens || !t->due[CLOCK_WALL] || !t->due[CLOCK_STEADY])
		return error_origin(ENOMEM);
	r = open_alarm(k, &t->alarms[CLOCK_WALL], CLOCK_WALL);
	return r < 0 ? r : open_alarm(k, &t->alarms[CLOCK_STEADY], CLOCK_STEADY);
}

static void alarm_deinit(struct kernel *k, struct alarm *a)
{
	int fd = a->source.fd;

	if (fd < 0)
		return;
	loop_remove(&k->loop, &a->source);
	close(fd);
}

void timer_deinit(struct kernel *k)
{
	struct timers *t = k->timers;

	if (!t)
		return;
	alarm_deinit(k, &t->alarms[CLOCK_WALL]);
	alarm_deinit(k, &t->alarms[CLOCK_STEADY]);
	omap_free(t->calls);
	omap_free(t->tokens);
	omap_free(t->due[CLOCK_WALL]);
	omap_free(t->due[CLOCK_STEADY]);
	free(t);
	k->timers = NULL;
}

static size_t token_key(uint8_t key[24], uint64_t sender, uint64_t token, uint64_t seq)
{
	put_be64(key, sender);
	put_be64(key + 8, token);
	put_be64(key + 16, seq);
	return 24;
}

static int index_add(struct timers *t, uint64_t seq, const struct waiting *w)
{
	uint8_t key[24];
	int r = omap_put(t->calls, key, key_u64(key, seq), w, sizeof(*w), false);

	if (r >= 0)
		r = omap_put(t->due[w->clock], key, key_u64_u64(key, w->due_us, seq), NULL, 0, false);
	if (r >= 0 && w->token)
		r = omap_put(t->tokens, key, token_key(key, w->sender, w->token, seq), NULL, 0, false);
	return r < 0 ? error_trace(r) : 0;
}

/* False: not there. *wp is what it was. */
static bool index_take(struct timers *t, uint64_t seq, struct waiting *wp)
{
	const struct omap_node *node;
	uint8_t key[24];

	node = t ? omap_find(t->calls, key, key_u64(key, seq)) : NULL;
	if (!node)
		return false;
	memcpy(wp, node->val, sizeof(*wp));
	omap_remove(t->calls, key, 8);
	omap_remove(t->due[wp->clock], key, key_u64_u64(key, wp->due_us, seq));
	if (wp->token)
		omap_remove(t->tokens, key, token_key(key, wp->sender, wp->token, seq));
	return true;
}

/* --- methods ----------------------------------------------------------------------------------------------------- */

static int settle_number(struct kernel *k, const struct item *i, uint64_t n)
{
	char body[24];

	snprintf(body, sizeof(body), "#%" PRIu64, n);
	return service_settle_text(k, i, body);
}

/* Milliseconds to microseconds, upwards: nothing is early. */
static int read_ms(struct kernel *k, const struct service_call *c, const json_t *args, uint64_t *usp)
{
	double ms;
	int r;

	r = arguments_number(k, c, args, 0, "a finite number of milliseconds, not negative", 0, __DBL_MAX__, &ms);
	if (r)
		return r;
	*usp = (uint64_t)((ms < MS_MAX ? ms : MS_MAX) * 1000);
	*usp += (double)*usp < ms * 1000 && ms < MS_MAX;
	return 0;
}

static int wait_until(struct kernel *k, const struct service_call *c, enum clock clock, uint64_t due_us, kref_t handler, kref_t token)
{
	const struct waiting w = { .due_us = due_us, .sender = c->item->row.sender, .token = token.bits, .handler = handler.bits,
				   .clock = clock };
	int r = k->timers ? 0 : timers_new(k);

	if (r >= 0)
		r = index_add(k->timers, c->item->seq, &w);
	return r < 0 ? r : SERVICE_LATER;
}

static int now(struct kernel *k, const struct service_call *c, const json_t *args)
{
	(void)args;
	return settle_number(k, c->item, now_realtime_us() / 1000);
}

/* Counted from when the call was made; what of that time has passed is the wall clock's word, and kept within the delay. */
static int delay(struct kernel *k, const struct service_call *c, const json_t *args)
{
	uint64_t us, left, wall = now_realtime_us(), made = c->item->row.enqueued_us;
	kref_t token;
	int r;

	r = read_ms(k, c, args, &us);
	if (r == 0)
		r = arguments_token(k, c, args, 1, &token);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	left = wall <= made ? us : wall - made < us ? us - (wall - made) : 0;
	return wait_until(k, c, CLOCK_STEADY, now_boottime_us() + left, KREF_NONE, token);
}

static int wake_at(struct kernel *k, const struct service_call *c, const json_t *args)
{
	kref_t token;
	uint64_t us;
	int r;

	r = read_ms(k, c, args, &us);
	if (r == 0)
		r = arguments_token(k, c, args, 1, &token);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	return wait_until(k, c, CLOCK_WALL, us, KREF_NONE, token);
}

static int set_wakeup(struct kernel *k, const struct service_call *c, const json_t *args)
{
	kref_t handler, token;
	uint64_t us;
	int r;

	r = read_ms(k, c, args, &us);
	if (r == 0)
		r = arguments_reference(k, c, args, 1, "an object to be sent wake(time)", &handler);
	if (r == 0)
		r = arguments_token(k, c, args, 2, &token);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	return wait_until(k, c, CLOCK_WALL, us, handler, token);
}

static int cancel_one(struct kernel *k, uint64_t seq)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	struct waiting w;
	int r;

	index_take(k->timers, seq, &w);
	r = queue_get(k, ENDPOINT_K.bits, seq, &i);
	if (r)
		return r < 0 ? r : kernel_corrupt("timer: call %" PRIu64 " is not in the queue", seq);
	r = service_reject(k, &i, "Error", "[CANCELLED] the call of the timer was cancelled");
	return r < 0 ? r : service_end(k, &i);
}

/* Of one sender there are at most so many as calls of his may wait. */
static int cancel(struct kernel *k, const struct service_call *c, const json_t *args)
{
	const struct omap_node *node;
	uint64_t n = 0;
	uint8_t key[24];
	kref_t token;
	int r;

	r = arguments_token(k, c, args, 0, &token);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	if (kref_is_none(token))
		return arguments_refuse(k, c, "argument 1: expected an object as token");
	token_key(key, c->item->row.sender, token.bits, 0);
	while (k->timers && (node = omap_next(k->timers->tokens, key, sizeof(key), true)) && !memcmp(node->key, key, 16)) {
		r = cancel_one(k, get_be64(node->key + 16));
		if (r < 0)
			return r;
		n++;
	}
	return settle_number(k, c->item, n);
}

static int begin(struct kernel *k, const struct service_call *c)
{
	static const struct service_method methods[] = {
		{ "now", now }, { "delay", delay }, { "wakeAt", wake_at }, { "setWakeup", set_wakeup }, { "cancel", cancel },
	};

	return arguments_dispatch(k, c, methods, ARRAY_LEN(methods));
}

static bool forget(struct kernel *k, const struct item *i)
{
	struct waiting w;

	index_take(k->timers, i->seq, &w);
	return true;
}

/* --- what is due --------------------------------------------------------------------------------------------------- */

/* The call becomes the message, of the same sender: who answers wake(time) answers the call. */
static int send_wake(struct kernel *k, const struct item *call, kref_t handler, uint64_t now_ms)
{
	_cleanup_(item_deinit) struct item wake = ITEM_INIT;
	char body[48];
	int n, r;

	n = snprintf(body, sizeof(body), "#[\"wake\",[%" PRIu64 "]]", now_ms);
	r = item_host_message(&wake, handler, body, (size_t)n, NULL, 0);
	if (r < 0)
		return r;
	wake.row.sender = call->row.sender;
	wake.row.result = call->row.result;
	return router_send(k, &wake);
}

/* Fired and gone are one transaction. */
static int fire(struct kernel *k, uint64_t seq)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	uint64_t now_ms = now_realtime_us() / 1000;
	struct waiting w;
	int r;

	index_take(k->timers, seq, &w);
	r = queue_get(k, ENDPOINT_K.bits, seq, &i);
	if (r)
		return r < 0 ? r : kernel_corrupt("timer: call %" PRIu64 " is not in the queue", seq);
	r = underway_begin(k, UNDERWAY_ANSWER, 0, seq);
	underway_fault(k, "answer", i.raw, i.len);
	if (r >= 0)
		r = kernel_savepoint(k);
	if (r >= 0 && w.handler)
		r = send_wake(k, &i, (kref_t){ w.handler }, now_ms);
	else if (r >= 0)
		r = settle_number(k, &i, now_ms);
	if (r >= 0)
		r = service_end(k, &i);
	if (r >= 0)
		r = kernel_release(k);
	if (r < 0)
		return r;
	underway_acquit(k, UNDERWAY_ANSWER, 0, seq);
	underway_end(k);
	return 0;
}

int timer_pump(struct kernel *k, bool *didp)
{
	enum clock clock;
	int r = 0;

	*didp = false;
	for (clock = 0; k->timers && r >= 0 && clock < CLOCK_N; clock++) {
		const struct omap_node *first = omap_next(k->timers->due[clock], "", 0, true);
		uint64_t due_us = first ? get_be64(first->key) : NEVER;

		if (first && due_us <= now_us(clock)) {
			*didp = true;
			return fire(k, get_be64(first->key + 8));
		}
		r = set_alarm(&k->timers->alarms[clock], clock, due_us);
	}
	return r;
}

const struct service_class timer_service = { .name = "timer", .begin = begin, .forget = forget };
