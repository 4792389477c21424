/* SPDX-License-Identifier: Apache-2.0 */
#include "router.h"

#include <stdarg.h>

#include "charge.h"
#include "object.h"
#include "promise.h"
#include "vat.h"

static int reject(struct route *out, enum kernel_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int reject(struct route *out, enum kernel_code code, const char *fmt, ...)
{
	va_list ap;

	out->kind = ROUTE_REJECT;
	out->code = code;
	va_start(ap, fmt);
	vsnprintf(out->detail, sizeof(out->detail), fmt, ap);
	va_end(ap);
	return 0;
}

static int route_object(struct kernel *k, kref_t target, struct route *out)
{
	struct row_object row;
	struct vat *v;
	int r;

	out->target = target;
	r = object_load(k, target, &row);
	if (r < 0)
		return r;
	if (r == OBJECT_E_UNKNOWN)
		return reject(out, CODE_OBJECT_DELETED, "the object does not exist");
	if (object_is_revoked(k, target, &row))
		return reject(out, CODE_OBJECT_REVOKED, "the object was revoked");
	switch (object_owner(k, &row, &v)) {
	case OWNER_NONE:
		return reject(out, CODE_OBJECT_DELETED, "the object has no owner any more");
	case OWNER_TERMINATED:
		return reject(out, CODE_ENDPOINT_UNREACHABLE, "the vat of the object is terminated");
	case OWNER_KERNEL:
		out->kind = ROUTE_QUEUE;
		out->holder = ENDPOINT_K.bits;
		return 0;
	case OWNER_ALIVE:
	case OWNER_SUSPENDED:
		break;
	}
	out->kind = ROUTE_QUEUE;
	out->holder = endpoint_vat(v->number).bits;
	return 0;
}

/*
 * Would a message with this result wait for itself? The target's decision may hang on a message that waits on another
 * promise, and so on; a loop closes only if one of those is the result. A result that nothing waits on cannot be
 * one of them, which settles the ordinary case (a fresh promise) without a walk.
 */
static int waits_for_itself(struct kernel *k, kref_t end, const struct row_promise *end_row, kref_t result, bool *loopp)
{
	struct row_promise row = *end_row, result_row;
	kref_t at = end;
	int r;

	*loopp = false;
	if (kref_is_none(result))
		return 0;
	*loopp = kref_equal(end, result);
	if (*loopp)
		return 0;
	r = promise_load(k, result, &result_row);
	if (r || !result_row.n_waiting)
		return r < 0 ? r : 0;
	while (!row.decider && (row.link & REF_PROMISE)) {
		if (++k->n_hops > ROUTER_MAX_HOPS) {
			*loopp = true;
			return 0;
		}
		r = promise_terminal(k, (kref_t){ row.link }, &at, &row);
		if (r)
			return r < 0 ? r : 0;
		if (kref_equal(at, result)) {
			*loopp = true;
			return 0;
		}
		/*
		 * Round without meeting it: a forwarding has just closed a loop, through another message that waits on the
		 * same promise and was not re-sent yet. That one is refused when its turn comes.
		 */
		if (kref_equal(at, end))
			return 0;
	}
	return 0;
}

static int route_promise(struct kernel *k, kref_t target, kref_t result, struct route *out)
{
	struct row_promise row;
	struct capdata value;
	bool loop;
	kref_t end;
	int r;

	r = promise_terminal(k, target, &end, &row);
	if (r < 0)
		return r;
	if (r == PROMISE_E_UNKNOWN)
		return reject(out, CODE_OBJECT_DELETED, "the promise does not exist");
	out->target = end;
	switch (row.state) {
	case PROMISE_REJECTED:
		out->kind = ROUTE_REJECT_AS;
		return 0;
	case PROMISE_FULFILLED:
		r = promise_value(k, end, &value);
		if (r < 0)
			return r;
		if (!(row.flags & PROMISE_F_REF) || value.n_slots != 1)
			return reject(out, CODE_BAD_PROMISE_RESOLUTION, "the target resolved to data, not to an object");
		end.bits = capdata_slot(&value, 0);
		if (kref_is_promise(end))
			return kernel_corrupt("promise fulfilled with a promise");
		return route_object(k, end, out);
	case PROMISE_UNRESOLVED:
		r = waits_for_itself(k, end, &row, result, &loop);
		if (r < 0)
			return r;
		if (loop)
			return reject(out, CODE_BAD_PROMISE_RESOLUTION, "the result waits for itself");
		out->kind = ROUTE_QUEUE;
		out->holder = end.bits;
		return 0;
	case PROMISE_FORWARDED:
		break;
	}
	return kernel_corrupt("promise: forwarding chain without end");
}

int router_route(struct kernel *k, kref_t target, kref_t result, struct route *out)
{
	*out = (struct route){ 0 };
	return kref_is_promise(target) ? route_promise(k, target, result, out) : route_object(k, target, out);
}

static int reject_result(struct kernel *k, kref_t result, const struct route *route)
{
	if (kref_is_none(result)) {
		k->stats.n_dropped_sends++;	/* R2 */
		return 0;
	}
	if (route->kind == ROUTE_REJECT_AS)
		return promise_settle_as(k, result, route->target);
	return promise_reject(k, result, route->code, "%s", route->detail);
}

int router_refuse(struct kernel *k, const struct item *i, const struct route *route)
{
	int r = reject_result(k, (kref_t){ i->row.result }, route);

	return r < 0 ? r : item_count(k, i, -1);
}

static int enqueue(struct kernel *k, struct item *i, const struct route *route)
{
	int r;

	i->row.target = route->target.bits;
	r = kernel_ref(k, route->target, 1);
	if (r < 0)
		return r;
	r = queue_push(k, route->holder, i);
	if (r < 0)
		return r;
	if (!i->row.result)
		return 0;
	return promise_set_behind(k, (kref_t){ i->row.result }, route->holder);
}

/* A caller of services can use up his own share only: some calls wait long (V7). */
static void limit_calls(struct kernel *k, endpoint_t sender, struct route *route)
{
	struct vat *v = endpoint_is_vat(sender) ? vat_find(k, endpoint_number(sender)) : NULL;

	if (v && v->row.n_calls >= ROUTER_MAX_CALLS)
		reject(route, CODE_QUEUE_FULL, "%u calls of services by %s wait already", ROUTER_MAX_CALLS, v->row.name);
	else if (!v && k->n_service_queue >= ROUTER_MAX_SERVICE)
		reject(route, CODE_QUEUE_FULL, "%u calls of services wait already", ROUTER_MAX_SERVICE);
}

/* What the sender has there already is too much for one message more. */
static void limit_charge(const struct row_charge *has, uint64_t messages, uint64_t bytes, const char *who, const char *where,
			 struct route *route)
{
	if (has->n_messages >= messages)
		reject(route, CODE_QUEUE_FULL, "%llu messages of %s %s already", (unsigned long long)has->n_messages, who, where);
	else if (has->bytes >= bytes)
		reject(route, CODE_QUEUE_FULL, "%llu bytes of messages of %s %s already", (unsigned long long)has->bytes, who, where);
}

/*
 * Is there room for a message of this sender where the route leads (V7, R3, R5)? One that was accepted once and is sent on
 * (`again`) is not refused for the asking of a share that has shrunk meanwhile, but not without end either.
 */
static int limit_sender(struct kernel *k, uint64_t sender, bool again, struct route *route)
{
	struct vat *v = endpoint_is_vat((endpoint_t){ sender }) ? vat_find(k, endpoint_number((endpoint_t){ sender })) : NULL;
	const char *who = vat_sender_name(k, sender);
	struct vat_limits limits;
	struct row_charge has;
	char where[100];
	int r;

	if (route->holder == ENDPOINT_K.bits) {
		if (!again)
			limit_calls(k, (endpoint_t){ sender }, route);
		return 0;
	}
	r = charge_get(k, route->holder, sender, &has);
	if (r < 0 || !has.n_messages)
		return r;
	if (route->holder & REF_PROMISE) {
		limits = v ? v->limits : vat_default_limits(k);
		limit_charge(&has, limits.waiting_messages * (again ? ROUTER_AGAIN : 1), limits.waiting_bytes * (again ? ROUTER_AGAIN : 1),
			     who, "wait on the promise", route);
		return 0;
	}
	v = vat_find(k, endpoint_number((endpoint_t){ route->holder }));
	snprintf(where, sizeof(where), "are in the queue of %s", v->row.name);
	if (again)
		limit_charge(&has, v->limits.queue_messages * ROUTER_AGAIN, v->limits.queue_bytes * ROUTER_AGAIN, who, where, route);
	else
		limit_charge(&has, charge_share(v->limits.queue_messages, v->row.n_senders, true),
			     charge_share(v->limits.queue_bytes, v->row.n_senders, true), who, where, route);
	return 0;
}

int router_send(struct kernel *k, struct item *i)
{
	struct route route;
	int r;

	r = router_route(k, (kref_t){ i->row.target }, (kref_t){ i->row.result }, &route);
	if (r >= 0 && route.kind == ROUTE_QUEUE)
		r = limit_sender(k, i->row.sender, false, &route);
	if (r < 0)
		return r;
	/* When the disk is nearly full what is left of it is the kernel's; vats' new messages have to wait. */
	if (route.kind == ROUTE_QUEUE && i->row.sender && store_space_low(k->store))
		reject(&route, CODE_QUEUE_FULL, "the store has no space left");
	if (route.kind != ROUTE_QUEUE)
		return reject_result(k, (kref_t){ i->row.result }, &route);
	r = item_count_rest(k, i, 1);
	if (r < 0)
		return r;
	return enqueue(k, i, &route);
}

static int resend(struct kernel *k, struct item *i, kref_t to)
{
	kref_t old = { i->row.target };
	struct route route;
	int r;

	r = router_route(k, to, (kref_t){ i->row.result }, &route);
	if (r >= 0 && route.kind == ROUTE_QUEUE)
		r = limit_sender(k, i->row.sender, true, &route);
	if (r < 0)
		return r;
	k->moved_bytes += i->len;
	if (++k->n_moved > ROUTER_MAX_MOVED || k->moved_bytes > ROUTER_MAX_MOVED_BYTES)
		reject(&route, CODE_QUEUE_FULL, "too many messages were sent on in one crank");
	if (route.kind != ROUTE_QUEUE)
		return router_refuse(k, i, &route);
	r = enqueue(k, i, &route);
	if (r < 0)
		return r;
	return kernel_ref(k, old, -1);
}

int router_resend_waiting(struct kernel *k, kref_t from, kref_t to)
{
	uint64_t seq = 0;

	for (;;) {
		_cleanup_(item_deinit) struct item i = ITEM_INIT;
		int r = queue_head(k, from.bits, seq, &i);

		if (r)
			return r < 0 ? r : 0;
		seq = i.seq + 1;	/* the next search does not step over what was just removed */
		r = queue_remove(k, from.bits, i.seq);
		if (r < 0)
			return r;
		r = resend(k, &i, to);
		if (r < 0)
			return r;
	}
}
