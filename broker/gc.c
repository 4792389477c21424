/* SPDX-License-Identifier: Apache-2.0 */
#include "gc.h"

#include "clist.h"
#include "cycle.h"
#include "object.h"
#include "promise.h"
#include "vat.h"

static int put_action(struct kernel *k, endpoint_t e, enum gc_type type, kref_t kref)
{
	struct vat *v = endpoint_is_vat(e) ? vat_find(k, endpoint_number(e)) : NULL;
	uint8_t key[17];
	int r;

	if (!v || v->row.status == VAT_TERMINATED)
		return 0;	/* D5; its entries go by sweeping */
	r = store_put(k->store, T_GC, key, key_u64_u8_u64(key, e.bits, type, kref.bits), "", 0);
	if (r < 0)
		return error_trace(r);
	v->gc_maybe = true;
	vat_ready(k, v);
	return 0;
}

/* Nobody owns it and nobody reaches it: whoever still recognizes it is told. */
static int tell_importers(struct kernel *k, kref_t kref)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	key_u64_u64(at, kref.bits, 0);
	for (;;) {
		r = store_next_of(k->store, T_IMPORTER, at, 16, 8, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			return 0;
		memcpy(at, key, 16);
		r = put_action(k, (endpoint_t){ get_be64(at + 8) }, GC_RETIRE_IMPORT, kref);
		if (r < 0)
			return r;
	}
}

/* An object of the kernel's that is a service is never collected by count (G5); one that was is like any without owner. */
static int is_service(struct kernel *k, kref_t kref, bool *yesp)
{
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	r = store_get(k->store, T_SERVICE_OF, key, key_u64(key, kref.bits), &val, &len);
	*yesp = r == 0;
	return r < 0 ? error_trace(r) : 0;
}

static int examine_object(struct kernel *k, kref_t kref)
{
	struct row_object row;
	endpoint_t e;
	bool flagged, owned, service;
	vref_t vref;
	int r;

	r = object_load(k, kref, &row);
	if (r)
		return r < 0 ? r : 0;
	e.bits = row.owner;
	switch (object_owner(k, &row, NULL)) {
	case OWNER_KERNEL:
		r = is_service(k, kref, &service);
		if (r < 0 || service)
			return r;
		break;
	case OWNER_ALIVE:
	case OWNER_SUSPENDED:
		if (row.n_reachable)
			return 0;
		r = clist_find_kref(k, e, kref, &vref, &flagged);
		if (r)
			return r < 0 ? r : kernel_corrupt("object without its owner's entry");
		if (flagged)
			r = put_action(k, e, GC_DROP_EXPORT, kref);
		if (r >= 0 && !row.n_recognizable)
			r = put_action(k, e, GC_RETIRE_EXPORT, kref);
		return r;
	case OWNER_NONE:
	case OWNER_TERMINATED:
		break;
	}
	if (row.n_reachable)
		return 0;
	if (row.n_recognizable)
		return tell_importers(k, kref);
	/* The row goes with its last entry: while a sweep has not come by yet, the owner's entry is still there. */
	owned = false;
	if (row.owner && row.owner != ENDPOINT_K.bits) {
		r = clist_find_kref(k, e, kref, &vref, &flagged);
		if (r < 0)
			return r;
		owned = r == 0;
	}
	return owned ? 0 : object_delete(k, kref);
}

static int examine_promise(struct kernel *k, kref_t kref)
{
	struct row_promise row;
	int r;

	r = promise_load(k, kref, &row);
	if (r)
		return r < 0 ? r : 0;
	if (row.n_refs)
		return 0;
	/* A chain of promises that hold each other can be as long as a vat likes. */
	if (k->n_released >= CYCLE_RELEASED && (row.state == PROMISE_FULFILLED || row.state == PROMISE_REJECTED))
		return cycle_postpone(k, kref);
	return promise_delete(k, kref, &row);
}

int gc_examine_touched(struct kernel *k)
{
	size_t i;
	int r;

	/* Deleting a promise releases its value and so touches more, which appends to the list we walk. */
	for (i = 0; i < k->touched.n; i++) {
		kref_t kref = { k->touched.v[i] };

		r = kref_is_promise(kref) ? examine_promise(k, kref) : examine_object(k, kref);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Re-validated when picked: the world may have moved since the action was noted (G2). */
static int still_valid(struct kernel *k, endpoint_t e, enum gc_type type, kref_t kref, bool *validp)
{
	enum object_owner owner;
	struct row_object row;
	bool flagged;
	vref_t vref;
	int r;

	*validp = false;
	r = object_load(k, kref, &row);
	if (r)
		return r < 0 ? r : 0;
	r = clist_find_kref(k, e, kref, &vref, &flagged);
	if (r)
		return r < 0 ? r : 0;
	owner = object_owner(k, &row, NULL);
	switch (type) {
	case GC_DROP_EXPORT:
		*validp = row.owner == e.bits && row.n_reachable == 0 && flagged;
		break;
	case GC_RETIRE_EXPORT:
		*validp = row.owner == e.bits && row.n_recognizable == 0;
		break;
	case GC_RETIRE_IMPORT:
		/* The kernel keeps its services reachable (HOLD_SERVICE). */
		*validp = row.owner != e.bits && row.n_reachable == 0 &&
			  (owner == OWNER_NONE || owner == OWNER_TERMINATED || owner == OWNER_KERNEL);
		break;
	}
	return 0;
}

typedef int (*action_fn)(struct kernel *k, struct vat *v, enum gc_type type, kref_t kref, void *arg);

/* Every noted action of one type, in order; fn returns positive to stop. */
static int walk(struct kernel *k, struct vat *v, enum gc_type type, action_fn fn, void *arg)
{
	endpoint_t e = endpoint_vat(v->number);
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[17];
	int r;

	key_u64_u8_u64(at, e.bits, type, 0);
	for (;;) {
		r = store_next_of(k->store, T_GC, at, 17, 9, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			return 0;
		memcpy(at, key, 17);
		r = fn(k, v, type, (kref_t){ get_be64(at + 9) }, arg);
		if (r)
			return r;
	}
}

static int collect_valid(struct kernel *k, struct vat *v, enum gc_type type, kref_t kref, void *arg)
{
	struct u64_list *krefs = arg;
	bool valid;
	int r;

	r = still_valid(k, endpoint_vat(v->number), type, kref, &valid);
	if (r < 0)
		return r;
	if (valid)
		r = u64_list_push(krefs, kref.bits);
	return r < 0 ? r : krefs->n >= WIRE_MAX_SLOTS;
}

int gc_pick(struct kernel *k, struct vat *v, enum gc_type *typep, struct u64_list *krefs)
{
	enum gc_type type;
	int r;

	krefs->n = 0;
	for (type = GC_DROP_EXPORT; type <= GC_RETIRE_IMPORT; type++) {
		r = walk(k, v, type, collect_valid, krefs);
		if (r < 0)
			return r;
		if (krefs->n) {
			*typep = type;
			return 0;
		}
	}
	return GC_E_NONE;
}

static int del_action(struct kernel *k, endpoint_t e, enum gc_type type, kref_t kref)
{
	uint8_t key[17];
	int r = store_del(k->store, T_GC, key, key_u64_u8_u64(key, e.bits, type, kref.bits));

	return r < 0 ? error_trace(r) : 0;
}

static int forget_one(struct kernel *k, struct vat *v, enum gc_type type, kref_t kref, void *arg)
{
	bool valid;
	int r;

	(void)arg;
	r = still_valid(k, endpoint_vat(v->number), type, kref, &valid);
	if (r < 0 || valid)
		return r;
	return del_action(k, endpoint_vat(v->number), type, kref);
}

int gc_forget_stale(struct kernel *k, struct vat *v)
{
	enum gc_type type;
	int r;

	r = kernel_savepoint(k);
	for (type = GC_DROP_EXPORT; r >= 0 && type <= GC_RETIRE_IMPORT; type++)
		r = walk(k, v, type, forget_one, NULL);
	return r < 0 ? r : kernel_release(k);
}

int gc_apply(struct kernel *k, struct vat *v, enum gc_type type, const struct u64_list *krefs)
{
	endpoint_t e = endpoint_vat(v->number);
	bool flagged;
	vref_t vref;
	size_t i;
	int r;

	for (i = 0; i < krefs->n; i++) {
		kref_t kref = { krefs->v[i] };

		r = del_action(k, e, type, kref);
		if (r < 0)
			return r;
		r = clist_find_kref(k, e, kref, &vref, &flagged);
		if (r)
			return r < 0 ? r : kernel_corrupt("gc: an entry went during its own crank");
		if (type == GC_DROP_EXPORT) {
			r = clist_set_reachable(k, e, kref, vref, false);
		} else {
			r = clist_remove(k, e, kref, vref);
			if (r >= 0 && type == GC_RETIRE_EXPORT)
				r = object_delete(k, kref);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int gc_purge(struct kernel *k, endpoint_t e, unsigned *budget, bool *donep)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[17];
	int r;

	*donep = false;
	key_u64_u8_u64(at, e.bits, 0, 0);
	for (; *budget; --*budget) {
		r = store_next_of(k->store, T_GC, at, 17, 8, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND) {
			*donep = true;
			return 0;
		}
		memcpy(at, key, 17);
		r = store_del(k->store, T_GC, at, 17);
		if (r < 0)
			return error_trace(r);
	}
	return 0;
}
