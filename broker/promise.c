/* SPDX-License-Identifier: Apache-2.0 */
#include "promise.h"

#include <stdarg.h>

#include "../lib/smallcaps.h"
#include "cycle.h"
#include "live.h"
#include "queue.h"
#include "router.h"

struct settle_task {
	struct settle_task *next;
	kref_t promise;
	kref_t source;			/* take its outcome; KREF_NONE: the value here */
	enum promise_state state;
	uint32_t flags;
	size_t len;
	uint8_t raw[];
};

static void settle_task_freep(struct settle_task **t)
{
	free(*t);
}

int promise_load(struct kernel *k, kref_t ref, struct row_promise *rowp)
{
	uint8_t key[8];
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, T_PROMISE, key, key_u64(key, ref.bits), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return PROMISE_E_UNKNOWN;
	if (!row_promise_read(val, len, rowp))
		return kernel_corrupt("store: promise row kp%llu is damaged", (unsigned long long)kref_number(ref));
	return 0;
}

/* For promises that something counted names: the row must be there. */
static int load_known(struct kernel *k, kref_t ref, struct row_promise *rowp)
{
	int r = promise_load(k, ref, rowp);

	if (r == PROMISE_E_UNKNOWN)
		return kernel_corrupt("promise: kp%llu is named but has no row", (unsigned long long)kref_number(ref));
	return r;
}

int promise_save(struct kernel *k, kref_t ref, const struct row_promise *row)
{
	uint8_t key[8];
	int r = store_put(k->store, T_PROMISE, key, key_u64(key, ref.bits), row, sizeof(*row));

	return r < 0 ? error_trace(r) : 0;
}

int promise_new(struct kernel *k, kref_t *refp)
{
	struct row_promise row = { .state = PROMISE_UNRESOLVED };
	kref_t ref = kp(k->next_promise++);
	int r;

	r = promise_save(k, ref, &row);
	if (r < 0)
		return r;
	*refp = ref;
	return kernel_touch(k, ref);
}

int promise_ref(struct kernel *k, kref_t ref, int delta)
{
	struct row_promise row;
	int r;

	r = load_known(k, ref, &row);
	if (r < 0)
		return r;
	assert(delta >= 0 || row.n_refs >= (uint64_t)-delta);
	row.n_refs += delta;
	r = promise_save(k, ref, &row);
	if (r < 0)
		return r;
	if (!row.n_refs)
		return kernel_touch(k, ref);
	if (!(row.flags & PROMISE_F_PROMISES))
		return 0;
	return delta > 0 ? cycle_held(k, ref) : cycle_suspect(k, ref);
}

int promise_value(struct kernel *k, kref_t ref, struct capdata *valuep)
{
	uint8_t key[8];
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, T_VALUE, key, key_u64(key, ref.bits), &val, &len);
	if (r == STORE_NOT_FOUND) {	/* shared: one step, links never lead to links */
		struct row_promise row;

		r = load_known(k, ref, &row);
		if (r == 0)
			r = store_get(k->store, T_VALUE, key, key_u64(key, row.link), &val, &len);
	}
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND || !capdata_read(val, len, valuep))
		return kernel_corrupt("store: value of kp%llu is damaged", (unsigned long long)kref_number(ref));
	return 0;
}

int promise_value_slots(struct kernel *k, kref_t ref, uint64_t **slotsp, size_t *np)
{
	struct capdata value;
	int r;

	r = promise_value(k, ref, &value);
	if (r < 0)
		return r;
	*slotsp = malloc(value.n_slots * sizeof(**slotsp) + 1);
	if (!*slotsp)
		return error_origin(ENOMEM);
	memcpy(*slotsp, value.slots, value.n_slots * sizeof(**slotsp));
	*np = value.n_slots;
	return 0;
}

static int mark_decided(struct kernel *k, endpoint_t e, kref_t ref, bool decided)
{
	uint8_t key[16];
	size_t len = key_u64_u64(key, e.bits, ref.bits);
	int r;

	r = decided ? store_put(k->store, T_DECIDED, key, len, "", 0) : store_del(k->store, T_DECIDED, key, len);
	return r < 0 ? error_trace(r) : 0;
}

/* The decider in the row moves; DECIDED follows. */
static int change_decider(struct kernel *k, kref_t ref, struct row_promise *row, endpoint_t decider, uint32_t incarnation)
{
	int r;

	if (row->decider && row->decider != decider.bits) {
		r = mark_decided(k, (endpoint_t){ row->decider }, ref, false);
		if (r < 0)
			return r;
	}
	if (decider.bits && row->decider != decider.bits) {
		r = mark_decided(k, decider, ref, true);
		if (r < 0)
			return r;
	}
	row->decider = decider.bits;
	row->decider_incarnation = incarnation;
	row->link = 0;
	return 0;
}

int promise_set_decider(struct kernel *k, kref_t ref, endpoint_t decider, uint32_t incarnation)
{
	struct row_promise row;
	int r;

	r = load_known(k, ref, &row);
	if (r < 0)
		return r;
	assert(row.state == PROMISE_UNRESOLVED);
	r = change_decider(k, ref, &row, decider, incarnation);
	if (r < 0)
		return r;
	return promise_save(k, ref, &row);
}

int promise_note_host(struct kernel *k, kref_t ref)
{
	struct row_promise row;
	int r;

	r = load_known(k, ref, &row);
	if (r < 0)
		return r;
	assert(row.state == PROMISE_UNRESOLVED || row.state == PROMISE_FORWARDED);
	row.flags |= PROMISE_F_HOST;
	return promise_save(k, ref, &row);
}

int promise_set_behind(struct kernel *k, kref_t ref, uint64_t holder)
{
	struct row_promise row;
	int r;

	r = load_known(k, ref, &row);
	if (r < 0)
		return r;
	assert(row.state == PROMISE_UNRESOLVED && !row.decider);
	row.link = holder;
	return promise_save(k, ref, &row);
}

static int mark_forward(struct kernel *k, kref_t target, kref_t source, bool set)
{
	uint8_t key[16];
	size_t len = key_u64_u64(key, target.bits, source.bits);
	int r;

	r = set ? store_put(k->store, T_FORWARD, key, len, "", 0) : store_del(k->store, T_FORWARD, key, len);
	if (r < 0)
		return error_trace(r);
	return promise_ref(k, target, set ? 1 : -1);
}

/* Point every promise of the walked path at its end, so that no chain, however built, is long to walk twice. */
static int compress(struct kernel *k, const struct u64_list *path, kref_t end)
{
	struct row_promise row;
	size_t i;
	int r;

	for (i = 0; i + 1 < path->n; i++) {	/* the last one points there already */
		kref_t at = { path->v[i] };

		r = mark_forward(k, end, at, true);
		if (r >= 0)
			r = mark_forward(k, (kref_t){ path->v[i + 1] }, at, false);
		if (r >= 0)
			r = load_known(k, at, &row);
		if (r < 0)
			return r;
		row.link = end.bits;
		r = promise_save(k, at, &row);
		if (r < 0)
			return r;
	}
	return 0;
}

int promise_terminal(struct kernel *k, kref_t ref, kref_t *terminalp, struct row_promise *rowp)
{
	struct u64_list path = { 0 };
	kref_t end = ref;
	int r;

	r = promise_load(k, end, rowp);
	if (r)
		return r;
	while (r >= 0 && rowp->state == PROMISE_FORWARDED) {
		if (k->in_savepoint)
			r = u64_list_push(&path, end.bits);
		end = (kref_t){ rowp->link };
		if (r >= 0)
			r = load_known(k, end, rowp);
	}
	if (r >= 0 && path.n > 1) {
		r = compress(k, &path, end);
		if (r >= 0)
			r = load_known(k, end, rowp);
	}
	u64_list_deinit(&path);
	*terminalp = end;
	return r;
}

/* --- settling ------------------------------------------------------------------------------------------------ */

static int push_task(struct kernel *k, kref_t ref, kref_t source, enum promise_state state, uint32_t flags,
		     const void *raw, size_t len)
{
	struct settle_task *t = malloc(sizeof(*t) + len);

	if (!t)
		return error_origin(ENOMEM);
	*t = (struct settle_task){ .promise = ref, .source = source, .state = state, .flags = flags, .len = len };
	if (len)
		memcpy(t->raw, raw, len);
	if (k->settle_last)
		k->settle_last->next = t;
	else
		k->settle_first = t;
	k->settle_last = t;
	return 0;
}

static struct settle_task *pop_task(struct kernel *k)
{
	struct settle_task *t = k->settle_first;

	if (t) {
		k->settle_first = t->next;
		if (!k->settle_first)
			k->settle_last = NULL;
	}
	return t;
}

void promise_drop_tasks(struct kernel *k)
{
	struct settle_task *t;

	while ((t = pop_task(k)))
		free(t);
	k->settling = false;
}

/* A promise with a source takes that one's outcome: state, flags and, by a link, its value. */
static int share_outcome(struct kernel *k, struct settle_task *t, kref_t *sharedp)
{
	struct row_promise row;
	int r;

	r = load_known(k, t->source, &row);
	if (r < 0)
		return r;
	assert(row.state == PROMISE_FULFILLED || row.state == PROMISE_REJECTED);
	t->state = row.state;
	t->flags = row.flags;
	*sharedp = row.link ? (kref_t){ row.link } : t->source;
	return promise_ref(k, *sharedp, 1);
}

/* The value itself is stored and its references counted. */
static int store_outcome(struct kernel *k, struct settle_task *t)
{
	struct capdata value;
	uint8_t key[8];
	size_t i;
	int r;

	if (!capdata_read(t->raw, t->len, &value))
		return kernel_corrupt("promise: malformed value");
	for (i = 0; i < value.n_slots; i++) {
		r = kernel_ref(k, (kref_t){ capdata_slot(&value, i) }, 1);
		if (r < 0)
			return r;
		if (kref_is_promise((kref_t){ capdata_slot(&value, i) }))
			t->flags |= PROMISE_F_PROMISES;
	}
	r = store_put(k->store, T_VALUE, key, key_u64(key, t->promise.bits), t->raw, t->len);
	return r < 0 ? error_trace(r) : 0;
}

/* Who waits for the outcome: subscribed endpoints in their order, and callers outside. */
static int notify_subscribers(struct kernel *k, kref_t ref, bool host)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16], hold_at[KEY_MAX];
	int r;

	key_u64_u64(at, ref.bits, 0);
	for (;;) {
		r = store_next_of(k->store, T_SUBSCRIBER, at, 16, 8, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			break;
		memcpy(at, key, 16);
		r = store_del(k->store, T_SUBSCRIBER, at, 16);
		if (r < 0)
			return error_trace(r);
		r = queue_notify(k, (endpoint_t){ get_be64(at + 8) }, ref);
		if (r < 0)
			return r;
	}
	if (!host)
		return 0;
	key_len = key_u64_u8_u64(hold_at, ref.bits, HOLD_HOST, 0);
	for (;;) {
		r = store_next_of(k->store, T_HOLD, hold_at, key_len, 9, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			return 0;
		memcpy(hold_at, key, key_len);
		r = u64_list_push(&k->settled_calls, get_be64(hold_at + 9));
		if (r < 0)
			return r;
	}
}

/* Promises forwarded to `ref`, directly: appended. */
static int list_forwarders(struct kernel *k, uint64_t ref, struct u64_list *out)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	key_u64_u64(at, ref, 0);
	for (;;) {
		r = store_next_of(k->store, T_FORWARD, at, 16, 8, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			return 0;
		memcpy(at, key, 16);
		r = u64_list_push(out, get_be64(at + 8));
		if (r < 0)
			return r;
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * All that were forwarded to `ref`, by way of others too, settle as it did; they come after it in the worklist. By number, or the
 * order in which subscribers hear of them would tell which chains happened to be shortened (P10, P14).
 */
static int settle_forwarders(struct kernel *k, kref_t ref)
{
	struct u64_list all = { 0 };
	size_t i;
	int r;

	r = list_forwarders(k, ref.bits, &all);
	for (i = 0; r >= 0 && i < all.n; i++)
		r = list_forwarders(k, all.v[i], &all);
	if (r >= 0 && all.n > 1)
		qsort(all.v, all.n, sizeof(*all.v), compare_u64);
	for (i = 0; r >= 0 && i < all.n; i++)
		r = push_task(k, (kref_t){ all.v[i] }, ref, 0, 0, NULL, 0);
	u64_list_deinit(&all);
	return r;
}

static int settle_one(struct kernel *k, struct settle_task *t)
{
	kref_t ref = t->promise, shared = KREF_NONE;
	struct row_promise row;
	bool host, waiting, forwarded;
	int r;

	r = load_known(k, ref, &row);
	if (r < 0)
		return r;
	if (row.state != PROMISE_UNRESOLVED && row.state != PROMISE_FORWARDED)
		return 0;	/* two ways led to it in this batch; the first counts (P1) */
	if (kref_is_none(t->source))
		r = store_outcome(k, t);
	else
		r = share_outcome(k, t, &shared);
	if (r < 0)
		return r;
	forwarded = row.state == PROMISE_FORWARDED;
	if (forwarded) {
		r = mark_forward(k, (kref_t){ row.link }, ref, false);
		if (r < 0)
			return r;
	}
	r = load_known(k, ref, &row);	/* its own value may count it */
	if (r < 0)
		return r;
	r = change_decider(k, ref, &row, (endpoint_t){ 0 }, 0);
	if (r < 0)
		return r;
	host = row.flags & PROMISE_F_HOST;
	waiting = row.n_waiting;
	row.state = t->state;
	row.flags = t->flags;
	row.link = shared.bits;
	r = promise_save(k, ref, &row);
	if (r < 0)
		return r;
	live_resolved(k, ref, row.state, row.flags, KREF_NONE);
	r = kernel_touch(k, ref);
	if (r < 0)
		return r;
	r = notify_subscribers(k, ref, host);
	if (r < 0)
		return r;
	if (!forwarded)	/* else those were listed with it */
		r = settle_forwarders(k, ref);
	if (r < 0 || !waiting)
		return r;
	return router_resend_waiting(k, ref, ref);
}

static int drain(struct kernel *k)
{
	int r = 0;

	if (k->settling)
		return 0;	/* the outer drain goes on */
	k->settling = true;
	while (r >= 0) {
		_cleanup_(settle_task_freep) struct settle_task *t = pop_task(k);

		if (!t)
			break;
		r = settle_one(k, t);
	}
	k->settling = false;
	return r;
}

int promise_settle(struct kernel *k, kref_t ref, enum promise_state state, uint32_t flags, const void *raw, size_t len)
{
	int r = push_task(k, ref, KREF_NONE, state, flags, raw, len);

	return r < 0 ? r : drain(k);
}

int promise_settle_as(struct kernel *k, kref_t ref, kref_t source)
{
	int r = push_task(k, ref, source, 0, 0, NULL, 0);

	return r < 0 ? r : drain(k);
}

int promise_reject(struct kernel *k, kref_t ref, enum kernel_code code, const char *fmt, ...)
{
	struct smallcaps value = { 0 };
	_cleanup_free_ uint8_t *raw = NULL;
	char text[400];
	size_t len;
	va_list ap;
	int n, r;

	n = snprintf(text, sizeof(text), "[KERNEL:%s] ", kernel_code_name(code));
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	r = smallcaps_error("Error", text, &value);
	if (r)
		return error_origin(ENOMEM);
	len = capdata_size(value.body_len, 0);
	raw = malloc(len);
	if (raw)
		capdata_write(raw, value.body, value.body_len, NULL, 0);
	smallcaps_deinit(&value);
	if (!raw)
		return error_origin(ENOMEM);
	return promise_settle(k, ref, PROMISE_REJECTED, PROMISE_F_KERNEL, raw, len);
}

int promise_forward(struct kernel *k, kref_t ref, kref_t target)
{
	struct row_promise row;
	kref_t end;
	int r;

	r = promise_terminal(k, target, &end, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("promise: forwarded to an unknown promise");
	if (row.state != PROMISE_UNRESOLVED)
		return promise_settle_as(k, ref, end);
	if (kref_equal(end, ref))
		return promise_reject(k, ref, CODE_BAD_PROMISE_RESOLUTION, "promise resolved to itself through a cycle");
	r = load_known(k, ref, &row);
	if (r < 0)
		return r;
	if (row.state != PROMISE_UNRESOLVED)
		return 0;	/* settled earlier in the same batch, as the member of a cycle */
	r = change_decider(k, ref, &row, (endpoint_t){ 0 }, 0);
	if (r < 0)
		return r;
	row.state = PROMISE_FORWARDED;
	row.link = end.bits;
	r = promise_save(k, ref, &row);
	if (r < 0)
		return r;
	live_resolved(k, ref, row.state, 0, end);
	r = mark_forward(k, end, ref, true);
	if (r < 0)
		return r;
	return router_resend_waiting(k, ref, end);
}

int promise_subscribe(struct kernel *k, kref_t ref, endpoint_t e)
{
	struct row_promise row;
	uint8_t key[16];
	int r;

	r = load_known(k, ref, &row);
	if (r < 0)
		return r;
	if (row.state == PROMISE_FULFILLED || row.state == PROMISE_REJECTED)
		return queue_notify(k, e, ref);
	r = store_put(k->store, T_SUBSCRIBER, key, key_u64_u64(key, ref.bits, e.bits), "", 0);
	return r < 0 ? error_trace(r) : 0;
}

int promise_unsubscribe(struct kernel *k, kref_t ref, endpoint_t e)
{
	uint8_t key[16];
	int r = store_del(k->store, T_SUBSCRIBER, key, key_u64_u64(key, ref.bits, e.bits));

	return r < 0 ? error_trace(r) : 0;
}

static int drop_subscribers(struct kernel *k, kref_t ref)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	key_u64_u64(at, ref.bits, 0);
	for (;;) {
		r = store_next_of(k->store, T_SUBSCRIBER, at, 16, 8, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			return 0;
		memcpy(at, key, 16);
		r = store_del(k->store, T_SUBSCRIBER, at, 16);
		if (r < 0)
			return error_trace(r);
	}
}

static int release_value(struct kernel *k, kref_t ref, const struct row_promise *row)
{
	_cleanup_free_ uint64_t *slots = NULL;
	uint8_t key[8];
	size_t i, n;
	int r;

	r = promise_value_slots(k, ref, &slots, &n);
	if (r < 0)
		return r;
	r = store_del(k->store, T_VALUE, key, key_u64(key, ref.bits));
	if (r < 0)
		return error_trace(r);
	r = cycle_deleted(k, ref, row, slots, n);
	if (r < 0)
		return r;
	k->n_released += n;
	for (i = 0; i < n; i++) {
		r = kernel_ref(k, (kref_t){ slots[i] }, -1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* It shared another's value. */
static int release_link(struct kernel *k, kref_t ref, const struct row_promise *row)
{
	int r = cycle_deleted(k, ref, row, &row->link, 1);

	return r < 0 ? r : promise_ref(k, (kref_t){ row->link }, -1);
}

int promise_delete(struct kernel *k, kref_t ref, const struct row_promise *row)
{
	uint8_t key[8];
	int r = 0;

	assert(row->n_refs == 0 && row->n_waiting == 0);
	switch (row->state) {
	case PROMISE_FULFILLED:
	case PROMISE_REJECTED:	/* who had subscribed was told */
		r = row->link ? release_link(k, ref, row) : release_value(k, ref, row);
		break;
	case PROMISE_FORWARDED:
		r = mark_forward(k, (kref_t){ row->link }, ref, false);
		if (r >= 0)
			r = drop_subscribers(k, ref);
		break;
	case PROMISE_UNRESOLVED:
		if (row->decider)
			r = mark_decided(k, (endpoint_t){ row->decider }, ref, false);
		if (r >= 0)
			r = drop_subscribers(k, ref);
		break;
	}
	if (r < 0)
		return r;
	k->n_released++;
	k->stats.n_promises_gone++;
	live_gone(k, ref);
	r = store_del(k->store, T_PROMISE, key, key_u64(key, ref.bits));
	return r < 0 ? error_trace(r) : 0;
}
