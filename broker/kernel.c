/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

#include "charge.h"
#include "facet.h"
#include "gc.h"
#include "live.h"
#include "object.h"
#include "promise.h"
#include "vat.h"

int u64_list_push(struct u64_list *l, uint64_t v)
{
	if (l->n == l->size) {
		size_t size = l->size ? l->size * 2 : 64;
		uint64_t *p = realloc(l->v, size * sizeof(*p));

		if (!p)
			return error_origin(ENOMEM);
		l->v = p;
		l->size = size;
	}
	l->v[l->n++] = v;
	return 0;
}

void u64_list_deinit(struct u64_list *l)
{
	free(l->v);
	*l = (struct u64_list){ 0 };
}

const char *kernel_code_name(enum kernel_code c)
{
	static const char *const names[] = {
		[CODE_OBJECT_REVOKED] = "OBJECT_REVOKED",
		[CODE_OBJECT_DELETED] = "OBJECT_DELETED",
		[CODE_NOT_CALLABLE] = "NOT_CALLABLE",
		[CODE_FD_LOST] = "FD_LOST",
		[CODE_SERVICE_UNAVAILABLE] = "SERVICE_UNAVAILABLE",
		[CODE_ENDPOINT_UNREACHABLE] = "ENDPOINT_UNREACHABLE",
		[CODE_QUEUE_FULL] = "QUEUE_FULL",
		[CODE_BAD_PROMISE_RESOLUTION] = "BAD_PROMISE_RESOLUTION",
		[CODE_VAT_TERMINATED] = "VAT_TERMINATED",
		[CODE_VAT_RESTARTED] = "VAT_RESTARTED",
		[CODE_DELIVERY_FAILED] = "DELIVERY_FAILED",
		[CODE_CONNECTION_LOST] = "CONNECTION_LOST",
		[CODE_PEER_RESTARTED] = "PEER_RESTARTED",
		[CODE_ILLEGAL_SYSCALL] = "VAT_FATAL:ILLEGAL_SYSCALL",
	};

	assert((size_t)c < ARRAY_LEN(names) && names[c]);
	return names[c];
}

int kernel_touch(struct kernel *k, kref_t ref)
{
	assert(k->in_savepoint);
	return u64_list_push(&k->touched, ref.bits);
}

int kernel_savepoint(struct kernel *k)
{
	int r;

	assert(!k->in_savepoint && !k->touched.n && !k->settle_first && !k->edited);
	r = store_savepoint(k->store);
	if (r < 0)
		return error_trace(r);
	k->in_savepoint = true;
	k->mark_settled_calls = k->settled_calls.n;
	k->mark_effects = k->n_effects;
	live_savepoint(k->live);
	k->mark_dropped_sends = k->stats.n_dropped_sends;
	k->mark_service_queue = k->n_service_queue;
	k->n_moved = k->moved_bytes = k->n_hops = k->n_released = 0;
	return 0;
}

int kernel_release(struct kernel *k)
{
	int r;

	assert(k->in_savepoint && !k->settle_first);
	r = gc_examine_touched(k);
	if (r < 0)
		return error_trace(r);
	r = store_release(k->store);
	if (r < 0)
		return error_trace(r);
	vat_edits_keep(k);
	charges_keep(k);
	live_release(k->live);
	k->touched.n = 0;
	k->in_savepoint = false;
	if (!k->dirty_since_ns)
		k->dirty_since_ns = now_monotonic_ns();
	return 0;
}

int kernel_rollback(struct kernel *k)
{
	int r;

	assert(k->in_savepoint);
	promise_drop_tasks(k);
	r = store_rollback(k->store);
	if (r < 0)
		return error_trace(r);
	vat_edits_undo(k);
	charges_undo(k);
	live_rollback(k->live);
	k->touched.n = 0;
	k->settled_calls.n = k->mark_settled_calls;
	k->stats.n_dropped_sends = k->mark_dropped_sends;
	k->n_service_queue = k->mark_service_queue;
	/* Effects of an undone crank never happen; their arguments are heap blocks. */
	while (k->n_effects > k->mark_effects)
		free(k->effects[--k->n_effects].arg);
	k->in_savepoint = false;
	return 0;
}

bool kernel_is_quiet(const struct kernel *k)
{
	return (!k->ready_first || (k->serial && k->n_in_flight)) && !k->sweeping && !k->cycling && !k->launch_work &&
	       !k->service_work && !k->facet_work && !k->hosted_work &&
	       !k->settled_calls.n && !k->want_processes && !k->io_work;
}

static int put_counter(struct kernel *k, const char *name, uint64_t v)
{
	return store_put(k->store, T_META, name, strlen(name), &v, sizeof(v));
}

static int put_counters(struct kernel *k)
{
	int r = put_counter(k, META_NEXT_OBJECT, k->next_object);

	if (r >= 0)
		r = put_counter(k, META_NEXT_PROMISE, k->next_promise);
	if (r >= 0)
		r = put_counter(k, META_NEXT_VAT, k->next_vat);
	if (r >= 0)
		r = put_counter(k, META_NEXT_SUBCLUSTER, k->next_subcluster);
	if (r >= 0)
		r = put_counter(k, META_NEXT_SEQ, k->next_seq);
	if (r >= 0)
		r = put_counter(k, META_NEXT_UID, k->next_uid);
	if (r >= 0)
		r = put_counter(k, META_NEXT_DELIVERY, k->next_delivery);
	return r;
}

int kernel_commit(struct kernel *k)
{
	size_t i, n;
	int r;

	assert(!k->in_savepoint);
	r = vat_write_back(k);
	if (r >= 0)
		r = charges_write_back(k);
	if (r < 0)
		return error_trace(r);
	if (store_dirty(k->store)) {
		r = put_counters(k);
		if (r < 0)
			return error_trace(r);
	}
	r = store_commit(k->store);
	if (r < 0)
		return error_trace(r);
	live_commit(k);
	k->cranks_since_commit = 0;
	k->dirty_since_ns = 0;
	k->last_commit_ns = now_monotonic_ns();
	/* An effect may queue further ones (none does today); those wait for the next commit. */
	n = k->n_effects;
	for (i = 0; i < n; i++)
		k->effects[i].run(k, k->effects[i].arg);
	if (n) {
		memmove(k->effects, k->effects + n, (k->n_effects - n) * sizeof(*k->effects));
		k->n_effects -= n;
	}
	return 0;
}

int kernel_after_commit(struct kernel *k, void (*run)(struct kernel *, void *), void *arg)
{
	if (k->n_effects == k->size_effects) {
		size_t size = k->size_effects ? k->size_effects * 2 : 16;
		struct effect *p = realloc(k->effects, size * sizeof(*p));

		if (!p)
			return error_origin(ENOMEM);
		k->effects = p;
		k->size_effects = size;
	}
	k->effects[k->n_effects++] = (struct effect){ run, arg };
	return 0;
}

int kernel_ref(struct kernel *k, kref_t ref, int delta)
{
	if (kref_is_promise(ref))
		return promise_ref(k, ref, delta);
	return object_ref(k, ref, delta, delta);
}

int kernel_hold_count(struct kernel *k, kref_t ref, enum hold_kind kind, uint64_t owner, uint64_t *countp)
{
	struct row_hold row;
	uint8_t key[KEY_MAX];
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, T_HOLD, key, key_u64_u8_u64(key, ref.bits, kind, owner), &val, &len);
	if (r < 0)
		return error_trace(r);
	*countp = 0;
	if (r == STORE_NOT_FOUND)
		return 0;
	if (!row_hold_read(val, len, &row))
		return kernel_corrupt("store: hold row is damaged");
	*countp = row.count;
	return 0;
}

int kernel_hold(struct kernel *k, kref_t ref, enum hold_kind kind, uint64_t owner, int64_t delta)
{
	struct row_hold row = { .since_us = now_realtime_us() };
	uint8_t key[KEY_MAX];
	size_t key_len = key_u64_u8_u64(key, ref.bits, kind, owner);
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, T_HOLD, key, key_len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == 0 && !row_hold_read(val, len, &row))
		return kernel_corrupt("store: hold row is damaged");
	assert(delta > 0 || row.count >= (uint64_t)-delta);
	row.count += delta;
	if (row.count)
		r = store_put(k->store, T_HOLD, key, key_len, &row, sizeof(row));
	else
		r = store_del(k->store, T_HOLD, key, key_len);
	if (r < 0)
		return error_trace(r);
	return kernel_ref(k, ref, delta);
}

int kernel_subscribe_host(struct kernel *k, struct host_call *c)
{
	int r;

	c->number = k->next_host_call++;
	r = kernel_hold(k, c->promise, HOLD_HOST, c->number, 1);
	if (r >= 0)
		r = promise_note_host(k, c->promise);
	if (r < 0)
		return error_trace(r);
	HASH_ADD(hh, k->calls, number, sizeof(c->number), c);
	return 0;
}

struct host_call *kernel_find_call(struct kernel *k, uint64_t number)
{
	struct host_call *c;

	HASH_FIND(hh, k->calls, &number, sizeof(number), c);
	return c;
}

int kernel_tell_callers(struct kernel *k)
{
	int r = facet_answers(k);
	size_t i;

	/* What one is told may be the answer that another waits for (facet.h). */
	for (i = 0; r >= 0 && i < k->settled_calls.n; i++) {
		struct host_call *c = kernel_find_call(k, k->settled_calls.v[i]);

		if (c)
			r = c->settled(k, c);
		if (r >= 0)
			r = facet_answers(k);
	}
	k->settled_calls.n = 0;
	return r;
}

/* Ends the subscription; the call itself stays the caller's. */
int kernel_unsubscribe_host(struct kernel *k, struct host_call *c)
{
	HASH_DEL(k->calls, c);
	return kernel_hold(k, c->promise, HOLD_HOST, c->number, -1);
}
